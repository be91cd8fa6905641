"""Bytes of shards, where they are not local: fetched ahead by threads, checked, and kept on a local disk if wanted."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Event, Lock, Thread
from weakref import finalize

from wds_face.errors import DatasetError
from wds_face.shards.checksums import Checks
from wds_face.shards.index import Shard
from wds_face.storage.cache import Cache
from wds_face.storage.fetch import Fetch, StoppedError
from wds_face.storage.reading import Stamp
from wds_face.storage.remote import RemoteStore

# Bytes that are not what the index says are fetched again; so often they are what the store holds.
_WRONG = 8

Span = tuple[int, int, int]
_Queue = SimpleQueue["tuple[Future[memoryview], Callable[[], memoryview]] | None"]


class FetchedRanges:
    """See :class:`~wds_face.stream.ranges.Ranges`.

    Args:
        store: where the shards lie.
        shards: of the index.
        checks: of the bytes, if the index has any.
        cache: where they are kept.
    """

    copied = True
    depth = 1000

    def __init__(self, store: RemoteStore, shards: list[Shard], checks: Checks | None, cache: Cache | None) -> None:
        self._store, self._shards, self._checks, self._cache = store, shards, checks, cache
        self._counts: Counter[str] = Counter()
        self._threads = _Threads(store.requests)
        self._stop = Event()
        self._coming: dict[Span, Future[memoryview]] = {}
        self._stamps: dict[tuple[int, str], Stamp] = {}
        self._seen: set[Span] = set()
        self._lock = Lock()

    def check(self, shards: Collection[int]) -> None:
        """See :meth:`Ranges.check`: each answer tells its version."""

    def ahead(self, shard: int, start: int, end: int) -> None:
        """See :meth:`Ranges.ahead`."""
        span = shard, start, end
        if span not in self._coming:
            stop = self._stop
            self._coming[span] = self._threads.submit(lambda: self._get(span, stop))

    def forget(self) -> None:
        """See :meth:`Ranges.forget`."""
        self._stop.set()
        self._stop = Event()
        self._coming.clear()

    def counts(self) -> dict[str, int]:
        """See :meth:`Ranges.counts`."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return counts

    def read(self, shard: int, start: int, end: int) -> memoryview:
        """See :meth:`Ranges.read`."""
        self.ahead(shard, start, end)
        return self._coming.pop((shard, start, end)).result()

    def _get(self, span: Span, stop: Event) -> memoryview:
        if stop.is_set():
            raise StoppedError
        if self._cache is None:
            return self._fetch(span, stop)
        shard, start, end = span
        one, begin = self._shards[shard], time.monotonic()
        made: list[memoryview] = []

        def make() -> memoryview:
            made.append(self._fetch(span, stop, begin))
            return made[0]

        def wait(seconds: float) -> None:
            if stop.wait(seconds):
                raise StoppedError

        # the version is what the index says of its content: each server would say something else, and some nothing
        found = self._cache.fetch(Cache.key(f"{self._store}/{one.name}", one.sha256, start, end), make, wait)
        if not made:
            self._count(bytes_cached=len(found))
        return found

    def _fetch(self, span: Span, stop: Event, since: float | None = None) -> memoryview:
        """Bytes of a shard that are what the index says.

        Args:
            span: which.
            stop: set when nobody wants them any more.
            since: when waiting for them began, if it was not now.
        """
        shard, start, end = span
        name, nbytes = self._shards[shard].name, self._shards[shard].nbytes
        what = f"{self._store}/{name}"
        fetch = Fetch(self._store.patience, stop, since=since)
        try:
            for _ in range(_WRONG):
                found = self._store.fetch(name, start, end, fetch)
                fetch.since = None
                self._same(shard, found.stamp)
                if found.size != nbytes:
                    raise DatasetError(f"{what} has {found.size} bytes, the index says {nbytes}: run `wds-face verify`")
                again = len(found.data) if span in self._seen else 0
                self._count(bytes_fetched=len(found.data), bytes_fetched_again=again)
                self._seen.add(span)
                if self._checks is None or self._checks.right(shard, start, found.data):
                    return found.data
                fetch.tally.retries += 1
        except FileNotFoundError:
            raise DatasetError(f"{what} is missing: run `wds-face verify`") from None
        finally:
            self._count(requests=fetch.tally.requests, retries=fetch.tally.retries)
        raise DatasetError(
            f"{what}: bytes {start} to {end} are not what the index says, {_WRONG} times: run `wds-face verify`"
        )

    def _same(self, shard: int, stamp: Stamp) -> None:
        """A shard must stay the same for as long as it is read."""
        if self._stamps.setdefault((shard, stamp.way), stamp) != stamp:
            raise DatasetError(
                f"{self._store}/{self._shards[shard].name} was replaced while it was read: once the data set is "
                "complete, make the stream anew and resume"
            )

    def _count(self, **counts: int) -> None:
        with self._lock:
            self._counts.update(counts)


class _Threads:
    """Threads that do not keep the process from ending, as those of an executor do: a server may be silent for long.

    They end when nobody has this object any more.
    """

    def __init__(self, most: int) -> None:
        self._most, self._started = most, 0
        self._queue: _Queue = SimpleQueue()
        finalize(self, _end, self._queue, os.getpid()).atexit = False

    def submit(self, task: Callable[[], memoryview]) -> Future[memoryview]:
        future: Future[memoryview] = Future()
        self._queue.put((future, task))
        if self._started < self._most:
            self._started += 1
            name = f"wds_face fetch {self._started}"
            Thread(target=_work, args=(self._queue,), name=name, daemon=True).start()
        return future


def _work(queue: _Queue) -> None:
    while (asked := queue.get()) is not None:
        future, task = asked
        try:
            future.set_result(task())
        except BaseException as error:
            future.set_exception(error)
        del future, task, asked  # or the bytes stay until the next ones come
    queue.put(None)  # for the next thread


def _end(queue: _Queue, pid: int) -> None:
    if pid == os.getpid():  # a fork has the queue, but not the threads
        queue.put(None)
