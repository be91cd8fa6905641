"""A system's process, seen from throughput.py: it takes and answers lines of JSON, see measuring.py."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

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
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loading.measuring", name],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,  # so that close() reaches its workers
        )
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
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            answer = {"error": f"died ({self._process.returncode}) {self.log().strip().rpartition(chr(10))[2]}"}
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
        with suppress(OSError):
            self._process.stdin.close()  # it ends by itself, and removes what it has in shared memory
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10 if not self.error else 1)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
