"""Processes may fork while their threads fetch."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.storage.pieces import (
    LIMIT,
    Start,
    finish,
    keep,
    key,
    wait_for,
)
from wds_face.storage.cache import Cache


def lurk(parent: int) -> int:
    """A child that does nothing, and has all files that are open; it ends with its parent."""
    child = os.fork()
    while child == 0:
        time.sleep(0.05)
        if os.getppid() != parent:
            os._exit(0)
    return child


def test_a_fork_takes_no_place_of_who_makes_a_piece(tmp_path: Path, start: Start) -> None:
    folder, ready, go, end = (tmp_path / name for name in ("cache", "ready", "go", "end"))

    def fail() -> bytes:
        ready.touch()
        wait_for(go.exists)
        raise ConnectionError

    def work() -> None:
        with ThreadPoolExecutor(1) as threads:
            failed = threads.submit(Cache(folder, LIMIT).fetch, key(0), fail)
            wait_for(ready.exists)
            child = lurk(os.getpid())
            (tmp_path / "forked").touch()
            assert isinstance(failed.exception(), ConnectionError)
            wait_for(end.exists)
            os.kill(child, signal.SIGKILL)

    first = start(work)
    wait_for((tmp_path / "forked").exists)
    waiting = start(lambda: keep(Cache(folder, LIMIT), 0))
    time.sleep(0.1)
    go.touch()
    finish(waiting, seconds=20)
    end.touch()
    finish(first)


def test_a_fork_takes_no_lock_along(tmp_path: Path, start: Start) -> None:
    """Forks at many moments: of all that a process has open nothing may stop another one."""

    def work() -> None:
        cache, end = Cache(tmp_path / "cache", LIMIT), threading.Event()

        def use(seed: int) -> None:
            dice = random.Random(seed)
            while not end.is_set():
                keep(cache, dice.randrange(60))

        with ThreadPoolExecutor(4) as threads:
            used = [threads.submit(use, seed) for seed in range(4)]
            children = []
            for _ in range(30):
                children.append(lurk(os.getpid()))
                time.sleep(0.01)
            (tmp_path / "forked").touch()
            end.set()
            for one in used:
                one.result()
            wait_for((tmp_path / "end").exists)
            for child in children:
                os.kill(child, signal.SIGKILL)

    first = start(work)
    wait_for((tmp_path / "forked").exists)
    other = start(lambda: keep(Cache(tmp_path / "cache", LIMIT), *range(60)))
    finish(other, seconds=20)
    (tmp_path / "end").touch()
    finish(first)
