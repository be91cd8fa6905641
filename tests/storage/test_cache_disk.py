"""A disk that is full, read-only or taken away costs speed, never bytes."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.storage.pieces import (
    BLOCK,
    LIMIT,
    Start,
    content,
    finish,
    keep,
    key,
    mounted,
    never,
    refuse,
    room,
    said,
    taken,
    there,
    wait_for,
)
from wds_face.storage.cache import Cache


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", "/dev/null/x", "/proc/x", tmp_path / ("x" * 300)):
        refuse(folder)
    assert (tmp_path / "file").read_bytes() == b""
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        refuse(tmp_path / "closed")


def test_a_disk_that_becomes_read_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with mounted(tmp_path / "disk", "size=1M") as folder:
        cache = Cache(folder, room(10))
        keep(cache, *range(10))
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        for _ in range(2):
            keep(cache, *range(20))
        for number in range(10):
            assert cache.fetch(key(number), never) == content(number)
        assert caplog.text.count("cannot keep what was fetched (Read-only file system)") == 1
        refuse(folder)


def test_a_full_disk_keeps_nothing_half(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with mounted(tmp_path / "disk", "size=64k") as folder:
        cache = Cache(folder, 1 << 20)
        for _ in range(2):
            keep(cache, *range(20))
            keep(cache, *range(100, 110), blocks=4)
        assert caplog.text.count("cannot keep what was fetched (No space left on device)") == 1
        assert not list(folder.glob("*.part"))
        assert len(there(cache, *range(20))) == 15
        assert there(cache, *range(100, 110)) == []
        for number in range(10):
            (folder / key(number)).unlink()
        keep(cache, 100, blocks=4)
        assert there(cache, 100)


def test_a_full_disk_at_the_beginning(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k") as folder:
        (folder / "file").write_bytes(bytes(64 << 10))
        refuse(folder)


def test_files_may_not_be_so_large(tmp_path: Path, start: Start) -> None:
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * BLOCK, 2 * BLOCK))
        cache = Cache(tmp_path, LIMIT)
        keep(cache, 0, blocks=4)
        keep(cache, 1)
        assert there(cache, 0, 1) == [1]

    finish(start(work))
    assert sorted(os.listdir(tmp_path)) == sorted([key(1), "lock"])


def test_no_more_files_may_be_open(tmp_path: Path, start: Start) -> None:
    """Whatever step fails, the bytes are right."""

    def work() -> None:
        cache = Cache(tmp_path, 1000 * BLOCK)
        keep(cache, *range(100, 110))
        opened = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 20
        for free in range(1, 30):
            resource.setrlimit(resource.RLIMIT_NOFILE, (opened + free, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            held = [
                cache.fetch(key(number), lambda number=number: content(number)) for number in range(free, free + 10)
            ]
            held += [cache.fetch(key(number), lambda number=number: content(number)) for number in range(100, 110)]
            assert held == [content(number) for number in (*range(free, free + 10), *range(100, 110))]
            del held

    finish(start(work))
    assert not list(tmp_path.glob("*.part"))
    keep(Cache(tmp_path, room(20)), *range(200, 230))
    assert taken(tmp_path) <= room(20)


def test_a_piece_that_a_user_removes(tmp_path: Path) -> None:
    cache = Cache(tmp_path, room(4))
    view = cache.fetch(key(0), lambda: content(0))
    (tmp_path / key(0)).unlink()
    assert cache.get(key(0)) is None
    keep(cache, *range(10))
    assert view == content(0)
    assert taken(tmp_path) <= cache.limit


@pytest.mark.parametrize("then", ["nothing", "a folder", "a file"])
def test_a_folder_that_a_user_removes(tmp_path: Path, start: Start, then: str) -> None:
    folder, logs, end = tmp_path / "cache", [tmp_path / "one", tmp_path / "two"], tmp_path / "end"
    cache = Cache(folder, LIMIT)
    view = cache.fetch(key(0), lambda: content(0))

    def work(log: Path) -> None:
        one = Cache(folder, LIMIT)
        while not end.exists():
            keep(one, *range(30))
            said(log)

    processes = [start(work, log) for log in logs]
    wait_for(lambda: all(log.exists() for log in logs))
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(FileExistsError):
            if then == "a folder":
                folder.mkdir()
            elif then == "a file":
                folder.touch(exist_ok=False)
        keep(cache, *range(30))
        if folder.is_file():
            folder.unlink()
    folder.mkdir(exist_ok=True)
    end.touch()
    finish(*processes)
    assert view == content(0)
    keep(cache, 1)
    assert there(cache, 1)


def test_a_folder_that_is_removed_while_a_piece_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = Cache(folder, LIMIT)

    def make() -> bytes:
        shutil.rmtree(folder)
        return content(0)

    for _ in range(2):
        assert cache.fetch(key(0), make) == content(0)
        folder.mkdir(exist_ok=True)
    keep(cache, 1)
    assert there(cache, 1)
