"""Where a stream is: the epoch, the batch that it begins at, and whose batches it takes. Workers share it."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed
from torch.utils.data import get_worker_info

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
        if rank is not None and world_size is not None and not 0 <= rank < world_size:
            raise ValueError(f"rank must be from 0 to world_size - 1, not {rank} of {world_size}")
        self._given = rank is not None
        self._shared = torch.tensor([0, 0, rank or 0, world_size or 1])
        self._shared.share_memory_()  # type: ignore[no-untyped-call]
        self._own: tuple[int, int] | None = None  # what was loaded in this worker, for its next iteration
        self._begun: tuple[int, int] | None = None  # epoch and start of the iteration in this process
        self.done = 0  #: batches of this process in it

    @property
    def ranks(self) -> tuple[int, int]:
        """The rank, and the number of ranks."""
        if not self._given:
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                self._shared[_RANK] = torch.distributed.get_rank()
                self._shared[_WORLD] = torch.distributed.get_world_size()
            elif get_worker_info() is None and {"RANK", "WORLD_SIZE"} <= os.environ.keys():
                self._shared[_RANK] = int(os.environ["RANK"])
                self._shared[_WORLD] = int(os.environ["WORLD_SIZE"])
        return int(self._shared[_RANK]), int(self._shared[_WORLD])

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration runs."""
        return int(self._shared[_EPOCH])

    @property
    def start(self) -> int:
        """The batch of it that the next iteration begins at."""
        return int(self._shared[_START])

    def set(self, epoch: int, start: int | None = None) -> None:
        """Choose what the next iteration runs; without a *start*, another epoch begins at 0 and the same goes on."""
        if start is None:
            start = self.start if epoch == self.epoch else 0
            if epoch != self.epoch:
                self._begun = self._own = None
        elif get_worker_info() is not None:  # torchdata loads a state into each worker
            self._own, self._begun = (epoch, start), None
            return
        else:
            self._begun = None
        self._shared[_EPOCH], self._shared[_START] = epoch, start

    def begin(self) -> tuple[int, int]:
        """Epoch and first batch of an iteration that begins in this process."""
        self._begun, self._own = self._own or (self.epoch, self.start), None
        self.done = 0
        return self._begun

    def end(self) -> None:
        """The iteration is over: another one of this epoch begins at 0."""
        if get_worker_info() is None:
            self._shared[_START] = 0

    def next(self, done: int | None = None) -> tuple[int, int]:
        """The epoch, and its next batch over all ranks, after *done* batches of this process or those it counted."""
        worker = get_worker_info()
        stride = self.ranks[1] * (worker.num_workers if worker else 1)
        epoch, start = self._begun or self._own or (self.epoch, self.start)
        if done is None:
            done = self.done if self._begun else 0
        return epoch, start + stride * done

    def __getstate__(self) -> dict[str, Any]:
        self.ranks  # noqa: B018 (a spawned worker cannot ask)
        return {**self.__dict__, "_begun": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._shared.share_memory_()  # type: ignore[no-untyped-call]  # what a file or a cluster brought is not
