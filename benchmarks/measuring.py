"""A system in a process of its own, which makes one measured run after another when it is told to.

The process imports what its system needs and opens the data once, and lives as long as the benchmark. A line of JSON on
its standard input is a run, a line on its standard output the result.

A run: iter() until the first batch (``first``, seconds; worker processes start in it), batches that are thrown away
until every worker had its turn four times, and from then on what comes within *seconds*: whole turns of the workers, so
that it does not matter which of them is in front. Where an epoch ends before that, the clocks stand still from its last
batch until those of the next that are thrown away are through: what beginning costs is ``first``. Then the iterator is
deleted, and the result is not sent before every worker has ended.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import processes

PATIENCE = 300  # seconds that a run may take beyond those measured


@dataclass(frozen=True)
class Settings:
    """Of a system: folder of the formats, worker processes, and where the shards are served by S3."""

    data: str
    workers: int = 2
    url: str = ""
    options: dict[str, str] = field(default_factory=dict)


class Child:
    """A system's process, seen from the benchmark."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.error = name, ""
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by close()
        call = [sys.executable, os.path.join(os.path.dirname(__file__), "measuring.py"), name]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._log}
        self._process = subprocess.Popen(call, **pipes, text=True, start_new_session=True)
        self._ask(asdict(settings))

    def run(self, seconds: float) -> dict[str, float] | None:
        """One run; None, and the reason in ``error``, if it fails."""
        return self._ask({"seconds": seconds}, seconds)

    def _ask(self, question: dict[str, Any], seconds: float = 0) -> dict[str, float] | None:
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            ready, _, _ = select.select([self._process.stdout], [], [], seconds + PATIENCE)
            line = self._process.stdout.readline() if ready else '{"error": "takes too long"}'
            answer = json.loads(line)
        except (OSError, ValueError):
            answer = {"error": "died: " + self.log().strip().rpartition("\n")[2]}
        self.error = answer.get("error", "")
        if self.error:
            self.close()
            return None
        return answer

    def log(self) -> str:
        """What it said."""
        self._log.seek(0)
        return self._log.read()

    def close(self) -> None:
        """End it and everything that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def measure(epochs: Iterator[Any], check: Any, workers: int, seconds: float) -> dict[str, float]:
    """A run over *epochs*, an iterator of iterables of batches."""
    found = {"first": 0.0, "images": 0, "seconds": 0.0, "processor": 0.0, "memory": 0, "epochs": 0}
    while found["seconds"] < seconds:
        begin = time.perf_counter()
        batches = iter(next(epochs))
        for number in range(4 * workers):
            batch = next(batches)
            if number == 0 and not found["epochs"]:
                found["first"] = time.perf_counter() - begin
                check(batch)
        window(batches, found, workers, seconds)
        found["epochs"] += 1
    return found


def window(batches: Iterator[Any], found: dict[str, float], workers: int, seconds: float) -> None:
    """Count until the seconds are over, or the epoch."""
    pid = os.getpid()
    team = processes.workers(pid) or [pid]
    busy, begin = processes.processor(pid), time.perf_counter()
    images, look, done, before = 0, begin, (0, begin), found["seconds"]
    for number, batch in enumerate(batches, 1):
        images += touch(batch)
        end = time.perf_counter()
        if end > look:
            found["memory"] = max(found["memory"], *map(processes.memory, team))
            look = end + 0.2
        if number % workers == 0:
            done = images, end
            if before + end - begin >= seconds:
                break
    found["images"] += done[0]
    found["seconds"] += done[1] - begin
    found["processor"] += processes.processor(pid) - busy


def touch(batch: Any) -> int:
    """Look at a batch as little as can be; how many images it has."""
    if isinstance(batch, int):
        return batch
    for part in batch:
        part.reshape(-1)[0].item()
    return len(batch[0])


def settled(pid: int) -> None:
    """Wait until the workers are gone."""
    gc.collect()
    deadline = time.monotonic() + 60
    while left := processes.workers(pid):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(left)} workers do not end")
        time.sleep(0.02)


def serve(name: str) -> None:
    """The process: settings first, then runs."""
    from systems import SYSTEMS, check

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what others print is none

    def answer(value: dict[str, Any]) -> None:
        print(json.dumps(value), file=answers, flush=True)

    system = SYSTEMS[name]
    try:
        settings = Settings(**json.loads(sys.stdin.readline()))
        epochs = system.epochs(settings)
        answer({})
        for line in sys.stdin:
            found = measure(epochs, lambda batch: check(system, batch), settings.workers, json.loads(line)["seconds"])
            settled(os.getpid())
            answer(found)
    except Exception as error:
        import traceback

        traceback.print_exc()
        answer({"error": f"{type(error).__name__}: {error}".splitlines()[0]})


if __name__ == "__main__":
    serve(sys.argv[1])
