"""Damage to a cache is noticed, and what others put there stays."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.storage.pieces import (
    BLOCK,
    LIMIT,
    Start,
    content,
    finish,
    flip,
    keep,
    key,
    never,
    refuse,
    room,
    taken,
    there,
)
from wds_face.storage.cache import Cache


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "first byte": lambda path: flip(path, 0),
    "last byte": lambda path: flip(path, -21),
    "magic": lambda path: flip(path, -20),
    "number": lambda path: flip(path, -12),
    "sum": lambda path: flip(path, -1),
    "cut by one": lambda path: os.truncate(path, path.stat().st_size - 1),
    "cut to a few": lambda path: os.truncate(path, 10),
    "empty": lambda path: os.truncate(path, 0),
    "one more": lambda path: os.truncate(path, path.stat().st_size + 1),
    "many more": lambda path: os.truncate(path, 1 << 20),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a dead link": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "another file": lambda path: replace(path, bytes(100)),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_is_noticed_and_fetched_again(tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str) -> None:
    keep(Cache(tmp_path, LIMIT), 0, 1, 2)
    DAMAGE[how](tmp_path / key(1))
    cache = Cache(tmp_path, LIMIT)
    keep(cache, 0, 1, 2)
    assert there(cache, 0, 1, 2) == [0, 1, 2]
    assert (how == "a dead link") != ("was damaged" in caplog.text)
    assert not (tmp_path / key(1)).is_symlink()
    for number in range(3):
        assert Cache(tmp_path, LIMIT).fetch(key(number), never) == content(number)
    keep(cache, *range(10, 100))
    assert taken(tmp_path) <= LIMIT


@pytest.mark.parametrize("how", ["cut by one", "cut to a few", "empty", "one more", "magic", "another file"])
def test_damage_after_it_was_read_is_noticed(tmp_path: Path, how: str) -> None:
    cache = Cache(tmp_path, LIMIT)
    keep(cache, 0)
    DAMAGE[how](tmp_path / key(0))
    assert cache.get(key(0)) is None
    keep(cache, 0)
    assert cache.fetch(key(0), never) == content(0)


def test_what_another_put_there_is_checked_again(tmp_path: Path, start: Start) -> None:
    cache = Cache(tmp_path, LIMIT)
    keep(cache, 0)
    with open(tmp_path / key(0), "rb"):  # so that its inode is not taken again
        os.unlink(tmp_path / key(0))
        finish(start(lambda: keep(Cache(tmp_path, LIMIT), 0)))
    flip(tmp_path / key(0), 5)
    keep(cache, 0)


@pytest.mark.parametrize("name", [key(0), f"{key(0)}.part", "lock"])
def test_a_folder_in_place_of_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    cache = Cache(tmp_path, room(4))
    keep(cache, *range(1, 5))
    with suppress(FileNotFoundError):
        (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    (tmp_path / name / "file").touch()
    for _ in range(3):
        keep(cache, *range(10))
    assert (tmp_path / name / "file").exists()
    assert "cannot keep what was fetched" in caplog.text
    if name == "lock":
        refuse(tmp_path)


GARBAGE = [b"", b"\0", bytes(7), bytes(8), bytes(12), bytes(99), b"\xff" * 8, b"\xff" * 12, b"x" * 9 * BLOCK, None]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: "none" if garbage is None else str(len(garbage)))
def test_a_damaged_lock_is_noticed(tmp_path: Path, garbage: bytes | None) -> None:
    cache = Cache(tmp_path, room(20))
    keep(cache, *range(20))
    (tmp_path / "lock").unlink()
    if garbage is not None:
        (tmp_path / "lock").write_bytes(garbage)
    keep(cache, 20)
    assert taken(tmp_path) <= cache.limit
    assert len(there(cache, *range(21))) >= 18
    keep(cache, *range(21, 60))
    assert 0.8 * cache.limit < taken(tmp_path) <= cache.limit


def test_a_lock_of_another_time(tmp_path: Path) -> None:
    """As a power cut leaves it."""
    cache, lock = Cache(tmp_path, room(20)), tmp_path / "lock"
    empty = lock.read_bytes()
    keep(cache, *range(20))
    full = lock.read_bytes()
    lock.write_bytes(empty)
    keep(cache, *range(20, 60))
    assert taken(tmp_path) <= cache.limit
    keep(cache, *range(100, 105))
    for number in there(cache, *range(60)):
        (tmp_path / key(number)).unlink()
    lock.write_bytes(full)
    keep(cache, *range(60, 66))
    assert there(cache, *range(100, 105), *range(60, 66)) == [*range(100, 105), *range(60, 66)]


def test_files_of_others_count_and_stay(tmp_path: Path) -> None:
    names = ["notes.txt", ".hidden", "a.part", "-", "line\nbreak", key(0).upper(), f"{key(0)}.PART", f"{key(0)}0", "é"]
    for name in names:
        (tmp_path / name).write_bytes(b"mine")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"mine")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / key(1)).symlink_to("notes.txt")
    (tmp_path / f"{key(2)}.part").symlink_to("notes.txt")
    cache = Cache(tmp_path, 30 * BLOCK)
    keep(cache, *range(100))
    assert there(cache, 99)
    assert 20 * BLOCK < taken(tmp_path) <= cache.limit
    small = Cache(tmp_path, 5 * BLOCK)  # less than theirs
    keep(small, *range(100, 110))
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "folder", "link", f"{key(2)}.part", "lock"])
    assert all((tmp_path / name).read_bytes() == b"mine" for name in [*names, "folder/file"])
