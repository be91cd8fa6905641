"""A few images out of any source, without the rest."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds

from wds_face import ImageFolder, Options, SourceError, convert
from wds_face.recordio import RecordWriter, pack
from wds_face.sources.peek import peek


def some(url: Path | str, seed: int = 0, count: int = 100) -> list[tuple[str, bytes]]:
    return list(itertools.islice(peek(str(url), np.random.default_rng(seed)).images, count))


def identities(faces: Path) -> dict[str, set[bytes]]:
    return {folder.name: {file.read_bytes() for file in folder.iterdir()} for folder in faces.iterdir()}


def test_a_folder(faces: Path) -> None:
    known = identities(faces)
    (faces / "person 00" / "notes.txt").write_text("no image")
    (faces / "empty").mkdir()
    found = some(faces)
    assert sorted(name for name, _ in found) == sorted(known), "one of each identity"
    assert all(data in known[name] for name, data in found)
    assert some(faces) == found
    assert some(faces, seed=1) != found


def test_a_folder_of_images(faces: Path) -> None:
    folder = max(faces.iterdir(), key=lambda folder: len(list(folder.iterdir())))
    assert {data for _, data in some(folder)} == identities(faces)[folder.name]


@pytest.mark.parametrize("named", ["folder", "file"])
def test_records(tmp_path: Path, jpegs: list[bytes], named: str) -> None:
    with RecordWriter(tmp_path / "train.rec") as writer:
        writer.write(0, pack((0, [7.0, 9.0], 0, 0), b""))  # InsightFace's header
        for key in range(1, 7):
            writer.write(key, pack((0, [float(key % 2), 1.0], key, 0), jpegs[key]))
        for key in (7, 8):
            writer.write(key, pack((0, [1.0, 4.0], key, 0), b""))  # and its ranges
    found = some(tmp_path if named == "folder" else tmp_path / "train.rec")
    assert sorted(name for name, _ in found) == ["0", "1"]
    assert all(data in jpegs[int(name) or 2 : 7 : 2] for name, data in found)


def test_shards_with_an_index(faces: Path, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "out", Options(shard_size=60_000), workers=1)
    found = some(tmp_path / "out")
    assert len(found) == 20, "one of each identity"
    known = identities(faces)
    assert sorted(name for name, _ in found) == sorted(known)
    assert all(data in known[name] for name, data in found)
    assert {data for _, data in found} <= set().union(*identities(faces).values())


@pytest.mark.parametrize("named", ["folder", "pattern", "tar"])
def test_shards_without_one(faces: Path, tmp_path: Path, named: str) -> None:
    convert(ImageFolder(faces), tmp_path / "out", Options(shard_size=20_000), workers=1)
    tars = sorted((tmp_path / "out").glob("*.tar"))
    for file in (tmp_path / "out").iterdir():
        if file.suffix != ".tar":
            file.unlink()
    last = tars[-1].stem.rpartition("-")[2]
    url = {"folder": tmp_path / "out", "pattern": tmp_path / f"out/train-{{000000..{last}}}.tar", "tar": tars[0]}[named]
    found = some(url)
    every = set().union(*identities(faces).values())
    assert {data for _, data in found} <= every
    assert len({name for name, _ in found}) == len(found), "one of each identity"
    assert (len(found) == 20) == (named != "tar")


def shards_of(folder: Path, images: list[bytes], count: int) -> None:
    """Write shards of two images of a person each, with two-part extensions and labels in ``.txt``."""
    folder.mkdir()
    for number in range(count):
        with wds.TarWriter(str(folder / f"{number}.tar")) as writer:
            for image in range(2):
                data = images[2 * number + image]
                writer.write({"__key__": f"{number}-{image}", "face.jpg": data, "txt": f"person {number}"})


def test_labels_and_images_are_chosen_as_for_a_conversion(tmp_path: Path, jpegs: list[bytes]) -> None:
    shards_of(tmp_path / "s", jpegs, 6)
    samples = {"label_from": "txt", "image_from": "face.jpg"}
    found = peek(str(tmp_path / "s"), np.random.default_rng(0), samples=samples)
    assert found.notes[0].startswith("labels from txt")
    assert sorted(name for name, _ in found.images) == [f"person {number}" for number in range(6)]


def test_only_some_of_many_shards_are_read(tmp_path: Path, jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    shards_of(tmp_path / "s", jpegs, 6)
    largest = max(file.stat().st_size for file in (tmp_path / "s").iterdir())
    monkeypatch.setattr("wds_face.sources.peek.SHARD_BYTES", 2 * largest)
    found = peek(str(tmp_path / "s"), np.random.default_rng(0), samples={"label_from": "txt"})
    number = int(found.notes[0].split(" of 6 shards were read")[0])
    assert number in (2, 3)
    assert len(list(found.images)) == number


def test_damage_that_a_conversion_refuses_is_said(tmp_path: Path, jpegs: list[bytes]) -> None:
    shards_of(tmp_path / "s", jpegs, 2)
    with open(tmp_path / "s" / "1.tar", "r+b") as file:
        file.truncate(2000)
    found = peek(str(tmp_path / "s"), np.random.default_rng(0), samples={"label_from": "txt"})
    assert "a conversion is refused without --salvage: 1.tar: damaged tar" in found.notes[-1]


def test_how_samples_are_read_is_for_shards_only(faces: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no shards without an index \(imagefolder\): omit --label-from"):
        peek(str(faces), np.random.default_rng(0), samples={"label_from": "txt"})


@pytest.mark.parametrize("name", ["none", "none.rec", "none.tar"])
def test_nothing_there(tmp_path: Path, name: str) -> None:
    with pytest.raises((SourceError, OSError), match="none"):
        some(tmp_path / name)
