"""Shards made elsewhere get an index, if they are grouped; if not, the message says where and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import webdataset as wds

from tests.support import sums
from wds_face import DatasetError, ImageFolder, Index, Options, PKStream, SourceError, adopt, convert, verify
from wds_face.shards.index import CLASSES, write_index

Sample = tuple[str, dict[str, object]]


def write(path: Path, samples: list[Sample], **options: object) -> None:
    path.parent.mkdir(exist_ok=True)
    with wds.TarWriter(str(path), **options) as writer:
        for key, fields in samples:
            writer.write({"__key__": key, **fields})


def labelled(label: int, number: int, data: bytes) -> Sample:
    return f"{label}-{number}", {"jpg": data, "cls": label}


@pytest.mark.parametrize("options", [{}, {"mtime": 0}])
def test_grouped_shards_of_webdatasets_writer(tmp_path: Path, jpegs: list[bytes], options: dict[str, object]) -> None:
    """By default that writer adds PAX headers; the runs must take them in."""
    write(tmp_path / "s" / "a.tar", [labelled(2, i, jpegs[i]) for i in range(3)], **options)
    write(tmp_path / "s" / "b.tar", [labelled(i % 2, i // 2, jpegs[i]) for i in (0, 2, 1, 3, 5)], **options)
    before = sums(tmp_path / "s")
    index = adopt(tmp_path / "s", workers=1)
    assert index.identities[["label", "shard", "images"]].tolist() == [(2, 0, 3), (0, 1, 2), (1, 1, 3)]
    assert verify(tmp_path / "s", deep=True) == []
    assert {name: value for name, value in sums(tmp_path / "s").items() if name in before} == before
    for row in index.identities:
        data = (tmp_path / "s" / index.shards[row["shard"]].name).read_bytes()
        assert data[row["offset"] : row["offset"] + row["nbytes"]].count(b"\xff\xd8\xff") == row["images"]


@pytest.mark.parametrize("labels", ["cls", "key"])
def test_our_own_shards_get_the_same_rows_again(faces: Path, tmp_path: Path, labels: str) -> None:
    convert(ImageFolder(faces), tmp_path / "s", Options(shard_size=20_000, labels=labels), workers=1)  # type: ignore[arg-type]
    before = Index.open(tmp_path / "s")
    for name in ("index.json", "identities.npy", "classes.tsv", "checksums.npy", "skipped.tsv"):
        (tmp_path / "s" / name).unlink()
    after = adopt(tmp_path / "s", workers=2)
    assert after.identities.tolist() == before.identities.tolist()
    assert after.shards == before.shards


def test_labels_in_json(tmp_path: Path, jpegs: list[bytes]) -> None:
    write(tmp_path / "s" / "a.tar", [(f"{i}", {"jpg": jpegs[i], "json": {"label": i // 2}}) for i in range(6)])
    assert adopt(tmp_path / "s", workers=1).identities["images"].tolist() == [2, 2, 2]
    assert verify(tmp_path / "s") == []


@pytest.mark.parametrize(
    ("label_from", "kind", "recorded"),
    [("auto", "cls", "cls"), ("txt", "txt", "txt"), ("json:a.b", "json", "json:a.b"), ("key:^([0-9]+)-", "txt", None)],
)
def test_the_label_rule_is_recorded_and_read_again(
    tmp_path: Path, jpegs: list[bytes], label_from: str, kind: str, recorded: str | None
) -> None:
    samples: list[Sample] = []
    for i in range(6):
        label = {"a": {"b": i // 2}} if kind == "json" else str(i // 2)
        samples.append((f"{i // 2}-{i}", {"jpg": jpegs[i], kind: label}))
    write(tmp_path / "s" / "a.tar", samples)
    assert adopt(tmp_path / "s", label_from=label_from, workers=1).labels == (recorded or label_from)
    assert verify(tmp_path / "s", deep=True) == []
    stream = PKStream(tmp_path / "s", p=3, k=2)
    assert all(sorted(labels.tolist()) == [0, 0, 1, 1, 2, 2] for _, labels in stream.loader())


def test_what_is_ambiguous_gets_no_index(tmp_path: Path, jpegs: list[bytes]) -> None:
    write(tmp_path / "s" / "a.tar", [(f"0/{i}", {"jpg": jpegs[i], "json": {"id": i}}) for i in range(3)])
    with pytest.raises(SourceError, match=r"all 3 samples would be one person, '0'.*--label-from key"):
        adopt(tmp_path / "s", workers=1)
    write(tmp_path / "t" / "a.tar", [(f"{i}", {"image.jpg": jpegs[i], "cls": i}) for i in range(3)])
    with pytest.raises(
        DatasetError, match=r"images are \.image\.jpg members, which only `wds-face convert webdataset`"
    ):
        adopt(tmp_path / "t", workers=1)


@pytest.mark.parametrize("labels", ["auto", "cls", "key", "json", "json:who"])
def test_label_rules_that_older_versions_recorded(tmp_path: Path, jpegs: list[bytes], labels: str) -> None:
    """``json`` meant any of four fields, ``id`` among them, and ``key`` what stands before the last dash, too."""
    field = "who" if labels == "json:who" else "id"
    members: dict[str, object] = {"cls": 0} if labels in ("cls", "auto") else {"json": {field: 0}}
    name = "cls" if labels in ("cls", "auto") else f"json:{field}"
    samples: list[Sample] = [(f"{i // 3}-{i}", {"jpg": jpegs[i], **_numbered(members, i // 3)}) for i in range(6)]
    write(tmp_path / "s" / "a.tar", samples)
    index = adopt(tmp_path / "s", label_from=name, workers=1)
    tables = {CLASSES: index.store.read(CLASSES)}
    write_index(index.store, index.shards, index.identities, tables, {"options": {"labels": labels}})
    assert Index.open(tmp_path / "s").labels == labels
    assert verify(tmp_path / "s") == []
    assert next(iter(PKStream(tmp_path / "s", p=2, k=3).loader()))[1].unique().tolist() == [0, 1]


def _numbered(members: dict[str, object], label: int) -> dict[str, object]:
    """The members with this label."""
    return {name: dict.fromkeys(value, label) if isinstance(value, dict) else label for name, value in members.items()}


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([0, 1], [1, 2], r"identity 1 has runs in a\.tar and b\.tar; regroup it with `wds-face convert"),
        ([0, 1, 0], [2], r"identity 0 has runs in a\.tar and a\.tar"),
        ([0, 1], [3], r"not 0 to 2 \(2 is missing\).*renumbers"),
        ([1], [2], r"\(0 is missing\)"),
    ],
)
def test_what_is_not_grouped(tmp_path: Path, jpegs: list[bytes], a: list[int], b: list[int], message: str) -> None:
    for name, labels in (("a", a), ("b", b)):
        write(tmp_path / "s" / f"{name}.tar", [labelled(label, i, jpegs[i]) for i, label in enumerate(labels)])
    with pytest.raises(DatasetError, match=message):
        adopt(tmp_path / "s", workers=1)
    assert not (tmp_path / "s" / "index.json").exists()


def test_names_are_no_labels(tmp_path: Path, jpegs: list[bytes]) -> None:
    write(tmp_path / "s" / "a.tar", [("ann/1", {"jpg": jpegs[0]})])
    with pytest.raises(DatasetError, match=r"'ann' is no label.*numbers and regroups"):
        adopt(tmp_path / "s", workers=1)


def test_damage(tmp_path: Path, jpegs: list[bytes]) -> None:
    path = tmp_path / "s" / "a.tar"
    write(path, [labelled(0, i, jpegs[i]) for i in range(3)])
    path.write_bytes(path.read_bytes()[:4096])
    with pytest.raises(SourceError, match=r"a\.tar: .*byte"):
        adopt(tmp_path / "s", workers=1)


def test_an_index_that_is_there_is_kept(faces: Path, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "s", workers=1)
    with pytest.raises(DatasetError, match="--overwrite"):
        adopt(tmp_path / "s")
    adopt(tmp_path / "s", overwrite=True, workers=1)
    assert verify(tmp_path / "s") == []


def test_no_shards(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no \.tar files"):
        adopt(tmp_path)


def test_names_that_are_there_are_kept(faces: Path, tmp_path: Path) -> None:
    before = convert(ImageFolder(faces), tmp_path / "s", workers=1).index.classes
    (tmp_path / "s" / "index.json").unlink()
    assert adopt(tmp_path / "s", workers=1).classes == before
    (tmp_path / "s" / "index.json").unlink()
    (tmp_path / "s" / "classes.tsv").write_text("mine")
    with pytest.raises(DatasetError, match=r"classes\.tsv does not name 20 labels"):
        adopt(tmp_path / "s", workers=1)
    assert (tmp_path / "s" / "classes.tsv").read_text() == "mine"
