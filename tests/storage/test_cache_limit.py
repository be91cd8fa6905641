"""The limit of a cache holds at every moment, whoever uses it, and whatever happens to it."""

from __future__ import annotations

import logging
import os
import random
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.storage.pieces import (
    BLOCK,
    LIMIT,
    Start,
    complain,
    content,
    disk,
    flip,
    keep,
    key,
    mounted,
    room,
    said,
    taken,
    there,
)
from wds_face.storage.cache import Cache


def hammer(folder: Path, seed: int, seconds: float, log: Path) -> None:
    """Fetch what comes, and hold some of it."""
    logging.getLogger("wds_face").addFilter(complain)
    cache, dice, held = Cache(folder, LIMIT), random.Random(seed), []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        number = dice.randrange(50)
        data = content(number, 1 + number % 7)
        held.append((cache.fetch(key(number), lambda data=data: data), data))
        while len(held) > dice.randrange(4):
            view, data = held.pop(0)
            assert view == data
            del view
        said(log)


@pytest.mark.parametrize("where", ["folder", "disk"])
def test_the_limit_holds_at_every_moment(tmp_path: Path, start: Start, where: str) -> None:
    """With four processes at work, of which one is killed now and then. A disk just as large is never full."""
    log, dice, seen = tmp_path / "log", random.Random(where), []

    def look(folder: Path) -> None:
        Cache(folder, LIMIT)
        processes = [start(hammer, folder, seed, 30, log) for seed in range(4)]
        end = time.monotonic() + 2
        while time.monotonic() < end:
            die = time.monotonic() + 0.05
            while time.monotonic() < die:
                seen.append(taken(folder) if where == "folder" else disk(folder))
                time.sleep(0.0005)
            one = dice.randrange(4)
            assert all(process.is_alive() for process in processes)
            processes[one].kill()
            processes[one].join()
            processes[one] = start(hammer, folder, dice.random(), 30, log)
        for process in processes:
            process.kill()
            process.join()
        assert LIMIT / 2 < max(seen) <= LIMIT
        assert len(log.read_text().split()) > 100
        cache = Cache(folder, LIMIT)
        keep(cache, *range(100, 200))
        assert len(there(cache, *range(100, 200))) > 30  # all that the dead had is free again
        assert not list(folder.glob("*.part"))
        assert taken(folder) <= LIMIT

    if where == "folder":
        look(tmp_path / "cache")
    else:
        with mounted(tmp_path / "disk", f"size={LIMIT}") as folder:
            look(folder)


NUMBERS = st.integers(0, 15)


class Life(RuleBasedStateMachine):
    """Whatever happens one after the other."""

    @initialize(blocks=st.integers(0, 12))
    def begin(self, blocks: int) -> None:
        self.folder, self.limit = Path(tempfile.mkdtemp()), room(blocks)
        self.held: dict[int, memoryview] = {}
        self.open()

    @rule()
    def open(self) -> None:
        self.cache = Cache(self.folder, self.limit)

    @rule(number=NUMBERS, hold=st.booleans())
    def fetch(self, number: int, hold: bool) -> None:
        view = self.cache.fetch(key(number), lambda: self.right(number))
        assert view == self.right(number)
        if hold and self.file(number).exists():
            self.held[number] = view

    @rule(number=NUMBERS)
    def get(self, number: int) -> None:
        assert self.cache.get(key(number)) in (None, self.right(number))

    @rule()
    def release(self) -> None:
        self.held.clear()

    @rule(number=NUMBERS)
    def die_before_it_is_written(self, number: int) -> None:
        (self.folder / f"{key(number)}.part").touch()

    @rule(number=NUMBERS)
    def remove(self, number: int) -> None:
        if number not in self.held:
            self.file(number).unlink(missing_ok=True)

    @rule(number=NUMBERS, at=st.integers(0, 1 << 20))
    def flip(self, number: int, at: int) -> None:
        if number not in self.held and self.file(number).exists() and (size := self.file(number).stat().st_size):
            flip(self.file(number), at % size)
            self.open()  # or it may know the file

    @rule(number=NUMBERS, size=st.integers(0, 4 * BLOCK))
    def cut(self, number: int, size: int) -> None:
        if number not in self.held and self.file(number).exists() and self.file(number).stat().st_size > size:
            os.truncate(self.file(number), size)

    @rule(garbage=st.binary(max_size=20) | st.none())
    def damage_the_lock(self, garbage: bytes | None) -> None:
        (self.folder / "lock").unlink(missing_ok=True)
        if garbage is not None:
            (self.folder / "lock").write_bytes(garbage)

    @invariant()
    def limit_holds(self) -> None:
        assert taken(self.folder) <= self.limit

    @invariant()
    def what_is_read_is_there(self) -> None:
        assert all(self.file(number).exists() for number in self.held)

    def teardown(self) -> None:
        assert all(view == self.right(number) for number, view in self.held.items())
        shutil.rmtree(self.folder)

    def file(self, number: int) -> Path:
        return self.folder / key(number)

    def right(self, number: int) -> bytes:
        return content(number, number % 4) if number % 4 else b""


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
