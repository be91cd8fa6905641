"""Shared memory for batches: what workers write is what the loop sees, and nobody writes to what somebody has."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wds_face.stream.collate import Output, finished
from wds_face.stream.slots import AVAILABLE, Part, Room, Slot, Slots

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="shared memory without a name, which only Linux has")

PARTS = [Part((3, 3, 5, 5), torch.uint8), Part((3,), torch.int64), Part((3, 1, 5, 5), torch.float32)]
FORMATS = [torch.contiguous_format, torch.channels_last]


def fill(slot: Slot, value: int) -> bytes:
    """What a worker puts into torch's queue."""
    assert slot.masks is not None
    slot.images[...], slot.labels[...], slot.masks[...] = value, 1000 + value, value / 4
    return pickle.dumps(slot.send())


def seen(batch: tuple[torch.Tensor, ...]) -> int:
    images, labels, masks = batch
    assert images.shape == (3, 3, 5, 5)
    assert images.is_contiguous()
    assert masks.shape == (3, 1, 5, 5)
    value = int(images[0, 0, 0, 0])
    assert (images == value).all()
    assert (labels == 1000 + value).all()
    assert (masks == value / 4).all()
    return value


def test_a_batch_comes_as_it_was_written() -> None:
    slots = Slots(PARTS, workers=2, each=2)
    slot = slots.claim(1)
    assert slot is not None
    sent = fill(slot, 7)
    assert slots.waiting == 1
    assert seen(pickle.loads(sent)) == 7
    assert slots.waiting == 0


def test_a_slot_comes_back_when_nobody_has_any_of_its_tensors() -> None:
    slots = Slots(PARTS, workers=1, each=1)
    first = slots.claim(0)
    assert first is not None
    assert slots.claim(0) is None, "there is one"
    images, labels, masks = pickle.loads(fill(first, 3))
    del images, labels
    assert slots.claim(0) is None
    part = masks[1]
    del masks
    array = part.numpy()
    del part
    assert slots.claim(0) is None, "numpy has it"
    assert (array == 0.75).all()
    del array
    assert slots.claim(0) is not None


def test_the_first_slot_that_is_free_is_claimed() -> None:
    """So that no more pages are used than must be."""
    slots = Slots(PARTS, workers=2, each=4)
    for worker in range(2):
        claimed = [slots.claim(worker) for _ in range(4)]
        places = [slot.images.ctypes.data for slot in claimed if slot is not None]
        assert len(places) == 4
        assert places == sorted(places)
        for number in (2, 0, 3):
            slot = claimed[number]
            assert slot is not None
            slot.free()
        again = [slots.claim(worker) for _ in range(3)]
        assert [slot.images.ctypes.data for slot in again if slot is not None] == [places[i] for i in (0, 2, 3)]
        one = again[1]
        assert one is not None
        for _ in range(3):
            one.free()
            one = slots.claim(worker)
            assert one is not None
            assert one.images.ctypes.data == places[2]


def test_what_was_not_sent_is_free_when_a_worker_begins_anew() -> None:
    slots = Slots(PARTS, workers=2, each=2)
    lost, sent, other = slots.claim(0), slots.claim(0), slots.claim(1)
    assert lost is not None
    assert sent is not None
    assert other is not None
    batch = fill(sent, 1)
    slots.begin(0)
    again = slots.claim(0)
    assert again is not None
    fill(again, 2)
    assert slots.claim(0) is None
    assert seen(pickle.loads(batch)) == 1


def test_a_batch_of_an_iteration_that_is_over_is_nothing() -> None:
    slots = Slots(PARTS, workers=1, each=1)
    slot = slots.claim(0)
    assert slot is not None
    sent = fill(slot, 1)
    del slots, slot
    gc.collect()
    assert pickle.loads(sent) == []


def test_batches_outlive_the_iteration() -> None:
    slots = Slots(PARTS, workers=1, each=2)
    slot = slots.claim(0)
    assert slot is not None
    batch = pickle.loads(fill(slot, 5))
    del slots, slot
    gc.collect()
    assert seen(batch) == 5


