"""Pointed at data of another kind, each command names the one that reads it, or says that there is none."""

from __future__ import annotations

import shlex
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import MakeFolder, command
from wds_face import DatasetError, ImageFolder, Index, PKStream, RecordIO, SourceError, WebDataset, convert
from wds_face.recognise import recognise
from wds_face.recordio import RecordWriter, pack


def write_records(root: Path, jpegs: list[bytes]) -> None:
    with RecordWriter(root / "train.rec") as writer:
        for key in range(1, 5):
            writer.write(key, pack((0, float(key % 2), key, 0), jpegs[key]))


def write_shard(root: Path, jpegs: list[bytes]) -> None:
    (root / "one.jpg").write_bytes(jpegs[0])
    with tarfile.open(root / "faces-000000.tar", "w") as tar:
        tar.add(root / "one.jpg", "0/one.jpg")
    (root / "one.jpg").unlink()


def write_parquet(root: Path, jpegs: list[bytes]) -> None:
    (root / "data").mkdir()
    (root / "data" / "train-00000-of-00001.parquet").write_bytes(b"PAR1")
    (root / "README.md").write_text("a data set of the hub")


def write_arrow(root: Path, jpegs: list[bytes]) -> None:
    """As save_to_disk of Hugging Face's datasets has it."""
    (root / "dataset_dict.json").write_text('{"splits": ["train"]}')
    (root / "train").mkdir()
    (root / "train" / "data-00000-of-00001.arrow").write_bytes(b"ARROW1")
    (root / "train" / "dataset_info.json").write_text("{}")


def write_lmdb(root: Path, jpegs: list[bytes]) -> None:
    (root / "data.mdb").write_bytes(b"x")
    (root / "lock.mdb").write_bytes(b"x")


def write_zip(root: Path, jpegs: list[bytes]) -> None:
    with zipfile.ZipFile(root / "faces.zip", "w") as archive:
        archive.writestr("ann/0.jpg", jpegs[0])


def write_bins(root: Path, jpegs: list[bytes]) -> None:
    (root / "lfw.bin").write_bytes(b"x")


def write_mosaic(root: Path, jpegs: list[bytes]) -> None:
    (root / "index.json").write_text('{"version": 2}')
    (root / "shard.00000.mds").write_bytes(b"x")


def write_litdata(root: Path, jpegs: list[bytes]) -> None:
    (root / "index.json").write_text('{"chunks": []}')
    (root / "chunk-0-0.bin").write_bytes(b"x")


def write_folders(root: Path, jpegs: list[bytes]) -> None:
    for name in ("ann", "bob"):
        (root / name).mkdir()
        (root / name / "0.jpg").write_bytes(jpegs[0])


def write_pictures(root: Path, jpegs: list[bytes]) -> None:
    (root / "0.jpg").write_bytes(jpegs[0])
    (root / "1.jpg").write_bytes(jpegs[1])


WRITERS: dict[str, Callable[[Path, list[bytes]], None]] = {
    "recordio": write_records,
    "webdataset": write_shard,
    "imagefolder": write_folders,
    "validation": write_bins,
    "parquet": write_parquet,
    "arrow": write_arrow,
    "lmdb": write_lmdb,
    "zip": write_zip,
    "mosaic": write_mosaic,
    "litdata": write_litdata,
    "pictures": write_pictures,
}
COMMANDS = ("recordio", "webdataset", "imagefolder", "validation")
SAYS = {
    "parquet": "Parquet files (train-00000-of-00001.parquet) in data/: no command reads it",
    "arrow": "Arrow files of Hugging Face datasets (data-00000-of-00001.arrow) in train/: no command reads it",
    "lmdb": "an LMDB (data.mdb, lock.mdb): no command reads it",
    "zip": "archives (faces.zip): extract it",
    "mosaic": "MosaicML shards (shard.00000.mds): no command reads it",
    "litdata": "LitData chunks (chunk-0-0.bin): no command reads it",
    "pictures": "images",
}


