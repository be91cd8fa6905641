"""What is a path and what is a URL, and everything that takes paths of this machine only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wds_face
from wds_face import DataModule, ImageFolder, Options, PathError, convert
from wds_face.location import is_url, local_path
from wds_face.report import write_report
from wds_face.storage import open_store
from wds_face.synthetic import write_folder
from wds_face.validation import load_bin

CHAIN = "simplecache::s3://bucket/set"


@pytest.mark.parametrize(
    "url", ["s3://bucket/set", "memory://x", "file://relative", "nonsense://x", CHAIN, "zip://inner::s3://b/a.zip"]
)
def test_urls(url: str) -> None:
    assert is_url(url)


@pytest.mark.parametrize(
    "path",
    ["shards", ".", "", "run::2026/shards", "a::b::c", "/data/simplecache::x", "./s3:/x", "/s3:/x", "C:/faces", "a:b"],
)
def test_local_paths(path: str) -> None:
    assert not is_url(path)
    assert local_path(path, "dest") == Path(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (Path("s3://bucket/set"), "write s3://"),
        (Path("memory://set"), "write memory://"),
        (Path(CHAIN), r"write \./simplecache::s3:/bucket/set for the path"),
        ("simplecache::set", r"write \./simplecache::set for the path"),
        ("simplecach::s3://bucket/set", "'simplecach' before :: is not a protocol of fsspec"),
    ],
)
def test_what_could_be_both_is_refused(text: str | Path, message: str) -> None:
    with pytest.raises(PathError, match=message):
        open_store(text)


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(name=names)
def test_a_name_before_colons_is_local_unless_it_is_a_protocol(name: str) -> None:
    if name in fsspec.available_protocols() or "::" in name:
        return
    assert not is_url(f"{name}::2026/shards")


@given(path=st.lists(names, min_size=1, max_size=3).map("/".join))
def test_absolute_paths_are_local(path: str) -> None:
    assert not is_url(f"/{path}")


def test_colons_in_a_local_name_destroy_nothing_else(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    convert(ImageFolder(faces), "run", Options(), workers=1)
    before = {path.name: path.read_bytes() for path in Path("run").iterdir() if path.is_file()}
    convert(ImageFolder(faces), "run::2026/shards", Options(seed=1), workers=1, overwrite=True)
    assert {path.name: path.read_bytes() for path in Path("run").iterdir() if path.is_file()} == before
    assert wds_face.verify("run::2026/shards") == []
    assert Path("run::2026/shards/index.json").is_file()


URL = "s3://me:hunter2@bucket/x"


def _result() -> Any:
    return wds_face.evaluate_verification(np.eye(40), np.arange(20) % 2 == 0)


LOCAL_ONLY: dict[str, Callable[[], Any]] = {
    "ImageFolder": lambda: ImageFolder(URL),
    "RecordIO": lambda: wds_face.RecordIO(URL),
    "RecordReader": lambda: wds_face.RecordReader(URL),
    "RecordReader idx": lambda: wds_face.RecordReader(__file__, URL),
    "RecordWriter": lambda: wds_face.RecordWriter(URL),
    "RecordWriter idx": lambda: wds_face.RecordWriter("x.rec", URL),
    "BaseMXDataset": lambda: wds_face.BaseMXDataset(URL),
    "AugmentRecordDataset": lambda: wds_face.AugmentRecordDataset(URL),
    "CustomImageFolderDataset": lambda: wds_face.CustomImageFolderDataset(URL),
    "cache_dir": lambda: wds_face.PKStream("set", 4, 2, cache_dir=URL),
    "write_report": lambda: write_report("set", URL),
    "save_sheet": lambda: wds_face.save_sheet(f"{URL}.png", [np.zeros((8, 8, 3), np.uint8)]),
    "save_roc": lambda: wds_face.save_roc(f"{URL}.png", {"lfw": _result()}),
    "make_memmap": lambda: wds_face.make_memmap(URL, np.ones(3)),
    "read_memmap": lambda: wds_face.read_memmap(URL),
    "FiveValidationDataset": lambda: wds_face.FiveValidationDataset(
        {"lfw": (np.zeros((2, 3, 8, 8)), np.ones(1, bool))}, URL
    ),
    "load_bin": lambda: load_bin(URL),
    "get_val_pair": lambda: wds_face.get_val_pair(URL, "lfw"),
    "get_val_sets": lambda: wds_face.get_val_sets(URL),
    "get_val_data": lambda: wds_face.get_val_data(URL),
    "convert_validation src": lambda: wds_face.convert_validation(URL, "val"),
    "convert_validation dest": lambda: wds_face.convert_validation("val", URL),
    "convert_pairs": lambda: wds_face.convert_pairs("set", URL, 4),
    "MedicalMaskOcclusion": lambda: wds_face.MedicalMaskOcclusion(URL),
    "write_folder": lambda: write_folder(URL, identities=1, images=1),
    "DataModule data_root": lambda: DataModule("set", data_root=URL),
    "DataModule val_data_path": lambda: DataModule("set", val_data_path=URL),
    "DataModule train_data_path": lambda: DataModule(train_data_path=URL).setup("fit"),
}


@pytest.mark.parametrize("name", LOCAL_ONLY)
def test_urls_are_refused_where_only_paths_are_taken(
    name: str, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.startswith("DataModule"):
        pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PathError, match=r"s3://bucket/x\S* is a URL: give a path on this machine") as error:
        LOCAL_ONLY[name]()
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before, "nothing was made"


def test_output_dir(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PathError, match="output_dir s3://bucket/x is a URL"):
        wds_face.CustomImageFolderDataset(faces, output_dir=URL)
    assert not list(tmp_path.glob("s3*"))


def test_file_urls_are_paths(faces: Path, tmp_path: Path) -> None:
    convert(ImageFolder(f"file://{faces}"), f"file://{tmp_path}/set", workers=1)
    assert (tmp_path / "set" / "index.json").is_file()
    assert str(local_path("file:///data/x", "src")) == "/data/x"
