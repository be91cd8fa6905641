"""Labels, their number and their names, where identities are left out too; and which row of the index each is."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.support import MakeFolder
from wds_face import DataModule, ImageFolder, Index, Options, PKStream, convert

COUNTS = {"anna": 1, "bert": 4, "cleo": 2, "dora": 6, "emil": 1, "fred": 3, "gina": 5, "hans": 2}
KEPT = ["bert", "dora", "fred", "gina"]  # of three images or more


@pytest.fixture
def shards(make_folder: MakeFolder, tmp_path: Path) -> Path:
    convert(ImageFolder(make_folder(COUNTS)), tmp_path / "out", Options(), workers=1)
    return tmp_path / "out"


def stream(shards: Path, **options: Any) -> PKStream:
    return PKStream(shards, p=2, k=2, image_size=24, output="uint8", **options)


def pictures(batches: Any, names: list[str]) -> set[tuple[str, bytes]]:
    return {
        (names[label], image.numpy().tobytes())
        for images, labels in batches
        for image, label in zip(images, labels.tolist(), strict=True)
    }


def test_all_identities_have_the_labels_of_the_index(shards: Path) -> None:
    for labels in (None, "index", "compact"):
        whole = stream(shards, labels=labels)
        assert (whole.num_classes, whole.classes) == (8, list(COUNTS))
        assert {int(label) for _, batch in whole for label in batch} == set(range(8))
        assert whole.loader().num_classes == 8
        assert whole.loader().classes == list(COUNTS)


@pytest.mark.parametrize("workers", [0, 1])
def test_labels_are_compact_where_identities_are_left_out(shards: Path, workers: int) -> None:
    few = stream(shards, min_images=3)
    assert (few.num_classes, few.classes) == (4, KEPT)
    batches = list(few.loader(workers))
    assert {int(label) for _, labels in batches for label in labels} == {0, 1, 2, 3}
    assert all(labels.dtype == torch.int64 for _, labels in batches)
    indexed = stream(shards, min_images=3, labels="index")
    assert (indexed.num_classes, indexed.classes) == (8, list(COUNTS))
    assert pictures(indexed.loader(workers), indexed.classes) == pictures(batches, few.classes), "the same people"
    same = stream(shards, min_images=3, labels="compact")
    assert all(one[1].equal(other[1]) for one, other in zip(batches, same.loader(), strict=True))
    head = nn.CrossEntropyLoss()
    for _, labels in batches:
        head(torch.randn(len(labels), few.num_classes), labels)


def test_samples_have_the_label_that_is_streamed(shards: Path) -> None:
    few = stream(shards, min_images=3)
    seen = []

    def look(batches: Any) -> Iterator[Any]:
        for batch in batches:
            assert [sample["cls"] for sample in batch.samples] == batch.labels.tolist()
            seen.extend(batch.labels.tolist())
            yield batch

    few.insert(look, after="read")
    assert [label for _, labels in few for label in labels.tolist()] == seen
    assert set(seen) == {0, 1, 2, 3}


def test_names_are_read_when_they_are_asked_for(shards: Path) -> None:
    (shards / "classes.tsv").unlink()
    assert len(list(stream(shards, min_images=3).loader(1))) > 0


def test_a_stream_keeps_its_labels_when_it_is_pickled(shards: Path) -> None:
    few = pickle.loads(pickle.dumps(stream(shards, min_images=3)))
    assert (few.num_classes, few.classes) == (4, KEPT)
    assert {int(label) for _, labels in few for label in labels} == {0, 1, 2, 3}


@pytest.mark.parametrize("labels", ["dense", 1, ["compact"]])
def test_other_labels_are_refused(shards: Path, labels: Any) -> None:
    with pytest.raises(ValueError, match=r'^labels is "compact" or "index", not '):
        stream(shards, labels=labels)


def test_states_of_other_labels_are_refused(shards: Path) -> None:
    compact, index = stream(shards, min_images=3), stream(shards, min_images=3, labels="index")
    with pytest.raises(
        ValueError, match="the state is of compact labels, this stream has index labels: give labels='compact'"
    ):
        index.load_state_dict(compact.state_dict())
    with pytest.raises(
        ValueError, match="the state is of index labels, this stream has compact labels: give labels='index'"
    ):
        compact.load_state_dict(index.state_dict())
    before = {name: value for name, value in index.state_dict().items() if name != "labels"}
    index.load_state_dict(before)  # of a version whose labels were always those of the index
    with pytest.raises(ValueError, match="give labels='index'"):
        compact.load_state_dict(before)
    stream(shards).load_state_dict(stream(shards, labels="compact").state_dict())  # all are there: the same labels


def test_the_data_module_has_the_labels_of_its_stream(shards: Path, tmp_path: Path) -> None:
    for options in ({}, {"min_images": 3}, {"min_images": 3, "labels": "index"}):
        data = DataModule(
            shards, batch_size=4, num_instances=2, num_workers=0, occlusion=None, image_size=24, **options
        )  # type: ignore[arg-type]
        alone = data.num_classes, data.classes
        loader = data.train_dataloader()
        assert alone == (loader.num_classes, loader.classes)  # type: ignore[attr-defined]
        assert max(int(labels.max()) for _, labels in loader) < data.num_classes
    folders = DataModule(train_data_path=tmp_path / "faces", num_workers=0)
    assert (folders.num_classes, folders.classes) == (8, list(COUNTS))


@pytest.mark.parametrize("min_images", [1, 3])
@pytest.mark.parametrize("after", ["plan", "read", "transform"])
def test_rows_are_those_of_the_index(shards: Path, after: Any, min_images: int) -> None:
    index = Index.open(shards)
    some = stream(shards, min_images=min_images)
    named: list[list[str]] = []

    def look(batches: Any) -> Iterator[Any]:
        for batch in batches:
            labels = index.identities["label"][batch.groups["row"]]
            named.append([index.classes[label] for label in labels.tolist()])
            yield batch

    some.insert(look, after=after)
    streamed = [[some.classes[label] for label in labels[::2].tolist()] for _, labels in some]
    assert named == streamed
    assert {name for batch in named for name in batch} == {name for name in COUNTS if COUNTS[name] >= min_images}


def test_a_stage_may_put_other_rows_of_the_index_into_a_batch(shards: Path) -> None:
    index = Index.open(shards)
    rows = {index.classes[label]: row for row, label in enumerate(index.identities["label"].tolist())}

    def always(names: list[str]) -> Any:
        def stage(batches: Any) -> Iterator[Any]:
            for batch in batches:
                batch.groups["row"] = [rows[name] for name in names]
                batch.chosen[:] = [0, 1]
                yield batch

        return stage

    few = stream(shards, min_images=3)
    few.insert(always(["gina", "bert"]), after="plan")
    assert {tuple(few.classes[label] for label in labels.tolist()) for _, labels in few} == {
        ("gina", "gina", "bert", "bert")
    }
    few = stream(shards, min_images=3)
    few.insert(always(["gina", "cleo"]), after="plan")
    with pytest.raises(ValueError, match=f"put row {rows['cleo']} into a batch: .* min_images leaves it out"):
        list(few)


def test_who_replaces_others_has_a_row_of_the_index(shards: Path) -> None:
    """No image of one identity can be decoded, so that another takes its place."""
    index = Index.open(shards)
    some = stream(shards, min_images=3)
    broken = index.classes.index("dora")
    row = int(np.flatnonzero(index.identities["label"] == broken)[0])
    begin, size = int(index.identities["offset"][row]), int(index.identities["nbytes"][row])
    file = shards / index.shards[int(index.identities["shard"][row])].name
    data = bytearray(file.read_bytes())
    part = bytes(data[begin : begin + size]).replace(b"\xff\xd8", b"\x00\x00")
    data[begin : begin + size] = part
    file.write_bytes(data)
    rows = []

    def look(batches: Any) -> Iterator[Any]:
        for batch in batches:
            names = [index.classes[label] for label in index.identities["label"][batch.groups["row"]].tolist()]
            rows.append((names, [some.classes[label] for label in batch.labels[::2].tolist()]))
            yield batch

    some.insert(look, after="transform")
    list(some)
    assert all(names == streamed for names, streamed in rows)
    assert not any("dora" in names for names, _ in rows)
    assert some.stats()["identities_replaced"] > 0
