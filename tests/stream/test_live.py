"""States of iterations that overlap, epochs that are set within the loop, and a default device that is not the CPU."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, get_worker_info

from tests.support import MakeFolder
from wds_face import (
    ImageFolder,
    Options,
    PKStream,
    convert,
)


@pytest.fixture
def shards(make_folder: MakeFolder, tmp_path: Path) -> Path:
    folder = make_folder({f"person {i:02d}": 1 + i % 6 for i in range(20)})
    convert(ImageFolder(folder), tmp_path / "out", Options(), workers=1)
    return tmp_path / "out"


def stream(shards: Path, **options: Any) -> PKStream:
    return PKStream(shards, p=4, k=2, image_size=24, **options)


def labels(batches: Any) -> list[list[int]]:
    return [batch[1].tolist() for batch in batches]


def epochs(shards: Path, *numbers: int) -> list[list[list[int]]]:
    """The labels of each epoch, from a stream of its own."""
    found = []
    for number in numbers:
        one = stream(shards)
        one.set_epoch(number)
        found.append(labels(one))
    return found


def resumed(shards: Path, state: dict[str, Any]) -> list[list[int]]:
    one = stream(shards)
    one.load_state_dict(state)
    return labels(one)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_state_is_that_of_the_iterator_that_gave_a_batch_last(shards: Path, workers: int) -> None:
    (whole,) = epochs(shards, 0)
    loader = stream(shards).loader(workers)
    first, second = iter(loader), iter(loader)
    seen: list[list[list[int]]] = [[], []]
    for turn in (0, 0, 1, 0, 1, 1, 0):
        seen[turn].append(next((first, second)[turn])[1].tolist())
        assert resumed(shards, loader.state_dict()) == whole[len(seen[turn]) :]
    assert seen[0] + labels(first) == whole
    assert seen[1] + labels(second) == whole


def test_the_state_of_a_stream_is_that_of_the_iterator_that_gave_a_batch_last(shards: Path) -> None:
    (whole,) = epochs(shards, 0)
    one = stream(shards)
    first, second = iter(one), iter(one)
    for turn, done in ((first, 1), (first, 2), (second, 1), (first, 3), (second, 2)):
        next(turn)
        assert resumed(shards, one.state_dict()) == whole[done:]


def test_workers_that_persist_serve_one_iterator(shards: Path) -> None:
    (whole,) = epochs(shards, 0)
    loader = stream(shards).loader(1, persistent_workers=True)
    first = iter(loader)
    next(first)
    second = iter(loader)
    found = labels([next(second)])
    with pytest.raises(
        RuntimeError, match="with persistent_workers an iteration of this loader ends when another begins"
    ):
        next(first)
    assert found + labels(second) == whole
    assert labels(loader) == whole


@pytest.mark.parametrize("options", [{}, {"persistent_workers": True}], ids=str)
@pytest.mark.parametrize("workers", [0, 3])
def test_an_epoch_that_is_set_within_the_loop_counts_for_the_next(
    shards: Path, workers: int, options: dict[str, Any]
) -> None:
    wanted = epochs(shards, 0, 1, 5)
    loader = stream(shards).loader(workers, **(options if workers else {}))
    for number, then in ((0, 1), (1, 2), (2, 0)):
        found = []
        for batch in loader:
            found.append(batch[1].tolist())
            if len(found) == 2:
                loader.set_epoch((0, 1, 5)[then])
                assert resumed(shards, loader.state_dict()) == wanted[then], "what was chosen"
            elif len(found) > 2:
                assert resumed(shards, loader.state_dict()) == wanted[number][len(found) :], "what goes on"
        assert found == wanted[number]
        loader.set_epoch((0, 1, 5)[then])
        assert resumed(shards, loader.state_dict()) == wanted[then]


def late(batches: Any) -> Iterator[Any]:
    """Workers but the first begin when the loop has gone on."""
    worker = get_worker_info()
    if worker is not None and worker.id:
        time.sleep(1)
    yield from batches


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_that_begin_late_begin_what_was_chosen_when_they_were_started(shards: Path, method: str) -> None:
    (whole,) = epochs(shards, 0)
    one = stream(shards, lanes=2)
    (wanted,) = [labels(stream(shards, lanes=2))]
    one.insert(late, after="plan")
    loader = one.loader(2, multiprocessing_context=method)
    batches = iter(loader)
    found = labels([next(batches)])
    loader.set_epoch(7)
    assert found + labels(batches) == wanted
    assert loader.stream.epoch == 7
    assert whole


def test_a_state_that_is_loaded_within_the_loop_counts_for_the_next(shards: Path) -> None:
    (whole,) = epochs(shards, 0)
    loader = stream(shards).loader(1)
    state = loader.state_dict() | {"batch": 3}
    batches = iter(loader)
    found = labels([next(batches)])
    loader.load_state_dict(state)
    assert found + labels(batches) == whole
    assert labels(loader) == whole[3:]
    assert labels(loader) == whole


def test_two_loaders_of_one_stream(shards: Path) -> None:
    (whole,) = epochs(shards, 0)
    one = stream(shards)
    loaders = one.loader(1), one.loader(0)
    first, second = map(iter, loaders)
    found: list[list[list[int]]] = [[], []]
    for turn in (0, 1, 1, 0, 1):
        found[turn].append(next((first, second)[turn])[1].tolist())
    for turn, loader in enumerate(loaders):
        assert resumed(shards, loader.state_dict()) == whole[len(found[turn]) :]
    assert found[0] + labels(first) == whole
    assert found[1] + labels(second) == whole


def test_plain_loaders_see_an_epoch_at_once(shards: Path) -> None:
    wanted = epochs(shards, 0, 4)
    one = stream(shards)
    loader: DataLoader[Any] = DataLoader(one, batch_size=None, num_workers=1, persistent_workers=True)
    assert labels(loader) == wanted[0]
    one.set_epoch(4)
    assert labels(loader) == wanted[1]


DEVICE = """
import sys, json, torch
from wds_face import Augmenter, MedicalMaskOcclusion, PKStream, ToTensorWithMask, normalize

torch.set_default_device(sys.argv[2])
sums = []
for options in (
    {"augmenter": Augmenter(0.5, 0.5, 0.5), "occlusion": MedicalMaskOcclusion(prob=0.5, mask_size=7), "flip": 0.5},
    {"output": "uint8", "memory_format": "channels_last"},
    {"transform": lambda image: ToTensorWithMask()(image) + torch.rand(1)},
):
    for workers in (0, 2):
        loader = PKStream(sys.argv[1], p=4, k=2, image_size=24, **options).loader(workers)
        next(iter(loader))
        loader.load_state_dict(loader.state_dict())
        for epoch in range(2):
            loader.set_epoch(epoch)
            for images, labels, *masks in loader:
                assert images.device.type == labels.device.type == "cpu"
                sums.append([labels.tolist(), *(tensor.double().sum().item() for tensor in (images, *masks))])
                if images.dtype == torch.uint8:
                    normalize(images)
print(json.dumps(sums))
"""


def test_a_default_device_changes_nothing(shards: Path) -> None:
    found = []
    for device in ["cpu", "meta", *(["cuda"] if torch.cuda.is_available() else [])]:
        done = subprocess.run(
            [sys.executable, "-c", DEVICE, str(shards), device],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert len(set(found)) == 1
