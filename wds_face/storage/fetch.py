"""Bytes of a remote file, whatever happens on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

from wds_face.errors import DatasetError
from wds_face.storage.memory import memory
from wds_face.storage.misconfiguration import credentials_remedy
from wds_face.storage.patience import Patience, final, reason
from wds_face.storage.reading import Reading, Stamp

# A request for (start, end) with a time-out; the number of tries that failed before it.
Ask = Callable[[int, "int | None", float, int], Reading]

_log = logging.getLogger("wds_face")


class StoppedError(Exception):
    """Nobody waits for it any more."""


@dataclass
class Tally:
    """What it took."""

    requests: int = 0
    retries: int = 0


@dataclass(frozen=True)
class Fetched:
    """Attributes:
    data: the bytes.
    size: of the whole file.
    stamp: of its content.
    """

    data: memoryview
    size: int
    stamp: Stamp


@dataclass
class Fetch:
    """Fetches ranges, going on from the byte where an answer broke off.

    Args:
        patience: how long to wait.
        stop: set when it is to be left.
        tally: counts.
        since: when waiting began, by ``time.monotonic()``: for those who waited for another one to fetch it, who did
            not. Patience is not spent twice.
    """

    patience: Patience
    stop: Event = field(default_factory=Event)
    tally: Tally = field(default_factory=Tally)
    since: float | None = None

    def __call__(self, ask: Ask, what: str, start: int, end: int | None) -> Fetched:
        """Bytes *start* to *end*, or to the end of the file.

        Args:
            ask: makes a request.
            what: the file, for messages.

        Raises:
            FileNotFoundError: it is not there.
            DatasetError: it was replaced meanwhile, may not be read, or nothing came for as long as patience lasts.
            StoppedError: somebody said so.
        """
        data: memoryview | None = None
        at, stamp, size, tries = start, Stamp("", ""), 0, 0
        last, pauses = self.since or time.monotonic(), self.patience.pauses()
        while data is None or at < start + len(data):
            problem: BaseException | None = None
            reading: Reading | None = None
            self.tally.requests += 1
            left = self.patience.total - (time.monotonic() - last)
            try:
                least = min(1.0, self.patience.stall) if self.since else 0.1
                reading = ask(at, end, max(least, min(self.patience.stall, left)), tries)
                if data is not None and reading.stamp.way != stamp.way:
                    data, at = None, start  # it may be another version by now: nobody can tell
                    continue
                if data is None:
                    stamp, size = reading.stamp, reading.size
                    end = size if end is None else min(end, size)
                    data = memory(end - start)
                elif (reading.stamp, reading.size) != (stamp, size):
                    raise DatasetError(f"{what} was replaced while it was read")
                while at < start + len(data) and (got := reading.readinto(data[at - start :])):
                    at, last, tries, pauses = at + got, time.monotonic(), 0, self.patience.pauses()
                    if self.stop.is_set():
                        raise StoppedError
            except StoppedError:
                raise
            except Exception as error:
                if isinstance(error, (FileNotFoundError, DatasetError)):
                    raise
                problem = error
            finally:
                if reading is not None:
                    reading.close(problem is not None or data is None or at < start + len(data))
            if data is not None and at == start + len(data):
                break
            self._wait(next(pauses), last, problem, f"{what}: {_which(start, end)}", tries)
            tries += 1
        return Fetched(memoryview(b"") if data is None else data, size, stamp)

    def _wait(self, pause: float, last: float, problem: BaseException | None, what: str, tries: int) -> None:
        words = reason(problem) if problem else "the answer broke off"
        quiet = time.monotonic() - last
        if problem is not None and final(problem):
            remedy = f": {credentials_remedy(what)}" if isinstance(problem, PermissionError) else ""
            raise DatasetError(f"{what} cannot be read ({words}){remedy}") from None
        if quiet + pause > self.patience.total:
            raise DatasetError(
                f"{what} cannot be read: nothing came for {quiet:.0f} s, in {tries + 1} tries (the last: {words})"
            ) from None
        self.tally.retries += 1
        _log.log(logging.WARNING if tries == 4 else logging.DEBUG, "%s: %s, trying again", what, words)
        if self.stop.wait(pause):
            raise StoppedError


def _which(start: int, end: int | None) -> str:
    return "all of it" if end is None and not start else f"bytes {start} to {'the end' if end is None else end}"
