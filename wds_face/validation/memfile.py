"""Arrays in files of their own, as AdaFace keeps its validation images: the numbers in one file, and what they are in
``<file>.conf`` beside it, JSON with ``shape`` and ``dtype`` (evaluate_utils.py of AdaFace).

Ours also say ``channels`` and, where several sets are in one file, ``sets``; AdaFace's code passes over both. Its own
images are BGR.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wds_face.errors import DatasetError
from wds_face.location import local_path
from wds_face.storage.local import LocalStore

#: Bytes that are written, or looked at, at a time.
BLOCK = 16 << 20

_CHANNELS = ("rgb", "bgr")


@dataclass(frozen=True)
class Conf:
    """What a ``.conf`` says.

    Attributes:
        shape: of the array.
        dtype: of its numbers.
        channels: ``"rgb"`` or ``"bgr"``, or None where it does not say.
        sets: names of the sets that lie in the file one behind the other, and how many images each has, if it says so.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    channels: str | None = None
    sets: tuple[tuple[str, int], ...] | None = None

    @property
    def nbytes(self) -> int:
        """Of the file with the numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_conf(filename: str | os.PathLike[str]) -> Conf:
    """The conf of a memfile, after a look at whether the file is as it says.

    Raises:
        DatasetError: one of the two files is not there, or they do not fit each other.
    """
    path = local_path(filename, "memfile")
    conf = path.with_name(path.name + ".conf")
    remedy = "make it again, with wds_face.make_memmap or `wds-face convert validation`"
    try:
        said = json.loads(conf.read_bytes())
        shape, dtype, channels = said["shape"], np.dtype(said["dtype"]), said.get("channels")
        if not isinstance(said["dtype"], str) or dtype.hasobject or dtype.itemsize == 0:
            raise ValueError
        if not all(isinstance(n, int) and 0 <= n < 1 << 48 for n in shape) or channels not in (None, *_CHANNELS):
            raise ValueError
        sets = tuple((str(name), int(images)) for name, images in said["sets"]) if "sets" in said else None
        nbytes = path.stat().st_size
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: there is no {Path(error.filename).name}: {remedy}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DatasetError(f"{conf} does not say shape and dtype of a memfile in JSON: {remedy}") from None
    found = Conf(tuple(shape), dtype, channels, sets)
    if found.nbytes != nbytes:
        raise DatasetError(
            f"{path} has {nbytes:,} bytes, where its .conf says {found.nbytes:,} ({found.shape} of {dtype}): {remedy}"
        )
    return found


def read_memmap(mem_file_name: str | os.PathLike[str], mode: Literal["r", "r+", "c"] = "r") -> np.memmap[Any, Any]:
    """The array of a memfile, mapped.

    What differs from the text it follows: there it was opened for writing, so that it had to be writable, and two jobs
    could spoil it for each other. Here it is read-only unless asked otherwise.

    Args:
        mem_file_name: of the numbers; ``.conf`` is beside it.
        mode: ``"r"``; ``"r+"`` to write into the file; ``"c"`` to write in memory only.

    Raises:
        DatasetError: it is not there, or does not fit its ``.conf``.
        ValueError: another mode.
    """
    if mode not in ("r", "r+", "c"):
        raise ValueError(f'mode is "r", "r+" or "c", not {mode!r}: wds_face.make_memmap makes a memfile')
    conf = read_conf(mem_file_name)
    if not conf.nbytes:
        raise DatasetError(f"{os.fspath(mem_file_name)} is empty: there is nothing to map")
    return np.memmap(local_path(mem_file_name, "memfile"), mode=mode, shape=conf.shape, dtype=conf.dtype)


def make_memmap(
    mem_file_name: str | os.PathLike[str], np_array: NDArray[Any], *, channels: str | None = None
) -> np.memmap[Any, Any]:
    """Write an array as a memfile, and map it, read-only.

    Neither file is there before it is whole, and a memfile that is being replaced is at no time taken for whole.

    Args:
        mem_file_name: of the numbers; ``.conf`` is written beside it.
        np_array: of numbers or truth values, of any shape. A mapped one is written piece by piece.
        channels: ``"rgb"`` or ``"bgr"``, to be noted.

    Raises:
        DatasetError: the disk is full or read-only.
        ValueError: an array of anything else, or without elements.
    """
    array = np_array if isinstance(np_array, np.ndarray) else np.asarray(np_array)
    if array.dtype.kind not in "biufc" or not array.size:
        raise ValueError(f"a memfile holds numbers, not {array.dtype} of shape {array.shape}")
    write_memfile(mem_file_name, Conf(array.shape, array.dtype, channels), _blocks(array))
    return read_memmap(mem_file_name)


def write_memfile(filename: str | os.PathLike[str], conf: Conf, blocks: Iterable[NDArray[Any]]) -> None:
    """Write a memfile block by block; see :func:`make_memmap`.

    Args:
        filename: of the numbers.
        conf: of the whole.
        blocks: arrays that are the whole, one behind the other; of its dtype.

    Raises:
        DatasetError: the disk is full or read-only.
    """
    if conf.channels not in (None, *_CHANNELS):
        raise ValueError(f'channels is "rgb" or "bgr", not {conf.channels!r}')
    path = local_path(filename, "memfile").absolute()
    store = LocalStore(str(path.parent))
    written = 0
    with store.write(path.name) as file:
        for block in blocks:
            if block.dtype != conf.dtype:
                raise ValueError(f"a block is of {block.dtype}, the memfile of {conf.dtype}")
            written += file.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
        if written != conf.nbytes:
            raise ValueError(f"{written:,} bytes came for a memfile of {conf.nbytes:,}")
        file.flush()
        os.fsync(file.fileno())  # here, so that it is for a moment only that there is
        store.remove(f"{path.name}.conf")  # no conf, and so no memfile, until the numbers are new
    said: dict[str, Any] = {"shape": list(conf.shape), "dtype": str(conf.dtype)}
    if conf.channels:
        said["channels"] = conf.channels
    if conf.sets:
        said["sets"] = conf.sets
    store.put(f"{path.name}.conf", json.dumps(said).encode())


def _blocks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    rows = array.reshape(1) if array.ndim == 0 else array
    step = max(1, BLOCK // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]
