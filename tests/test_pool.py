"""Tasks run here, in processes or on a given executor; a dead worker is told, and none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wds_face import pool
from wds_face.errors import WdsFaceError


def double(number: int) -> int:
    return 2 * number


def where(_: int) -> int:
    return os.getpid()


def fail_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def die(_: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_has_its_result(workers: int) -> None:
    assert sorted(pool.run(double, range(20), workers=workers)) == [(i, 2 * i) for i in range(20)]


def test_how_many() -> None:
    assert pool.size(3, 0) == 3
    assert pool.size(None, 0) == 1
    assert pool.size(None, 1 << 40) == pool.cpus()


def test_no_tasks() -> None:
    assert list(pool.run(double, [], workers=4)) == []


def test_one_worker_is_this_process_and_more_are_others() -> None:
    assert {result for _, result in pool.run(where, range(3), workers=1)} == {os.getpid()}
    assert os.getpid() not in {result for _, result in pool.run(where, range(3), workers=2)}


def test_any_executor_will_do() -> None:
    with ThreadPoolExecutor(2) as threads:
        assert sorted(pool.run(double, range(5), executor=threads)) == [(i, 2 * i) for i in range(5)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_reaches_the_caller(workers: int) -> None:
    with pytest.raises(ValueError, match="three"):
        list(pool.run(fail_at_three, range(100), workers=workers))


def test_a_killed_worker_is_told_with_what_to_do() -> None:
    with pytest.raises(WdsFaceError, match="run the same command again"):
        list(pool.run(die, range(4), workers=2))


SCRIPT = """
import sys, time
sys.path.insert(0, {folder!r})
from wds_face import pool
import orphan_task
list(pool.run(orphan_task.sleep, [{notes!r}] * 2, workers=2))
"""

TASK = """
import os, time, pathlib
def sleep(notes):
    (pathlib.Path(notes) / str(os.getpid())).touch()
    time.sleep(600)
"""


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    notes = tmp_path / "pids"
    notes.mkdir()
    (tmp_path / "orphan_task.py").write_text(TASK)
    (tmp_path / "main.py").write_text(SCRIPT.format(folder=str(tmp_path), notes=str(notes)))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "main.py")], env=environment)
    wait_for(lambda: len(list(notes.iterdir())) == 2)
    parent.kill()
    parent.wait()
    pids = [int(path.name) for path in notes.iterdir()]
    wait_for(lambda: not any(alive(pid) for pid in pids))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # in a container with no init, a dead orphan stays as a zombie
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: object, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
