"""Where a stream is: the epoch, the batch that it begins at, and whose batches it takes. Workers share it."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed
from torch.utils.data import get_worker_info

from wds_face.transforms.checks import count

_EPOCH, _START, _RANK, _WORLD = range(4)


class Position:
    """Numbers in shared memory, so that workers that persist see them change.

    Args:
        rank, world_size: which batches this process takes; None asks torch.distributed, then the variables RANK and
            WORLD_SIZE, each time that an iteration begins.

    Raises:
        ValueError: only one is given, or they do not fit.
    """

    def __init__(self, rank: int | None, world_size: int | None) -> None:
        if (rank is None) != (world_size is None):
            raise ValueError("give rank and world_size both, or neither")
        if rank is not None and world_size is not None and count("rank", rank, 0) >= count("world_size", world_size):
            raise ValueError(f"rank must be from 0 to world_size - 1, not {rank} of {world_size}")
        self._given = rank is not None
        self._shared = torch.tensor([0, 0, -1, 0] if rank is None else [0, 0, rank, world_size])
        self._shared.share_memory_()  # type: ignore[no-untyped-call]
        self._own: tuple[int, int] | None = None  # what was loaded in this worker, for its next iteration
        self._begun: tuple[int, int] | None = None  # epoch and start of the iteration in this process
        self._pending = 0  # where the next iteration begins
        self.done = 0  #: batches of this process in it

    @property
    def ranks(self) -> tuple[int, int]:
        """The rank, and the number of ranks.

        Raises:
            ValueError: the variables say what cannot be.
        """
        known = int(self._shared[_RANK]), int(self._shared[_WORLD])
        if self._given:
            return known
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        if get_worker_info() is not None and known[0] >= 0:  # what the main process was told
            return known
        if {"RANK", "WORLD_SIZE"} <= os.environ.keys():
            said = os.environ["RANK"], os.environ["WORLD_SIZE"]
            if not (said[0].isdecimal() and said[1].isdecimal() and int(said[0]) < int(said[1])):
                raise ValueError(f"the variables RANK={said[0]} and WORLD_SIZE={said[1]} name no rank")
            return int(said[0]), int(said[1])
        return 0, 1

    def _ask(self) -> None:
        """Let workers know whose they are."""
        self._shared[_RANK], self._shared[_WORLD] = self.ranks

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration runs."""
        return int(self._shared[_EPOCH])

    def set(self, epoch: int, start: int | None = None) -> None:
        """Choose what the next iteration runs; without a *start*, another epoch begins at 0 and the same goes on."""
        if start is not None and get_worker_info() is not None:  # torchdata loads a state into each worker
            self._own, self._begun = (epoch, start), None
        elif start is not None or epoch != self.epoch:
            self._own = self._begun = None
            self._pending = start or 0
            self._shared[_EPOCH], self._shared[_START] = epoch, self._pending

    def take(self) -> None:
        """Called in the main process when a loader begins: a start counts for one iteration only."""
        self._ask()
        self._begun, self._pending, self._shared[_START] = (self.epoch, self._pending), 0, self._pending

    def begin(self) -> tuple[int, int]:
        """Epoch and first batch of an iteration that begins in this process."""
        self._begun, self._own = self._own or (self.epoch, int(self._shared[_START])), None
        self.done = 0
        if get_worker_info() is None:
            self._shared[_START] = self._pending = 0
        return self._begun

    def next(self, done: int | None = None) -> tuple[int, int]:
        """The epoch, and its next batch over all ranks, after *done* batches of this process or those it counted."""
        worker = get_worker_info()
        stride = self.ranks[1] * (worker.num_workers if worker else 1)
        epoch, start = self._begun or self._own or (self.epoch, self._pending)
        if done is None:
            done = self.done if self._begun else 0
        return epoch, start + stride * done

    def __getstate__(self) -> dict[str, Any]:
        if not self._given:
            self._ask()  # a spawned worker cannot
        return {**self.__dict__, "_begun": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._shared.share_memory_()  # type: ignore[no-untyped-call]  # what a file or a cluster brought is not
