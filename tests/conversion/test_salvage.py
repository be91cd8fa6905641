"""Damage is refused before anything is published, the same on resuming, for any workers, and for what is finished."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import MakeFolder, sums
from wds_face import ImageFolder, Index, Options, SourceError, WebDataset, convert, verify
from wds_face.conversion.skipped import read_skipped
from wds_face.git_lfs import POINTER
from wds_face.sources import Skipped

SMALL = Options(shard_size=8_000)
LFS = POINTER + b"\noid sha256:4665a5ea423c2713d436b5ee50593a9640e0018c1550b5a0002f74190d6caea8\nsize 12345\n"


@pytest.fixture
def hundreds(make_folder: MakeFolder) -> Path:
    """Two hundred images of fifty people, of which three, of two people, are cut."""
    root = make_folder({f"{number:03d}": 4 for number in range(50)})
    for name in ("007/0001.jpg", "007/0002.jpg", "031/0000.jpg"):
        (root / name).write_bytes((root / name).read_bytes()[:-20])
    return root


THREE = (
    r"3 of 200 images cannot be read \(1\.5%\), more than --max-skipped 1% allows; nothing is published: 3 × truncated"
)


@pytest.mark.parametrize("workers", [1, 3])
def test_too_many_bad_images_publish_nothing(hundreds: Path, tmp_path: Path, workers: int) -> None:
    with pytest.raises(SourceError, match=THREE) as caught:
        convert(ImageFolder(hundreds), tmp_path / "out", SMALL, workers=workers)
    assert "007/0001.jpg, 007/0002.jpg, …" in str(caught.value)
    assert not (tmp_path / "out" / "index.json").exists()
    # the verdict is the same the second time, and with a higher limit the shards are there already
    with pytest.raises(SourceError) as again:
        convert(ImageFolder(hundreds), tmp_path / "out", SMALL, workers=1)
    assert str(again.value) == str(caught.value)
    report = convert(ImageFolder(hundreds), tmp_path / "out", SMALL, workers=1, max_skipped="2%")
    assert (report.written, report.index.images) == (0, 197)
    assert verify(tmp_path / "out", deep=True) == []
    with ThreadPoolExecutor(2) as threads:
        convert(ImageFolder(hundreds), tmp_path / "whole", SMALL, executor=threads, max_skipped=3)
    assert sums(tmp_path / "out") == sums(tmp_path / "whole")


def test_a_finished_set_is_judged_again(hundreds: Path, tmp_path: Path) -> None:
    convert(ImageFolder(hundreds), tmp_path / "out", SMALL, workers=1, max_skipped=3)
    before = sums(tmp_path / "out")
    with pytest.raises(SourceError, match=THREE):
        convert(ImageFolder(hundreds), tmp_path / "out", SMALL, workers=1)
    assert convert(ImageFolder(hundreds), tmp_path / "out", SMALL, workers=1, max_skipped=3).written == 0
    assert sums(tmp_path / "out") == before


def test_what_the_scan_finds_counts_too(make_folder: MakeFolder, tmp_path: Path) -> None:
    """Two empty files, found by listing, and one that is cut, found in reading."""
    root = make_folder({f"{number:03d}": 4 for number in range(50)})
    (root / "001" / "0000.jpg").write_bytes(b"")
    (root / "002" / "0000.jpg").write_bytes(b"")
    cut = root / "003" / "0000.jpg"
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"3 of 200 images .*: 2 × empty \(001/.*, 002/.*\), 1 × truncated JPEG"):
        convert(ImageFolder(root), tmp_path / "out", SMALL, workers=1)
    with pytest.raises(SourceError, match=r"2 of 200 images cannot be read .* --max-skipped 0% allows"):
        convert(ImageFolder(root), tmp_path / "none", SMALL, workers=1, max_skipped=0.0)
    assert not (tmp_path / "none").exists(), "what the scan finds is refused before anything is written"
    assert convert(ImageFolder(root), tmp_path / "out", SMALL, workers=1, max_skipped=0.015).index.images == 197


def test_other_files_and_small_identities_do_not_count(faces: Path, tmp_path: Path) -> None:
    for number in range(30):
        (faces / "person 05" / f"{number}.txt").write_text("a note")
    options = Options(shard_size=8_000, min_images=4)
    report = convert(ImageFolder(faces), tmp_path / "out", options, workers=1, max_skipped=0)
    assert {entry.kind for entry in report.skipped} == {"other"}
    assert len(report.skipped) == 30 + sum(number % 6 < 3 for number in range(20))
    assert read_skipped((tmp_path / "out" / "skipped.tsv").read_bytes()) == report.skipped


def test_the_list_and_the_index_tell_the_kinds(hundreds: Path, tmp_path: Path) -> None:
    (hundreds / "000" / "notes.txt").write_text("a note")
    convert(ImageFolder(hundreds), tmp_path / "out", SMALL, workers=1, max_skipped=3)
    lines = (tmp_path / "out" / "skipped.tsv").read_text().splitlines()
    assert lines[0] == "000/notes.txt\tnot an image\tother"
    assert lines[1:] == [f"{name}\ttruncated JPEG\titem" for name in ("007/0001.jpg", "007/0002.jpg", "031/0000.jpg")]
    made = json.loads((tmp_path / "out" / "index.json").read_text())["wds_face"]["made"]
    assert made["skipped"] == {"item": 3, "container": 0, "other": 1}


# --- containers


@pytest.fixture
def shards(faces: Path, tmp_path: Path) -> Path:
    """Shards in which the second is cut in half."""
    convert(ImageFolder(faces), tmp_path / "shards", SMALL, workers=1)
    path = tmp_path / "shards" / "train-000001.tar"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return tmp_path / "shards"


def test_a_shard_that_is_cut_off(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"train-000001\.tar: damaged tar: .* byte \d+.* or say --salvage"):
        convert(WebDataset(str(shards)), tmp_path / "out", SMALL, workers=1)
    assert not (tmp_path / "out").exists()
    # the cut also takes the label of one image
    report = convert(WebDataset(str(shards)), tmp_path / "out", SMALL, workers=1, salvage=True, max_skipped=1)
    whole = Index.open(shards)
    assert 66 - whole.shards[1].images < report.index.images < 66
    assert ("train-000001.tar", "container") in [(entry.item, entry.kind) for entry in report.skipped]
    with pytest.raises(SourceError, match="damaged tar"):
        convert(WebDataset(str(shards)), tmp_path / "out", SMALL, workers=1)
    again = convert(WebDataset(str(shards)), tmp_path / "out", SMALL, workers=1, salvage=True, max_skipped=1)
    assert again.written == 0


@pytest.mark.parametrize("salvage", [False, True])
def test_a_shard_that_is_a_git_lfs_pointer(shards: Path, tmp_path: Path, salvage: bool) -> None:
    (shards / "train-000001.tar").write_bytes(LFS)
    if salvage:
        report = convert(WebDataset(str(shards)), tmp_path / "out", SMALL, workers=1, salvage=True)
        assert [entry.kind for entry in report.skipped] == ["container"]
    else:
        with pytest.raises(SourceError, match=r"train-000001\.tar: .*a Git LFS pointer.*run `git lfs pull`"):
            convert(WebDataset(str(shards)), tmp_path / "out", SMALL, workers=1)


def test_shards_that_are_all_git_lfs_pointers(shards: Path, tmp_path: Path) -> None:
    for path in shards.glob("*.tar"):
        path.write_bytes(LFS)
    with pytest.raises(SourceError, match="run `git lfs pull`"):
        convert(WebDataset(str(shards)), tmp_path / "out", SMALL, workers=1)


def test_images_that_are_git_lfs_pointers(faces: Path, tmp_path: Path) -> None:
    (faces / "person 05" / "0001.jpg").write_bytes(LFS)
    with pytest.raises(SourceError, match=r"person 05/0001\.jpg: a Git LFS pointer.*run `git lfs pull`"):
        convert(ImageFolder(faces), tmp_path / "out", SMALL, workers=1, max_skipped=1.0)
    assert not (tmp_path / "out").exists()
    report = convert(ImageFolder(faces), tmp_path / "out", SMALL, workers=1, salvage=True)
    assert report.index.images == 65
    reason = "a Git LFS pointer, not the file itself: run `git lfs pull`"
    assert report.skipped == [Skipped("person 05/0001.jpg", reason, "container")]
    for path in faces.glob("*/*.jpg"):
        path.write_bytes(LFS)
    with pytest.raises(SourceError, match=r"person 00/0000\.jpg: a Git LFS pointer.*git lfs pull` \(65 more"):
        convert(ImageFolder(faces), tmp_path / "none", workers=1)


def test_git_lfs_pointers_within_shards(faces: Path, tmp_path: Path) -> None:
    """Somebody packed them; they are found when they are read."""
    import tarfile

    (faces / "person 05" / "0001.jpg").write_bytes(LFS)
    (tmp_path / "packed").mkdir()
    with tarfile.open(tmp_path / "packed" / "a.tar", "w") as tar:
        for path in sorted(faces.glob("*/*.jpg")):
            tar.add(path, f"{path.parent.name}/{path.name}")
    with pytest.raises(SourceError, match=r"a\.tar at byte \d+: a Git LFS pointer"):
        convert(WebDataset(str(tmp_path / "packed"), label_from="key"), tmp_path / "out", SMALL, workers=1)
    assert not (tmp_path / "out" / "index.json").exists()
