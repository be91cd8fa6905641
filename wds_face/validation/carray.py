"""Arrays that bcolz wrote, without bcolz, whose last release no longer builds.

A folder with ``meta/sizes`` and ``meta/storage``, both JSON, and ``data/__<i>.blp``: a head of 16 bytes (``blpk``, a
version, the number of chunks, which is 1) and a chunk of Blosc 1 of ``chunklen`` rows, the last one of what is left.
(bcolz, DISK_FORMAT.rst.)
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wds_face.errors import SourceError, WdsFaceError
from wds_face.transforms.forms import F32
from wds_face.validation.images import Images, floats

_HEAD = 16


class Carray(Images):
    """See :class:`~wds_face.validation.images.Images`. Those of a carray, which are BGR where AdaFace's code wrote it.

    Args:
        folder: of the carray.

    Raises:
        SourceError: it is none, or a file of it is not there.
        WdsFaceError: numcodecs is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from numcodecs.blosc import decompress  # noqa: PLC0415 (optional)
        except ImportError:
            raise WdsFaceError(
                f"{os.fspath(folder)} was compressed by bcolz, and numcodecs is not installed: "
                "pip install 'wds-face[carray]'"
            ) from None
        self.path = Path(folder)
        try:
            shape = json.loads((self.path / "meta" / "sizes").read_bytes())["shape"]
            storage = json.loads((self.path / "meta" / "storage").read_bytes())
            self._dtype, self._rows = np.dtype(storage["dtype"]), int(storage["chunklen"])
            if self._dtype not in (np.uint8, np.float32, np.float64) or self._rows < 1:
                raise ValueError
            shape = tuple(int(n) for n in shape)
        except (OSError, ValueError, KeyError, TypeError):
            raise SourceError(f"{self.path} is not a carray of images: copy it again") from None
        super().__init__(shape, "bgr")
        self._decompress = decompress
        self._last: tuple[int, NDArray[Any]] | None = None

    def _chunk(self, number: int) -> NDArray[Any]:
        """A chunk; the last one is kept, for the next image is in it."""
        if self._last is None or self._last[0] != number:
            self._last = number, self._read(number)
        return self._last[1]

    def _read(self, number: int) -> NDArray[Any]:
        file = self.path / "data" / f"__{number}.blp"
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            raise SourceError(f"{file} is missing: copy {self.path} again") from None
        rows = (min(self._rows, len(self) - number * self._rows), *self.shape[1:])
        nbytes = math.prod(rows) * self._dtype.itemsize
        # a chunk says how much comes out of it, in bytes 4 to 8 of its own head
        if data[:4] != b"blpk" or int.from_bytes(data[_HEAD + 4 : _HEAD + 8], "little") != nbytes:
            raise SourceError(f"{file} is not a chunk of {rows} {self._dtype}: copy {self.path} again")
        try:
            return np.frombuffer(self._decompress(data[_HEAD:]), self._dtype).reshape(rows)
        except (RuntimeError, ValueError):
            raise SourceError(f"{file} is damaged: copy {self.path} again") from None

    def read(self, start: int, stop: int) -> F32:
        """See :meth:`Images.read`.

        Raises:
            SourceError: a file is missing or damaged.
        """
        stop = min(stop, len(self))
        found = [np.empty((0, *self.shape[1:]), np.float32)]
        while start < stop:
            number, row = divmod(start, self._rows)
            part = self._chunk(number)[row : row + stop - start]
            found.append(floats(part))
            start += len(part)
        return np.concatenate(found)
