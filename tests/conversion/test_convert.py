"""The whole of a conversion: what is in the shards, the same bytes every time, nothing of anybody's overwritten."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pytest
import webdataset as wds

import wds_face
from tests.support import MakeFolder, sums
from wds_face import DatasetError, ImageFolder, Index, Options, SourceError, WebDataset, convert, verify

SMALL = Options(shard_size=8_000)


def samples(folder: Path) -> list[dict[str, bytes]]:
    """Every sample, as plain webdataset reads it."""
    urls = sorted(str(path) for path in folder.glob("*.tar"))
    return list(wds.WebDataset(urls, shardshuffle=False, empty_check=False))


def contents(folder: Path) -> list[tuple[str, bytes]]:
    """(name of identity, image) of every sample, by way of the labels and classes.tsv."""
    classes = Index.open(folder).classes
    return sorted((classes[int(sample["cls"])], sample["jpg"]) for sample in samples(folder))


def source_contents(root: Path) -> list[tuple[str, bytes]]:
    return sorted((path.parent.name, path.read_bytes()) for path in root.glob("*/*.jpg"))


def test_every_image_arrives_byte_for_byte(faces: Path, tmp_path: Path) -> None:
    report = convert(ImageFolder(faces), tmp_path / "out", SMALL, workers=1)
    assert contents(tmp_path / "out") == source_contents(faces)
    assert report.skipped == []
    assert report.index.images == 66
    assert len(report.index.shards) > 3
    assert verify(tmp_path / "out", deep=True) == []


def test_labels_are_those_of_torchvision(faces: Path, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder as Torchvision

    convert(ImageFolder(faces), tmp_path / "out", workers=1)
    classes = Index.open(tmp_path / "out").classes
    assert {name: label for label, name in enumerate(classes)} == Torchvision(str(faces)).class_to_idx


def test_identities_are_runs_where_the_index_says(faces: Path, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "out", SMALL, workers=1)
    index = Index.open(tmp_path / "out")
    assert sorted(index.identities["label"].tolist()) == list(range(20))
    for row in index.identities:
        tar = (tmp_path / "out" / index.shards[row["shard"]].name).read_bytes()
        run = tar[row["offset"] : row["offset"] + row["nbytes"]]
        assert run.startswith(b"%07d/000000.jpg\0" % row["label"])
        assert run.count(b"%07d/" % row["label"]) == 2 * row["images"]
    assert sum(shard.images for shard in index.shards) == 66


def test_the_manifest_is_a_wids_shard_list(faces: Path, tmp_path: Path) -> None:
    from wids import ShardListDataset

    convert(ImageFolder(faces), tmp_path / "out", SMALL, workers=1)
    manifest = json.loads((tmp_path / "out" / "index.json").read_text())
    assert manifest["wids_version"] == 1
    dataset = ShardListDataset(str(tmp_path / "out" / "index.json"), cache_dir=str(tmp_path / "cache"), keep=True)
    assert len(dataset) == 66
    assert sorted(int(dataset[i][".cls"]) for i in range(66)) == sorted(
        int(s["cls"]) for s in samples(tmp_path / "out")
    )


def test_labels_in_the_key_only(faces: Path, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "key", Options(labels="key"), workers=1)
    convert(ImageFolder(faces), tmp_path / "cls", workers=1)
    found = samples(tmp_path / "key")
    assert not any("cls" in sample for sample in found)
    by_key = sorted((int(sample["__key__"].split("/")[0]), sample["jpg"]) for sample in found)
    assert by_key == sorted((int(sample["cls"]), sample["jpg"]) for sample in samples(tmp_path / "cls"))
    assert verify(tmp_path / "key") == []
    sizes = {name: sum(shard.nbytes for shard in Index.open(tmp_path / name).shards) for name in ("key", "cls")}
    assert sizes["cls"] - sizes["key"] > 66 * 1000


def test_the_bytes_do_not_depend_on_who_does_the_work(faces: Path, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "one", SMALL, workers=1)
    convert(ImageFolder(faces), tmp_path / "two", SMALL, workers=3)
    with ThreadPoolExecutor(4) as threads:
        convert(ImageFolder(faces), tmp_path / "threads", SMALL, executor=threads)
    assert sums(tmp_path / "one") == sums(tmp_path / "two") == sums(tmp_path / "threads")


def test_another_seed_is_another_order_of_the_same_images(faces: Path, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "a", Options(seed=1, shard_size=8000), workers=1)
    convert(ImageFolder(faces), tmp_path / "b", Options(seed=2, shard_size=8000), workers=1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert not np.array_equal(Index.open(tmp_path / "a").identities, Index.open(tmp_path / "b").identities)


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield f"file://{tmp_path}/there" if request.param == "file" else "memory://there"
    fsspec.filesystem("memory").store.clear()


def test_any_url_gets_the_same_bytes(faces: Path, tmp_path: Path, url: str) -> None:
    convert(ImageFolder(faces), url, SMALL, workers=2)
    convert(ImageFolder(faces), tmp_path / "here", SMALL, workers=1)
    fs, root = fsspec.core.url_to_fs(url)
    there = {name.rsplit("/", 1)[-1]: fs.cat_file(name) for name in fs.find(root)}
    assert there == {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()}
    assert verify(url, workers=2) == []


def test_a_finished_set_is_left_alone(faces: Path, tmp_path: Path) -> None:
    first = convert(ImageFolder(faces), tmp_path / "out", SMALL, workers=1)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    again = convert(ImageFolder(faces), tmp_path / "out", SMALL, workers=1)
    assert again.written == 0
    assert first.written == len(first.index.shards)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == times


def test_another_set_is_refused_unless_told(faces: Path, make_folder: MakeFolder, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "out", SMALL, workers=1)
    other = make_folder({"x": 2, "y": 1}, "other")
    before = sums(tmp_path / "out")
    for options in (SMALL, Options(name="val")):
        with pytest.raises(DatasetError, match="holds another data set"):
            convert(ImageFolder(other), tmp_path / "out", options, workers=1)
    assert sums(tmp_path / "out") == before
    convert(ImageFolder(other), tmp_path / "out", Options(name="val"), workers=1, overwrite=True)
    assert contents(tmp_path / "out") == source_contents(other)
    assert not list((tmp_path / "out").glob("train-*")), "shards of the old set under another name must go too"
    assert verify(tmp_path / "out") == []


def test_shards_of_somebody_else_are_not_overwritten(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train-000000.tar").write_bytes(b"precious")
    with pytest.raises(DatasetError, match=r"train-000000\.tar"):
        convert(ImageFolder(faces), tmp_path / "out", workers=1)
    assert (tmp_path / "out" / "train-000000.tar").read_bytes() == b"precious"


def test_other_files_in_the_folder_stay(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README").write_text("mine")
    convert(ImageFolder(faces), tmp_path / "out", workers=1, overwrite=True)
    assert (tmp_path / "out" / "README").read_text() == "mine"


def test_a_destination_within_the_source_is_refused(faces: Path, tmp_path: Path) -> None:
    for dest in (faces, faces / "out"):
        with pytest.raises(DatasetError, match="within the source"):
            convert(ImageFolder(faces), dest, workers=1)
    convert(ImageFolder(faces), tmp_path / "out", workers=1)
    # shards in sub-folders are read too
    for dest in (tmp_path / "out", tmp_path / "out" / "again"):
        with pytest.raises(DatasetError, match="within the source"):
            convert(WebDataset(str(tmp_path / "out")), dest, workers=1)
    shard = tmp_path / "out" / "train-000000.tar"
    convert(WebDataset(str(shard)), tmp_path / "out" / "again", workers=1)


def test_few_images(faces: Path, tmp_path: Path) -> None:
    report = convert(ImageFolder(faces), tmp_path / "out", Options(min_images=3), workers=1)
    expected = [(name, data) for name, data in source_contents(faces) if int(name[-2:]) % 6 >= 2]
    assert contents(tmp_path / "out") == expected
    assert [item.item for item in report.skipped] == [f"person {i:02d}" for i in range(20) if i % 6 < 2]
    with pytest.raises(SourceError, match="7 images"):
        convert(ImageFolder(faces), tmp_path / "none", Options(min_images=7), workers=1)


def test_an_identity_whose_images_are_all_bad_leaves_no_gap(faces: Path, tmp_path: Path) -> None:
    """That is only known when they are read, after the labels were given."""
    for name in ("person 03", "person 10"):
        for path in (faces / name).iterdir():
            path.write_bytes(path.read_bytes()[:-20])
    report = convert(ImageFolder(faces), tmp_path / "out", SMALL, workers=2, max_skipped=9)
    bad = {"person 03", "person 10"}
    assert contents(tmp_path / "out") == [row for row in source_contents(faces) if row[0] not in bad]
    assert sorted(report.index.identities["label"].tolist()) == list(range(18))
    assert verify(tmp_path / "out", deep=True) == []
    assert {item.item for item in report.skipped if item.reason == "truncated JPEG"} == {
        *(f"person 03/{i:04d}.jpg" for i in range(4)),
        *(f"person 10/{i:04d}.jpg" for i in range(5)),
    }
    assert {item.item for item in report.skipped if "fewer than 1 good images" in item.reason} == bad
    convert(ImageFolder(faces), tmp_path / "again", SMALL, workers=1, max_skipped=9)
    assert sums(tmp_path / "out") == sums(tmp_path / "again")


def test_a_shard_that_loses_all_its_identities_leaves_no_gap(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({f"{i}": 1 for i in range(12)})
    for i in (2, 7):
        (root / f"{i}" / "0000.jpg").write_bytes(b"nothing")
    convert(ImageFolder(root), tmp_path / "out", Options(shard_size=1), workers=1, max_skipped=2)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tar")) == [f"train-{i:06d}.tar" for i in range(10)]
    assert verify(tmp_path / "out") == []


def test_nothing_left_at_all(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"a": 1})
    (root / "a" / "0000.jpg").write_bytes(b"nothing")
    with pytest.raises(SourceError, match=r"no identity has 1 image that can be read: \d+ × "):
        convert(ImageFolder(root), tmp_path / "out", workers=1, max_skipped=1)
    assert not (tmp_path / "out" / "index.json").exists()


def test_strict_stops_for_what_the_scan_finds_and_for_what_reading_finds(faces: Path, tmp_path: Path) -> None:
    (faces / "person 01" / ".DS_Store").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"person 01/\.DS_Store: hidden or system file"):
        convert(ImageFolder(faces), tmp_path / "out", strict=True, workers=1)
    assert not (tmp_path / "out").exists()
    (faces / "person 01" / ".DS_Store").unlink()
    bad = faces / "person 05" / "0002.jpg"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-9])
    with pytest.raises(SourceError, match=r"person 05/0002\.jpg: truncated JPEG"):
        convert(ImageFolder(faces), tmp_path / "out", SMALL, strict=True, workers=1)
    assert not (tmp_path / "out" / "index.json").exists()
    # nor does what an earlier run let pass
    convert(ImageFolder(faces), tmp_path / "out", SMALL, workers=1, max_skipped=1)
    with pytest.raises(SourceError, match="truncated JPEG"):
        convert(ImageFolder(faces), tmp_path / "out", SMALL, strict=True, workers=1)
    bad.write_bytes(whole)
    assert convert(ImageFolder(faces), tmp_path / "out", SMALL, strict=True, workers=1, overwrite=True).skipped == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a/b"}, "name is"),
        ({"name": ""}, "name is"),
        ({"shard_size": 0}, "shard_size"),
        ({"seed": -1}, "seed"),
        ({"min_images": 0}, "min_images"),
        ({"labels": "json"}, "labels"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(wds_face.WdsFaceError, match=message):
        Options(**options)  # type: ignore[arg-type]


HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_conversion_into_the_same_folder_is_refused(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / ".convert").mkdir(parents=True)
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out" / ".convert" / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(DatasetError, match="another conversion is writing"):
            convert(ImageFolder(faces), tmp_path / "out", workers=1)
        other.kill()
    convert(ImageFolder(faces), tmp_path / "out", workers=1)


def test_conversions_into_the_same_folder_at_once(faces: Path, tmp_path: Path) -> None:
    """One works; the others wait for it, and find its data set complete or are refused."""
    convert(ImageFolder(faces), tmp_path / "alone", workers=1)
    for number in range(5):
        there = tmp_path / f"out{number}"
        command = [sys.executable, "-m", "wds_face", "convert", "imagefolder", str(faces), str(there)]
        runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
        errors = [run.communicate(timeout=60)[1] for run in runs]
        assert all("wait for it to end" in error for error in errors if error), errors
        assert "" in errors
        assert sums(there) == sums(tmp_path / "alone")


def test_regrouping_our_own_shards_keeps_names_and_images(faces: Path, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "first", SMALL, workers=1)
    convert(WebDataset(str(tmp_path / "first")), tmp_path / "second", SMALL, workers=1)
    assert contents(tmp_path / "second") == source_contents(faces)
    tars = {path.name: path.read_bytes() for path in (tmp_path / "first").glob("*.tar")}
    assert {path.name: path.read_bytes() for path in (tmp_path / "second").glob("*.tar")} == tars


@pytest.mark.parametrize("url", ["file://{tmp}/set", "{tmp}/set/", "memory://same/set"])
def test_a_set_is_not_overwritten_by_itself(faces: Path, tmp_path: Path, url: str) -> None:
    url = url.format(tmp=tmp_path)
    convert(ImageFolder(faces), url, workers=1)
    with pytest.raises(DatasetError, match="within the source"):
        convert(WebDataset(url), url.rstrip("/"), Options(name="train"), workers=1, overwrite=True)
    assert verify(url) == []
    fsspec.filesystem("memory").store.clear()


@pytest.mark.parametrize("name", ["foo.tar", "classes.tsv", "identities.npy", "skipped.tsv"])
def test_files_of_the_user_are_not_taken_for_ours(faces: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"precious")
    with pytest.raises(DatasetError, match=f"holds {name}, which no unfinished conversion explains"):
        convert(ImageFolder(faces), tmp_path / "out", workers=1)
    assert (tmp_path / "out" / name).read_bytes() == b"precious"


@pytest.mark.parametrize(("damage", "message"), [("missing", "is missing"), ("cut", "has 0 bytes instead of")])
def test_a_finished_set_that_lost_a_shard_is_not_complete(
    faces: Path, tmp_path: Path, damage: str, message: str
) -> None:
    out = tmp_path / "out"
    before = convert(ImageFolder(faces), out, SMALL, workers=1).index
    shard = out / before.shards[1].name
    if damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(b"")
    with pytest.raises(DatasetError, match=rf"{shard.name} {message}.*--overwrite"):
        convert(ImageFolder(faces), out, SMALL, workers=1)
    convert(ImageFolder(faces), out, SMALL, workers=1, overwrite=True)
    assert verify(out) == []
