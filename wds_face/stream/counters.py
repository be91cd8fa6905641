"""What happened, counted in every worker and summed where it is asked for."""

from __future__ import annotations

import zlib

import torch
from torch.utils.data import get_worker_info

NAMES = (
    "batches",  # made, those that wait in a queue included
    "groups_filled",  # groups that came once more, to fill a batch
    "images_replaced",  # images that could not be decoded
    "identities_replaced",  # identities of which none could
    "bytes_fetched",  # from a store that is not local
    "bytes_fetched_again",  # of these, what had been dropped for want of room, or was not what the index says
    "bytes_cached",  # that were in the cache instead
    "requests",  # for these bytes
    "retries",  # of these, for what had failed, stalled, broken off or come wrong
)
_WORKERS = 1024
_TOLD = 1 << 20


class Counters:
    """Whole numbers in shared memory, a row for each worker, so that none waits for another."""

    def __init__(self) -> None:
        self._table = torch.zeros((_WORKERS, len(NAMES)), dtype=torch.int64)
        self._table.share_memory_()  # type: ignore[no-untyped-call]
        self._told = torch.zeros(_TOLD, dtype=torch.uint8)
        self._told.share_memory_()  # type: ignore[no-untyped-call]

    def __setstate__(self, state: dict[str, torch.Tensor]) -> None:
        self.__dict__.update(state)
        self._table.share_memory_()  # type: ignore[no-untyped-call]
        self._told.share_memory_()  # type: ignore[no-untyped-call]

    def first_time(self, what: str) -> bool:
        """Whether no process has asked this before (of a thousand things, one may be taken for another)."""
        slot = zlib.crc32(what.encode("utf-8", "surrogateescape")) % _TOLD
        told = bool(self._told[slot])
        self._told[slot] = 1
        return not told

    def add(self, name: str, count: int = 1) -> None:
        """Count something that this process did."""
        if not count:
            return
        worker = get_worker_info()
        self._table[0 if worker is None else 1 + worker.id % (_WORKERS - 1), NAMES.index(name)] += count

    def totals(self) -> dict[str, int]:
        """The sums over all workers, since the stream was made."""
        return dict(zip(NAMES, self._table.sum(0).tolist(), strict=True))
