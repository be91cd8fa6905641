"""Independent tasks on worker processes, or on any executor that the caller brings."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import loky

from wds_face.errors import DatasetError, WdsFaceError
from wds_face.version import __version__

if TYPE_CHECKING:
    from wds_face.storage import Store

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h

# What executors raise when a worker or all of them are lost. By name, since dask and ray need not be installed.
_LOST = {"BrokenExecutor", "CancelledError", "KilledWorker", "CommClosedError", "RayError"}

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
        paths: what is there here must be there for every worker of the executor too.
    """

    def __init__(self, count: int | None = 1, executor: Executor | None = None, *, paths: Sequence[str] = ()) -> None:
        self.count = cpus() if count is None else count
        self._given = executor
        self._paths = paths
        self._own: Executor | None = None

    @classmethod
    def sharing(cls, stores: Sequence[Store], count: int | None, executor: Executor | None) -> Workers:
        """Workers for tasks that read and write these stores.

        Raises:
            DatasetError: a store is the memory of this process, and the executor's workers are others.
        """
        private = next((store for store in stores if not store.shared), None)
        if private is not None and not isinstance(executor, ThreadPoolExecutor | None):
            raise DatasetError(
                f"{private} is memory of this process, which no other worker sees: give a folder or a URL"
            )
        return cls(count if private is None else 1, executor, paths=[store.url for store in stores])

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
        function = self._checked(function)
        futures: dict[Future[R], T] = {}
        with _cancelling(futures):
            for task in tasks:
                futures[executor.submit(function, task)] = task
            for future in as_completed(futures):
                yield futures.pop(future), future.result()

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Results in the order of the tasks; otherwise as :meth:`run`."""
        tasks = list(tasks)
        executor = self._executor(len(tasks))
        if executor is None:
            yield from map(function, tasks)
            return
        function = self._checked(function)
        futures: list[Future[R]] = []
        with _cancelling(futures):
            for task in tasks:
                futures.append(executor.submit(function, task))
            for future in futures:
                yield future.result()

    def everywhere(self, function: Callable[[], object]) -> None:
        """Call a function on every other machine that takes part, where the executor knows them. Errors are ignored.

        Args:
            function: Pickled; for cleaning up.
        """
        call = getattr(self._given, "everywhere", None)
        if call is not None:
            with suppress(Exception):
                call(function)

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

    def _checked(self, function: Callable[[T], R]) -> Callable[[T], R]:
        if self._given is None:
            return function
        return partial(_elsewhere, __version__, [path for path in self._paths if os.path.exists(path)], function)

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
        if _LOST.intersection(base.__name__ for base in type(error).__mro__):
            raise WdsFaceError(
                "a worker died, killed or out of memory, or is out of reach: run the same command again to continue, "
                "with fewer workers or more memory if that was short"
            ) from None
        if isinstance(error, RuntimeError) and "No module named" in f"{error} {error.__cause__}":
            raise WdsFaceError(
                f"a worker cannot import wds_face: install {__version__} for each, and for the scheduler of dask"
            ) from None


def _elsewhere(version: str, paths: list[str], function: Callable[[T], R], task: T) -> R:
    """A task on a machine that may be another one, where a folder that is missing would look like bad images."""
    if version != __version__:
        raise WdsFaceError(f"{socket.gethostname()} has wds-face {__version__}: install {version} for each worker")
    for path in paths:
        if not os.path.exists(path):
            where = f"for the worker on {socket.gethostname()}"
            raise WdsFaceError(f"{path} is not there {where}: give the full path of a folder that all workers share")
    return function(task)


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
