"""Memory for what is fetched: nobody's bytes are given to others, and what nobody has is used again."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from wds_face.storage.memory import memory

LARGE = 1 << 20


@pytest.mark.parametrize("nbytes", [-1, 0, 1, 1000, LARGE - 1, LARGE, 5 * LARGE + 7])
def test_so_many_bytes_to_write_to(nbytes: int) -> None:
    view = memory(nbytes)
    assert (len(view), view.readonly) == (max(0, nbytes), False)
    view[:] = b"x" * len(view)
    assert bytes(view) == b"x" * len(view)


def test_what_a_part_is_left_of_stays() -> None:
    view = memory(LARGE)
    view[:4] = b"kept"
    part = view[:4]
    del view
    for _ in range(20):
        memory(LARGE)[:4] = b"lost"
    assert bytes(part) == b"kept"


def test_what_nobody_has_is_used_again() -> None:
    """2 MB of it: new memory from the system would hold zeros, at whatever place."""
    views = [memory(LARGE) for _ in range(8)]
    for view in views:
        view[:4] = b"used"
    del view
    views.clear()
    views += [memory(LARGE) for _ in range(8)]
    assert [bytes(view[:4]) for view in views] == [b"used"] * 2 + [bytes(4)] * 6


def test_threads_never_share() -> None:
    def work(number: int) -> None:
        for _ in range(300):
            view = np.frombuffer(memory(LARGE >> 2), np.uint8)
            view[:] = number
            assert (view == number).all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_garbage_may_be_collected_at_any_moment() -> None:
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(2000):
            loop: list[object] = [memory(LARGE >> 2)]
            loop.append(loop)
    finally:
        gc.set_threshold(*before)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says how much a process has")
def test_the_system_gets_back_what_is_left() -> None:
    def resident() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))

    gc.collect()
    before, views, small = resident(), [], []
    for number in range(100):
        views.append(memory(LARGE + number * 1000))
        views[-1][:] = bytes(len(views[-1]))
        small.append(bytes(10_000 + number))
    assert resident() - before > 90 * LARGE
    views.clear()
    assert resident() - before < 20 * LARGE
