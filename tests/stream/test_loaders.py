"""The stream in other people's loaders, in threads and processes of every kind."""

from __future__ import annotations

import gc
import json
import pickle
import re
import time
import weakref
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import webdataset as wds
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from tests.resuming import Step, masked, steps
from tests.support import MakeFolder
from wds_face import DatasetError, ImageFolder, MedicalMaskOcclusion, Options, PKStream, ToTensorWithMask, convert

OPTIONS: dict[str, Any] = {"p": 5, "k": 3, "seed": 7, "lanes": 2}


@pytest.fixture
def shards(make_folder: MakeFolder, tmp_path: Path) -> str:
    folder = make_folder({f"{i:02d}": 1 + i * i % 9 for i in range(37)})
    convert(ImageFolder(folder), tmp_path / "out", Options(shard_size=20_000), workers=1)
    return str(tmp_path / "out")


@pytest.fixture
def whole(shards: str) -> list[Step]:
    """An epoch of the stream itself."""
    stream = masked(shards, **OPTIONS)
    return steps(stream, stream.state_dict)  # type: ignore[arg-type]


def sums(found: list[Step]) -> list[tuple[str, ...]]:
    return [step.sums for step in found]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_plain_loaders(shards: str, whole: list[Step], workers: int) -> None:
    stream = masked(shards, **OPTIONS)
    for loader in (
        DataLoader(stream, batch_size=None, num_workers=workers),
        wds.WebLoader(stream, batch_size=None, num_workers=workers),
    ):
        assert sums(steps(loader, dict)) == sums(whole)
        assert sums(steps(loader, dict)) == sums(whole)


def test_plain_loaders_resume_by_count(shards: str, whole: list[Step]) -> None:
    stream = masked(shards, **OPTIONS)
    loader: DataLoader[Any] = DataLoader(stream, batch_size=None, num_workers=2, persistent_workers=True)
    batches = iter(loader)
    for _ in range(5):
        next(batches)
    state = stream.state_dict(done=5)
    assert state == json.loads(whole[4].state)
    other = masked(shards, **OPTIONS)
    other.load_state_dict(state)
    again: DataLoader[Any] = DataLoader(other, batch_size=None, num_workers=3, persistent_workers=True)
    assert sums(steps(again, dict)) == sums(whole)[5:]
    other.set_epoch(1)
    other.set_epoch(0)
    assert sums(steps(again, dict)) == sums(whole)


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("every", [1, 3])
def test_torchdata_resumes_at_every_step(shards: str, whole: list[Step], workers: int, every: int) -> None:
    def loader() -> StatefulDataLoader[Any]:
        return StatefulDataLoader(
            masked(shards, **OPTIONS), batch_size=None, num_workers=workers, snapshot_every_n_steps=every
        )

    first = loader()
    found = steps(first, first.state_dict)
    assert sums(found) == sums(whole)
    for number in range(0, len(found), 1 if workers < 2 else 3):
        second = loader()
        second.load_state_dict(json.loads(found[number].state))
        assert sums(steps(second, dict)) == sums(whole)[number + 1 :], number
        if number % 5 == 1:
            assert sums(steps(second, dict)) == sums(whole), "the next epoch is a whole one"


def test_torchdata_on_other_numbers_is_refused(shards: str) -> None:
    def loader(workers: int) -> StatefulDataLoader[Any]:
        return StatefulDataLoader(masked(shards, **OPTIONS), batch_size=None, num_workers=workers)

    first = loader(2)
    batches = iter(first)
    for _ in range(3):
        next(batches)
    worker = next(iter(first.state_dict()["_snapshot"]["_worker_snapshots"].values()))["dataset_state"]
    with pytest.raises(ValueError, match=r"another ranks and workers: \[1, 2\], this stream has \[1, 1\]"):
        masked(shards, **OPTIONS).load_state_dict(worker)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_ways_to_start_workers(shards: str, whole: list[Step], method: str) -> None:
    stream = masked(shards, **OPTIONS)
    loader = stream.loader(2, multiprocessing_context=method, persistent_workers=True, prefetch_factor=1)
    assert sums(steps(loader, dict)) == sums(whole)
    loader.set_epoch(1)
    other = sums(steps(loader, dict))
    assert other != sums(whole)
    loader.load_state_dict(json.loads(whole[3].state))
    assert sums(steps(loader, dict)) == sums(whole)[4:], "workers that live are told"
    assert stream.stats()["batches"] >= 3 * len(whole) - 4, "what workers count is seen here"


