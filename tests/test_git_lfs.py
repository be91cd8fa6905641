"""A checkout without ``git lfs pull``: each file that is a pointer is named, with the command that helps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support import MakeFolder
from wds_face import (
    CustomImageFolderDataset,
    ImageFolder,
    Index,
    RecordReader,
    WdsFaceError,
    WebDataset,
    adopt,
    convert,
    load_bin,
    verify,
)
from wds_face.git_lfs import POINTER, REASON, is_pointer, is_pointer_file
from wds_face.recordio import read_idx
from wds_face.shards.tar import walk
from wds_face.sources.peek import peek

LFS = POINTER + b"\noid sha256:4665a5ea423c2713d436b5ee50593a9640e0018c1550b5a0002f74190d6caea8\nsize 12345\n"


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("train.rec", RecordReader),
        ("train.idx", read_idx),
        ("a.tar", lambda path: next(walk(memoryview(path.read_bytes())))),
        ("a.tar", lambda path: WebDataset(str(path)).scan()),
        ("a.tar", lambda path: adopt(path, workers=1)),
        ("a.tar", lambda path: next(peek(str(path), np.random.default_rng(0)).images)),
        ("lfw.bin", load_bin),
        ("person/a.jpg", lambda path: CustomImageFolderDataset(path.parents[1])[0]),
        ("person/a.jpg", lambda path: convert(ImageFolder(path.parents[1]), path.parents[2] / "out", workers=1)),
        ("index.json", lambda path: Index.open(path.parent)),
    ],
)
def test_a_pointer_is_named(tmp_path: Path, name: str, read: Callable[[Path], object]) -> None:
    path = tmp_path / "set" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(LFS)
    with pytest.raises(WdsFaceError) as caught:
        read(path)
    assert REASON in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_data_set_whose_large_files_are_pointers(make_folder: MakeFolder, tmp_path: Path) -> None:
    index = convert(ImageFolder(make_folder({"a": 2, "b": 2})), tmp_path / "out", workers=1).index
    (tmp_path / "out" / index.shards[0].name).write_bytes(LFS)
    (problem,) = verify(tmp_path / "out")
    assert problem.file == index.shards[0].name
    assert REASON in problem.what
    (tmp_path / "out" / "identities.npy").write_bytes(LFS)
    with pytest.raises(WdsFaceError, match=r"identities\.npy is a Git LFS pointer"):
        Index.open(tmp_path / "out")


def test_only_pointers_are_pointers(tmp_path: Path) -> None:
    assert is_pointer(memoryview(LFS))
    for data in (b"", LFS[:20], b"\xff\xd8\xff" + LFS, b"version 1\n"):
        assert not is_pointer(data)
        (tmp_path / "file").write_bytes(data)
        assert not is_pointer_file(tmp_path / "file")
