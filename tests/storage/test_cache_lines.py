"""A process may rest or die at any line of the cache, and nobody is harmed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.storage.pieces import (
    BLOCK,
    Start,
    content,
    keep,
    key,
    room,
    taken,
    there,
    wait_for,
)
from wds_face.storage.cache import Cache


class Line:
    """Does something once, before the thread runs the so-manieth line of the cache that it did not run before."""

    def __init__(self, number: int, act: Callable[[], None]) -> None:
        self._number, self._act, self._seen = number, act, set[int]()

    def __call__(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename != sys.modules[Cache.__module__].__file__:
            return None
        if event == "line" and frame.f_lineno not in self._seen:
            self._seen.add(frame.f_lineno)
            if len(self._seen) == self._number:
                self._act()
        return self


def folders(tmp_path: Path, limit: int) -> Iterator[Path]:
    """Any number of folders that are full; the last piece is damaged."""
    full = tmp_path / "full"
    keep(Cache(full, limit), *range(8))
    for number in range(8):
        os.utime(full / key(number), (number, number))
    (full / key(7)).write_bytes(bytes(BLOCK))
    for number in range(1, 1000):
        folder = Path(shutil.copytree(full, tmp_path / str(number)))
        yield folder
        cache = Cache(folder, limit)
        for other in range(20, 26):
            keep(cache, other)
            assert taken(folder) <= limit
        assert not list(folder.glob("*.part"))
        keep(cache, 8)
        assert there(cache, 8)
        shutil.rmtree(folder)


def use(folder: Path, limit: int, make: Callable[[], bytes]) -> None:
    """Open a full cache, read, find damage, fetch a piece, and clear room for it."""
    cache = Cache(folder, limit)
    assert cache.get(key(1)) in (None, content(1))
    assert cache.get(key(7)) is None
    assert cache.fetch(key(8), make) == content(8)


def test_a_process_may_rest_at_any_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As if it was on a busy machine. A thread does, which a lock sees as another process."""
    limit = room(8)
    for number, folder in enumerate(folders(tmp_path, limit), 1):
        begun, done, made = threading.Event(), threading.Event(), list[int]()

        def rest(begun: threading.Event = begun, done: threading.Event = done) -> None:
            begun.set()
            done.wait(0.02)

        def make(made: list[int] = made) -> bytes:
            made.append(1)
            return content(8)

        def work(number: int = number, folder: Path = folder, rest: Any = rest, make: Any = make) -> None:
            sys.settrace(Line(number, rest))
            use(folder, limit, make)

        with ThreadPoolExecutor(1) as threads:
            worked = threads.submit(work)
            wait_for(lambda begun=begun, worked=worked: begun.is_set() or worked.done())
            if not begun.is_set():
                worked.result()
                break
            cache = Cache(folder, limit)
            old, new = cache.get(key(0)), cache.fetch(key(8), make)
            done.set()
            worked.result()
        assert made == [1]
        assert new == content(8)
        if old is not None:  # it was not removed under us
            assert old == content(0)
            assert there(cache, 0)
        del old, new
        assert all(f"{key(7)}: a file of the cache was damaged" in message for message in caplog.messages)
    assert number > 80


def test_a_process_may_die_at_any_line(tmp_path: Path, start: Start) -> None:
    limit = room(8)
    for number, folder in enumerate(folders(tmp_path, limit), 1):

        def work(number: int = number, folder: Path = folder) -> None:
            sys.settrace(Line(number, lambda: os.kill(os.getpid(), signal.SIGKILL)))
            use(folder, limit, lambda: content(8))
            sys.settrace(None)

        process = start(work)
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        assert taken(folder) <= limit
    assert number > 80