def test_workers_after_the_main_process_streamed(shards: str, whole: list[Step]) -> None:
    stream = masked(shards, **OPTIONS)
    assert sums(steps(stream, dict)) == sums(whole)  # type: ignore[arg-type]
    assert sums(steps(stream.loader(2), dict)) == sums(whole)


def test_workers_after_opencv_had_threads(shards: str, whole: list[Step]) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 0)
    try:
        assert sums(steps(masked(shards, **OPTIONS).loader(1, timeout=60), dict)) == sums(whole)
    finally:
        cv2.setNumThreads(before)


def test_workers_end_with_the_loader(shards: str) -> None:
    loader = masked(shards, **OPTIONS).loader(1, persistent_workers=True)
    next(iter(loader))
    gc.collect()
    gone, _ = weakref.ref(loader), gc.disable()
    try:
        del loader
        assert gone() is None, "without the garbage collector"
    finally:
        gc.enable()


def test_batches_that_are_kept(shards: str, whole: list[Step]) -> None:
    loader = masked(shards, **OPTIONS).loader(2)
    kept = list(loader)  # more than there are slots
    assert [tuple(labels.tolist()) for _, labels, _ in kept] == [step.labels for step in whole]
    for batch in kept:
        for tensor in batch:
            tensor.zero_()
    again = list(loader)
    assert sums(steps(again, dict)) == sums(whole)  # type: ignore[arg-type]
    assert all(not tensor.any() for batch in kept for tensor in batch), "they are the loop's own"


def test_batches_come_in_memory_that_came_before(shards: str, whole: list[Step]) -> None:
    loader = masked(shards, **OPTIONS).loader(1)
    places, found = set(), []
    for images, labels, masks in loader:
        places.add(images.data_ptr())
        found.append(labels[::3].tolist())
        del images, labels, masks
    assert len(places) < len(found) / 2
    batches = iter(loader)
    one = next(batches)
    image, place = one[0][0], one[0].data_ptr()
    before = image.clone()
    del one
    assert place not in {images.data_ptr() for images, _, _ in batches}
    assert image.equal(before), "one image of a batch keeps it"


def test_pinned_memory(shards: str, whole: list[Step]) -> None:
    loader = masked(shards, **OPTIONS).loader(1, pin_memory=True)
    assert sums(steps(loader, dict)) == sums(whole), "where there is no GPU torch only warns"


def test_two_iterations_at_a_time(shards: str, whole: list[Step]) -> None:
    loader = masked(shards, **OPTIONS).loader(2)
    for (_, one, _), (_, two, _), step in zip(loader, loader, whole, strict=True):
        assert one.tolist() == two.tolist() == list(step.labels)


def test_a_pickled_stream_is_the_same(shards: str, whole: list[Step]) -> None:
    stream = pickle.loads(pickle.dumps(masked(shards, **OPTIONS)))
    assert sums(steps(stream, dict)) == sums(whole)
    loader = stream.loader(2, persistent_workers=True)
    list(loader)
    loader.set_epoch(1)
    loader.set_epoch(0)
    assert sums(steps(loader, dict)) == sums(whole)
    loader.set_epoch(1)
    assert sums(steps(loader, dict)) != sums(whole), "workers see its epoch change, too"


def test_the_length_of_a_sample(shards: str) -> None:
    assert {len(sample) for sample in masked(shards, **OPTIONS)} == {3}
    assert {len(sample) for sample in PKStream(shards, **OPTIONS)} == {2}
    assert {len(sample) for sample in PKStream(shards, **OPTIONS, transform=ToTensorWithMask())} == {2}


