"""Run a stream's loader for some seconds, and look at its counters before and after."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, cast

from wds_face.bottleneck.measured import BEGINNING, Measured
from wds_face.bottleneck.processes import own_bytes, used
from wds_face.stream.loader import PKLoader
from wds_face.stream.stages import Read
from wds_face.stream.stream import PKStream

# Batches of each worker before the clock runs, and which part of the seconds at least: queues and memory are then full.
_BATCHES, _WARM = 2, 0.25
# As many seconds at most go by until no more comes from afar than goes out as images.
_PATIENCE = 4


def measure(
    stream: PKStream, num_workers: int, seconds: float = 3.0, *, step: float = 0.0, epoch: int | None = None
) -> Measured:
    """How fast the batches of a stream come on this machine, and what its workers do meanwhile.

    The workers live as long as the call. Epochs follow one another, if they are short; the time between them counts.

    Args:
        stream: what is streamed, with its transforms. Its epoch is another afterwards.
        num_workers: processes; 0 for none.
        seconds: to measure, behind a fourth as much to warm up. Where the store is not local it is up to four times as
            much, until what is mixed has come.
        step: seconds that the loop waits with each batch, as it would for a training step.
        epoch: the first that is streamed; by default the one after the stream's, so that nothing is read again.
    """
    rows = next(stage.rows for stage in stream.pipeline if isinstance(stage, Read))
    image_bytes = int(rows["nbytes"].sum()) / int(rows["images"].sum())
    first = stream.epoch + 1 if epoch is None else epoch
    before = set(multiprocessing.active_children())
    # not stream.loader, which warns of lanes: the verdict tells what to do about them
    loader = PKLoader(stream, batch_size=None, num_workers=num_workers, persistent_workers=num_workers > 0)
    asked, begun = time.perf_counter(), stream.stats()
    with closing(_batches(loader, first)) as batches:
        size = len(next(batches)[0])
        first_seconds = time.perf_counter() - asked
        workers = set(multiprocessing.active_children()) - before
        pids = [worker.pid for worker in workers if worker.pid] if num_workers else [os.getpid()]
        time.sleep(step)
        least, end = max(1, num_workers) * _BATCHES, time.perf_counter() + seconds * _PATIENCE
        while time.perf_counter() < end:
            came = _came(stream.stats())
            taken = _run(batches, seconds * _WARM, least, step)
            if _came(stream.stats()) - came <= BEGINNING * image_bytes * taken * size:
                break
            least = 1
        memory = own_bytes(pids) if num_workers else None
        stats, use, started = stream.stats(), used(pids), time.perf_counter()
        taken = _run(batches, seconds, 1, step)
        passed = time.perf_counter() - started
        stats_after, use_after = stream.stats(), used(pids)
        memory_after = own_bytes(pids) if num_workers else None
    did: dict[str, Any] = {name: stats_after[name] - value for name, value in stats.items()}
    names = ("read", "decode", "transform", "collate", "idle")
    whole = max(passed * max(1, num_workers), sum(did[f"{name}_seconds"] for name in names))
    return Measured(
        num_workers=num_workers,
        images=taken * size,
        seconds=passed,
        first_seconds=first_seconds,
        epoch=first,
        step_seconds=step,
        **{name: did[f"{name}_seconds"] / whole for name in names},
        waits=did["wait_seconds"] / max(1e-9, did["wait_seconds"] + did["train_seconds"]),
        ready=did["batches_ready"] / max(1, did["batches_taken"]),
        **{name: stream.summary(num_workers)[name] for name in ("reading_factor", "bytes_mixed")},
        image_bytes=image_bytes,
        bytes_again=int(did["bytes_fetched_again"]),
        **{name: int(did[name]) for name in ("bytes_fetched", "bytes_cached", "requests", "retries")},
        bytes_before=_came(stats) - _came(begun),
        worker_bytes=None if memory is None or memory_after is None else max(memory, memory_after),
        running=None if use is None or use_after is None else (use_after.running - use.running) / whole,
        queued=None if use is None or use_after is None else (use_after.queued - use.queued) / whole,
        disk_bytes=None if use is None or use_after is None else use_after.disk_bytes - use.disk_bytes,
    )


def _batches(loader: PKLoader, epoch: int) -> Generator[Any, None, None]:
    """Batches of one epoch after the other, for ever."""
    while True:
        loader.set_epoch(epoch)
        with closing(cast("Generator[Any, None, None]", iter(loader))) as batches:
            yield from batches
        epoch += 1


def _came(stats: dict[str, Any]) -> int:
    """Bytes from afar."""
    return int(stats["bytes_fetched"] + stats["bytes_cached"])


def _run(batches: Iterator[Any], seconds: float, least: int, step: float) -> int:
    """Take so many batches, and more until the time is over; how many it were."""
    taken, end = 0, time.perf_counter() + seconds
    while taken < least or time.perf_counter() < end:
        next(batches)
        taken += 1
        if step:
            time.sleep(step)
    return taken
