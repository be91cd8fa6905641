"""Bytes of shards: mapped where they are local, fetched where they are not."""

from __future__ import annotations

import mmap
import os
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from wds_face.errors import DatasetError
from wds_face.shards.checksums import Checks
from wds_face.shards.index import Shard
from wds_face.storage import Store
from wds_face.storage.cache import Cache

# A mapping holds an open file, of which a process may have 1024 or fewer.
_MAPPED = 256


class Ranges(Protocol):
    """Where bytes come from."""

    #: Whether they take memory of this process.
    copied: bool
    #: Batches of which the bytes are asked for ahead, at most.
    depth: int

    def check(self, shards: Collection[int]) -> None:
        """Ask whether shards that are about to be read are still the same.

        Raises:
            DatasetError: one was replaced, cut or removed.
        """

    def ahead(self, shard: int, start: int, end: int) -> None:
        """Say that these bytes are wanted soon. What is asked for ahead is read once, or forgotten."""

    def forget(self) -> None:
        """Nothing of what was asked for ahead is wanted any more."""

    def counts(self) -> dict[str, int]:
        """What was fetched since this was asked last, by the names of :mod:`~wds_face.stream.counters`."""

    def read(self, shard: int, start: int, end: int) -> memoryview:
        """Bytes of a shard.

        Raises:
            DatasetError: they are not there.
        """


def open_ranges(store: Store, shards: list[Shard], checks: Checks | None = None, cache: Cache | None = None) -> Ranges:
    """The shards of a store.

    Args:
        store: where they lie.
        shards: of the index.
        checks: of bytes that are fetched.
        cache: where they are kept.
    """
    if store.local:
        return LocalRanges(store.local, shards)
    from wds_face.storage.remote import RemoteStore  # noqa: PLC0415 (fsspec is slow to import)
    from wds_face.stream.fetched import FetchedRanges  # noqa: PLC0415

    assert isinstance(store, RemoteStore)
    return FetchedRanges(store, shards, checks, cache)


class LocalRanges:
    """See :class:`Ranges`. Nothing is copied; what stays in memory is the operating system's choice.

    A mapped file that is cut short under a reader kills its process, so :meth:`check` asks for the size before each
    batch.
    """

    copied = False
    depth = 4

    def __init__(self, root: Path, shards: list[Shard]) -> None:
        self._shards = shards
        self._paths = [str(root / shard.name) for shard in shards]
        self._maps: OrderedDict[int, mmap.mmap] = OrderedDict()
        self._stamps: dict[int, tuple[int, int, int]] = {}

    def check(self, shards: Collection[int]) -> None:
        """See :meth:`Ranges.check`."""
        for shard in shards:
            if self._stamps.setdefault(shard, stamp := self._stamp(shard)) != stamp:
                raise DatasetError(
                    f"{self._paths[shard]} was replaced while it was read: once the data set is complete, make the "
                    "stream anew and resume"
                )

    def _stamp(self, shard: int) -> tuple[int, int, int]:
        path, nbytes = self._paths[shard], self._shards[shard].nbytes
        try:
            status = os.stat(path)
        except OSError as error:
            raise DatasetError(f"{path} cannot be read ({error.strerror})") from None
        if status.st_size != nbytes:
            raise DatasetError(f"{path} has {status.st_size} bytes, the index says {nbytes}: run `wds-face verify`")
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _mapped(self, shard: int) -> mmap.mmap:
        if shard in self._maps:
            self._maps.move_to_end(shard)
            return self._maps[shard]
        self.check([shard])
        with open(self._paths[shard], "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        while len(self._maps) >= _MAPPED:  # unmapped when the last view of it is gone
            self._maps.popitem(last=False)
        self._maps[shard] = mapped
        return mapped

    def ahead(self, shard: int, start: int, end: int) -> None:
        """See :meth:`Ranges.ahead`: the operating system reads while we decode."""
        if hasattr(mmap, "MADV_WILLNEED"):
            page = start // mmap.PAGESIZE * mmap.PAGESIZE
            self._mapped(shard).madvise(mmap.MADV_WILLNEED, page, end - page)

    def forget(self) -> None:
        """See :meth:`Ranges.forget`."""

    def counts(self) -> dict[str, int]:
        """See :meth:`Ranges.counts`."""
        return {}

    def read(self, shard: int, start: int, end: int) -> memoryview:
        """See :meth:`Ranges.read`."""
        return memoryview(self._mapped(shard))[start:end]