def test_stages_of_ones_own(shards: str) -> None:
    def darker(batches: Any) -> Any:
        for batch in batches:
            batch.images //= 2
            yield batch

    def named(batches: Any) -> Any:
        for batch in batches:
            seen.append((batch.number, [sample["__key__"] for sample in batch.samples]))
            yield batch

    plain = list(PKStream(shards, **OPTIONS, output="uint8", image_size=24))
    stream, seen = PKStream(shards, **OPTIONS, output="uint8", image_size=24), list[Any]()
    stream.insert(darker, after="transform")
    stream.insert(named, after="read")
    for (images, labels), (before, same) in zip(stream, plain, strict=True):
        assert torch.equal(images, before // 2)
        assert torch.equal(labels, same)
    assert [number for number, _ in seen] == list(range(len(plain)))
    assert all(len(set(keys)) <= 15 for _, keys in seen)
    with pytest.raises(ValueError, match="after is one of plan, read, transform"):
        stream.insert(darker, after="collate")  # type: ignore[arg-type]


def test_stages_of_ones_own_come_in_their_order(shards: str) -> None:
    def named(name: str) -> Any:
        def stage(batches: Any) -> Any:
            for batch in batches:
                order.append(name)
                yield batch

        return stage

    stream, order = PKStream(shards, **OPTIONS), list[str]()
    for name, after in (("c", "transform"), ("a", "read"), ("b", "read"), ("d", "transform")):
        stream.insert(named(name), after=after)  # type: ignore[arg-type]
    next(iter(stream))
    assert order == ["a", "b", "c", "d"]


@pytest.mark.parametrize("made", ["images", "masks"])
def test_a_stage_that_makes_tensors_of_one_only_is_told(shards: str, made: str) -> None:
    def tensors(batches: Any) -> Any:
        for batch in batches:
            setattr(batch, made, torch.from_numpy(getattr(batch, made)))
            yield batch

    stream = masked(shards, **OPTIONS)
    stream.insert(tensors, after="transform")
    with pytest.raises(TypeError, match="a stage must leave images and masks arrays"):
        next(iter(stream))


def test_a_stage_may_make_both_tensors(shards: str) -> None:
    def halves(batches: Any) -> Any:
        for batch in batches:
            batch.images, batch.masks = torch.from_numpy(batch.images).half(), torch.from_numpy(batch.masks)
            yield batch

    stream = masked(shards, **OPTIONS)
    stream.insert(halves, after="transform")
    images, _, masks = next(iter(stream))
    assert (images.dtype, tuple(images.shape), tuple(masks.shape)) == (torch.float16, (15, 24, 24, 3), (15, 24, 24))


def test_what_a_loader_cannot_be_told(shards: str) -> None:
    stream = masked(shards, **OPTIONS)
    for wrong in ({"batch_size": 4}, {"in_order": False}):
        with pytest.raises(ValueError, match="batch_size and in_order=False are not for this loader"):
            stream.loader(1, **wrong)
    assert len(stream.loader(1, batch_size=None, in_order=True)) == len(stream)


def test_a_relative_path_stays_where_it_was(shards: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(Path(shards).parent)
    stream = PKStream("out", **OPTIONS)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(list(stream.loader(1))) == len(stream)


def test_lanes_that_multiply_an_epoch_are_told(shards: str, caplog: pytest.LogCaptureFixture) -> None:
    PKStream(shards, **{**OPTIONS, "lanes": 1}).loader()
    assert "groups come twice" not in caplog.text
    PKStream(shards, **{**OPTIONS, "lanes": 40}).loader()
    assert "to fill the last batches of 40 lanes: take fewer" in caplog.text


def test_one_identity_with_many_images_is_no_fault_of_the_lanes(
    make_folder: MakeFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes in every batch, and the others come again beside it, with however few lanes."""
    convert(ImageFolder(make_folder({"many": 60, **{f"{i}": 2 for i in range(20)}})), tmp_path / "out", workers=1)
    stream = PKStream(tmp_path / "out", 4, 2)
    stream.loader()
    plan = stream.summary()
    assert plan["groups_twice"] == plan["groups_twice_least"] == 4 * 30 - 50
    assert "groups come twice" not in caplog.text


def test_mistakes_are_told_in_one_line(shards: str) -> None:
    with pytest.raises(DatasetError, match=r"train-000000\.tar is a file: give the folder"):
        PKStream(f"{shards}/train-000000.tar", 2, 2)
    with pytest.raises(TypeError, match="transform must be a callable of a PIL image, not 3"):
        PKStream(shards, 2, 2, transform=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="image_size must be a whole number"):
        PKStream(shards, 2, 2, transform=ToTensorWithMask(), image_size=-3)
    for rank in ("0", 1.0):
        with pytest.raises(ValueError, match="rank must be a whole number"):
            PKStream(shards, 2, 2, rank=rank, world_size=2)  # type: ignore[arg-type]
    for epoch in (-1, 1 << 62, "3"):
        with pytest.raises(ValueError, match="epoch must be"):
            PKStream(shards, 2, 2).set_epoch(epoch)  # type: ignore[arg-type]
    sizes = iter([10, 12] * 20)
    with pytest.raises(TypeError, match=r"images of one shape, not \(3, 10, 10\) and \(3, 12, 12\)"):
        next(iter(PKStream(shards, 2, 2, transform=lambda image: torch.zeros(3, size := next(sizes), size))))


def test_an_epoch_is_told(shards: str, whole: list[Step], caplog: pytest.LogCaptureFixture) -> None:
    loader = masked(shards, **OPTIONS).loader(2, persistent_workers=True)
    with caplog.at_level("INFO", logger="wds_face"):
        for epoch in (0, 1):
            loader.set_epoch(epoch)
            for _ in loader:
                pass
        next(iter(loader))  # one that is left is not over
    told = [record.message for record in caplog.records if "images/s" in record.message]
    assert len(told) == 2
    for epoch, line in enumerate(told):
        start = f"{shards}: epoch {epoch}: {len(whole)} batches in "
        assert re.fullmatch(
            re.escape(start) + r"[\d.,]+ s, [\d,]+ images/s; the loop waited \d+% of the time; "
            r"workers: read \d+%, decode \d+%, transform \d+%, collate \d+%, idle \d+%",
            line,
        ), line


@pytest.mark.parametrize("workers", [0, 2])
def test_where_time_goes(shards: str, whole: list[Step], workers: int) -> None:
    loader = masked(shards, **OPTIONS).loader(workers)
    begin = time.perf_counter()
    for _ in loader:
        time.sleep(0.02)
    passed, stats = time.perf_counter() - begin, loader.stats()
    assert stats["batches"] == stats["batches_taken"] == len(whole)
    assert stats["train_seconds"] >= 0.02 * len(whole)
    assert stats["train_seconds"] + stats["wait_seconds"] == pytest.approx(passed, rel=0.2)
    assert all(stats[name] > 0 for name in ("read_seconds", "decode_seconds", "transform_seconds", "collate_seconds"))
    spent = sum(stats[f"{name}_seconds"] for name in ("read", "decode", "transform", "collate", "idle"))
    assert spent < 1.2 * max(1, workers) * passed
    assert 0 <= stats["batches_ready"] <= 3 * workers * len(whole)
    if workers:
        assert stats["batches_ready"] > 0, "the loop is slow, so batches wait for it"


def turned(batches: Any) -> Any:
    """As transforms of tensors leave images: not one behind the other."""
    for batch in batches:
        planes = torch.from_numpy(batch.images).permute(0, 3, 1, 2).contiguous()
        batch.images = planes.permute(0, 2, 3, 1).numpy()
        yield batch


def as_tensors(batches: Any) -> Any:
    for batch in batches:
        batch.images = torch.from_numpy(batch.images).permute(0, 3, 1, 2)
        batch.masks = torch.from_numpy(batch.masks)[:, None]
        yield batch


def soft(batches: Any) -> Any:
    for batch in batches:
        batch.masks = batch.masks.astype(np.float32) / 300
        yield batch


def whether(batches: Any) -> Any:
    for batch in batches:
        batch.masks = batch.masks.view(bool)
        yield batch


def smaller(batches: Any) -> Any:
    for batch in batches:
        batch.images, batch.masks = batch.images[:, ::2, ::2], batch.masks[:, ::2, ::2]
        yield batch


def late(batches: Any) -> Any:
    """One behind."""
    waiting = None
    for batch in batches:
        if waiting is not None:
            yield waiting
        waiting = batch
    if waiting is not None:
        yield waiting


@pytest.mark.parametrize("options", [{"output": "uint8"}, {"output": "float", "channels": "bgr"}], ids=str)
@pytest.mark.parametrize("stage", [turned, as_tensors, soft, whether, smaller, late])
def test_what_stages_leave_is_what_comes(shards: str, stage: Any, options: dict[str, Any]) -> None:
    def batches(workers: int) -> list[Any]:
        stream = PKStream(shards, occlusion=MedicalMaskOcclusion(), image_size=24, **OPTIONS, **options)
        stream.insert(stage, after="transform")
        return list(stream.loader(workers))  # all of them kept

    for one, other in zip(batches(0), batches(2), strict=True):
        assert type(one) is type(other) is list
        for mine, same in zip(one, other, strict=True):
            assert mine.dtype == same.dtype
            assert mine.equal(same)
    if stage is turned:
        plain = PKStream(shards, occlusion=MedicalMaskOcclusion(), image_size=24, **OPTIONS, **options).loader(2)
        assert all(a[0].equal(b[0]) for a, b in zip(plain, batches(2), strict=True)), "and what was there before"


def test_stages_behind_the_last(shards: str, whole: list[Step]) -> None:
    def named(batches: Any) -> Any:
        for images, labels, masks in batches:
            yield {"images": images, "labels": labels, "masks": masks}

    stream = masked(shards, **OPTIONS)
    stream.append(named)
    found = [tuple(batch["labels"].tolist()) for batch in stream.loader(1)]
    assert found == [step.labels for step in whole]


@pytest.mark.parametrize("workers", [0, 1])
def test_stages_that_break_their_word(shards: str, workers: int) -> None:
    def twice(batches: Any) -> Any:
        for batch in batches:
            yield batch
            yield batch

    def more(batches: Any) -> Any:
        for batch in batches:
            batch.samples.append(batch.samples[0])
            yield batch

    for stage, after, message in (
        (twice, "transform", "a batch twice"),
        (more, "read", "left 16 samples in a batch of 15"),
    ):
        stream = masked(shards, **OPTIONS)
        stream.insert(stage, after=after)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=message):
            list(stream.loader(workers))


def test_labels_that_are_kept_keep_nothing_else(shards: str, whole: list[Step]) -> None:
    places, kept = set(), []
    for images, labels, _ in masked(shards, **OPTIONS).loader(1):
        places.add(images.data_ptr())
        kept.append(labels)
        del images, _
    assert [tuple(labels.tolist()) for labels in kept] == [step.labels for step in whole]
    assert len(places) < len(kept) / 2


def test_a_loader_is_pickled(shards: str, whole: list[Step]) -> None:
    loader = masked(shards, **OPTIONS).loader(1)
    assert sums(steps(loader, dict)) == sums(whole)
    again = pickle.loads(pickle.dumps(loader))
    again.sampler.set_epoch(1)
    assert again.stream.epoch == 1
    assert loader.stream.epoch == 0
    assert sums(steps(again, dict)) != sums(whole)


def test_where_memory_without_a_name_is_refused(
    shards: str, whole: list[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.memfd_create", refuse, raising=False)
    assert sums(steps(masked(shards, **OPTIONS).loader(2), dict)) == sums(whole)