def test_files_are_closed() -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(5):
        slots = Slots(PARTS, workers=2, each=3)
        slot = slots.claim(0)
        assert slot is not None
        batch = pickle.loads(fill(slot, 5))
        del slots, slot, batch
    assert os.listdir("/proc/self/fd") == before


def _worker(slots: Slots, value: int, queue: multiprocessing.Queue[bytes]) -> None:
    slot = slots.claim(0)
    assert slot is not None
    queue.put(fill(slot, value))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes(method: str) -> None:
    context = multiprocessing.get_context(method)
    slots, queue = Slots(PARTS, workers=1, each=2), context.Queue()
    process = context.Process(target=_worker, args=(slots, 9, queue))
    process.start()
    sent = queue.get(timeout=120)
    process.join(120)
    assert slots.waiting == 1
    batch = pickle.loads(sent)
    assert seen(batch) == 9
    child = os.fork()
    if not child:  # what a fork drops stays its parent's
        del batch
        os._exit(0)
    os.waitpid(child, 0)
    kept = [slots.claim(0), slots.claim(0)]
    assert kept[0] is not None
    assert kept[1] is None
    assert seen(batch) == 9


def test_parts_do_not_overlap() -> None:
    shapes = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)
    types = st.sampled_from([torch.uint8, torch.int64, torch.float32])

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(shapes, types), min_size=1, max_size=4), st.integers(1, 3), st.integers(1, 3))
    def check(parts: list[tuple[tuple[int, ...], torch.dtype]], workers: int, each: int) -> None:
        slots = Slots([Part(*part) for part in parts], workers, each)
        arrays = [slots.tensors(slots.memory(number)) for number in range(workers * each)]
        flat = [tensor for tensors in arrays for tensor in tensors]
        for value, tensor in enumerate(flat):
            tensor.fill_(value)
        assert all((tensor == value).all() for value, tensor in enumerate(flat))
        assert [(tuple(tensor.shape), tensor.dtype) for tensor in arrays[0]] == parts

    check()


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_batch_is_made_in_the_memory_that_it_goes_out_in(
    dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    room = Room([Part((3, 3, 5, 5), dtype, memory_format), Part((3,), torch.int64), Part((3, 1, 5, 5), dtype)])
    space = room.claim(3)
    assert not isinstance(space, Slot), "there is no loader"
    assert (space.pixels.shape, space.pixels.dtype) == ((3, 5, 5, 3), np.uint8)
    assert np.may_share_memory(space.pixels, space.images)
    assert space.masks is not None
    assert space.visible is not None
    rng = np.random.default_rng(0)
    space.pixels[...] = pixels = rng.integers(256, size=space.pixels.shape, dtype=np.uint8)
    space.visible[...] = visible = rng.choice(np.array([0, 255], np.uint8), space.visible.shape)
    output = Output("uint8" if dtype == torch.uint8 else "float", "rgb", memory_format)
    images, masks = finished(space.pixels, space.visible, output, space)
    assert masks is not None
    for made, place in (images, space.images), (masks, space.masks):
        assert place is not None
        assert (made.ctypes.data, made.shape, made.strides) == (place.ctypes.data, place.shape, place.strides)
    assert (masks == visible[:, None] // 255).all()
    wanted = pixels if dtype == torch.uint8 else (pixels / np.float32(255) - np.float32(0.5)) * np.float32(2)
    assert images.tobytes() == wanted.transpose(0, 3, 1, 2).tobytes()
    assert torch.from_numpy(images).is_contiguous(memory_format=memory_format)


def test_space_is_for_as_many_images_as_are_there() -> None:
    assert Room(PARTS).claim(2).images.shape == (2, 3, 5, 5)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Memory without a name goes with the last process that has it, however that ends."""
    before = sorted(os.listdir("/dev/shm")) if Path("/dev/shm").is_dir() else []
    child = os.fork()
    if not child:
        slots = Slots(PARTS, workers=1, each=1)
        slot = slots.claim(0)
        assert slot is not None
        np.copyto(slot.images, 1)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert (sorted(os.listdir("/dev/shm")) if Path("/dev/shm").is_dir() else []) == before
