"""Promises 1 to 3: full batches of different identities, everything once but for what is stated, exact lengths."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset as wds
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.resuming import Job, fresh, merged, streamed
from tests.support import MakeFolder
from wds_face import ImageFolder, Index, PKStream, convert
from wds_face.stream import Batch
from wds_face.stream.lanes import default_lanes, epoch_length, reading_factor, summary


def read(stream: PKStream) -> list[Batch]:
    """The batches with their encoded samples: the first two stages of the stream, used alone."""
    return list(wds.DataPipeline(*stream.pipeline[:2]))


def check(stream: PKStream, p: int, k: int) -> tuple[Counter[str], Counter[int], list[Batch]]:
    """Promise 1; how often each key came, each identity, and the batches that were filled."""
    keys, labels, filled = Counter[str](), Counter[int](), []
    batches = read(stream)
    assert len(batches) == len(stream)
    for batch in batches:
        groups = np.array([sample["cls"] for sample in batch.samples]).reshape(p, k)
        assert (groups == groups[:, :1]).all()
        assert len(set(groups[:, 0].tolist())) == p
        keys.update(sample["__key__"] for sample in batch.samples)
        labels.update(groups[:, 0].tolist())
        if batch.groups["fill"].any():
            filled.append(batch)
    return keys, labels, filled


@pytest.fixture(scope="module")
def lfw_shards(lfw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    convert(ImageFolder(lfw), tmp_path_factory.mktemp("lfw") / "shards", workers=2)
    return next(tmp_path_factory.getbasetemp().glob("lfw*/shards"))


@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 5, 6, 7, 8, None])
def test_every_image_of_lfw_comes(lfw_shards: Path, lanes: int | None) -> None:
    stream = PKStream(lfw_shards, p=16, k=4, lanes=lanes)
    keys, _, filled = check(stream, 16, 4)
    assert len(keys) == 13_233
    said = stream.summary()
    assert sum(keys.values()) == 13_233 + said["images_twice"] + 4 * said["groups_twice"]
    assert len(filled) < 0.05 * len(stream)
    assert sum(int(batch.groups["fill"].sum()) for batch in filled) == said["groups_twice"] < 0.05 * 16 * len(stream)


@pytest.mark.parametrize("lanes", [1, 3, 8, None])
def test_every_identity_of_lfw_comes_once(lfw_shards: Path, lanes: int | None) -> None:
    stream = PKStream(lfw_shards, p=16, k=4, epoch="identities", lanes=lanes)
    _, labels, _ = check(stream, 16, 4)
    assert len(labels) == 5_749
    twice = sum(labels.values()) - 5_749
    assert twice == stream.summary()["groups_twice"] <= stream.summary()["lanes"] * 16
    images = {int(row["label"]): int(row["images"]) for row in Index.open(lfw_shards).identities}
    for batch in read(stream):
        for i in range(0, 64, 4):
            group = batch.samples[i : i + 4]
            assert len({sample["__key__"] for sample in group}) == min(4, images[group[0]["cls"]])


def test_400_identities_on_8_ranks_with_4_workers_each(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder({f"{i:03d}": 1 + i % 5 for i in range(400)})
    convert(ImageFolder(folder), tmp_path / "out", workers=1)
    options: dict[str, Any] = {"p": 64, "k": 4}
    url = str(tmp_path / "out")
    for epoch in ("images", "identities"):
        keys, labels, _ = check(PKStream(url, epoch=epoch, **options), 64, 4)
        assert len(labels) == 400
        if epoch == "images":
            assert len(keys) == 1200
        whole = streamed(Job(url, {**options, "epoch": epoch}))[0]
        (ranks,) = fresh([Job(url, {**options, "epoch": epoch}, 8, 4)])
        assert [step.sums for step in merged(ranks)][: len(whole)] == [step.sums for step in whole]
        (again,) = fresh([Job(url, {**options, "epoch": epoch}, 8, 4, 0, whole[2].state)])
        assert [step.sums for step in merged(again)][: len(whole) - 3] == [step.sums for step in whole[3:]]
        assert json.loads(ranks[0][-1].state)["batch"] == len(whole)


def test_identities_with_few_images_can_be_left_out(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder({f"{i:02d}": 1 + i % 5 for i in range(50)})
    convert(ImageFolder(folder), tmp_path / "out", workers=1)
    keys, labels, _ = check(PKStream(tmp_path / "out", p=6, k=3, min_images=3), 6, 3)
    assert set(labels) == set(range(30)), "labels have no gaps"
    assert len(keys) == 10 * (3 + 4 + 5)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=300),
    st.integers(1, 70),
    st.integers(1, 6),
    st.booleans(),
    st.tuples(st.integers(1, 9), st.integers(0, 6)),
)
def test_what_an_epoch_will_be(images: list[int], p: int, k: int, every: bool, ranks: tuple[int, int]) -> None:
    world, workers = ranks
    counts = np.array(images)
    lanes = default_lanes(counts, p, k, every)
    assert lanes == 1 or (len(images) >= 4 * p * lanes and epoch_length(counts, p, k, every, lanes) >= 40)
    said = summary(counts, p, k, every, lanes, world_size=world, num_workers=workers)
    assert said["batches"] * world - said["batches_twice"] == epoch_length(counts, p, k, every, lanes) * lanes
    assert 0 <= said["batches_twice"] < world
    assert said["groups"] + said["groups_twice"] == (said["batches"] * world - said["batches_twice"]) * p
    readers = world * max(1, workers)
    assert said["reading_factor"] == reading_factor(lanes, readers)
    visited = [{g % lanes for g in range(first, readers * lanes, readers)} for first in range(readers)]
    assert {sum(lane in seen for seen in visited) for lane in range(lanes)} == {said["reading_factor"]}
