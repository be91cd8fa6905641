"""Validation images as arrays that stay on the disk, and come as floats."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import torch
from numpy.typing import NDArray

from wds_face.errors import DatasetError
from wds_face.location import local_path
from wds_face.transforms.forms import F32, U8
from wds_face.transforms.tensors import normalize
from wds_face.validation.memfile import Conf, read_conf

Ints = NDArray[np.int64]


class Images:
    """Images of a validation set, float32 in [-1, 1], ``[n, 3, height, width]``, read when they are asked for.

    ``images[i]``, slices, lists and arrays of numbers and ``numpy.asarray`` give arrays, as of a numpy array that is
    not to be changed. Numbers in a file are read, not mapped: what was looked at does not stay in the process.

    Attributes:
        shape: ``(n, 3, height, width)``.
        channels: ``"rgb"``, ``"bgr"``, or None where nobody noted it.
    """

    dtype = np.dtype(np.float32)
    ndim = 4

    def __init__(self, shape: tuple[int, ...], channels: str | None) -> None:
        if len(shape) != self.ndim or shape[1] != 3:
            raise DatasetError(f"images for validation are [n, 3, height, width], not {list(shape)}")
        self.shape = shape
        self.channels = channels

    def read(self, start: int, stop: int) -> F32:
        """Images *start* to *stop*."""
        raise NotImplementedError

    def pixels(self, start: int, stop: int) -> U8:
        """Images *start* to *stop* as uint8, of which the floats are made.

        Raises:
            DatasetError: they are not made of uint8.
        """
        given = self.read(start, stop)
        found: U8 = np.rint((given * 0.5 + 0.5) * 255).clip(0, 255).astype(np.uint8)
        if not np.array_equal(floats(found), given):
            raise DatasetError("images are not (x / 255 - 0.5) / 0.5 of whole numbers x: keep them as float32")
        return found

    def __len__(self) -> int:
        """Images."""
        return self.shape[0]

    def take(self, numbers: Ints) -> F32:
        """The images of these numbers, in this order. Neighbours are read together."""
        cuts = np.flatnonzero(np.diff(numbers) != 1) + 1
        if not len(cuts) and len(numbers):
            return self.read(int(numbers[0]), int(numbers[-1]) + 1)
        out = np.empty((len(numbers), *self.shape[1:]), np.float32)
        for begin, end in zip([0, *cuts], [*cuts, len(numbers)], strict=True):
            if begin < end:
                out[begin:end] = self.read(int(numbers[begin]), int(numbers[begin]) + int(end - begin))
        return out

    def __getitem__(self, index: Any) -> F32:
        """As of a numpy array, by one number, slice or array of numbers of images; of channels, rows and columns by
        numbers and slices.

        Raises:
            IndexError: by anything else, or there are no such images.
        """
        first, *rest = _expanded(index if isinstance(index, tuple) else (index,), self.ndim)
        if isinstance(first, SupportsIndex) and not isinstance(first, np.ndarray):
            number = int(first)
            if not -len(self) <= number < len(self):
                raise IndexError(f"there is no image {number}: there are {len(self)}")
            number %= len(self)
            found: F32 = self.read(number, number + 1)[0]
            return found[tuple(rest)] if rest else found
        numbers = np.arange(len(self))[first]
        if numbers.ndim != 1:
            raise IndexError(f"images are numbered by one array of one dimension, not {numbers.ndim}")
        many = self.take(numbers)
        return many[(slice(None), *rest)] if rest else many

    def __iter__(self) -> Iterator[F32]:
        return (self[number] for number in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.read(0, len(self)), dtype)


class Memfile(Images):
    """See :class:`Images`. Those of a memfile of uint8, or of floats.

    Args:
        filename: of the numbers; ``.conf`` is beside it.
        start, stop: of the images in it, by default all.

    Raises:
        DatasetError: it is not there, does not fit its ``.conf``, or does not hold images.
    """

    def __init__(self, filename: str | os.PathLike[str], start: int = 0, stop: int | None = None) -> None:
        self.path = local_path(filename, "memfile").absolute()
        self._conf = conf = read_conf(self.path)
        if conf.dtype.kind not in "uf" or (conf.dtype.kind == "u" and conf.dtype != np.uint8):
            raise DatasetError(f"{self.path} has numbers of {conf.dtype}: images are uint8, or floats")
        self._start, self._stop = start, conf.shape[0] if stop is None else stop
        super().__init__((self._stop - self._start, *conf.shape[1:]), conf.channels)
        self.sets = conf.sets  #: see :class:`~wds_face.validation.memfile.Conf`
        self._file = _open(self, self.path, conf)

    def _stored(self, start: int, stop: int) -> NDArray[Any]:
        """Images *start* to *stop* as they are in the file."""
        start, stop = max(start, 0) + self._start, min(stop, len(self)) + self._start
        out = np.empty((max(0, stop - start), *self.shape[1:]), self._conf.dtype)
        into = out.reshape(-1).view(np.uint8).data
        at, image = 0, self._conf.nbytes // self._conf.shape[0] if len(out) else 0
        while at < len(into):
            got = self._read_at(into[at:], start * image + at)
            if not got:
                raise DatasetError(f"{self.path} ends before image {start}: it was cut while it was in use")
            at += got
        return out

    def _read_at(self, into: memoryview, offset: int) -> int:
        """Read bytes from *offset* on. Returns the number of bytes read, 0 at the end of the file."""
        if hasattr(os, "preadv"):
            return os.preadv(self._file, [into], offset)
        with open(self.path, "rb", buffering=0) as file:  # Windows
            file.seek(offset)
            return file.readinto(into)

    def read(self, start: int, stop: int) -> F32:
        """See :meth:`Images.read`."""
        return floats(self._stored(start, stop))

    def pixels(self, start: int, stop: int) -> U8:
        """See :meth:`Images.pixels`."""
        return self._stored(start, stop) if self._conf.dtype == np.uint8 else super().pixels(start, stop)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_file"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._file = _open(self, self.path, self._conf)


class ArrayImages(Images):
    """See :class:`Images`. Those of an array, uint8 or float, ``[n, 3, height, width]``, which may be mapped."""

    def __init__(self, array: Any, channels: str | None = None) -> None:
        super().__init__(tuple(array.shape), channels)
        if array.dtype != np.uint8 and array.dtype.kind != "f":
            raise DatasetError(f"images are uint8, or floats in [-1, 1], not {array.dtype}")
        self._array = array

    def read(self, start: int, stop: int) -> F32:
        """See :meth:`Images.read`."""
        return floats(np.array(self._array[start:stop]))


class Joined(Images):
    """See :class:`Images`. Those of several sets, one behind the other."""

    def __init__(self, parts: Sequence[Images]) -> None:
        if sizes := {part.shape[2:] for part in parts[1:]} - {parts[0].shape[2:]}:
            raise DatasetError(f"images of one size are wanted, not of {[*sizes, parts[0].shape[2:]]}")
        said = {part.channels for part in parts}
        super().__init__((sum(map(len, parts)), *parts[0].shape[1:]), said.pop() if len(said) == 1 else None)
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def read(self, start: int, stop: int) -> F32:
        """See :meth:`Images.read`."""
        found, begin = [], 0
        for part, end in zip(self._parts, self._ends, strict=True):
            if start < end and stop > begin:
                found.append(part.read(max(start - begin, 0), min(stop, int(end)) - begin))
            begin = int(end)
        if len(found) == 1:
            return found[0]
        return np.concatenate([*found, np.empty((0, *self.shape[1:]), np.float32)])


def _expanded(index: tuple[Any, ...], ndim: int) -> tuple[Any, ...]:
    """With slices for an ellipsis."""
    dots = [place for place, part in enumerate(index) if part is Ellipsis]
    if len(dots) == 1:
        index = (*index[: dots[0]], *[slice(None)] * (ndim + 1 - len(index)), *index[dots[0] + 1 :])
    index = index or (slice(None),)
    if len(dots) > 1 or len(index) > ndim or any(part is None for part in index):
        raise IndexError(f"images have {ndim} dimensions, and none is added by None")
    if any(not isinstance(part, (slice, SupportsIndex)) or isinstance(part, np.ndarray) for part in index[1:]):
        raise IndexError("only images are numbered by arrays; channels, rows and columns by numbers and slices")
    return index


def as_images(given: Any) -> Images:
    """*given* if it is :class:`Images`, or an array as such."""
    if isinstance(given, Images):
        return given
    if not hasattr(given, "shape"):
        given = np.asarray(given)
    return ArrayImages(given.numpy() if isinstance(given, torch.Tensor) else given)


def floats(array: NDArray[Any]) -> F32:
    """float32 in [-1, 1]: of uint8 by (x / 255 - 0.5) / 0.5, to the bit what AdaFace and InsightFace make of them."""
    if array.dtype == np.uint8:
        # torch takes no array that is read-only
        found: F32 = normalize(torch.from_numpy(array if array.flags.writeable else array.copy())).numpy()
        return found
    return array.astype(np.float32, copy=False)


def _open(owner: object, path: Path, conf: Conf) -> int:
    """The file, which is closed with its owner. Reading by place needs nothing that a fork would share."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    weakref.finalize(owner, os.close, file)
    if os.fstat(file).st_size != conf.nbytes:
        raise DatasetError(f"{path} has changed since it was opened: open it again")
    return file
