"""Sums of identities' runs, which tell whether the bytes of a part of a shard came as they were written.

``checksums.npy`` beside the index: uint32 ``[n]``, the crc32 of each row's bytes. The sha256 of the manifest are of
whole shards, which a stream does not read in one piece.
"""

from __future__ import annotations

import io
import zlib

import numpy as np
from numpy.typing import NDArray

CHECKSUMS = "checksums.npy"

Sums = NDArray[np.uint32]


def checksum(data: bytes | memoryview, before: int = 0) -> int:
    """The crc32 of a run, or of its next part, going on with the sum of what came *before*."""
    return zlib.crc32(data, before)


def dump_checksums(sums: list[int]) -> bytes:
    """The content of ``checksums.npy``."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.array(sums, "<u4"), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def load_checksums(data: bytes, rows: int) -> Sums:
    """What ``checksums.npy`` says.

    Raises:
        ValueError: it is not of an index of so many rows.
    """
    sums: Sums = np.load(io.BytesIO(data), allow_pickle=False)
    if sums.dtype != np.dtype("<u4") or sums.shape != (rows,):
        raise ValueError(f"{CHECKSUMS} has {sums.shape} of {sums.dtype}")
    return sums


class Checks:
    """Which bytes of shards are right.

    Args:
        rows: of the index, :data:`~wds_face.shards.index.IDENTITY` ``[n]``.
        sums: of each.
    """

    def __init__(self, rows: NDArray[np.void], sums: Sums) -> None:
        self._rows, self._sums = rows, sums
        self._first = np.searchsorted(rows["shard"], np.arange(int(rows["shard"].max(initial=-1)) + 2))

    def right(self, shard: int, start: int, data: bytes | memoryview) -> bool:
        """Whether all runs that lie in *data*, the bytes of a shard from *start* on, have their sums."""
        begin, end = int(self._first[shard]), int(self._first[shard + 1])
        first, last = begin + np.searchsorted(self._rows["offset"][begin:end], [start, start + len(data)])
        rows, view = self._rows[first:last], memoryview(data)
        begins = (rows["offset"] - start).tolist()
        runs = zip(begins, rows["nbytes"].tolist(), self._sums[first:last].tolist(), strict=True)
        return all(checksum(view[at : at + nbytes]) == sum_ for at, nbytes, sum_ in runs if at + nbytes <= len(data))
