"""A system in a process of its own, which makes one measured run after another when it is told to.

The process imports what its system needs and opens the data once, and lives as long as the benchmark. A line of JSON on
its standard input is a run, a line on its standard output the result.

A run: iter() until the first batch (``first``, seconds; worker processes start in it), batches that are thrown away
until every worker had its turn four times, and from then on what comes within *seconds*: whole turns of the workers, so
that it does not matter which of them is in front. Where an epoch ends before that, the clocks stand still from its last
batch until those of the next that are thrown away are through: what beginning costs is ``first``. Then the iterator is
deleted, and the result is not sent before every worker has ended.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any

from loading import processes
from loading.child import Settings


def epochs(loader: Any) -> Iterator[Iterable[Any]]:
    """One after another."""
    for number in count():
        if hasattr(loader, "set_epoch"):
            loader.set_epoch(number)
        yield loader


def measure(
    coming: Iterator[Iterable[Any]], check: Callable[[Any], None], workers: int, seconds: float
) -> dict[str, float]:
    """A run, over as many epochs as it takes."""
    found = {"first": 0.0, "images": 0, "seconds": 0.0, "processor": 0.0, "memory": 0, "epochs": 0}
    while found["seconds"] < seconds:
        begin = time.perf_counter()
        batches = iter(next(coming))
        for number in range(4 * workers):
            batch = next(batches, None)
            if batch is None:
                raise RuntimeError(f"an epoch has no more than {number} batches: more --images are needed")
            if number == 0 and not found["epochs"]:
                found["first"] = time.perf_counter() - begin
                check(batch)
        del batch  # or its memory would be taken as long as the window lasts
        window(batches, found, workers, seconds)
        found["epochs"] += 1
    return found


def window(batches: Iterator[Any], found: dict[str, float], workers: int, seconds: float) -> None:
    """Count until the seconds are over, or the epoch."""
    pid = os.getpid()
    team = processes.workers(pid) or [pid]
    busy, begin = processes.processor(pid), time.perf_counter()
    images, look, done, before = 0, begin, (0, begin), found["seconds"]
    for number, batch in enumerate(batches, 1):
        images += touch(batch)
        end = time.perf_counter()
        if end > look:
            found["memory"] = max(found["memory"], *map(processes.memory, team))
            look = end + 0.2
        if number % workers == 0:
            done = images, end
            if before + end - begin >= seconds:
                break
    if not done[0]:
        raise RuntimeError("an epoch is too short to measure: more --images are needed")
    found["images"] += done[0]
    found["seconds"] += done[1] - begin
    found["processor"] += processes.processor(pid) - busy


def touch(batch: Any) -> int:
    """Look at a batch as little as can be; how many images it has."""
    if isinstance(batch, int):
        return batch
    for part in batch:
        part[(0,) * part.ndim].item()  # whatever its memory format; reshape would copy some
    return len(batch[0])


def settled(pid: int) -> None:
    """Wait until the workers are gone."""
    gc.collect()
    deadline = time.monotonic() + 60
    while left := processes.workers(pid):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(left)} workers do not end")
        time.sleep(0.02)


def serve(name: str) -> None:
    """The process: settings first, then runs."""
    from loading.systems import SYSTEMS, check

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what others print is none

    def answer(value: dict[str, Any]) -> None:
        print(json.dumps(value), file=answers, flush=True)

    system = SYSTEMS[name]
    multiprocessing.set_start_method("fork")  # torch's default on Linux, before Python 3.14
    try:
        settings = Settings(**json.loads(sys.stdin.readline()))
        coming = epochs(system.make(settings))
        answer({})
        for line in sys.stdin:
            found = measure(coming, lambda batch: check(system, batch), settings.workers, json.loads(line)["seconds"])
            settled(os.getpid())
            answer(found)
    except Exception as error:
        traceback.print_exc()
        answer({"error": f"{type(error).__name__}: {error}".splitlines()[0]})


if __name__ == "__main__":
    serve(sys.argv[1])
