"""How long to wait for a server, and how often to ask again."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import TypeVar

from wds_face.errors import WdsFaceError

T = TypeVar("T")

# Errors that asking again does not change, some of them by name since their packages are extras.
_FINAL = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, NotImplementedError, WdsFaceError)
_FINAL_NAMES = {
    *("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "InvalidConfigError", "ParamValidationError"),
    *("PermissionDeniedError", "UnauthenticatedError", "UnknownConfigurationKeyError", "NotSupportedError"),
}

_FIRST, _LONGEST = 0.1, 5.0  # seconds


@dataclass(frozen=True)
class Patience:
    """Attributes:
    stall: seconds without a byte after which a request is given up, and made again.
    total: seconds without a byte after which all is given up.
    """

    stall: float = 10.0
    total: float = 60.0

    def pauses(self) -> Iterator[float]:
        """Seconds to wait before each further try: up to 0.1, then up to twice as much each time, and 5 at most.

        They are random, so that the workers that a server turned away do not all come back at once; nothing that is
        read depends on them.
        """
        dice = random.SystemRandom()
        longest = _FIRST
        while True:
            yield dice.uniform(longest / 2, longest)
            longest = min(2 * longest, _LONGEST)

    def retry(self, action: Callable[[], T], tries: int = 1) -> T:
        """The result of an action that may fail for a while.

        Args:
            action: what is tried.
            tries: at least so many, however long they take: an upload may be longer than all patience.

        Raises:
            Exception: the last of the action, or one that is final.
        """
        end = time.monotonic() + self.total
        for number, pause in enumerate(self.pauses(), 1):
            try:
                return action()
            except Exception as error:
                if final(error) or (number >= tries and time.monotonic() + pause > end):
                    raise
            time.sleep(pause)
        raise AssertionError


def within(seconds: float, action: Callable[[], T]) -> T:
    """The result of an action that may take no longer: what a file system waits for by itself has limits of its own.

    Raises:
        TimeoutError: it takes longer. It goes on, in a thread that nobody waits for.
    """
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="wds_face within", daemon=True).start()
    try:
        return future.result(seconds)
    except FutureTimeoutError:  # no TimeoutError before Python 3.11
        if future.done():
            raise
        raise TimeoutError from None


def final(error: BaseException) -> bool:
    """Whether asking again is of no use."""
    return isinstance(error, _FINAL) or bool(_FINAL_NAMES.intersection(kind.__name__ for kind in type(error).__mro__))


def reason(error: BaseException) -> str:
    """What went wrong, in words that cannot hold a key, a token or a signed URL."""
    code = error_code(error)
    known = {
        ConnectionRefusedError: "the connection was refused",
        ConnectionResetError: "the connection was reset",
        TimeoutError: "no answer in time",
        PermissionError: "access denied",
        FileNotFoundError: "it is not there",
    }
    for kind, words in known.items():
        if isinstance(error, kind):
            return f"{words} ({code})" if code else words
    return f"{type(error).__name__}, {code}" if code else type(error).__name__


def error_code(error: BaseException) -> str:
    """Return the S3 error code or HTTP status that an error carries, an empty text if it has none."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    if isinstance(response, dict):  # botocore's
        found = str(response.get("Error", {}).get("Code", ""))
        return found if re.fullmatch(r"[A-Za-z0-9]{1,40}", found) else ""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return f"HTTP {status}"
    found_status = re.search(r"\b(?:status|code|HTTP)\D{0,8}([1-5]\d\d)\b", str(error)[:500])
    return f"HTTP {found_status[1]}" if found_status else ""
