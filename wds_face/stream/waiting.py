"""Log a warning when the training loop waits long for a batch."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger("wds_face")


class Waiting:
    """Logs a warning, from a thread, after every *seconds* of the same wait. Call :meth:`close` to end the thread.

    Args:
        seconds: Seconds of a wait between two warnings.
        describe: Called in the thread; returns a description of the wait.
    """

    def __init__(self, seconds: float, describe: Callable[[], str]) -> None:
        self._seconds = seconds
        self._describe = describe
        self._since: float | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="wds_face waiting", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Note that a wait begins."""
        self._since = time.monotonic()

    def end(self) -> None:
        """Note that the wait is over."""
        self._since = None

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        warned: tuple[float | None, int] = None, 0  # start of the wait, and number of warnings
        rest = self._seconds
        while not self._closed.wait(rest):
            since = self._since
            if since is None:
                rest = self._seconds  # a wait that begins later is not long until then
                continue
            times = warned[1] if warned[0] == since else 0
            rest = since + (times + 1) * self._seconds - time.monotonic()
            if rest <= 0:
                _log.warning("%s, for %.0f s now", self._describe(), time.monotonic() - since)
                warned = since, times + 1
                rest = self._seconds
