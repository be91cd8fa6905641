"""Independent tasks on worker processes, or on any executor that the caller brings."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from typing import TypeVar

import loky

from wds_face.errors import WdsFaceError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h

T = TypeVar("T")
R = TypeVar("R")


def cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """A number of processes, started when there is more than one task for them, and ended with the ``with`` block.

    Args:
        count: processes; with 1 the tasks run in this one. None for one per processor.
        executor: any ``concurrent.futures`` executor (of dask, ray, MPI, SLURM, …) to use instead; it is not ended.
    """

    def __init__(self, count: int | None = 1, executor: Executor | None = None) -> None:
        self.count = cpus() if count is None else count
        self._given = executor
        self._own: Executor | None = None

    def run(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R]]:
        """(task, result) in the order in which they are done. After an error no further task is begun.

        Args:
            function: importable by name, since it is sent to other processes.
            tasks: independent; pickled unless they run here.

        Raises:
            WdsFaceError: a worker died.
            Exception: whatever a task raised.
        """
        tasks = list(tasks)
        executor = self._executor(len(tasks))
        if executor is None:
            yield from ((task, function(task)) for task in tasks)
            return
        futures = {executor.submit(function, task): task for task in tasks}
        with _cancelling(futures):
            for future in as_completed(futures):
                yield futures.pop(future), future.result()

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Results in the order of the tasks; otherwise as :meth:`run`."""
        tasks = list(tasks)
        executor = self._executor(len(tasks))
        if executor is None:
            yield from map(function, tasks)
            return
        futures = [executor.submit(function, task) for task in tasks]
        with _cancelling(futures):
            for future in futures:
                yield future.result()

    def _executor(self, tasks: int) -> Executor | None:
        if self._given is not None:
            return self._given
        if self._own is None and min(self.count, tasks) > 1:
            start = partial(_worker, os.getpid())
            # A fork starts at once, but it inherits the locks of other threads (torch's, fsspec's) as they are at
            # that moment. Where there are any, loky starts fresh processes; multiprocessing's own other ways would
            # run the user's script once more in each.
            if sys.platform == "linux" and threading.active_count() == 1:
                self._own = ProcessPoolExecutor(self.count, multiprocessing.get_context("fork"), start)
            else:
                self._own = loky.ProcessPoolExecutor(self.count, initializer=start)
        return self._own

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._own is not None:
            self._own.shutdown()


class _cancelling:  # noqa: N801 (a context manager, named like contextlib's)
    """Cancel what is left of the futures when the block ends, and say it plainly when a worker died."""

    def __init__(self, futures: Iterable[Future[R]]) -> None:
        self._futures = futures

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        for future in self._futures:
            future.cancel()
        if isinstance(error, BrokenProcessPool):
            raise WdsFaceError(
                "a worker process died, killed or out of memory: run the same command again to continue, "
                "with fewer --workers if memory was short"
            ) from None


def _worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, and never outlive it: an orphan would go on writing beside its successor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    gc.freeze()  # what was inherited need not be looked through for garbage
    _keep_memory()


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)


def _keep_memory() -> None:
    """Have the allocator keep up to 32 MB that is freed, where it is glibc's.

    By default it hands a chunk of images back to the system and takes it anew for the next one, page by page: a
    quarter of the time that writing a shard takes.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            mallopt(parameter, 32 << 20)
