"""A cache is shared by processes that may die at any time; its bytes are right, and its limit holds."""

from __future__ import annotations

import fcntl
import logging
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from wds_face.errors import DatasetError
from wds_face.storage.cache import Cache

Start = Callable[..., BaseProcess]

BLOCK = 4096
LIMIT = 40 * BLOCK


def key(number: int) -> str:
    return Cache.key("s3://bucket/a.tar", "v1", number, number + 1)


def content(number: int, blocks: int = 1) -> bytes:
    """Bytes that take so many blocks of the disk."""
    return random.Random(number).randbytes(blocks * BLOCK - 100)


def room(blocks: int) -> int:
    """The limit at which pieces of so many blocks fit: the lock takes one."""
    return (blocks + 1) * BLOCK


def keep(cache: Cache, *numbers: int, blocks: int = 1) -> None:
    """Fetch pieces, and read them no longer."""
    for number in numbers:
        assert cache.fetch(key(number), lambda number=number: content(number, blocks)) == content(number, blocks)


def there(cache: Cache, *numbers: int) -> list[int]:
    """Which pieces there are; they do not count as used."""
    return [number for number in numbers if (cache.folder / key(number)).is_file()]


def never() -> bytes:
    raise AssertionError("it was there")


def taken(folder: Path) -> int:
    """What all files of a folder take on a disk. Meanwhile none is removed and another one made, which counted both."""
    with suppress(FileNotFoundError), open(folder / "lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        return summed(folder)
    return summed(folder)


def summed(folder: Path) -> int:
    sizes = [entry.stat(follow_symlinks=False).st_size for entry in os.scandir(folder) if not entry.is_dir()]
    return sum(-(-size // BLOCK) * BLOCK for size in sizes)


def disk(folder: Path) -> int:
    """What is in use of a file system, all at one moment."""
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def wait_for(true: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.001)


def said(log: Path, what: str = "made\n") -> None:
    with open(log, "a") as file:
        file.write(what)


def complain(record: logging.LogRecord) -> bool:
    """A filter for processes that have no reason to warn of anything."""
    print(record.getMessage(), file=sys.stderr)
    os._exit(3)


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    """A lock that nobody gives back fails a test, and does not stop all."""

    def ring(*_: object) -> None:
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(90)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def start() -> Iterator[Start]:
    """``start(task, *args)`` runs a task in a process of its own."""
    started: list[BaseProcess] = []

    def start(task: Callable[..., None], *args: Any, method: str = "fork") -> BaseProcess:
        process: BaseProcess = multiprocessing.get_context(method).Process(  # type: ignore[attr-defined]
            target=task, args=args, daemon=True
        )
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def finish(*processes: BaseProcess, seconds: float = 30) -> None:
    """They end well, and soon."""
    end = time.monotonic() + seconds
    for process in processes:
        process.join(max(0, end - time.monotonic()))
    assert [process.exitcode for process in processes] == [0] * len(processes)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small disk."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no permission to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


# What a cache is for


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


# Who makes a piece


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
        os.kill(waiting.pid, signal.SIGINT)
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


# The limit


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


# Damage


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


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


# The disk


def refuse(folder: Path | str) -> None:
    with pytest.raises(DatasetError, match=r"^cache_dir /.* cannot be written \(.+\)$") as caught:
        Cache(folder, LIMIT)
    assert "\n" not in str(caught.value)


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
    folder, log, end = tmp_path / "cache", tmp_path / "log", tmp_path / "end"
    cache = Cache(folder, LIMIT)
    view = cache.fetch(key(0), lambda: content(0))

    def work() -> None:
        one = Cache(folder, LIMIT)
        while not end.exists():
            keep(one, *range(30))
            said(log)

    processes = [start(work) for _ in range(2)]
    wait_for(log.exists)
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


# Processes that fork while their threads fetch


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
