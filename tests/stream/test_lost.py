"""Batches that cannot be sent, workers that end, epochs that come short: each is an error that says what is known."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import get_worker_info

from tests.support import MakeFolder
from wds_face import DatasetError, ImageFolder, Options, PKStream, ToTensorWithMask, TransferError, convert
from wds_face.stream.waiting import Waiting

Stage = Callable[[Any], Iterator[Any]]


@pytest.fixture
def shards(make_folder: MakeFolder, tmp_path: Path) -> Path:
    folder = make_folder({f"person {i:02d}": 1 + i % 6 for i in range(20)})
    convert(ImageFolder(folder), tmp_path / "out", Options(), workers=1)
    return tmp_path / "out"


def stream(shards: Path, **options: Any) -> PKStream:
    return PKStream(shards, p=4, k=2, image_size=24, lanes=1, **options)


def with_gradient(image: Any) -> torch.Tensor:
    tensor: torch.Tensor = ToTensorWithMask()(image)
    return tensor.requires_grad_() * 2


def with_leaf(image: Any) -> torch.Tensor:
    return ToTensorWithMask()(image).requires_grad_()  # type: ignore[no-any-return]


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("transform", [with_gradient, with_leaf])
def test_tensors_with_a_gradient_are_refused(shards: Path, transform: Any, workers: int) -> None:
    with pytest.raises(TypeError, match=r"must not require a gradient: let what makes them end with \.detach\(\)"):
        list(stream(shards, transform=transform).loader(workers))


def unpicklable(batches: Any) -> Iterator[Any]:
    for number, (images, labels) in enumerate(batches):
        yield {"images": images, "labels": labels, "lock": threading.Lock() if number == 1 else None}


@pytest.mark.parametrize("options", [{}, {"pin_memory": True}, {"persistent_workers": True}], ids=str)
def test_what_cannot_be_pickled_is_an_error_of_its_worker(shards: Path, options: dict[str, Any]) -> None:
    last = stream(shards)
    last.append(unpicklable)
    assert len(list(last.loader())) == len(last), "nothing is sent without workers"
    loader = last.loader(2, **options)
    with pytest.raises(TransferError, match=r"worker [01] cannot send a batch to the main process: TypeError: .*lock"):
        list(loader)


def locked(batch: Any) -> Any:
    return [*batch, threading.Lock()]


def test_a_collate_function_whose_result_cannot_be_pickled(shards: Path) -> None:
    with pytest.raises(TransferError, match="worker 0 cannot send a batch"):
        list(stream(shards).loader(1, collate_fn=locked))


def named(batch: Any) -> dict[str, Any]:
    return dict(zip(("images", "labels"), batch, strict=True))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_can_be_pickled_comes_as_it_was(shards: Path, method: str) -> None:
    plain = list(stream(shards).loader())
    found = list(stream(shards).loader(2, collate_fn=named, multiprocessing_context=method))
    assert all(batch["images"].equal(images) for batch, (images, _) in zip(found, plain, strict=True))
    assert all(batch["labels"].equal(labels) for batch, (_, labels) in zip(found, plain, strict=True))


def drop(batches: Any) -> Iterator[Any]:
    yield from list(batches)[1:]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_epoch_that_a_stage_cuts_short_is_an_error(shards: Path, workers: int) -> None:
    short = stream(shards)
    whole = len(short)
    short.insert(drop, after="transform")
    came = []
    message = (
        f"epoch 3 ended after {whole - max(1, workers)} of {whole} batches; no more were made: a custom stage must"
    )
    loader = short.loader(workers)
    loader.set_epoch(3)
    with pytest.raises(TransferError, match=message):
        came += [labels for _, labels in loader]


class Losing:
    """A collate function whose last results cannot be pickled: torch's thread prints the error and drops them."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.made = 0

    def __call__(self, batch: Any) -> Any:
        self.made += 1
        return batch if self.made < self.first else locked(batch)


@pytest.mark.timeout(120)
def test_a_batch_that_is_lost_on_the_way_is_an_error(shards: Path) -> None:
    whole = len(stream(shards))
    loader = stream(shards).loader(1)
    loader.collate_fn = Losing(whole)  # behind the loader's back
    message = f"ended after {whole - 1} of {whole} batches; {whole} were made, so they were lost on the way"
    with pytest.raises(TransferError, match=message):
        list(loader)


