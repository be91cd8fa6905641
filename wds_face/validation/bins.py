"""InsightFace's ``.bin`` files: a pickle of encoded images, two by two, and which pairs are of one person."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wds_face import git_lfs
from wds_face.decoding import decode
from wds_face.errors import SourceError
from wds_face.images import Buffer
from wds_face.location import local_path
from wds_face.transforms.forms import F32, U8
from wds_face.transforms.resize import resize
from wds_face.validation.images import Images, floats
from wds_face.validation.unpickle import unpickle

# Beginning of a pickle of images and pairs: protocol and frame, then a list, or the mark of one.
_PICKLED_SET = re.compile(rb"(?:\x80[\x00-\x05])?(?:\x95.{8})?[\](]", re.DOTALL)

# Beginning of a file that was not copied: an empty file, a Git LFS pointer or an error page.
_INSTEAD_OF_A_FILE = re.compile(rb"\Z|version https://git-lfs|\s*<(?:!DOCTYPE|html|\?xml)", re.IGNORECASE)


class NotASetError(SourceError):
    """A ``.bin`` file is not a set of pairs, but for example mxnet's ``mean.bin`` or the weights of a network."""


def is_foreign(path: str | os.PathLike[str]) -> bool:
    """Return whether a ``.bin`` file is not a set of pairs, judging by its first bytes.

    An empty file, a Git LFS pointer and an error page take the place of a set that was not copied: they are not
    foreign.
    """
    with open(path, "rb") as file:
        head = file.read(64)
    return not _PICKLED_SET.match(head) and not _INSTEAD_OF_A_FILE.match(head)


class Encoded(Images):
    """See :class:`~wds_face.validation.images.Images`. Those of encoded files, decoded when they are asked for.

    Args:
        files: the bytes of each.
        what: whose they are, for messages.
        image_size: images of another size are resized to this.
        channels: ``"rgb"`` or ``"bgr"``, the order in which they come.
    """

    def __init__(self, files: Sequence[Buffer], what: str, image_size: int = 112, channels: str = "rgb") -> None:
        if channels not in ("rgb", "bgr"):
            raise ValueError(f'channels is "rgb" or "bgr", not {channels!r}')
        super().__init__((len(files), 3, image_size, image_size), channels)
        self._files, self._what = files, what

    def pixels(self, start: int, stop: int) -> U8:
        """See :meth:`Images.pixels`.

        Raises:
            SourceError: an image cannot be decoded.
        """
        size = self.shape[2]
        out = np.empty((max(0, min(stop, len(self)) - start), *self.shape[1:]), np.uint8)
        for row, number in zip(out, range(start, stop), strict=False):
            image = decode(self._files[number])
            if image is None:
                raise SourceError(f"{self._what}: image {number} (of pair {number // 2}) cannot be decoded")
            if image.shape[:2] != (size, size):
                image = resize(image, size, size)
            row[:] = image.transpose(2, 0, 1)[:: -1 if self.channels == "bgr" else 1]
        return out

    def read(self, start: int, stop: int) -> F32:
        """See :meth:`Images.read`."""
        return floats(self.pixels(start, stop))


class Bin(Encoded):
    """See :class:`Encoded`. Those of a ``.bin``; the encoded images are kept in memory.

    Args:
        path: of the file.
        image_size: images of another size are resized to this.
        channels: ``"rgb"`` or ``"bgr"``, the order in which they come.

    Attributes:
        issame: bool ``[n]``, for images 2 i and 2 i + 1.

    Raises:
        NotASetError: The file is not a set of pairs.
        SourceError: The file is not a complete pickle of images and pairs, or their numbers do not match.
    """

    def __init__(self, path: str | os.PathLike[str], image_size: int = 112, channels: str = "rgb") -> None:
        self.path = local_path(path, "path")
        try:
            if git_lfs.is_pointer_file(self.path):
                raise SourceError(f"{self.path}: {git_lfs.REASON}")
            with self.path.open("rb") as file:
                found = unpickle(file)
        except (FileNotFoundError, IsADirectoryError):
            raise SourceError(f"there is no file {self.path}") from None
        if not isinstance(found, list) or len(found) != 2 or not isinstance(found[0], list):
            raise NotASetError(f"{self.path} is not a list of images and which pairs are the same, as a .bin is")
        files = [self._bytes(number, data) for number, data in enumerate(found[0])]
        self.issame = pairs(found[1], str(self.path))
        if len(files) != 2 * len(self.issame):
            raise SourceError(f"{self.path} has {len(files):,} images for {len(self.issame):,} pairs: it is damaged")
        super().__init__(files, str(self.path), image_size, channels)

    def _bytes(self, number: int, data: Any) -> Buffer:
        if isinstance(data, np.ndarray) and data.dtype == np.uint8:  # of cv2.imencode, [n] or [n, 1]
            return data.tobytes()
        if not isinstance(data, bytes):
            raise SourceError(f"{self.path}: image {number} is {type(data).__name__}, not the bytes of a file")
        return data


def load_bin(
    path: str | os.PathLike[str], image_size: int = 112, *, channels: Literal["rgb", "bgr"] = "rgb"
) -> tuple[U8, NDArray[np.bool_]]:
    """The images of InsightFace's ``.bin``, and which pairs of neighbours are of one person.

    The file is a pickle of ``(bins, issame)``, from Python 2 or 3; bins are encoded images, as bytes or uint8 arrays
    of ``cv2.imencode``. It is read without running anything in it; see :mod:`wds_face.validation.unpickle`.

    Args:
        path: of the file.
        image_size: images of another size are resized to this.
        channels: in which order.

    Returns:
        uint8 ``[2 n, 3, image_size, image_size]`` and bool ``[n]``.

    Raises:
        SourceError: it is not such a file, or an image of it cannot be decoded; the message says which.
    """
    images = Bin(path, image_size, channels)
    return images.pixels(0, len(images)), images.issame


def pairs(given: Any, what: str) -> NDArray[np.bool_]:
    """Which pairs are of one person, from a list or array of truth values, or of 0 and 1: bool ``[n]``.

    Raises:
        SourceError: it is anything else.
    """
    if isinstance(given, (list, tuple)):  # flat, or of rows of one: anything else might be made of itself
        items = [item[0] if isinstance(item, (list, tuple)) and len(item) == 1 else item for item in given]
        given = items if all(isinstance(item, (bool, int, float, np.generic)) for item in items) else ()
    elif not hasattr(given, "__array__"):
        given = ()
    array = np.asarray(given)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1 or array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all() or not len(array):
        raise SourceError(f"{what} does not say of each pair whether it is of one person, by True and False")
    return array.astype(bool)
