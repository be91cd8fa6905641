"""Shared memory in which workers make batches: it crosses to the main process once, and comes back to be used again.

What torch does for each batch instead, fresh shared memory, a copy into it and the faults of its pages on both sides,
takes as long as decoding a JPEG.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from itertools import count
from math import prod
from typing import Any, NamedTuple
from weakref import WeakValueDictionary, finalize

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

Array = NDArray[Any]

#: Elsewhere than on Linux batches take torch's way.
AVAILABLE = hasattr(os, "memfd_create")

_PAGE, _LINE = 4096, 64

# A slot is claimed and sent by its worker, and taken by the main process.
_FREE, _CLAIMED, _SENT, _TAKEN = range(4)

_numbers = count()
_slots: WeakValueDictionary[int, Slots] = WeakValueDictionary()


class Part(NamedTuple):
    """Shape, dtype and memory format of a tensor of a batch."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    memory_format: torch.memory_format = torch.contiguous_format

    @property
    def used(self) -> int:
        """Bytes."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes up to the next cache line."""
        return -(-self.used // _LINE) * _LINE

    def tensor(self, memory: torch.Tensor) -> torch.Tensor:
        """View a uint8 tensor of :attr:`used` bytes as this tensor."""
        elements = memory.view(self.dtype)
        if self.memory_format != torch.channels_last:
            return elements.view(self.shape)
        count, channels, height, width = self.shape
        return elements.view(count, height, width, channels).permute(0, 3, 1, 2)

    def new(self, count: int) -> torch.Tensor:
        """Return a new tensor of this kind for *count* images."""
        part = self._replace(shape=(count, *self.shape[1:]))
        return part.tensor(torch.empty(part.used, dtype=torch.uint8, device="cpu"))


class Slots:
    """Room for so many batches of each worker, of pages that are there once they were used.

    Workers begin, claim, send and free; the main process takes, and asks what is waiting.

    Args:
        parts: of a batch: images, labels and maybe masks.
        workers: processes.
        each: slots of a worker.
    """

    def __init__(self, parts: Sequence[Part], workers: int, each: int) -> None:
        self._parts, self._each, self._count = tuple(parts), each, workers * each
        self._size = -(-sum(part.nbytes for part in parts) // _PAGE) * _PAGE
        self._head = -(-self._count // _PAGE) * _PAGE
        self.number = next(_numbers)
        file = os.memfd_create(f"wds_face {self.number}")
        os.ftruncate(file, self._head + self._count * self._size)
        self._map(file)
        _slots[self.number] = self

    def _map(self, file: int) -> None:
        self._file, self._memory = file, mmap.mmap(file, 0)
        self._states: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8, self._count)
        finalize(self, os.close, file)

    def __getstate__(self) -> dict[str, Any]:
        # for a worker that is spawned; one that is forked has it all
        from multiprocessing.reduction import DupFd  # noqa: PLC0415 (Windows has none)

        return {**self.__dict__, "_memory": None, "_states": None, "_file": DupFd(self._file)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map(state["_file"].detach())

    def begin(self, worker: int) -> None:
        """A worker begins anew: what it claimed and never sent is free."""
        own = self._states[worker * self._each : (worker + 1) * self._each]
        own[own == _CLAIMED] = _FREE

    def claim(self, worker: int) -> Slot | None:
        """A slot of a worker, the first that is free, so that no more pages are used than must be; None if none is."""
        for number in range(worker * self._each, (worker + 1) * self._each):
            if self._states[number] == _FREE:
                self._states[number] = _CLAIMED
                return Slot(self, number)
        return None

    @property
    def waiting(self) -> int:
        """Batches that were made and not taken yet."""
        return int(np.count_nonzero(self._states == _SENT))

    def memory(self, number: int) -> NDArray[np.uint8]:
        """The bytes of a slot."""
        return np.frombuffer(self._memory, np.uint8, self._size, self._head + number * self._size)

    def tensors(self, memory: NDArray[np.uint8]) -> list[torch.Tensor]:
        """What lies in the bytes of a slot: views of one storage, which keeps *memory* while one of them is there."""
        whole, tensors, at = torch.from_numpy(memory), [], 0
        for part in self._parts:
            tensors.append(part.tensor(whole[at : at + part.used]))
            at += part.nbytes
        return tensors

    def take(self, number: int) -> list[torch.Tensor]:
        """The tensors of a slot, for the main process, which gives it back by dropping them."""
        memory = self.memory(number)
        self._states[number] = _TAKEN
        finalize(memory, _give_back, self._states, number, os.getpid()).atexit = False
        return self.tensors(memory)

    def send(self, number: int) -> None:
        """A slot is full."""
        self._states[number] = _SENT

    def free(self, number: int) -> None:
        """A slot is not needed after all."""
        self._states[number] = _FREE


def _give_back(states: NDArray[np.uint8], number: int, pid: int) -> None:
    if pid == os.getpid():  # a fork has references of its own, and nothing to give back
        states[number] = _FREE


class Space:
    """Where one batch is made, and from where it goes out.

    Images are made as uint8 pixels, channels last, in the last bytes of the memory of the batch, and converted there
    in place.

    Attributes:
        images, masks: Arrays [N, 3, H, W] and [N, 1, h, w] of the batch; no masks without an occlusion.
        pixels, visible: Work area of the transforms in the same memory, uint8 [N, H, W, 3] and [N, h, w].
    """

    def __init__(self, images: Array, masks: Array | None) -> None:
        self.images = images
        self.masks = masks
        count, channels, height, width = images.shape
        self.pixels = _last_bytes(images).reshape(count, height, width, channels)
        self.visible = None if masks is None else _last_bytes(masks).reshape(count, *masks.shape[2:])

    def fits(self, images: Array, masks: Array | None, masks_dtype: np.dtype[Any] | None) -> bool:
        """Return whether *images* [N, H, W, 3] and *masks* [N, h, w] fit into this memory, masks as *masks_dtype*."""
        if images.shape != self.pixels.shape:
            return False
        if masks is None or self.masks is None or self.visible is None:
            return masks is None and self.masks is None
        return masks.shape == self.visible.shape and masks_dtype == self.masks.dtype


class Slot(Space):
    """Room for one batch, in a worker; see :class:`Space`.

    Attributes:
        labels: array to write to.
    """

    def __init__(self, slots: Slots, number: int) -> None:
        self._slots, self._number = slots, number
        images, labels, *masks = [tensor.numpy() for tensor in slots.tensors(slots.memory(number))]
        super().__init__(images, masks[0] if masks else None)
        self.labels: Array = labels

    def send(self) -> Sent:
        """It is full: what goes through torch's queue in its place."""
        self._slots.send(self._number)
        return Sent(self._slots.number, self._number)

    def free(self) -> None:
        """It is not needed after all."""
        self._slots.free(self._number)


def _last_bytes(array: Array) -> NDArray[np.uint8]:
    """Return the last bytes of an array's memory, one for each element."""
    memory = array.ravel("K").view(np.uint8)
    return memory[memory.size - array.size :]


class Sent:
    """A batch on its way to the main process: two numbers, which are its tensors when they are unpickled there."""

    def __init__(self, slots: int, number: int) -> None:
        self._numbers = slots, number

    def __reduce__(self) -> Any:
        return _taken, self._numbers


def _taken(slots: int, number: int) -> list[torch.Tensor]:
    found = _slots.get(slots)
    if found is None:
        return []  # the iteration is over, and nobody looks at it
    images, labels, *masks = found.take(number)
    # Labels are often kept: they must not keep the rest.
    return [images, labels.clone(), *masks]


class Room:
    """Where the stages of a process make batches: in slots, if a loader gave it some.

    Args:
        parts: of a batch: images, labels and maybe masks.

    Attributes:
        slots: of all workers.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.slots: Slots | None = None

    def begin(self) -> None:
        """This worker begins an iteration."""
        if self.slots is not None and (worker := get_worker_info()) is not None:
            self.slots.begin(worker.id)

    def claim(self, count: int) -> Space:
        """Space for a batch of so many images: a slot, or if there is none new memory, which takes torch's way."""
        worker = get_worker_info()
        if self.slots is not None and worker is not None and count == self.parts[0].shape[0]:
            slot = self.slots.claim(worker.id)
            if slot is not None:
                return slot
        images, _, *masks = [part.new(count).numpy() for part in self.parts]
        return Space(images, masks[0] if masks else None)
