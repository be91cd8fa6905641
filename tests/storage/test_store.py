"""Files appear whole or not at all, on local disk and on fsspec's file systems alike."""

from __future__ import annotations

import errno
import pickle
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from wds_face.errors import DatasetError
from wds_face.location import shown
from wds_face.storage import Store, open_store


@pytest.fixture(params=["path", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    urls = {"path": str(tmp_path / "set"), "file": f"file://{tmp_path}/set", "memory": "memory://store-test"}
    yield open_store(urls[request.param])
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()


def test_round_trip(store: Store) -> None:
    assert store.names() == []
    assert store.size("a.tar") is None
    store.put("a.tar", b"0123456789")
    store.sync("a.tar")
    store.put("sub/b", b"", durable=False)
    assert store.names() == ["a.tar"]
    assert store.names("sub") == ["b"]
    assert store.size("a.tar") == 10
    assert store.size("sub/b") == 0
    assert store.read("a.tar") == b"0123456789"
    assert bytes(store.view("a.tar")[2:4]) == b"23"
    assert bytes(store.view("sub/b")) == b""
    assert store.ranges(["a.tar", "a.tar"], [0, 8], [2, 10]) == [b"01", b"89"]
    store.remove("a.tar")
    store.remove("a.tar")
    store.remove_folder("sub")
    store.remove_folder("sub")
    assert store.names() == []


def test_missing_files_say_so(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.read("nothing")
    with pytest.raises(FileNotFoundError):
        store.view("nothing")


def test_nothing_is_visible_before_the_end(store: Store) -> None:
    with store.write("x.tar") as file:
        file.write(b"half")
        assert store.size("x.tar") is None
    assert store.read("x.tar") == b"half"


def test_nothing_is_left_after_an_error(store: Store) -> None:
    store.put("x.tar", b"before")

    def fail() -> None:
        with store.write("x.tar") as file:
            file.write(b"half")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert store.read("x.tar") == b"before"
    assert store.names() == ["x.tar"]


def test_a_store_travels_by_url(store: Store) -> None:
    store.put("a", b"1")
    copy = pickle.loads(pickle.dumps(store))
    assert copy == store
    assert hash(copy) == hash(store)
    assert copy.read("a") == b"1"


@pytest.mark.parametrize(("url", "shown"), [("a/b//", "a/b"), ("/", "/"), ("", "."), ("file:///a/b/", "/a/b")])
def test_paths_are_shown_plainly(url: str, shown: str) -> None:
    assert str(open_store(url)) == shown


def test_what_other_processes_see(tmp_path: Path) -> None:
    assert open_store(tmp_path).shared
    assert not open_store("memory://x").shared


@pytest.mark.parametrize("user", ["user:secret@", "user@", "user:sec@secret@", "u%40x:secret%2F@", ":secret@", ""])
def test_messages_hold_no_credentials(user: str) -> None:
    assert str(open_store(f"memory://{user}bucket/a@b/set")) == "memory://bucket/a@b/set"
    assert shown(f"filecache::https://{user}host:80/x::s3://{user}b") == "filecache::https://host:80/x::s3://b"


class Strict(MemoryFileSystem):
    """Takes no options, and says which it was given."""

    protocol = "strict"
    cachable = False

    def __init__(self, **options: Any) -> None:
        if options:
            raise TypeError(f"unknown: {options}")
        super().__init__()


def test_options_stand_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_registry, "strict", Strict)
    nested = {"client_kwargs": {"key": "secret-a", "more": [{"password": b"secret-b"}]}, "token": "secret-a-and"}
    with pytest.raises(DatasetError, match="unknown: ") as error:
        open_store("strict://user:secret-c@bucket/set", nested)
    assert "secret" not in str(error.value)
    assert "-and" not in str(error.value)


class Slow(MemoryFileSystem):
    """Breaks uploads off, after longer than anybody is patient."""

    protocol = "slow"
    left = 2
    cachable = False

    def put_file(self, *arguments: Any, **options: Any) -> None:  # type: ignore[override]
        if Slow.left:
            Slow.left -= 1
            time.sleep(0.3)
            raise ConnectionResetError
        super().put_file(*arguments, **options)


def test_uploads_that_take_longer_than_patience_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_registry, "slow", Slow)
    store = open_store("slow://bucket/set", {"patience": 0.2})
    store.put("a.tar", b"whole")
    assert store.read("a.tar") == b"whole"
    Slow.left = 100
    with pytest.raises(DatasetError, match=r"writing b\.tar failed \(the connection was reset\)"):
        store.put("b.tar", b"never")
    assert 90 < Slow.left < 100


def test_an_unknown_protocol_is_one_line() -> None:
    with pytest.raises(DatasetError, match="nonsense"):
        open_store("nonsense://bucket/set")


def test_a_full_disk_says_what_to_do_and_leaves_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no permission to mount a small disk")
    try:
        with (
            pytest.raises(DatasetError, match=r"no space left while writing a\.tar"),
            open_store(small).write("a.tar") as file,
        ):
            file.write(bytes(1 << 20))
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_other_errors_stay_what_they_are(store: Store) -> None:
    with pytest.raises(OSError, match="odd") as caught, store.write("x"):
        raise OSError(errno.EIO, "odd")
    assert caught.value.errno == errno.EIO
