"""Reading records by key, by position and in order."""

from __future__ import annotations

import mmap
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wds_face import git_lfs
from wds_face.errors import RecordError
from wds_face.location import local_path
from wds_face.recordio.format import MAGIC, MAGIC_BYTES, MAX_LENGTH, PART, unpack

#: What :meth:`RecordReader.headers` tells of a record: where it begins and ends in the file, the bytes that follow
#: its header and labels, its ``flag`` and its first label. ``ok`` is False for what cannot be read.
HEADERS = np.dtype(
    [("offset", "<i8"), ("end", "<i8"), ("nbytes", "<i8"), ("flag", "<u4"), ("label", "<f4"), ("ok", "?")]
)

_MISSING = -(1 << 63)  # no offset
_CHUNK = 1 << 18  # records whose headers are gathered at once: 18 MB


class RecordReader:
    """Random access by key and sequential scan of a ``.rec`` file, memory-mapped.

    Args:
        rec: the record file.
        idx: its index; by default the ``.idx`` of the same name where there is one. Without any, records are numbered
            from 0 in the order of the file, as mxnet's ``rec2idx`` does.

    Views that were handed out stay valid after :meth:`close`. A reader can be pickled: it is opened again by path.

    Raises:
        RecordError: a file cannot be read, is a Git LFS pointer, or is not an index.
    """

    def __init__(self, rec: str | os.PathLike[str], idx: str | os.PathLike[str] | None = None) -> None:
        self.path = local_path(rec, "rec")
        beside = self.path.with_suffix(".idx")
        self.idx = local_path(idx, "idx") if idx is not None else beside if beside.is_file() else None
        try:
            with self.path.open("rb") as file:
                self.nbytes = os.fstat(file.fileno()).st_size
                # an empty file cannot be mapped
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.nbytes else b""
        except OSError as error:
            raise RecordError(f"{self.path}: cannot be read ({error.strerror})") from None
        self._view = memoryview(self._map)
        if git_lfs.is_pointer(self._view):
            raise RecordError(f"{self.path}: {git_lfs.REASON}")

    # --- by key

    @cached_property
    def _table(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self.idx is None:
            offsets = np.fromiter((offset for offset, _ in self.scan()), np.int64)
            return np.arange(len(offsets)), offsets
        return read_idx(self.idx)

    @property
    def keys(self) -> NDArray[np.int64]:
        """Keys in the order of the index, int64 ``[n]``."""
        return self._table[0]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Byte offsets of the records of :attr:`keys`, int64 ``[n]``."""
        return self._table[1]

    @cached_property
    def _by_key(self) -> Any:
        """A mapping key -> offset: a flat table where keys are nearly dense, as they always are in practice."""
        keys, offsets = self._table
        if len(keys) and keys.min() >= 0 and keys.max() < 4 * len(keys) + 1024:
            dense = np.full(int(keys.max()) + 1, _MISSING, np.int64)
            dense[keys] = offsets  # of equal keys the last wins, as in mxnet
            return memoryview(dense.data)  # a memoryview hands out Python ints, several times faster than numpy
        return dict(zip(keys.tolist(), offsets.tolist(), strict=True))

    def __len__(self) -> int:
        return len(self._table[0])

    def read(self, key: int) -> memoryview:
        """The record of a key, header included.

        Raises:
            KeyError: the index has no such key.
            RecordError: the record is broken; the message names the file and the byte.
        """
        try:
            offset = self._by_key[key] if key >= 0 or isinstance(self._by_key, dict) else _MISSING
        except (IndexError, KeyError):
            offset = _MISSING
        if offset == _MISSING:
            raise KeyError(key)
        return self.at(offset)

    # --- by position

    def at(self, offset: int) -> memoryview:
        """The record that begins at a byte offset; a view of the file unless it has several parts."""
        try:
            magic, word = PART.unpack_from(self._view, offset)
        except struct.error:
            magic, word = 0, 0
        end = offset + 8 + word
        if magic == MAGIC and word <= MAX_LENGTH and end <= self.nbytes and offset >= 0 and offset & 3 == 0:
            return self._view[offset + 8 : end]
        return self._parts(offset)[0]

    def scan(self, start: int = 0) -> Iterator[tuple[int, memoryview]]:
        """(offset, record) in the order of the file, without the index.

        Raises:
            RecordError: where the file breaks its format, after everything before it was yielded.
        """
        while start < self.nbytes:
            record, end = self._parts(start)
            yield start, record
            start = end

    def resync(self, offset: int) -> int:
        """The next offset above ``offset`` at which a record begins, or the file's length.

        The format guarantees that the magic number stands 4-aligned only at the start of a part.
        """
        position = max(offset + 1, 0)
        while True:
            position = self._map.find(MAGIC_BYTES, position)
            if position < 0 or position + 8 > self.nbytes:
                return self.nbytes
            if position % 4 == 0 and PART.unpack_from(self._view, position)[1] >> 29 in (0, 1):
                return position
            position += 1

    def headers(self, offsets: ArrayLike) -> NDArray[Any]:
        """Headers of many records at once, :data:`HEADERS` ``[n]``; nothing is decoded or copied but the headers."""
        at = np.asarray(offsets, dtype=np.int64)
        table = np.zeros(len(at), HEADERS)
        table["offset"] = at
        for begin in range(0, len(at), _CHUNK):
            self._gather(table[begin : begin + _CHUNK])
        return table

    def _gather(self, table: NDArray[Any]) -> None:
        file = np.frombuffer(self._view, "<u4", self.nbytes // 4)
        first = table["offset"] // 4
        inside = (table["offset"] >= 0) & (table["offset"] % 4 == 0) & (first + 8 <= len(file))
        words = np.zeros((len(table), 9), "<u4")
        reach = np.minimum(first[inside, None] + np.arange(9), len(file) - 1)
        words[inside] = file[reach]
        length = words[:, 1].astype(np.int64)
        flag = words[:, 2].astype(np.int64)
        table["flag"] = words[:, 2]
        table["label"] = np.where(flag > 0, words[:, 8], words[:, 3]).view("<f4")
        table["nbytes"] = length - 24 - 4 * flag
        table["end"] = np.minimum(table["offset"] + 8 + (length + 3) // 4 * 4, self.nbytes)
        fast = inside & (words[:, 0] == MAGIC) & (length <= MAX_LENGTH)
        table["ok"] = fast & (table["nbytes"] >= 0) & (table["offset"] + 8 + length <= self.nbytes)
        for row in np.flatnonzero(~table["ok"]):
            table[row] = self._slow_header(int(table["offset"][row]))

    def _slow_header(self, offset: int) -> tuple[int, int, int, int, float, bool]:
        """The same for one record of several parts, or a broken one."""
        try:
            record, end = self._parts(offset)
            header, payload = unpack(record)
        except RecordError:
            return offset, offset, 0, 0, 0.0, False
        label = float(header.label[0]) if header.flag else header.label
        return offset, end, len(payload), header.flag, label, True

    def _parts(self, offset: int) -> tuple[memoryview, int]:
        """A record of any number of parts, and the offset behind it."""
        parts: list[memoryview] = []
        position = offset
        if offset % 4:
            raise self._broken(offset, "records begin at multiples of 4")
        while True:
            if position < 0 or position + 8 > self.nbytes:
                raise self._broken(offset, "the file ends inside it")
            magic, word = PART.unpack_from(self._view, position)
            flag, length = word >> 29, word & MAX_LENGTH
            if magic != MAGIC or flag > 3 or (flag in (0, 1)) == bool(parts):
                raise self._broken(offset, f"no part of a record at byte {position}")
            if position + 8 + length > self.nbytes:
                raise self._broken(offset, f"it needs {position + 8 + length - self.nbytes} bytes more than there are")
            parts.append(self._view[position + 8 : position + 8 + length])
            position += 8 + (length + 3) // 4 * 4
            if flag in (0, 3):
                record = parts[0] if flag == 0 else memoryview(MAGIC_BYTES.join(parts))
                return record, min(position, self.nbytes)

    def _broken(self, offset: int, why: str) -> RecordError:
        return RecordError(f"{self.path}: broken record at byte {offset}: {why}", offset)

    # --- life cycle

    def close(self) -> None:
        """Let go of the file. Views that are still in use keep their mapping."""
        self._view = memoryview(b"")
        self.nbytes = 0
        if isinstance(self._map, mmap.mmap):
            with suppress(BufferError):  # a view is alive: the mapping goes with it
                self._map.close()

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[RecordReader], tuple[Path, Path | None]]:
        return type(self), (self.path, self.idx)


def read_idx(path: str | os.PathLike[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys and offsets of an ``.idx`` file, int64 ``[n]`` each, in the order of its lines.

    Raises:
        RecordError: the file cannot be read, or is not lines of two whole numbers.
    """
    try:
        text = local_path(path, "idx").read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from None
    if git_lfs.is_pointer(text):
        raise RecordError(f"{path}: {git_lfs.REASON}")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's way to say that it stopped early
        try:
            numbers = np.fromstring(text.decode("ascii"), np.int64, sep=" ")
        except (DeprecationWarning, ValueError):
            numbers = np.zeros(1, np.int64)
    lines = text.count(b"\n") + (not text.endswith(b"\n") and text != b"")
    if not len(numbers) == 2 * lines == 2 * text.count(b"\t") or (len(numbers) and numbers.max() == 2**63 - 1):
        raise RecordError(f"{path}: not an index: every line must be a key, a tab and an offset")
    return numbers[0::2].copy(), numbers[1::2].copy()
