"""A torch ``DataLoader`` that knows where it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal, cast
from weakref import ref

from torch.utils.data import DataLoader, default_convert

from wds_face.stream.counters import told
from wds_face.stream.slots import Slots
from wds_face.stream.wrappers import PreparedLoader, announced_by_fabric, is_prepared, refuse_ray_wrapper

if TYPE_CHECKING:
    from wds_face.stream.stream import PKStream


_log = logging.getLogger("wds_face")

# Batches of each worker that the training loop may have at a time, before others take torch's slower way.
_KEPT = 3


class PKLoader(DataLoader[Any]):
    """The batches of a :class:`~wds_face.PKStream`, and its state at any step of the iteration that began last.

    ``len`` is that of a whole epoch, also where one is resumed. An iteration begins with its first batch: an epoch that
    is set before that counts. Who says epochs to samplers only, as Lightning does, says them here too.

    ``Accelerator.prepare`` returns the loader itself, which then places batches on the accelerator's device. Loaders
    that accelerate or Ray Train would make anew around the stream, or that take batches ahead, are refused when they
    are iterated.
    """

    #: Accelerate leaves alone what is prepared already; it would shard the stream again.
    _is_accelerate_prepared = True
    #: ``Accelerator.save_state`` and ``load_state`` include the state of such a loader.
    use_stateful_dataloader = True

    _done = 0
    _slots: Slots | None = None
    #: How the epoch of the next iteration was chosen, if it was chosen since the last one began.
    _chosen: Literal["set", "loaded"] | None = None
    #: What Lightning Fabric's count of iterations lacks to the epoch.
    _epoch_offset = 0

    def __init__(self, stream: PKStream, **options: Any) -> None:
        super().__init__(stream, **options)
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

    def set_epoch(self, epoch: int) -> None:
        """See :meth:`PKStream.set_epoch`."""
        self._set_epoch(epoch)
        self._chosen = "set"

    def _set_epoch(self, epoch: int) -> None:
        before = self.stream.epoch
        self.stream.set_epoch(epoch)
        if epoch != before:
            self._done = 0

    def _count_iterations(self, iterations: int) -> None:
        """Choose the epoch of an iteration of which only the number in this process is known.

        An epoch that was set or loaded since the last iteration stays, and those after it count on from there. A state
        of the end of an epoch has nothing left of it: the next one begins.

        Args:
            iterations: Number of iterations before this one.
        """
        if self._chosen is None:
            self._set_epoch(iterations + self._epoch_offset)
            return
        if self._chosen == "loaded" and self._batches_left() == 0:
            self._set_epoch(self.stream.epoch + 1)
        self._epoch_offset = self.stream.epoch - iterations

    def _batches_left(self) -> int:
        """Return the number of batches that an iteration has for this rank if it begins now."""
        return self.stream.batches_from(self.stream.state_dict(0)["batch"])

    def state_dict(self) -> dict[str, Any]:
        """Where the loop is: behind the batch that it was given last, whatever the workers have made ahead.

        A small JSON-able dict, the same on every rank.
        """
        return self.stream.state_dict(self._done)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`PKStream.load_state_dict`."""
        self.stream.load_state_dict(state)
        self._done = 0
        self._chosen = "loaded"

    def stats(self) -> dict[str, int | float]:
        """See :meth:`PKStream.stats`."""
        return self.stream.stats()

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        refuse_ray_wrapper()
        self._done = 0
        self._chosen = None
        self.stream.position.take()
        left = self._batches_left()
        prepared = PreparedLoader(self, left) if is_prepared(self) else None
        if left == 0:
            _log.warning(
                "%s: the state is of the end of epoch %d, of which no batch is left: set_epoch(%d) begins the next one",
                *(self.stream.store, self.stream.epoch, self.stream.epoch + 1),
            )
        with prepared or nullcontext():
            yield from self._iterate(prepared)

    def _iterate(self, prepared: PreparedLoader | None) -> Iterator[Any]:
        stream, add, clock = self.stream, self.stream.counters.add, time.perf_counter_ns
        epoch, before = stream.epoch, self.stats()
        began = asked = clock()  # starting workers is waiting for the first batch
        batches = self._begun()
        slots = self._slots
        while True:
            ready = slots.waiting if slots else 0
            batch = next(batches, None)
            came = clock()
            add("wait_seconds", came - asked)
            if batch is None:
                break
            add("batches_taken")
            add("batches_ready", ready)
            self._done += 1
            if prepared is not None:
                batch = prepared.place(batch)
            yield batch
            del batch  # or its slot would stay taken until the next one is there
            asked = clock()
            add("train_seconds", asked - came)
        stats = {name: value - before[name] for name, value in self.stats().items()}
        _log.info("%s: epoch %d: %s", stream.store, epoch, told(stats, stream.batch_size, (clock() - began) / 1e9))

    def _begun(self) -> Iterator[Any]:
        """torch's iteration, with slots for its workers if they are new."""
        if self._iterator is not None:  # they persist, and so do their slots
            return super().__iter__()
        stream = self.stream
        self._slots = None
        if self.num_workers and self.collate_fn is default_convert:
            # Batches that wait, one that is made, and some that the training loop has not let go of.
            self._slots = stream.slots(self.num_workers, cast("int", self.prefetch_factor) + 1 + _KEPT)
        stream.room.slots = self._slots
        stream.in_own_loader = True
        try:
            return super().__iter__()
        finally:
            stream.room.slots = None
            stream.in_own_loader = False


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
            loader._set_epoch(epoch)

    def __reduce__(self) -> Any:
        return _SetEpoch, ()  # a loader that is unpickled makes its own
