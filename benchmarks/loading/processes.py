"""What the processes of a system take: processor time and memory, from Linux's /proc; NaN where there is none."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
TICK = os.sysconf("SC_CLK_TCK")


def stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat behind the name, which may have spaces in it: state, parent, …"""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def descendants(pid: int) -> list[int]:
    """Processes below this one that still run."""
    children: dict[int, list[int]] = {}
    for entry in PROC.glob("[0-9]*"):
        with suppress(OSError):
            fields = stat(int(entry.name))
            if fields[0] != "Z":
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, coming = [], [pid]
    while coming:
        below = children.get(coming.pop(), [])
        found += below
        coming += below
    return found


def workers(pid: int) -> list[int]:
    """Descendants but for those that multiprocessing keeps for itself, which do no work."""
    own = (b"resource_tracker", b"forkserver")
    return [one for one in descendants(pid) if not any(word in command(one) for word in own)]


def command(pid: int) -> bytes:
    with suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes()
    return b""


def processor(pid: int) -> float:
    """Seconds that a process, those below it, and those of them that ended before, have computed so far."""
    if not PROC.exists():
        return math.nan
    ticks = 0
    for one in [pid, *descendants(pid)]:
        with suppress(OSError):
            ticks += sum(map(int, stat(one)[11:15]))  # user and system, of itself and of children that it waited for
    return ticks / TICK


def memory(pid: int) -> int:
    """Bytes that are no file's: RssAnon + RssShmem. What a fork shares with its parent counts in both."""
    total = 0
    with suppress(OSError):
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith(("RssAnon", "RssShmem")):
                total += int(line.split()[1]) << 10
    return total


def bare() -> int:
    """:func:`memory` of a process that has imported torch, and nothing else."""
    code = "import torch, sys; print(open('/proc/self/status').read())"
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    rows = [line.split() for line in run.stdout.splitlines() if line.startswith(("RssAnon", "RssShmem"))]
    return sum(int(row[1]) << 10 for row in rows)
