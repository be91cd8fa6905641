"""A dry run is refused where the conversion would be, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Bucket, Server
from tests.support import MakeFolder, sums
from wds_face import DatasetError, ImageFolder, Options, WebDataset, convert
from wds_face.conversion.dry_run import dry_run
from wds_face.storage import open_store


def both(source: Any, dest: Any, message: str, options: Options | None = None, **more: Any) -> None:
    """The dry run and the conversion end with the same line."""
    with pytest.raises(DatasetError, match=message) as dry:
        dry_run(source, dest, options or Options(), workers=1, **more)
    with pytest.raises(DatasetError, match=message) as real:
        convert(source, dest, options or Options(), workers=1, **more)
    assert str(dry.value) == str(real.value)


def test_a_folder_is_left_as_it_is(faces: Path, tmp_path: Path) -> None:
    found = dry_run(ImageFolder(faces), tmp_path / "a" / "b" / "out", Options(min_images=2), workers=1)
    assert (len(found.plan.kept), found.finished, found.checked) == (16, False, True)
    assert sorted(tmp_path.iterdir()) == [faces]


def test_within_the_source(faces: Path) -> None:
    both(ImageFolder(faces), faces / "out", "lies within the source")
    both(ImageFolder(faces), faces, "lies within the source")


def test_a_file(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    both(ImageFolder(faces), tmp_path / "file" / "out", "file is a file: give a folder")


def test_a_folder_that_cannot_be_written(faces: Path) -> None:
    both(ImageFolder(faces), "/proc/out", r"/proc/out cannot be written \(/proc: ")


def test_a_folder_without_permission(tmp_path: Path) -> None:
    """Root may write anywhere, so a child tries that is another user."""
    with tempfile.TemporaryDirectory() as closed:
        os.chmod(closed, 0o555)
        child = os.fork()
        if child == 0:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setuid(65534)
            try:
                open_store(f"{closed}/a/out").check_writable()
            except DatasetError as error:
                os._exit(7 if f"cannot be written ({closed}: Permission denied)" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert os.listdir(closed) == []


def test_another_data_set(make_folder: MakeFolder, faces: Path, tmp_path: Path) -> None:
    other = make_folder({"anna": 2, "bob": 3}, "others")
    convert(ImageFolder(other), tmp_path / "set", workers=1)
    before = sums(tmp_path / "set")
    both(ImageFolder(faces), tmp_path / "set", "holds another data set")
    assert dry_run(ImageFolder(other), tmp_path / "set", Options(), workers=1).finished
    assert not dry_run(ImageFolder(faces), tmp_path / "set", Options(), workers=1, overwrite=True).finished
    assert sums(tmp_path / "set") == before


def test_strange_shards_and_unfinished_conversions(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.tar").touch()
    both(ImageFolder(faces), tmp_path / "a", "holds x.tar, which no unfinished conversion explains: choose another")
    both(ImageFolder(faces), tmp_path / "a", "explains: move it away", overwrite=True)
    (tmp_path / "b" / ".convert").mkdir(parents=True)
    (tmp_path / "b" / ".convert" / "begun.json").write_text(json.dumps({"name": "val", "plan": "x"}))
    both(ImageFolder(faces), tmp_path / "b", "holds an unfinished conversion named 'val'")


def test_overwriting_is_refused_before_anything_is_removed(faces: Path, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "set", workers=1)
    (tmp_path / "set" / "mine.tar").write_bytes(b"mine")
    before = sums(tmp_path / "set")
    both(ImageFolder(faces), tmp_path / "set", "holds mine.tar", Options(seed=1), overwrite=True)
    assert sums(tmp_path / "set") == before


Usage = namedtuple("Usage", "total used free")


def test_a_disk_that_is_too_small(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10_000, 0, 1000))
    both(ImageFolder(faces), tmp_path / "out", r"the images take \S+ kB, and the disk has 1\.0 kB free: make room")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 0))  # it does not tell
    assert dry_run(ImageFolder(faces), tmp_path / "out", Options(), workers=1).checked


def test_room_that_finished_shards_take_is_not_needed_again(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(ImageFolder(faces), tmp_path / "set", workers=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10_000, 0, 1000))
    found = dry_run(ImageFolder(faces), tmp_path / "set", Options(seed=1), workers=1, overwrite=True)
    assert found.checked


def test_a_bucket_is_left_as_it_is(faces: Path, bucket: Bucket) -> None:
    found = dry_run(ImageFolder(faces), bucket.url("set"), Options(), workers=1, storage_options=bucket.options)
    assert found.checked
    assert bucket.keys() == []
    store = open_store(bucket.url("set"), bucket.options)
    assert store.check_writable()
    assert store.names() == []


def test_buckets_that_cannot_be_written(faces: Path, bucket: Bucket) -> None:
    both(ImageFolder(faces), "s3://no-such-bucket/set", "no such bucket", storage_options=bucket.options)
    wrong = {**bucket.options, "secret": "wrong"}
    both(ImageFolder(faces), bucket.url("set"), "access denied", storage_options=wrong)


def test_http_can_only_be_read(faces: Path, http_server: Server) -> None:
    both(ImageFolder(faces), http_server.url("out"), "can only be read: choose a folder or an object store")


def test_the_source_url_itself(faces: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(ImageFolder(faces), bucket.url("set"), workers=1, storage_options=bucket.options)
    source = WebDataset(bucket.url("set"), options=bucket.options)
    both(source, bucket.url("set"), "lies within the source", storage_options=bucket.options)
    both(source, bucket.url("set/again"), "lies within the source", storage_options=bucket.options)
