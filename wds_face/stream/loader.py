"""A torch ``DataLoader`` that knows where it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal, cast
from weakref import ref

import torch
from torch.utils.data import DataLoader, default_convert

from wds_face.errors import TransferError
from wds_face.stream.counters import told
from wds_face.stream.sending import SHARED_MEMORY, Sending
from wds_face.stream.slots import Slots
from wds_face.stream.waiting import Waiting
from wds_face.stream.wrappers import PreparedLoader, announced_by_fabric, is_prepared, refuse_ray_wrapper

if TYPE_CHECKING:
    from wds_face.stream.position import Begin
    from wds_face.stream.stream import PKStream


_log = logging.getLogger("wds_face")

# Batches of each worker that the training loop may have at a time, before others take torch's slower way.
_KEPT = 3


class PKLoader(DataLoader[Any]):
    """The batches of a :class:`~wds_face.PKStream`, and its state at any step of the iteration that began last.

    ``len`` is that of a whole epoch, also where one is resumed. An iteration begins with its first batch: an epoch that
    is set before that counts. Who says epochs to samplers only, as Lightning does, says them here too.

    With several iterations in progress, the state is that of the one that yielded last. Setting an epoch or loading a
    state during an iteration takes effect in the next one, and is returned as the state until another batch is yielded.

    An iteration raises :class:`~wds_face.TransferError` if a worker cannot send a batch, or if batches are missing at
    the end of the epoch.

    ``Accelerator.prepare`` returns the loader itself, which then places batches on the accelerator's device. Iterating
    a loader that accelerate or Ray Train has rebuilt around the stream, or that fetches batches ahead, raises an error.
    """

    #: Seconds to wait for a worker's batch between two warnings, which name the batch and the worker.
    wait_warning = 60.0
    #: Marks the loader as prepared, so that accelerate does not shard the stream again.
    _is_accelerate_prepared = True
    #: Makes ``Accelerator.save_state`` and ``load_state`` include the loader's state.
    use_stateful_dataloader = True

    _done = 0
    _begin: Begin | None = None  # of the iteration whose batch came last
    _choices = 0  # of the stream's position then
    _turns = 0
    _slots: Slots | None = None
    #: How the epoch of the next iteration was chosen, if it was chosen since the last one began.
    _chosen: Literal["set", "loaded"] | None = None
    #: Epoch minus Lightning Fabric's count of iterations.
    _epoch_offset = 0

    def __init__(self, stream: PKStream, **options: Any) -> None:
        super().__init__(stream, **options)
        if not isinstance(self.collate_fn, Sending):
            self.collate_fn = Sending(self.collate_fn)
        self._hook()

    def _hook(self) -> None:
        cast("Any", self.sampler).set_epoch = _SetEpoch(self)  # torch's own for streams, which does nothing with it

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_slots": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._hook()

    @property
    def stream(self) -> PKStream:
        """What it loads."""
        return cast("PKStream", self.dataset)

    @property
    def num_classes(self) -> int:
        """Number of classes, the rows of a classifier's weight; every label is smaller."""
        return self.stream.num_classes

    @property
    def classes(self) -> list[str]:
        """The original name of each label."""
        return self.stream.classes

    def set_epoch(self, epoch: int) -> None:
        """See :meth:`PKStream.set_epoch`."""
        self.stream.set_epoch(epoch)
        self._chosen = "set"

    def _count_iterations(self, iterations: int) -> None:
        """Choose the epoch of an iteration from the number of iterations in this process.

        An epoch that was set or loaded since the last iteration is kept, and later iterations count on from it. If the
        loaded state is at the end of its epoch, the next epoch begins.

        Args:
            iterations: Number of iterations before this one.
        """
        if self._chosen is None:
            self.stream.set_epoch(iterations + self._epoch_offset)
            return
        if self._chosen == "loaded" and self._batches_left() == 0:
            self.stream.set_epoch(self.stream.epoch + 1)
        self._epoch_offset = self.stream.epoch - iterations

    def _batches_left(self) -> int:
        """Return the number of batches that an iteration would yield on this rank if it began now."""
        return self.stream.batches_from(self.stream.state_dict(0)["batch"])

    def state_dict(self) -> dict[str, Any]:
        """Where the loop is: behind the batch that it was given last, whatever the workers have made ahead.

        A small JSON-able dict, the same on every rank.
        """
        position = self.stream.position
        if self._begin is None or self._choices != position.choices:
            return self.stream.state_dict(0)
        position.reach(self._begin, self._done)
        return self.stream.state_dict(self._done)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`PKStream.load_state_dict`."""
        self.stream.load_state_dict(state)
        self._chosen = "loaded"

    def stats(self) -> dict[str, int | float]:
        """See :meth:`PKStream.stats`."""
        return self.stream.stats()

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        refuse_ray_wrapper()
        self._chosen = None
        stream = self.stream
        begin = stream.position.take()
        left = stream.batches_from(begin.start)
        prepared = PreparedLoader(self, left) if is_prepared(self) else None
        if left == 0:
            _log.warning(
                "%s: the state is at the end of epoch %d, which has no batches left: call set_epoch(%d) for the next",
                *(stream.store, begin.epoch, begin.epoch + 1),
            )
        try:
            with prepared or nullcontext():
                yield from self._iterate(begin, prepared)
        finally:
            stream.position.leave()

    def _iterate(self, begin: Begin, prepared: PreparedLoader | None) -> Iterator[Any]:
        """Yield the batches of an iteration that begins at *begin*, count them, and log its statistics."""
        self._turns += 1
        turn = self._turns
        done = 0
        self._reached(begin, done)
        stream, add, clock = self.stream, self.stream.counters.add, time.perf_counter_ns
        before = self.stats()
        began = asked = clock()  # starting workers is waiting for the first batch
        batches = self._begun()
        slots = self._slots
        waiting = None
        if self.num_workers:
            waiting = Waiting(self.wait_warning, lambda: self._awaited(begin, done, batches))
        try:
            while True:
                if turn != self._turns and self.persistent_workers:
                    raise RuntimeError(
                        "with persistent_workers an iteration of this loader ends when another begins: use a second "
                        "PKStream with a loader of its own, or persistent_workers=False"
                    )
                ready = slots.waiting if slots else 0
                if waiting is not None:
                    waiting.begin()
                batch = next(batches, None)
                if waiting is not None:
                    waiting.end()
                came = clock()
                add("wait_seconds", came - asked)
                if batch is None:
                    break
                add("batches_taken")
                add("batches_ready", ready)
                done += 1
                self._reached(begin, done)
                if prepared is not None:
                    batch = prepared.place(batch)
                yield batch
                del batch  # or its slot would stay taken until the next one is there
                asked = clock()
                add("train_seconds", asked - came)
        finally:
            if waiting is not None:
                waiting.close()
        stats = {name: value - before[name] for name, value in self.stats().items()}
        self._check(begin, done, int(stats["batches"]))
        seconds = (clock() - began) / 1e9
        _log.info("%s: epoch %d: %s", stream.store, begin.epoch, told(stats, stream.batch_size, seconds))

    def _reached(self, begin: Begin, done: int) -> None:
        self._begin = begin
        self._done = done
        self._choices = self.stream.position.choices

    def _check(self, begin: Begin, done: int, made: int) -> None:
        """Raise an error if an iteration ended with fewer batches than planned.

        Args:
            begin: Where the iteration began.
            done: Number of batches that arrived.
            made: Number of batches that the workers counted.

        Raises:
            TransferError: Batches are missing.
        """
        planned = self.stream.planned(begin.start)
        if planned is None or done >= planned:
            return
        if made > done:
            reason = (
                f"{made:,} were made, so they were lost on the way from a worker: check the output of the workers, and "
                f"whether {SHARED_MEMORY} is large enough"
            )
        else:
            reason = "no more were made: a custom stage must yield one batch for each that it takes"
        raise TransferError(
            f"{self.stream.store}: epoch {begin.epoch} ended after {done:,} of {planned:,} batches; {reason}"
        )

    def _awaited(self, begin: Begin, done: int, batches: Any) -> str:
        """Describe the batch after *done* batches, and the worker that makes it."""
        worker = done % self.num_workers
        processes = getattr(batches, "_workers", [])
        doing = ""
        if worker < len(processes):
            process = processes[worker]
            alive = "is alive" if process.is_alive() else f"has ended with exit code {process.exitcode}"
            doing = f" (process {process.pid}, which {alive})"
        return f"{self.stream.store}: waiting for batch {done + 1} of epoch {begin.epoch} from worker {worker}{doing}"

    def _begun(self) -> Iterator[Any]:
        """torch's iteration, with slots for its workers if they are new."""
        if self._iterator is not None:  # they persist, and so do their slots
            return self._started()
        stream = self.stream
        self._slots = None
        collate_fn = self.collate_fn.collate_fn if isinstance(self.collate_fn, Sending) else self.collate_fn
        if self.num_workers and collate_fn is default_convert:
            # Batches that wait, one that is made, and some that the training loop has not let go of.
            self._slots = stream.slots(self.num_workers, cast("int", self.prefetch_factor) + 1 + _KEPT)
        stream.room.slots = self._slots
        stream.in_own_loader = True
        try:
            return self._started()
        finally:
            stream.room.slots = None
            stream.in_own_loader = False

    def _started(self) -> Iterator[Any]:
        """Start and return torch's iteration."""
        with torch.device("cpu"):  # torch draws a seed on the default device
            batches = super().__iter__()
        if self.num_workers:
            self.stream.position.started()
        return batches


class _SetEpoch:
    """Lets a loader know; its sampler, which has this, must not keep it: its workers end with it."""

    def __init__(self, loader: PKLoader | None = None) -> None:
        self._loader = (lambda: None) if loader is None else ref(loader)

    def __call__(self, epoch: int) -> None:
        loader = self._loader()
        if loader is None:
            return
        if announced_by_fabric():
            loader._count_iterations(epoch)
        else:
            loader.stream.set_epoch(epoch)

    def __reduce__(self) -> Any:
        return _SetEpoch, ()  # a loader that is unpickled makes its own