def test_a_resumed_epoch_is_as_long_as_what_is_left(shards: Path) -> None:
    for world in (1, 3):
        for start in range(len(stream(shards)) + 1):
            loader = stream(shards, rank=0, world_size=world).loader(1)
            state = loader.state_dict() | {"batch": start}
            loader.load_state_dict(state)
            assert len(list(loader)) == -(-(len(stream(shards)) - start) // world)


def test_pipelines_with_a_last_stage_or_a_length_of_their_own_may_be_shorter(shards: Path) -> None:
    few = stream(shards)
    few.append(drop)
    assert len(list(few.loader(1))) == len(few) - 1
    cut = stream(shards).with_epoch(2)
    assert len(list(cut.loader(0))) == 2


def ending(how: Callable[[], None]) -> Stage:
    def stage(batches: Any) -> Iterator[Any]:
        for number, batch in enumerate(batches):
            worker = get_worker_info()
            if number == 1 and worker is not None and worker.id == 1:
                how()
            yield batch

    return stage


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def left() -> None:
    os._exit(0)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("how", [killed, left])
def test_a_worker_that_ends_is_an_error(shards: Path, how: Callable[[], None], persistent: bool) -> None:
    broken = stream(shards)
    broken.insert(ending(how), after="read")
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid\(?s?\)? ?\d+\) (exited unexpectedly|is killed)"):
        list(broken.loader(2, persistent_workers=persistent))


def slow(batches: Any) -> Iterator[Any]:
    for number, batch in enumerate(batches):
        worker = get_worker_info()
        if number == 1 and worker is not None and worker.id == 1:
            time.sleep(3)
        yield batch


def test_a_long_wait_is_told(shards: Path, caplog: pytest.LogCaptureFixture) -> None:
    waited = stream(shards)
    waited.insert(slow, after="read")
    loader = waited.loader(2)
    loader.wait_warning = 1.0
    with caplog.at_level(logging.WARNING, "wds_face"):
        list(loader)
    found = [record.getMessage() for record in caplog.records if "waiting for" in record.getMessage()]
    assert found
    assert re.search(
        r"waiting for batch 4 of epoch 0 from worker 1 \(process \d+, which is alive\), for \d+ s now", found[-1]
    )
    assert not [thread for thread in threading.enumerate() if thread.name == "wds_face waiting"]


def test_short_waits_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    waiting = Waiting(0.5, lambda: "waiting")
    for _ in range(4):
        waiting.begin()
        time.sleep(0.2)
        waiting.end()
    waiting.begin()
    time.sleep(1.3)
    waiting.end()
    waiting.close()
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == ["waiting"] * 2


SMALL = """
import os, sys
from wds_face import PKStream, ToTensorWithMask, TransferError

stream = PKStream(sys.argv[1], p=4, k=2, image_size=112, lanes=1, transform=ToTensorWithMask())
plain = PKStream(sys.argv[1], p=4, k=2, image_size=112, lanes=1)
assert os.system("mount -t tmpfs -o size=1m tmpfs /dev/shm") == 0
assert len(list(plain.loader(2))) == len(plain)
try:
    print(len(list(stream.loader(2))), "of", len(stream))
except TransferError as error:
    print("TransferError", str(error))
"""


@pytest.mark.timeout(180)
def test_a_full_dev_shm_is_named(shards: Path) -> None:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mount namespaces are not allowed here")
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", SMALL, str(shards)],
        capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    if "mount: " in done.stderr:
        pytest.skip("a tmpfs cannot be mounted here")
    assert done.stdout.startswith("TransferError"), done.stdout + done.stderr
    assert re.search(r"/dev/shm has [\d.]+ MB free of 1\.0 MB: give the container more", done.stdout)


def test_errors_of_the_data_are_still_theirs(shards: Path) -> None:
    broken = stream(shards)
    (shards / "train-000000.tar").write_bytes(b"")
    with pytest.raises(DatasetError):
        list(broken.loader(1))
