"""Shards of several data sets together: strangers with the same number are not one person."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
import webdataset as wds

from tests.support import sums
from wds_face import ImageFolder, Index, Options, SourceError, WdsFaceError, WebDataset, adopt, convert, verify


@pytest.fixture
def two_sets(tmp_path: Path, jpegs: list[bytes]) -> tuple[Path, Path]:
    """Two data sets of three people each, none in both; names of shards differ."""
    made = []
    for number, folder in enumerate(("a", "b")):
        for person in range(3):
            place = tmp_path / f"faces-{folder}" / f"{folder}{person}"
            place.mkdir(parents=True)
            for image in range(2):
                (place / f"{image}.jpg").write_bytes(jpegs[6 * number + 2 * person + image])
        convert(ImageFolder(tmp_path / f"faces-{folder}"), tmp_path / folder, Options(name=folder), workers=1)
        made.append(tmp_path / folder)
    return made[0], made[1]


def together(folder: Path, *shards: Path) -> Path:
    folder.mkdir()
    for shard in shards:
        shutil.copy(shard, folder)
    return folder


def refusal(folder: Path, label_from: str = "auto") -> str:
    with pytest.raises(SourceError) as error:
        WebDataset(folder, label_from=label_from).scan()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("label_from", ["auto", "cls", "key", "cls:number", "key:^0*([0-9]+)/"])
def test_shards_of_two_data_sets_in_one_folder(two_sets: tuple[Path, Path], tmp_path: Path, label_from: str) -> None:
    folder = together(tmp_path / "both", *two_sets[0].glob("*.tar"), *two_sets[1].glob("*.tar"))
    message = refusal(folder, label_from)
    assert "a-000000.tar and b-000000.tar both have the first image of label 0" in message
    assert "convert each data set on its own" in message


def test_without_cls_members_too(tmp_path: Path, two_sets: tuple[Path, Path]) -> None:
    for name in "ab":
        convert(
            ImageFolder(tmp_path / f"faces-{name}"), tmp_path / f"k{name}", Options(name=name, labels="key"), workers=1
        )
    folder = together(tmp_path / "both", *(tmp_path / "ka").glob("*.tar"), *(tmp_path / "kb").glob("*.tar"))
    assert "both have the first image of label 0" in refusal(folder)


def test_with_the_index_of_one_of_them(two_sets: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(two_sets[0], tmp_path / "both")
    for shard in two_sets[1].glob("*.tar"):
        shutil.copy(shard, tmp_path / "both")
    assert "both have the first image of label 0" in refusal(tmp_path / "both")


def test_shards_that_an_index_does_not_list(two_sets: tuple[Path, Path], tmp_path: Path, jpegs: list[bytes]) -> None:
    """Of any maker: their label 1 is another person than label 1 of the data set beside them."""
    shutil.copytree(two_sets[0], tmp_path / "both")
    with wds.TarWriter(str(tmp_path / "both" / "x.tar")) as writer:
        writer.write({"__key__": "new", "jpg": jpegs[20], "cls": 1})
    assert "a-000000.tar and x.tar are of different data sets, both with label 1" in refusal(tmp_path / "both")
    with wds.TarWriter(str(tmp_path / "both" / "x.tar")) as writer:
        writer.write({"__key__": "new", "jpg": jpegs[20], "cls": "ann"})
    assert len(WebDataset(tmp_path / "both").scan().names) == 4


def test_one_data_set_of_several_shards(tmp_path: Path, faces: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "s", Options(shard_size=20_000), workers=1)
    assert len(list((tmp_path / "s").glob("*.tar"))) > 1
    again = convert(WebDataset(tmp_path / "s"), tmp_path / "out", Options(shard_size=20_000), workers=1)
    assert again.index.classes == Index.open(tmp_path / "s").classes
    assert verify(tmp_path / "out") == []


def test_a_data_set_that_was_shuffled_into_other_shards(two_sets: tuple[Path, Path], tmp_path: Path) -> None:
    """Labels then come in several shards, but each image comes once."""
    (shard,) = two_sets[0].glob("*.tar")
    samples = list(wds.WebDataset(str(shard), shardshuffle=False))
    (tmp_path / "mixed").mkdir()
    for number in range(2):
        with wds.TarWriter(str(tmp_path / "mixed" / f"{number}.tar")) as writer:
            for sample in samples[number::2]:
                writer.write({"__key__": sample["__key__"], "jpg": sample["jpg"], "cls": sample["cls"]})
    assert WebDataset(tmp_path / "mixed").scan().images.tolist() == [2, 2, 2]


def test_foreign_shards_may_share_labels(tmp_path: Path, jpegs: list[bytes]) -> None:
    for number in range(2):
        with wds.TarWriter(str(tmp_path / f"{number}.tar")) as writer:
            for label in range(3):
                writer.write({"__key__": f"{label}", "jpg": jpegs[3 * number + label], "cls": label})
    assert WebDataset(tmp_path).scan().images.tolist() == [2, 2, 2]


def foreign(path: Path, images: list[bytes], prefix: str = "") -> None:
    """Write a shard with an image of each of some numbered people."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wds.TarWriter(str(path), compress=path.suffix == ".gz") as writer:
        for label, image in enumerate(images):
            writer.write({"__key__": f"{prefix}{label:06d}", "jpg": image, "cls": label})


