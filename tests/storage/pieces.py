"""Pieces of a cache that tests fetch, and what they ask of it."""

from __future__ import annotations

import fcntl
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

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
    with ExitStack() as stack:
        with suppress(FileNotFoundError):
            lock = stack.enter_context(open(folder / "lock", "rb"))
            fcntl.flock(lock, fcntl.LOCK_SH)
        found = 0
        for entry in os.scandir(folder):
            with suppress(FileNotFoundError):  # what could not be kept is removed without the lock
                size = 0 if entry.is_dir() else entry.stat(follow_symlinks=False).st_size
                found += -(-size // BLOCK) * BLOCK
        return found


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


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def refuse(folder: Path | str) -> None:
    with pytest.raises(DatasetError, match=r"^cache_dir /.* cannot be written \(.+\)$") as caught:
        Cache(folder, LIMIT)
    assert "\n" not in str(caught.value)
