"""Every kind of damage is found, and named by its file."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wds_face import DatasetError, ImageFolder, Index, Options, convert, verify
from wds_face.shards.index import write_index

Damage = Callable[[Path], None]


@pytest.fixture
def made(faces: Path, tmp_path: Path) -> Path:
    convert(ImageFolder(faces), tmp_path / "out", Options(shard_size=20_000), workers=1)
    assert verify(tmp_path / "out", workers=1) == []
    return tmp_path / "out"


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def swap(folder: Path) -> None:
    a, b, c = folder / "train-000000.tar", folder / "train-000001.tar", folder / "x"
    a.rename(c)
    b.rename(a)
    c.rename(b)


@pytest.mark.parametrize(
    ("damage", "file", "what"),
    [
        (lambda d: flip(d / "train-000001.tar", 700), "train-000001.tar", "sha256"),
        (lambda d: flip(d / "train-000001.tar", 3), "train-000001.tar", "sha256"),
        (lambda d: (d / "train-000002.tar").write_bytes((d / "train-000002.tar").read_bytes()[:-512]),
         "train-000002.tar", "bytes, the index says"),
        (lambda d: (d / "train-000001.tar").unlink(), "train-000001.tar", "is missing"),
        (swap, "train-000000.tar", ""),
        (lambda d: shutil.copy(d / "train-000000.tar", d / "train-000099.tar"), "train-000099.tar", "not in index"),
        (lambda d: flip(d / "identities.npy", 200), "index.json", "identities.npy does not belong"),
        (lambda d: flip(d / "classes.tsv", 5), "index.json", "classes.tsv does not belong"),
        (lambda d: (d / "skipped.tsv").write_text("x"), "index.json", "skipped.tsv does not belong"),
        (lambda d: (d / "identities.npy").unlink(), "index.json", "identities.npy is missing"),
        (lambda d: (d / "skipped.tsv").unlink(), "index.json", "skipped.tsv is missing"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("workers", [1, 2])
def test_damage_is_found_and_named(made: Path, damage: Damage, file: str, what: str, workers: int) -> None:
    damage(made)
    problems = verify(made, workers=workers)
    assert any(problem.file == file and what in problem.what for problem in problems), problems


def test_any_flipped_bit_is_found(made: Path) -> None:
    path = made / "train-000000.tar"
    whole = path.read_bytes()
    for at in np.random.default_rng(0).integers(0, len(whole), 25).tolist():
        flip(path, at)
        assert [problem.file for problem in verify(made, workers=1)] == [path.name]
        path.write_bytes(whole)


def test_the_index_of_another_set(faces: Path, made: Path, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "other", Options(shard_size=20_000, seed=9), workers=1)
    for name in ("index.json", "identities.npy", "classes.tsv", "checksums.npy", "skipped.tsv"):
        shutil.copy(tmp_path / "other" / name, made / name)
    assert {problem.file for problem in verify(made)} >= {f"train-{i:06d}.tar" for i in range(4)}


def rewrite(made: Path, change: Callable[[np.ndarray], None], classes: bytes | None = None) -> None:
    """An index that fits together, with right sums, but says something else."""
    index = Index.open(made)
    rows = index.identities.copy()
    change(rows)
    tables = {"classes.tsv": classes or (made / "classes.tsv").read_bytes()}
    write_index(index.store, index.shards, rows, tables, index.made)


def test_an_index_that_says_something_else_than_the_shards(made: Path) -> None:
    def other_label(rows: np.ndarray) -> None:
        rows["label"][[0, 1]] = rows["label"][[1, 0]]

    rewrite(made, other_label)
    (problem,) = verify(made)
    assert problem.file == "train-000000.tar"
    assert "identity run 0 is" in problem.what


def test_a_run_that_the_index_does_not_know(made: Path) -> None:
    index = Index.open(made)
    rows = index.identities
    last = int(np.flatnonzero(rows["shard"] == 0)[-1])
    moved = rows.copy()
    moved["images"][last - 1] += moved["images"][last]
    moved["nbytes"][last - 1] += moved["nbytes"][last]
    kept = np.delete(moved, last)
    labels = kept["label"]
    labels[labels == labels.max()] = rows["label"][last] if labels.max() == len(kept) else labels.max()
    write_index(index.store, index.shards, kept, {"classes.tsv": (made / "classes.tsv").read_bytes()}, index.made)
    problems = verify(made)
    assert any(problem.file == "train-000000.tar" and "identity run" in problem.what for problem in problems)
    assert any(problem.file == "classes.tsv" for problem in problems)


def test_labels_with_a_gap(made: Path) -> None:
    def gap(rows: np.ndarray) -> None:
        rows["label"][rows["label"] == 3] = 77

    rewrite(made, gap)
    assert any("0 to n-1" in problem.what for problem in verify(made))


def test_a_row_in_a_shard_that_is_not_there(made: Path) -> None:
    def beyond(rows: np.ndarray) -> None:
        rows["shard"][-1] = 55

    rewrite(made, beyond)
    assert any("does not list" in problem.what for problem in verify(made))


def test_deep_decodes(faces: Path, tmp_path: Path) -> None:
    """Well-formed markers around a frame of 0 x 0 pixels pass a conversion that does not decode."""
    path = faces / "person 05" / "0001.jpg"
    data = bytearray(path.read_bytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = bytes(4)
    path.write_bytes(data)
    convert(ImageFolder(faces), tmp_path / "out", workers=1)
    assert verify(tmp_path / "out") == []
    (problem,) = verify(tmp_path / "out", deep=True)
    assert "cannot be decoded" in problem.what
    report = convert(ImageFolder(faces), tmp_path / "deep", Options(deep=True), workers=1, max_skipped=1)
    assert [item.item for item in report.skipped] == ["person 05/0001.jpg"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"shardlist": []}', '{"shardlist": [], "wds_face": {"format": 99}}']
)
def test_a_manifest_that_is_none(made: Path, content: str) -> None:
    (made / "index.json").write_text(content)
    with pytest.raises(DatasetError, match=r"index\.json"):
        verify(made)


@pytest.mark.parametrize("key", ["tables", "identities", "images", "made"])
def test_a_manifest_with_parts_missing(made: Path, key: str) -> None:
    manifest = json.loads((made / "index.json").read_text())
    del manifest["wds_face"][key], manifest["wds_face"]["sha256"]
    (made / "index.json").write_text(json.dumps(manifest))
    assert [problem.file for problem in verify(made)] == ["index.json"]


def test_a_manifest_that_was_changed(made: Path) -> None:
    manifest = json.loads((made / "index.json").read_text())
    manifest["shardlist"][0]["nsamples"] += 1
    (made / "index.json").write_text(json.dumps(manifest))
    for read in (verify, Index.open):
        with pytest.raises(DatasetError, match=r"index\.json was changed or damaged"):
            read(made)


@pytest.mark.parametrize("change", ["missing", "another", "wrong sums"])
def test_checksums(made: Path, change: str) -> None:
    manifest = json.loads((made / "index.json").read_text())
    tables = manifest["wds_face"]["tables"]
    del manifest["wds_face"]["sha256"]
    sums = Index.open(made).checksums
    assert sums is not None
    if change == "missing":  # as of a data set made by an earlier version
        del tables["checksums.npy"]
        (made / "checksums.npy").unlink()
    else:
        np.save(made / "checksums.npy", sums[:-1] if change == "another" else sums ^ np.uint32(1))
        tables["checksums.npy"]["sha256"] = hashlib.sha256((made / "checksums.npy").read_bytes()).hexdigest()
    (made / "index.json").write_text(json.dumps(manifest))
    files = {problem.file for problem in verify(made)}
    shards = {shard.name for shard in Index.open(made).shards}
    assert files == {"missing": set(), "another": {"index.json"}, "wrong sums": shards}[change]
    if change == "missing":
        assert Index.open(made).checksums is None


def test_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not there: give the folder of a data set"):
        verify(tmp_path / "nothing")


def test_no_pickle_is_read(made: Path) -> None:
    """An .npy file may hold a pickle; ours never does, and one is refused."""
    np.save(made / "identities.npy", np.array([object()], dtype=object), allow_pickle=True)
    manifest = json.loads((made / "index.json").read_text())
    digest = hashlib.sha256((made / "identities.npy").read_bytes()).hexdigest()
    manifest["wds_face"]["tables"]["identities.npy"]["sha256"] = digest
    del manifest["wds_face"]["sha256"]
    (made / "index.json").write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match="damaged"):
        Index.open(made)
