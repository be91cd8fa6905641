"""A piece is made once, by one process or thread at a time, whatever becomes of that."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.storage.pieces import (
    BLOCK,
    LIMIT,
    Start,
    complain,
    content,
    finish,
    keep,
    key,
    never,
    said,
    taken,
    there,
    wait_for,
)
from wds_face.storage.cache import Cache


def contend(folder: Path, log: Path, numbers: range, seed: int) -> None:
    """Fetch the same pieces as others do."""
    logging.getLogger("wds_face").addFilter(complain)
    cache = Cache(folder, 10_000 * BLOCK)
    order = [
        number for first in numbers[::5] for number in random.Random(first + seed).sample(range(first, first + 5), 5)
    ]

    def make(number: int) -> bytes:
        said(log, f"{number}\n")
        return content(number)

    for number in order:
        assert cache.fetch(key(number), lambda number=number: make(number)) == content(number)


@pytest.mark.parametrize(("method", "processes", "count"), [("fork", 6, 1000), ("spawn", 2, 50)])
def test_a_piece_is_made_once(tmp_path: Path, start: Start, method: str, processes: int, count: int) -> None:
    folder, log = tmp_path / "cache", tmp_path / "log"
    finish(*(start(contend, folder, log, range(count), seed, method=method) for seed in range(processes)))
    assert Counter(log.read_text().split()) == {str(number): 1 for number in range(count)}
    assert len(os.listdir(folder)) == count + 1


def test_threads_make_a_piece_once(tmp_path: Path) -> None:
    cache, made, go = Cache(tmp_path, 1000 * BLOCK), Counter[int](), threading.Barrier(16)

    def make(number: int) -> bytes:
        made[number] += 1
        time.sleep(0.001)
        return content(number)

    def work(seed: int) -> None:
        go.wait()
        for number in random.Random(seed // 4).sample(range(100), 100):
            assert cache.fetch(key(number), lambda number=number: make(number)) == content(number)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(work, range(16)))
    assert made == dict.fromkeys(range(100), 1)


def test_who_waited_goes_on_while_who_made_it_reads(tmp_path: Path, start: Start) -> None:
    folder, log = tmp_path / "cache", tmp_path / "log"

    def make() -> bytes:
        said(log)
        wait_for((tmp_path / "go").exists)
        return content(0)

    def hold() -> None:
        view = Cache(folder, LIMIT).fetch(key(0), make)
        wait_for((tmp_path / "end").exists)
        assert view == content(0)

    first = start(hold)
    wait_for(log.exists)
    waiting = [start(lambda: keep(Cache(folder, LIMIT), 0)) for _ in range(3)]
    time.sleep(0.1)
    (tmp_path / "go").touch()
    finish(*waiting)
    assert first.is_alive()
    (tmp_path / "end").touch()
    finish(first)
    assert log.read_text() == "made\n"


@pytest.mark.parametrize("how", ["killed", "raises", "no room"])
def test_who_waits_makes_it_if_the_first_does_not(tmp_path: Path, start: Start, how: str) -> None:
    folder, log = tmp_path / "cache", tmp_path / "log"

    def make() -> bytes:
        said(log)
        wait_for((tmp_path / "go").exists)
        if how == "raises":
            raise ConnectionError
        return content(0)

    def fail() -> None:
        with suppress(ConnectionError):
            Cache(folder, 0 if how == "no room" else LIMIT).fetch(key(0), make)

    def take_over() -> None:
        assert Cache(folder, LIMIT).fetch(key(0), lambda: said(log) or content(0)) == content(0)

    first = start(fail)
    wait_for(log.exists)
    waiting = [start(take_over) for _ in range(4)]
    time.sleep(0.1)
    assert all(process.is_alive() for process in waiting)
    if how == "killed":
        first.kill()
    else:
        (tmp_path / "go").touch()
    finish(*waiting)
    assert log.read_text() == "made\n" * 2
    assert sorted(os.listdir(folder)) == sorted([key(0), "lock"])


def test_who_is_interrupted_while_it_waits_harms_nobody(tmp_path: Path, start: Start) -> None:
    cache, log = Cache(tmp_path / "cache", LIMIT), tmp_path / "log"

    def wait() -> None:
        with suppress(KeyboardInterrupt):
            said(log)
            cache.fetch(key(0), never)

    def make() -> bytes:
        waiting = start(wait)
        wait_for(log.exists)
        time.sleep(0.1)
        assert waiting.pid is not None
        while waiting.is_alive():  # a signal that comes while a finalizer runs is lost
            os.kill(waiting.pid, signal.SIGINT)
            waiting.join(2)
        finish(waiting)
        return content(0)

    assert cache.fetch(key(0), make) == content(0)
    assert cache.fetch(key(0), never) == content(0)


def test_who_is_killed_while_it_writes_leaves_nothing(tmp_path: Path, start: Start) -> None:
    limit = 100 << 20
    large = bytes(80 << 20)

    def half(path: Path) -> bool:
        with suppress(FileNotFoundError):
            return 0 < path.stat().st_blocks * 512 < len(large)
        return False

    for number in range(5):
        process = start(lambda number=number: Cache(tmp_path, limit).fetch(key(number), lambda: large))
        part = tmp_path / f"{key(number)}.part"
        wait_for(lambda part=part, process=process: half(part) or not process.is_alive())
        process.kill()
        process.join()
        if half(part):
            break
    else:
        pytest.skip("the disk is too fast")
    cache = Cache(tmp_path, limit)
    assert taken(tmp_path) > len(large)
    assert cache.fetch(key(number), lambda: large) == large
    assert there(cache, number)  # in the same room
    assert taken(tmp_path) <= limit
    assert not list(tmp_path.glob("*.part"))


def test_who_waits_may_be_told_that_nobody_wants_it(tmp_path: Path) -> None:
    cache, go, begun = Cache(tmp_path, LIMIT), threading.Event(), threading.Event()

    def make() -> bytes:
        begun.set()
        go.wait(30)
        return content(0)

    def stop(_: float) -> None:
        raise StopIteration("nobody")

    with ThreadPoolExecutor(1) as threads:
        made = threads.submit(cache.fetch, key(0), make)
        begun.wait(30)
        with pytest.raises(StopIteration, match="nobody"):
            cache.fetch(key(0), never, stop)
        go.set()
        assert made.result() == content(0)
    assert cache.fetch(key(0), never, stop) == content(0)
