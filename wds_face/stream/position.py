"""Where a stream is: the epoch, the batch that it begins at, and whose batches it takes. Workers share it."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import torch
import torch.distributed
from torch.utils.data import get_worker_info

from wds_face.transforms.checks import count

_EPOCH, _START, _RANK, _WORLD = range(4)


class Begin(NamedTuple):
    """Where an iteration begins: the epoch, and the first batch, counted over all ranks."""

    epoch: int
    start: int


class Position:
    """Numbers in shared memory, so that workers that persist see them change.

    The main process keeps the beginning of the next iteration. It shares this when an iteration begins, or at once if
    no iteration of a :class:`~wds_face.stream.PKLoader` is in progress: workers that have not begun yet must not see it
    change.

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
        ranks = [-1, 0] if rank is None else [rank, world_size]
        self._shared = torch.tensor([0, 0, *ranks], device="cpu")
        self._shared.share_memory_()  # type: ignore[no-untyped-call]
        self._next = Begin(0, 0)  # of the main process
        self.choices = 0  #: Number of times that an epoch or a state was chosen.
        self._live = 0  # iterations of loaders in progress
        self._own: Begin | None = None  # of the next iteration in this process; takes precedence over the shared one
        self._begun: Begin | None = None  # of the iteration that yielded last
        self._done = 0  # its batches in this process

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

    def _share(self) -> None:
        self._shared[_EPOCH], self._shared[_START] = self._next

    def _upcoming(self) -> Begin:
        """Return where the next iteration begins."""
        if get_worker_info() is None:
            return self._next
        return Begin(int(self._shared[_EPOCH]), int(self._shared[_START]))

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration runs."""
        return self._upcoming().epoch

    def set(self, epoch: int, start: int | None = None) -> None:
        """Choose where the next iteration begins. Without *start*, a new epoch begins at 0, the same one continues."""
        if start is not None and get_worker_info() is not None:  # torchdata loads a state into each worker
            self._own = Begin(epoch, start)
            self._begun = None
            return
        same = start is None and epoch == self.epoch
        if same and (self._begun is None or self._begun.epoch == epoch):
            return
        if not same:
            self._next = Begin(epoch, start or 0)
            if not self._live:
                self._share()
        self._own = self._begun = None
        self.choices += 1

    def take(self) -> Begin:
        """Begin an iteration of a loader in the main process. A start within an epoch applies to this iteration only.

        Workers that start now run this iteration, whatever is chosen meanwhile; see :meth:`started` and :meth:`leave`.
        """
        self._ask()
        self._share()
        begun = self._next
        self._own = self._begun = begun
        self._done = 0
        self._next = Begin(begun.epoch, 0)
        self._live += 1
        return begun

    def started(self) -> None:
        """Note that the workers of the iteration begun by :meth:`take` have started."""
        self._own = None

    def leave(self) -> None:
        """End an iteration of a loader."""
        self._live -= 1
        if not self._live:
            self._share()

    def begin(self) -> Begin:
        """Begin an iteration in this process. Returns its epoch and first batch."""
        begun = self._own
        self._own = None
        if begun is None:
            begun = self._upcoming()
            if get_worker_info() is None:
                self._next = Begin(begun.epoch, 0)
                self._shared[_START] = 0
        self._begun = begun
        self._done = 0
        return begun

    def reach(self, begun: Begin, done: int) -> None:
        """Note that the last batch yielded was number *done*, from 1, of the iteration that began at *begun*."""
        self._begun = begun
        self._done = done

    @property
    def begun(self) -> Begin:
        """Where the last iteration in this process began."""
        return self._begun or self._upcoming()

    def next(self, done: int | None = None) -> Begin:
        """The epoch, and its next batch over all ranks, after *done* batches of this process or those it counted."""
        worker = get_worker_info()
        stride = self.ranks[1] * (worker.num_workers if worker else 1)
        epoch, start = self._begun or self._own or self._upcoming()
        if done is None:
            done = self._done if self._begun else 0
        return Begin(epoch, start + stride * done)

    def __getstate__(self) -> dict[str, Any]:
        if not self._given:
            self._ask()  # a spawned worker cannot
        return {**self.__dict__, "_begun": None, "_live": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._shared.share_memory_()  # type: ignore[no-untyped-call]  # what a file or a cluster brought is not