@pytest.fixture(params=WRITERS)
def kind(request: pytest.FixtureRequest, tmp_path: Path, jpegs: list[bytes]) -> str:
    """A kind of data, written to ``tmp_path / "my data"``."""
    root = tmp_path / "my data"
    root.mkdir()
    name = str(request.param)
    WRITERS[name](root, jpegs)
    return name


@pytest.mark.parametrize("reader", ["imagefolder", "recordio", "webdataset"])
def test_convert_names_the_command(kind: str, reader: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if kind == reader:
        return
    root = tmp_path / "my data"
    assert command("convert", reader, root, tmp_path / "out") == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert str(root) in line
    assert SAYS.get(kind, f"`wds-face convert {kind}") in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["recordio", "imagefolder"])
def test_the_command_that_is_named_works(
    kind: str, tmp_path: Path, jpegs: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "my data"
    root.mkdir()
    WRITERS[kind](root, jpegs)
    wrong = "imagefolder" if kind == "recordio" else "recordio"
    assert command("convert", wrong, root, tmp_path / "out") == 1
    named = capsys.readouterr().err.split("`")[1]
    words = shlex.split(named.replace("DEST", str(tmp_path / "out")))
    assert words[0] == "wds-face"
    assert command(*words[1:]) == 0


@pytest.mark.parametrize("name", ["recordio", "imagefolder", "parquet", "zip"])
def test_what_reads_finished_data_sets_names_the_command_too(tmp_path: Path, jpegs: list[bytes], name: str) -> None:
    WRITERS[name](tmp_path, jpegs)
    wanted = SAYS.get(name, f"convert {name}").partition("(")[0]
    for opening in (lambda: PKStream(tmp_path, p=2, k=1), lambda: Index.open(tmp_path)):
        with pytest.raises(DatasetError, match=r"has no index\.json") as caught:
            opening()
        assert wanted in str(caught.value)
    for words in (["report", tmp_path, "-o", tmp_path / "x.html"], ["info", tmp_path], ["index", tmp_path]):
        assert command(*words) == 1


@pytest.mark.parametrize("name", ["parquet", "arrow", "lmdb", "zip", "mosaic", "litdata", "validation"])
def test_preview_says_what_it_cannot_read(
    tmp_path: Path, jpegs: list[bytes], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    WRITERS[name](tmp_path / "data", jpegs)
    assert command("preview", tmp_path / "data", "-o", tmp_path / "x.png") == 1
    assert SAYS.get(name, "convert validation") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "file"), [(ImageFolder, "faces.zip"), (RecordIO, "faces.zip"), (RecordIO, "faces-000000.tar")]
)
def test_a_file_of_another_kind(tmp_path: Path, jpegs: list[bytes], source: type, file: str) -> None:
    write_zip(tmp_path, jpegs)
    write_shard(tmp_path, jpegs)
    with pytest.raises(SourceError, match=r"extract it|convert webdataset"):
        source(tmp_path / file).scan()


def test_a_finished_data_set_is_no_image_folder(make_folder: MakeFolder, tmp_path: Path) -> None:
    convert(ImageFolder(make_folder({"a": 2})), tmp_path / "out", workers=1)
    with pytest.raises(SourceError, match=r"a data set of wds-face \(identities.npy\): it is converted already"):
        ImageFolder(tmp_path / "out").scan()


def test_a_few_files_beside_image_folders_do_not_hide_them(make_folder: MakeFolder) -> None:
    root = make_folder({"ann": 1, "bob": 1})
    for name in ("lfw.bin", "landmarks.npz", "names.zip", "ann/points.mat"):
        (root / name).write_bytes(b"x")
    found = recognise(root)
    assert found is not None
    assert found.kind == "imagefolder"
    with pytest.raises(SourceError, match="convert imagefolder"):
        WebDataset(root).scan()


def test_hidden_files_are_not_looked_at(make_folder: MakeFolder) -> None:
    root = make_folder({"ann": 1})
    (root / "._x.tar").write_bytes(b"x")
    (root / ".x.rec").write_bytes(b"x")
    found = recognise(root)
    assert found is not None
    assert found.kind == "imagefolder"


@pytest.mark.parametrize("name", ["nothing", "empty", "text"])
def test_nothing_known(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "README.md").write_text("x")
    assert recognise(tmp_path / name) is None
