"""A log line when the training loop waits for a batch for long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger("wds_face")


class Waiting:
    """Warns each time that another *seconds* of one wait have passed; a thread does it, until :meth:`close`.

    Args:
        seconds: Time after which a wait is worth a warning.
        describe: Called in the thread, returns what is waited for.
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
        """Note that it is over."""
        self._since = None

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        warned: tuple[float | None, int] = None, 0  # which wait, and how often
        rest = self._seconds
        while not self._closed.wait(rest):
            since = self._since
            if since is None:
                rest = self._seconds  # no wait that begins later is long before that
                continue
            times = warned[1] if warned[0] == since else 0
            rest = since + (times + 1) * self._seconds - time.monotonic()
            if rest <= 0:
                _log.warning("%s, for %.0f s now", self._describe(), time.monotonic() - since)
                warned = since, times + 1
                rest = self._seconds
