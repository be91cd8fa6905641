"""Tasks run here, in processes or on a given executor; a dead worker is told, and none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wds_face import pool
from wds_face.errors import WdsFaceError
from wds_face.pool import Workers


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


@pytest.fixture(params=["alone", "forked", "fresh", "threads"])
def team(request: pytest.FixtureRequest) -> Iterator[Workers]:
    """Every way to run tasks; with another thread in this process, workers are started afresh and not forked."""
    stop = threading.Event()
    watcher = threading.Thread(target=stop.wait)
    if request.param == "fresh":
        watcher.start()
    with ThreadPoolExecutor(2) as threads:
        given = threads if request.param == "threads" else None
        with Workers(1 if request.param == "alone" else 2, given) as workers:
            yield workers
    stop.set()
    if request.param == "fresh":
        watcher.join()


def test_every_task_has_its_result(team: Workers) -> None:
    assert sorted(team.run(double, range(20))) == [(i, 2 * i) for i in range(20)]
    assert list(team.map(double, range(20))) == [2 * i for i in range(20)]
    assert list(team.run(double, [])) == []


def test_an_error_reaches_the_caller(team: Workers) -> None:
    with pytest.raises(ValueError, match="three"):
        list(team.run(fail_at_three, range(100)))
    with pytest.raises(ValueError, match="three"):
        list(team.map(fail_at_three, range(100)))


def test_where_tasks_run() -> None:
    with Workers(1) as alone:
        assert set(alone.map(where, range(3))) == {os.getpid()}
    with Workers(2) as two:
        assert set(two.map(where, [1])) == {os.getpid()}, "one task is not worth a process"
        assert os.getpid() not in set(two.map(where, range(3)))
    assert Workers(None).count == pool.cpus() >= 1


def test_a_killed_worker_is_told_with_what_to_do() -> None:
    for method in ("run", "map"):
        with pytest.raises(WdsFaceError, match="run the same command again"), Workers(2) as two:
            list(getattr(two, method)(die, range(4)))


SCRIPT = """
import sys, time
sys.path.insert(0, {folder!r})
import threading
from wds_face.pool import Workers
import orphan_task
if {fresh}:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
with Workers(2) as two:
    list(two.run(orphan_task.sleep, [{notes!r}] * 2))
"""

TASK = """
import os, time, pathlib
def sleep(notes):
    (pathlib.Path(notes) / str(os.getpid())).touch()
    time.sleep(600)
"""


@pytest.mark.parametrize("fresh", [False, True])
def test_no_worker_outlives_a_killed_parent(tmp_path: Path, fresh: bool) -> None:
    notes = tmp_path / "pids"
    notes.mkdir()
    (tmp_path / "orphan_task.py").write_text(TASK)
    (tmp_path / "main.py").write_text(SCRIPT.format(folder=str(tmp_path), notes=str(notes), fresh=fresh))
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
