"""What happened and how long it took, counted in every worker and summed where it is asked for."""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import get_worker_info

COUNTS = (
    "batches",  # made, those that wait in a queue included
    "groups_filled",  # groups that came once more, to fill a batch
    "images_replaced",  # images that could not be decoded
    "identities_replaced",  # identities of which none could
    "bytes_fetched",  # from a store that is not local
    "bytes_fetched_again",  # of these, what had been dropped for want of room, or was not what the index says
    "bytes_cached",  # that were in the cache instead
    "requests",  # for these bytes
    "retries",  # of these, for what had failed, stalled, broken off or come wrong
    "batches_taken",  # by the training loop, from a loader
    # That waited in shared memory when it asked for one: by batches_taken, how full the queue is. With pin_memory torch
    # takes them at once, and they wait behind that.
    "batches_ready",
)
TIMES = (
    "read_seconds",  # of the workers: planning, and for bytes that were not there yet
    "decode_seconds",
    "transform_seconds",  # with those of a stage of one's own
    "collate_seconds",  # to tensors
    "idle_seconds",  # nobody wanted a batch yet
    "wait_seconds",  # of the training loop: for a batch
    "train_seconds",  # of the training loop: between one batch and asking for the next
)
_NAMES = {name: place for place, name in enumerate((*COUNTS, *TIMES))}
_WORKERS = 1024
_TOLD = 1 << 20


class Counters:
    """Whole numbers in shared memory, a row for each worker, so that none waits for another."""

    def __init__(self) -> None:
        table = torch.zeros((_WORKERS, len(_NAMES)), dtype=torch.int64, device="cpu")
        self._share(table, torch.zeros(_TOLD, dtype=torch.uint8, device="cpu"))

    def _share(self, table: torch.Tensor, told: torch.Tensor) -> None:
        self._shared = table.share_memory_(), told.share_memory_()  # type: ignore[no-untyped-call]
        self._table, self._told = table.numpy(), told.numpy()
        self._since = time.perf_counter_ns()

    def __getstate__(self) -> Any:
        return self._shared

    def __setstate__(self, state: Any) -> None:
        self._share(*state)

    def first_time(self, what: str) -> bool:
        """Whether no process has asked this before (of a thousand things, one may be taken for another)."""
        slot = zlib.crc32(what.encode("utf-8", "surrogateescape")) % _TOLD
        told = bool(self._told[slot])
        self._told[slot] = 1
        return not told

    def add(self, name: str, count: int = 1) -> None:
        """Count something that this process did; times in nanoseconds."""
        if not count:
            return
        worker = get_worker_info()
        self._table[0 if worker is None else 1 + worker.id % (_WORKERS - 1), _NAMES[name]] += count

    def start(self) -> None:
        """What passed before is for nothing."""
        self._since = time.perf_counter_ns()

    def lap(self, name: str) -> None:
        """What passed in this process since the last lap was for *name*, one of :data:`TIMES`."""
        now = time.perf_counter_ns()
        self.add(name, now - self._since)
        self._since = now

    def totals(self) -> dict[str, int | float]:
        """The sums over all workers, since the stream was made: counts, and times in seconds."""
        sums = dict(zip(_NAMES, self._table.sum(0).tolist(), strict=True))
        return {name: value / 1e9 if name in TIMES else value for name, value in sums.items()}


def told(stats: Mapping[str, int | float], images: int, seconds: float) -> str:
    """One line about an epoch.

    Args:
        stats: what was counted in it, see :meth:`Counters.totals`.
        images: of a batch.
        seconds: that it took.
    """
    taken, train, wait = stats["batches_taken"], stats["train_seconds"], stats["wait_seconds"]
    work = sum(stats[name] for name in TIMES[:5]) or 1
    shares = ", ".join(f"{name.removesuffix('_seconds')} {stats[name] / work:.0%}" for name in TIMES[:5])
    said = [
        f"{taken:,} batches in {seconds:,.1f} s, {taken * images / max(seconds, 1e-9):,.0f} images/s",
        f"the loop waited {wait / (train + wait or 1):.0%} of the time",
        f"workers: {shares}",
    ]
    events = "images_replaced", "identities_replaced", "bytes_fetched", "bytes_fetched_again", "bytes_cached", "retries"
    counted = [f"{name.replace('_', ' ')} {stats[name]:,}" for name in events if stats[name]]
    return "; ".join([*said, ", ".join(counted)] if counted else said)
