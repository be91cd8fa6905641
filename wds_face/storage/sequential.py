"""Read a remote file from front to end, in large pieces."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from wds_face.errors import DatasetError
from wds_face.storage.fetch import Fetched

#: Bytes per request. Larger pieces mean fewer requests but more memory: two are held at a time.
PIECE = 16 << 20

_REPLACED = "{} was replaced while it was read: run the same command again"


class SequentialFile(io.RawIOBase):
    """Reads a remote file, and fetches the next piece while the current one is used.

    Args:
        fetch: Returns the bytes from one offset to another, or to the end of the file.
        name: Name of the file, for messages.

    Raises:
        FileNotFoundError: The file does not exist.
        DatasetError: The file cannot be read, or was replaced meanwhile. ``read`` raises it too.
    """

    def __init__(self, fetch: Callable[[int, int], Fetched], name: str) -> None:
        super().__init__()
        self._fetch = fetch
        self._name = name
        self._first = fetch(0, PIECE)
        self._piece = self._first.data
        self._used = 0
        self._fetched = len(self._piece)
        self._pool = ThreadPoolExecutor(1, "wds_face sequential")
        self._next = self._ahead()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read into a buffer. Returns the number of bytes read, 0 at the end of the file."""
        if self._used == len(self._piece):
            if self._next is None:
                return 0
            piece = self._next.result()
            self._check(piece)
            self._piece = piece.data
            self._used = 0
            self._fetched += len(piece.data)
            self._next = self._ahead()
        count = min(len(buffer), len(self._piece) - self._used)
        buffer[:count] = self._piece[self._used : self._used + count]
        self._used += count
        return count

    def close(self) -> None:
        """Stop fetching."""
        if not self.closed:
            self._pool.shutdown(wait=False, cancel_futures=True)
        super().close()

    def _ahead(self) -> Future[Fetched] | None:
        if self._fetched >= self._first.size:
            return None
        return self._pool.submit(self._fetch, self._fetched, min(self._fetched + PIECE, self._first.size))

    def _check(self, piece: Fetched) -> None:
        same_version = piece.stamp.way != self._first.stamp.way or piece.stamp == self._first.stamp
        if piece.size != self._first.size or not same_version or not len(piece.data):
            raise DatasetError(_REPLACED.format(self._name))
