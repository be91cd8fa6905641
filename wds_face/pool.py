"""Independent tasks on worker processes, or on any executor that the caller brings."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import loky

from wds_face.errors import WdsFaceError

_WORTH = 16 << 20  # bytes that are worth another worker process

T = TypeVar("T")
R = TypeVar("R")


def cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def size(asked: int | None, nbytes: int) -> int:
    """How many workers to use: what was asked for, or one per processor while each has enough to do.

    Args:
        asked: what the user said, None for nothing.
        nbytes: that have to be read; a worker takes longer to start than to read a few MB.
    """
    return min(cpus(), 1 + nbytes // _WORTH) if asked is None else asked


def run(
    function: Callable[[T], R], tasks: Iterable[T], *, workers: int = 1, executor: Executor | None = None
) -> Iterator[tuple[T, R]]:
    """(task, result) in the order in which they are done. After an error no further task is begun.

    Args:
        function: importable by name, since it is sent to other processes.
        tasks: independent, and pickled unless there is one worker.
        workers: processes; with 1 the tasks run here.
        executor: any ``concurrent.futures`` executor (of dask, ray, MPI, SLURM, …) to use instead.

    Raises:
        WdsFaceError: a worker died.
        Exception: whatever a task raised.
    """
    tasks = list(tasks)
    if executor is None and min(workers, len(tasks)) <= 1:
        yield from ((task, function(task)) for task in tasks)
    elif executor is not None:
        yield from _on(executor, function, tasks)
    else:
        # loky starts fresh processes: fork would inherit the locks of the caller's threads (torch, fsspec), and
        # multiprocessing's other ways run the user's script once more in every worker.
        count = min(workers, len(tasks))
        with loky.ProcessPoolExecutor(count, initializer=_worker, initargs=(os.getpid(),)) as processes:
            yield from _on(processes, function, tasks)


def _on(executor: Executor, function: Callable[[T], R], tasks: list[T]) -> Iterator[tuple[T, R]]:
    futures = {executor.submit(function, task): task for task in tasks}
    try:
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    except BrokenProcessPool:
        raise WdsFaceError(
            "a worker process died, killed or out of memory: run the same command again to continue, "
            "with fewer --workers if memory was short"
        ) from None
    finally:
        for future in futures:
            future.cancel()


def _worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, and never outlive it: an orphan would go on writing beside its successor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)