def test_foreign_data_sets_in_folders_beside_each_other(tmp_path: Path, jpegs: list[bytes]) -> None:
    foreign(tmp_path / "casia" / "0.tar", jpegs[:3])
    foreign(tmp_path / "lfw" / "0.tar", jpegs[3:7])
    message = refusal(tmp_path)
    assert "casia/0.tar and lfw/0.tar begin with the same key, 000000, and label 0 is in both folders" in message
    assert f"'{tmp_path}/**'" in message
    found = WebDataset(f"{tmp_path}/**").scan()
    assert found.images.tolist() == [2, 2, 2, 1]
    assert "3 labels in several folders (first: 0 in casia and lfw)" in found.notes[1]


def test_folders_of_one_data_set(tmp_path: Path, jpegs: list[bytes]) -> None:
    for part in range(2):
        foreign(tmp_path / f"part{part}" / "0.tar", jpegs[3 * part : 3 * part + 3], prefix=f"{part}-")
    found = WebDataset(tmp_path).scan()
    assert found.images.tolist() == [2, 2, 2]
    assert "3 labels in several folders (first: 0 in part0 and part1), taken for the same people" in found.notes[1]


@pytest.mark.parametrize("other", ["a.tar.gz", "a (1).tar", "old/a.tar"])
def test_the_same_shard_twice(tmp_path: Path, jpegs: list[bytes], other: str) -> None:
    foreign(tmp_path / "a.tar", jpegs[:3])
    foreign(tmp_path / other, jpegs[:3])
    assert "begin with the same sample, 000000: remove one if it is a copy" in refusal(tmp_path)
    assert WebDataset(f"{tmp_path}/**").scan().images.tolist() == [2, 2, 2]


def test_a_copy_where_keys_begin_again_in_each_shard(tmp_path: Path, jpegs: list[bytes]) -> None:
    foreign(tmp_path / "a.tar", jpegs[:3])
    foreign(tmp_path / "b.tar", jpegs[3:6])
    assert WebDataset(tmp_path).scan().images.tolist() == [2, 2, 2]
    shutil.copy(tmp_path / "b.tar", tmp_path / "b (1).tar")
    assert "b (1).tar and b.tar begin with the same sample, 000000" in refusal(tmp_path)


def test_no_index_for_two_data_sets(two_sets: tuple[Path, Path], tmp_path: Path) -> None:
    folder = together(tmp_path / "both", *two_sets[0].glob("*.tar"), *two_sets[1].glob("*.tar"))
    with pytest.raises(WdsFaceError, match=r"both have the first image of label 0.*convert each data set on its own"):
        adopt(folder, workers=1)
    assert sorted(sums(folder)) == ["a-000000.tar", "b-000000.tar"]


def test_a_data_set_that_lost_a_shard_is_not_taken_for_the_whole(faces: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    index = convert(ImageFolder(faces), made, Options(shard_size=8000), workers=1).index
    lost = index.shards[1].name
    (made / lost).unlink()
    with pytest.raises(SourceError, match=rf"{lost}: is missing: index\.json lists it"):
        convert(WebDataset(made), tmp_path / "out", workers=1)
    assert not (tmp_path / "out" / "index.json").exists()
    some = convert(WebDataset(made / index.shards[0].name), tmp_path / "some", workers=1).index
    assert some.images == index.shards[0].images, "who names a shard means it"
    rest = convert(WebDataset(made), tmp_path / "rest", workers=1, salvage=True).index
    assert rest.images == index.images - index.shards[1].images
    with pytest.raises(SourceError, match=rf"{lost}: is missing"):
        convert(WebDataset(f"{made}/**"), tmp_path / "all", workers=1)


def test_a_data_set_that_was_compressed_is_whole(faces: Path, tmp_path: Path) -> None:
    index = convert(ImageFolder(faces), tmp_path / "made", Options(shard_size=8000), workers=1).index
    for shard in index.shards:
        file = tmp_path / "made" / shard.name
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert convert(WebDataset(tmp_path / "made"), tmp_path / "out", workers=1).index.images == index.images


def test_an_unfinished_conversion_is_not_taken_for_a_data_set(faces: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    convert(ImageFolder(faces), made, Options(shard_size=8000), workers=1)
    (made / "index.json").unlink()
    (made / ".convert").mkdir()
    (made / ".convert" / "begun.json").write_text('{"name": "train", "plan": "x"}')
    with pytest.raises(SourceError, match=r"holds an unfinished conversion: run its command again"):
        convert(WebDataset(made), tmp_path / "out", workers=1)
