"""Segments hold the images that the files hold, wherever they lie, and no more of them than there is room for."""

from __future__ import annotations

import os
import tarfile
import weakref
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
import webdataset as wds

from tests.support import MakeFolder
from wds_face import DatasetError, ImageFolder, Index, Options, PKStream, adopt, convert
from wds_face.decoding import decode
from wds_face.stream.batch import Batch
from wds_face.stream.fetched import FetchedRanges
from wds_face.stream.plan import GROUP, cut_segments
from wds_face.stream.ranges import LocalRanges, Ranges, open_ranges
from wds_face.stream.reader import Reader
from wds_face.stream.segments import Segments

#: Identities with 1 to 6 images; no two images are the same.
COUNTS = {f"person {i:02d}": 1 + i % 6 for i in range(16)}
_FDS = Path("/proc/self/fd")


@pytest.fixture
def faces(make_folder: MakeFolder) -> Path:
    return make_folder(COUNTS)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[str]:
    """A URL in fsspec's memory, emptied afterwards."""
    yield f"memory:/{tmp_path}"
    if (system := fsspec.filesystem("memory")).exists(str(tmp_path)):
        system.rm(str(tmp_path), recursive=True)


@pytest.fixture(params=["local", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path, memory: str) -> str:
    return memory if request.param == "memory" else str(tmp_path / "out")


def files_of(faces: Path, least: int = 1) -> dict[str, list[bytes]]:
    """The images of each identity that has enough, by name."""
    found = {folder.name: [path.read_bytes() for path in sorted(folder.iterdir())] for folder in faces.iterdir()}
    return {name: images for name, images in found.items() if len(images) >= least}


def opened(index: Index, size: int, least: int = 1, **options: Any) -> tuple[Segments, Any]:
    rows = index.identities[index.identities["images"] >= least]
    names = [shard.name for shard in index.shards]
    options = {"ranges": open_ranges(index.store, index.shards), "labels": "cls", "buffer_bytes": 1 << 30, **options}
    cuts = cut_segments(rows["shard"], rows["nbytes"], size)
    return Segments(names=names, rows=rows, cuts=cuts, where=str(index.store), **options), rows


def images_in(segments: Segments, rows: Any, row: int) -> tuple[list[str], list[bytes]]:
    """Keys and images of a row."""
    reader = Reader(segments, rows)
    batch = Batch((0, 0, 0), np.array([(row, 0, False)], GROUP), np.arange(rows["images"][row])[None])
    reader.read(batch)
    assert {sample["cls"] for sample in batch.samples} == {int(rows["label"][row])}
    _, segment = segments.get(int(segments.find(np.array([row]))[0]))
    assert {sample["__url__"] for sample in batch.samples} == {segment.url}
    return [sample["__key__"] for sample in batch.samples], [bytes(sample["image"]) for sample in batch.samples]


def batches(url: str | Path, workers: int = 0, epochs: int = 1, **options: Any) -> tuple[list[Any], dict[str, int]]:
    stream = PKStream(url, **{"p": 4, "k": 2, "image_size": 24, "output": "uint8", **options})
    loader, found = stream.loader(num_workers=workers), []
    for number in range(epochs):
        loader.set_epoch(number)
        found += list(loader)
    return found, loader.stats()


def pictures(found: list[Any], classes: list[str]) -> set[tuple[str, bytes]]:
    return {
        (classes[label], image.permute(1, 2, 0).numpy().tobytes())
        for images, labels in found
        for image, label in zip(images, labels.tolist(), strict=True)
    }


def decoded(files: dict[str, list[bytes]]) -> set[tuple[str, bytes]]:
    arrays = [(name, decode(data)) for name, images in files.items() for data in images]
    return {(name, array.tobytes()) for name, array in arrays if array is not None}


def assert_same(one: list[Any], two: list[Any]) -> None:
    assert len(one) == len(two) > 0
    for a, b in zip(one, two, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("labels", ["cls", "key"])
@pytest.mark.parametrize("least", [1, 4])
@pytest.mark.parametrize("size", [1, 7000, 1 << 20])
def test_images_and_keys_are_those_of_the_files(faces: Path, url: str, labels: Any, least: int, size: int) -> None:
    convert(ImageFolder(faces), url, Options(shard_size=30_000, labels=labels), workers=1)
    index = Index.open(url)
    assert len(index.shards) > 1
    segments, rows = opened(index, size, least)
    assert isinstance(segments.ranges, FetchedRanges if url.startswith("memory:") else LocalRanges)
    found = {}
    for row in np.random.default_rng(0).permutation(len(rows)).tolist() * 2:
        keys, images = images_in(segments, rows, row)
        label = int(rows["label"][row])
        found[index.classes[label]] = images
        assert keys == [f"{label:07d}/{image:06d}" for image in range(len(images))]
    assert found == files_of(faces, least)


@pytest.mark.parametrize("labels", ["cls", "key"])
def test_identities_that_are_left_out_lie_between_others(faces: Path, tmp_path: Path, labels: Any) -> None:
    """All are in one shard, so that a segment reaches over those with too few images."""
    convert(ImageFolder(faces), tmp_path / "out", Options(labels=labels), workers=1)
    index = Index.open(tmp_path / "out")
    kept = index.identities["images"] >= 4
    assert (np.diff(kept.astype(int)) != 0).sum() > 3
    found, _ = batches(tmp_path / "out", min_images=4)
    classes = [name for name in index.classes if len(os.listdir(faces / name)) >= 4]
    assert pictures(found, classes) == decoded(files_of(faces, 4))


@pytest.mark.parametrize("options", [{}, {"mtime": 0}])
def test_adopted_shards(faces: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    """webdataset's writer notes the time, in PAX headers, if it is not told which."""
    files = files_of(faces)
    (tmp_path / "s").mkdir()
    for part in range(2):
        with wds.TarWriter(str(tmp_path / "s" / f"{part}.tar"), **options) as writer:
            for label, name in list(enumerate(sorted(files)))[part::2]:
                for i, data in enumerate(files[name]):
                    key = f"{'deep/' * 30 * part}v1.5/{name}/{i}"
                    writer.write({"__key__": key, "seg.png": b"", "json": {}, "jpg": data, "cls": label, "z": "ä"})
    with tarfile.open(tmp_path / "s" / "0.tar") as tar:
        assert bool(next(iter(tar)).pax_headers) != bool(options)
    index = adopt(tmp_path / "s", workers=1)
    found, _ = batches(tmp_path / "s")
    assert pictures(found, sorted(files)) == decoded(files)
    segments, rows = opened(index, 1 << 20)
    for row in range(len(rows)):
        name, part = sorted(files)[rows["label"][row]], int(rows["shard"][row])
        keys, images = images_in(segments, rows, row)
        assert images == files[name]
        assert keys == [f"{'deep/' * 30 * part}v1.5/{name}/{i}" for i in range(len(images))]


@pytest.mark.parametrize("labels", ["cls", "key"])
def test_batches_do_not_depend_on_where_the_shards_lie(faces: Path, tmp_path: Path, memory: str, labels: Any) -> None:
    options = Options(shard_size=20_000, labels=labels)
    for url in (str(tmp_path / "out"), memory):
        convert(ImageFolder(faces), url, options, workers=1)
    index = Index.open(memory)
    nbytes = int(index.identities["nbytes"].sum())
    local, read = batches(tmp_path / "out", epochs=2)
    assert (read["bytes_fetched"], read["bytes_fetched_again"]) == (0, 0)

    roomy, read = batches(memory, epochs=2)
    assert_same(roomy, local)
    assert (read["bytes_fetched"], read["bytes_fetched_again"]) == (nbytes, 0)

    tight, read = batches(memory, epochs=2, buffer_bytes=1)
    assert_same(tight, local)
    assert read["bytes_fetched_again"] > 0
    assert read["bytes_fetched"] == nbytes + read["bytes_fetched_again"]

    workers, read = batches(memory, workers=2, epochs=2, buffer_bytes=1)
    assert_same(workers, local)
    assert read["bytes_fetched"] > nbytes


class Alive:
    """Ranges that count how many of the bytes that they gave are still in memory, and how many of those made of them.

    Attributes:
        fetched, kept: bytes that are in memory.
        most, largest: that were kept at a time, and in a piece.
    """

    copied = True
    depth = 4

    def __init__(self, ranges: Ranges) -> None:
        self._ranges, self.requests = ranges, 0
        self.fetched = self.kept = self.most = self.largest = 0
        self._known: list[weakref.ref[memoryview]] = []
        self.spans: set[tuple[int, int, int]] = set()

    def check(self, shards: Collection[int]) -> None:
        self._ranges.check(shards)

    def ahead(self, shard: int, start: int, end: int) -> None:
        self._ranges.ahead(shard, start, end)

    def forget(self) -> None:
        self._ranges.forget()

    def counts(self) -> dict[str, int]:
        return {}

    def _dropped(self, nbytes: int) -> None:
        self.fetched -= nbytes

    def _gone(self, nbytes: int) -> None:
        self.kept -= nbytes

    def read(self, shard: int, start: int, end: int) -> memoryview:
        data = np.frombuffer(self._ranges.read(shard, start, end), np.uint8).copy()
        weakref.finalize(data, self._dropped, len(data))
        self.spans.add((shard, start, end))
        self.fetched, self.requests = self.fetched + len(data), self.requests + 1
        return data.data

    def get(self, segments: Segments, number: int) -> None:
        view, _ = segments.get(number)
        if not any(view is known() for known in self._known):
            self._known.append(weakref.ref(view))
            weakref.finalize(view, self._gone, len(view))
            self.kept, self.largest = self.kept + len(view), max(self.largest, len(view))
        self.most = max(self.most, self.kept)


@pytest.mark.parametrize("limit", [1, 10_000, 30_000, 1 << 30])
def test_no_more_is_kept_than_there_is_room_for(faces: Path, tmp_path: Path, limit: int) -> None:
    convert(ImageFolder(faces), tmp_path / "out", Options(shard_size=20_000), workers=1)
    index = Index.open(tmp_path / "out")
    alive = Alive(open_ranges(index.store, index.shards))
    segments, rows = opened(index, 1, ranges=alive, buffer_bytes=limit)
    rng, files = np.random.default_rng(0), files_of(faces)
    for row in rng.integers(len(rows), size=300).tolist():
        alive.get(segments, int(segments.find(np.array([row]))[0]))
        assert alive.fetched == 0, "nothing of the tar stays"
        assert alive.kept <= max(limit, alive.largest)
    assert sum(end - start for _, start, end in alive.spans) == rows["nbytes"].sum()
    if limit == 1 << 30:
        everything = sum(len(data) + len("0000000/000000") for images in files.values() for data in images)
        assert (alive.most, alive.requests) == (everything, len(rows))
    else:
        assert alive.requests > len(rows)
        assert alive.most > min(limit, alive.largest) / 2, "what there is room for is used"


def test_the_latest_stay_the_longest(faces: Path, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "out", workers=1)
    index = Index.open(tmp_path / "out")
    alive = Alive(open_ranges(index.store, index.shards))
    room = int(np.sort(index.identities["nbytes"])[-3:].sum()) + 3000
    segments, _ = opened(index, 1, ranges=alive, buffer_bytes=room)
    for number in (0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0):
        segments.get(number)
    assert alive.requests == 6, "0 is read once"


@pytest.mark.skipif(not _FDS.is_dir(), reason="counts open files in /proc")
def test_more_shards_than_may_be_open(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({f"{i:03d}": 1 for i in range(420)})
    convert(ImageFolder(root), tmp_path / "out", Options(shard_size=1), workers=1)
    index = Index.open(tmp_path / "out")
    assert len(index.shards) == 420
    wanted, before, most = decoded(files_of(root)), len(os.listdir(_FDS)), 0
    stream = PKStream(tmp_path / "out", p=3, k=1, image_size=24, output="uint8")
    for number in range(2):
        stream.set_epoch(number)
        seen = set()
        for images, labels in stream:
            most = max(most, len(os.listdir(_FDS)) - before)
            for image, label in zip(images, labels.tolist(), strict=True):
                name = index.classes[label]
                assert (name, image.permute(1, 2, 0).numpy().tobytes()) in wanted
                seen.add(name)
        assert len(seen) == 420
    assert most < 300


@pytest.mark.parametrize("change", ["images", "label", "offset", "nbytes"])
def test_an_index_that_says_something_else_is_noticed(faces: Path, url: str, change: str) -> None:
    convert(ImageFolder(faces), url, workers=1)
    index = Index.open(url)
    rows = index.identities
    rows[change][7] += 512 if change in ("offset", "nbytes") else 1
    segments, _ = opened(index, 1)
    name = index.shards[0].name
    with pytest.raises(DatasetError, match=rf"{name}: .*: run `wds-face verify`"):
        segments.get(7)
    assert len(images_in(segments, rows, 6)[1]) == rows["images"][6], "others are still there"


def test_labels_are_not_looked_for_where_there_are_none(faces: Path, tmp_path: Path) -> None:
    """With labels in the key alone there is nothing to check, and other people's ``.cls`` may be anything."""
    convert(ImageFolder(faces), tmp_path / "out", workers=1)
    index = Index.open(tmp_path / "out")
    index.identities["label"] += 1
    segments, rows = opened(index, 1, labels="json")
    assert [len(images_in(segments, rows, row)[1]) for row in range(len(rows))] == rows["images"].tolist()


@pytest.mark.parametrize("size", [None, 0, 700])
def test_a_shard_that_is_gone_or_short(faces: Path, url: str, size: int | None) -> None:
    convert(ImageFolder(faces), url, workers=1)
    index = Index.open(url)
    name = index.shards[0].name
    data = index.store.read(name)
    index.store.remove(name)
    if size is not None:
        index.store.put(name, data[:size])
    segments, rows = opened(index, 1)
    with pytest.raises(DatasetError, match=name):
        segments.get(len(rows) - 1)


def test_what_makes_a_store_be_read_more_often_is_said(
    faces: Path, memory: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for url in (memory, str(tmp_path / "out")):
        convert(ImageFolder(faces), url, workers=1)
        with caplog.at_level("WARNING", "wds_face"):
            PKStream(url, p=1, k=2, image_size=24, lanes=2).loader(2)
            assert not caplog.records, url
            PKStream(url, p=1, k=2, image_size=24, lanes=2, buffer_bytes=1000).loader(2)
            PKStream(url, p=1, k=2, image_size=24, lanes=2, world_size=3, rank=0).loader(2)
        said = [record.getMessage() for record in caplog.records]
        if url == memory:
            assert "the lanes of a reader mix 0 MB at a time, more than its buffer_bytes" in said[0]
            assert "each byte is read 3 times, by as many of the 6 readers" in said[1]
        else:
            assert said == [], "what is mapped costs nothing"
        caplog.clear()
