"""What Linux tells of other processes; nothing elsewhere."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple


def own_bytes(pids: Collection[int]) -> int | None:
    """The most that one of these processes has for itself, in bytes; None if that is not told.

    What a fork still shares with its parent does not count, and what it has in shared memory does. To ask takes some
    20 ms of each process.
    """
    found = []
    for pid in pids:
        private, shared = _field(pid, "smaps_rollup", "Private_Dirty"), _field(pid, "status", "RssShmem")
        if private is None or shared is None:
            return None
        found.append(private + shared)
    return max(found, default=None)


def available() -> int | None:
    """Bytes of memory that this machine can still give; None if that is not told."""
    return _field(None, "meminfo", "MemAvailable")


class Use(NamedTuple):
    """What processes have used."""

    running: float  # seconds on a processor, of their first threads
    queued: float  # seconds that they could have run, but others did
    disk_bytes: int  # that a disk read for them


def used(pids: Collection[int]) -> Use | None:
    """What these processes have used together; None if that is not told."""
    running, queued, disk = 0, 0, 0
    for pid in pids:
        try:
            words = Path(f"/proc/{pid}/schedstat").read_text().split()
            disk += int(re.findall(r"^read_bytes: (\d+)", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)[0])
            running, queued = running + int(words[0]), queued + int(words[1])
        except (OSError, ValueError, IndexError):
            return None
    return Use(running / 1e9, queued / 1e9, disk) if pids else None


def _field(pid: int | None, file: str, name: str) -> int | None:
    try:
        text = Path("/proc", "" if pid is None else str(pid), file).read_text()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    return None
