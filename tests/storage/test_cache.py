"""A cache keeps what was fetched, and what is used least recently goes."""

from __future__ import annotations

import os
import random
import time
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
    room,
    taken,
    there,
    wait_for,
)
from wds_face.storage.cache import Cache


@pytest.mark.parametrize("nbytes", [0, 1, 19, 20, 21, BLOCK - 20, BLOCK - 19, BLOCK, 9 << 20])
def test_round_trip(tmp_path: Path, nbytes: int) -> None:
    data = random.Random(nbytes).randbytes(nbytes)
    cache = Cache(tmp_path / "not" / "there", 16 << 20)
    assert cache.get(key(0)) is None
    assert cache.fetch(key(0), lambda: bytearray(data)) == data
    for one in (cache, Cache(cache.folder, 16 << 20)):
        view = one.get(key(0))
        assert view == data
        assert view.readonly
        assert one.fetch(key(0), never) == data
    assert taken(cache.folder) == -(-(nbytes + 20) // BLOCK) * BLOCK + BLOCK
    assert sorted(os.listdir(cache.folder)) == sorted([key(0), "lock"])


def test_a_key_is_of_a_file_in_a_version_and_a_range() -> None:
    spans = [("s3://b/a", "v", 1, 23), ("s3://b/a", "v", 12, 3), ("s3://b/a", "v1", 1, 23), ("s3://b/a", "", 1, 23)]
    spans += [("s3://b/av", "", 1, 23), ("s3://b/a", "v", 1, 24), ("s3://b/ä", "v", 1, 23)]
    keys = [Cache.key(*span) for span in spans]
    assert keys == [Cache.key(*span) for span in spans]
    assert len(set(keys)) == len(spans)
    assert all(name.isalnum() and name.isascii() for name in keys)


def test_a_url_stands_nowhere_in_the_folder(tmp_path: Path) -> None:
    cache = Cache(tmp_path, LIMIT)
    cache.fetch(Cache.key("https://user:secret@host/bucket/a.tar", "etag", 0, 5), lambda: b"bytes")
    for path in tmp_path.iterdir():
        for word in ("secret", "user", "host", "bucket", "etag"):
            assert word not in path.name
            assert word.encode() not in path.read_bytes()


def test_an_error_of_who_makes_it_is_the_callers(tmp_path: Path) -> None:
    cache = Cache(tmp_path, LIMIT)

    def fail() -> bytes:
        raise ConnectionError("the server is gone")

    for _ in range(2):
        with pytest.raises(ConnectionError, match="the server is gone"):
            cache.fetch(key(0), fail)
        assert os.listdir(tmp_path) == ["lock"]
    keep(cache, 0)
    assert there(cache, 0)


def test_what_was_used_least_recently_goes(tmp_path: Path) -> None:
    cache = Cache(tmp_path, room(20))
    for number in range(20):
        keep(cache, number)
        time.sleep(0.005)  # the clock of the file system ticks so often
    for number in (3, 1):
        assert cache.get(key(number)) is not None
        time.sleep(0.005)
    assert cache.fetch(key(2), never) == content(2)
    assert there(cache, *range(20)) == list(range(20))
    order = [0, *range(4, 20), 3, 1, 2]
    for number in range(20, 37):
        keep(cache, number)
        left = there(cache, *order)
        assert left == order[len(order) - len(left) :]
        assert taken(tmp_path) <= cache.limit
        time.sleep(0.005)
    assert set(left) <= {3, 1, 2}
    assert there(cache, 36)


def test_the_limit_is_used_up(tmp_path: Path) -> None:
    cache = Cache(tmp_path, room(100))
    keep(cache, *range(100))
    assert taken(tmp_path) == cache.limit
    for number in range(100, 300):
        keep(cache, number)
        assert 0.9 * cache.limit < taken(tmp_path) <= cache.limit


@pytest.mark.parametrize("limit", [0, 1, BLOCK, room(3)])
def test_a_piece_larger_than_the_limit_is_not_kept_and_costs_no_other(tmp_path: Path, limit: int) -> None:
    cache = Cache(tmp_path, limit)
    kept = max(limit // BLOCK - 1, 0)
    keep(cache, *range(kept))
    for _ in range(2):
        assert cache.fetch(key(9), lambda: content(9, 4)) == content(9, 4)
    assert len(os.listdir(tmp_path)) == kept + 1
    assert there(cache, *range(kept)) == list(range(kept))


def test_by_default_nine_tenths_of_what_is_free(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=400k") as folder:
        assert Cache(folder).limit == pytest.approx(360 << 10, abs=BLOCK)
        keep(Cache(folder), *range(50))
        # what is there already is no reason for less
        assert Cache(folder).limit == pytest.approx(51 * BLOCK + 0.9 * 49 * BLOCK, abs=2 * BLOCK)


def test_a_smaller_limit_holds_at_once(tmp_path: Path) -> None:
    keep(Cache(tmp_path, room(20)), *range(20))
    Cache(tmp_path, room(20))
    assert taken(tmp_path) == room(20)
    small = Cache(tmp_path, room(5))
    assert taken(tmp_path) <= room(5)
    assert there(small, 19)


def test_two_limits_in_one_folder(tmp_path: Path) -> None:
    large, small = Cache(tmp_path, room(20)), Cache(tmp_path, room(5))
    keep(large, *range(20))
    assert taken(tmp_path) == room(20)
    keep(small, 100)
    assert taken(tmp_path) <= room(5)
    assert there(small, 100)
    keep(large, *range(20))
    assert taken(tmp_path) <= room(20)


def test_a_folder_by_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    caches = [Cache(name, LIMIT) for name in ("~/link", "real", "./link/", tmp_path / "real")]
    monkeypatch.chdir("/")
    keep(caches[0], 0)
    for cache in caches:
        assert cache.folder.is_absolute()
        assert cache.fetch(key(0), never) == content(0)
    assert os.listdir(tmp_path / "real") == os.listdir(tmp_path / "link")


# Who reads


def test_what_is_read_stays(tmp_path: Path, start: Start) -> None:
    cache = Cache(tmp_path, room(8))
    made = cache.fetch(key(0), lambda: content(0))
    keep(cache, 1)
    got = Cache(tmp_path, room(8)).get(key(1))
    assert got is not None
    part = got[100:200]
    del got
    finish(start(lambda: keep(Cache(tmp_path, room(8)), *range(2, 40))))
    assert there(cache, *range(40))[:2] == [0, 1]
    assert made == content(0)
    assert part == content(1)[100:200]
    del made, part
    finish(start(lambda: keep(Cache(tmp_path, room(8)), *range(40, 60))))
    assert there(cache, 0, 1) == []


def test_where_all_is_read_nothing_more_is_kept(tmp_path: Path, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(tmp_path, room(8))
    views = [cache.fetch(key(number), lambda number=number: content(number)) for number in range(8)]
    before = sorted(os.listdir(tmp_path))
    for _ in range(2):
        keep(cache, 8, 9)
        finish(start(lambda: keep(Cache(tmp_path, room(8)), 8, 9)))
        assert sorted(os.listdir(tmp_path)) == before
    assert views == [content(number) for number in range(8)]
    assert not caplog.records
    views.pop()
    keep(cache, 8)
    assert there(cache, *range(9)) == [0, 1, 2, 3, 4, 5, 6, 8]


def test_a_fork_reads_on(tmp_path: Path, start: Start) -> None:
    cache = Cache(tmp_path, room(3))
    views = [cache.fetch(key(number), lambda number=number: content(number)) for number in range(3)]
    go = tmp_path.parent / f"{tmp_path.name}.go"

    def read() -> None:
        wait_for(go.exists)
        assert views == [content(number) for number in range(3)]
        assert cache.fetch(key(0), never) == content(0)

    child = start(read)
    views.clear()
    keep(cache, *range(10, 20))
    assert there(cache, *range(3)) == [0, 1, 2]
    go.touch()
    finish(child)
    keep(cache, *range(10, 20))
    assert there(cache, *range(3)) == []
