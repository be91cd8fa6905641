"""One request for bytes of a remote file: what the server gives, and in what version."""

from __future__ import annotations

import http.client
import os
import re
import ssl
import threading
from contextlib import suppress
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urljoin, urlsplit

import fsspec
from fsspec.asyn import AsyncFileSystem, sync

from wds_face.errors import DatasetError
from wds_face.location import shown
from wds_face.storage.signed import IndirectError

# One read of a connection: what is lost when it breaks in the middle.
_CHUNK = 64 << 10
# Of a file system that gives all or nothing.
_PIECE = 2 << 20

# Statuses that redirect to another URL, as hubs do that keep files elsewhere, and the number of requests for one read.
_REDIRECTS = {301, 302, 303, 307, 308}
_HOPS = 6

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Stamp(NamedTuple):
    """What changes when a file is replaced.

    Attributes:
        way: that it was asked for. Only stamps of one way can be compared: Google's JSON API, for one, has other ETags
            than its XML API.
        text: what the server says; empty where nothing tells.
    """

    way: str
    text: str


class Reading(Protocol):
    """An answer.

    Attributes:
        size: of the whole file, in bytes.
        stamp: of its content.
    """

    size: int
    stamp: Stamp

    def readinto(self, buffer: memoryview) -> int:
        """Fill some of a buffer, from the front: the number of bytes, 0 if no more come."""

    def close(self, error: bool) -> None:
        """Have done with it; after an *error* the connection is not used again."""


class HttpReading:
    """See :class:`Reading`. A GET by the standard library, straight into the buffer; connections stay open.

    Args:
        url: http or https.
        start, end: bytes; None for the end of the file.
        timeout: seconds without a byte.

    Raises:
        FileNotFoundError: there is no such file.
        IndirectError: the server refuses.
        DatasetError: it sends all of the file whatever it is asked for.
        OSError, http.client.HTTPException: it fails.
    """

    _open = threading.local()

    def __init__(self, url: str, start: int, end: int | None, timeout: float) -> None:
        for _ in range(_HOPS):
            self._request(url, start, end, timeout)
            target = self._answer.headers.get("Location") if self._answer.status in _REDIRECTS else None
            if target is None:
                break
            self._connection.close()
            target = urljoin(url, target)
            if urlsplit(target).scheme not in ("https", urlsplit(url).scheme):
                raise IndirectError
            url = target
        parts = urlsplit(url)
        try:
            self._look(start, f"{parts.scheme}://{parts.netloc}{parts.path}")
        except BaseException:
            self._connection.close()
            raise

    def _request(self, url: str, start: int, end: int | None, timeout: float) -> None:
        """Send one request and wait for the response headers."""
        parts = urlsplit(url)
        self._key = parts.scheme, parts.netloc
        connections = self._connections()
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        # a connection that waits may have been closed at the other end, so it gets a second chance at once
        for known in (connections.pop(self._key, None), None):
            self._connection = known or kind(parts.netloc, timeout=timeout)
            self._connection.timeout = timeout
            if self._connection.sock is not None:
                self._connection.sock.settimeout(timeout)
            headers = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}
            try:
                path = quote(parts.path, safe="/%:=&~+!$,;'@()*")
                self._connection.request("GET", f"{path}?{parts.query}".rstrip("?"), headers=headers)
                self._answer = self._connection.getresponse()
                break
            except ssl.SSLCertVerificationError:  # the file system may know other certificates
                self._connection.close()
                raise IndirectError from None
            except (OSError, http.client.HTTPException):
                self._connection.close()
                if known is None:
                    raise

    def _connections(self) -> dict[Any, http.client.HTTPConnection]:
        """Those of this thread that wait for a request."""
        if getattr(self._open, "pid", None) != os.getpid():  # a fork would share them with its parent
            self._open.pid, self._open.connections = os.getpid(), {}
        return self._open.connections  # type: ignore[no-any-return]

    def _look(self, start: int, what: str) -> None:
        answer = self._answer
        if answer.status == 404:
            raise NoBucketError if self._names_no_bucket() else FileNotFoundError
        if answer.status in (408, 429) or answer.status >= 500:
            raise ServerError(answer.status)
        if answer.status not in (200, 206):
            raise IndirectError
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if found:  # some servers send 200 with it
            if int(found[1]) != start:
                raise http.client.HTTPException
            self.size = int(found[3])
        elif answer.status == 200 and 0 < start < (answer.length or 0):  # what ends before may be sent as a whole
            raise _no_ranges(what)
        elif start or answer.length is None:
            raise IndirectError
        else:
            self.size = answer.length
        told = {name: answer.headers.get(name) for name in ("ETag", "Last-Modified")}
        self.stamp = Stamp("headers", stamp_of(told))

    def _names_no_bucket(self) -> bool:
        """Return whether the response states that the bucket, not only the file, is missing."""
        with suppress(OSError, http.client.HTTPException):
            return b"<Code>NoSuchBucket</Code>" in self._answer.read(2048)
        return False

    def readinto(self, buffer: memoryview) -> int:
        """See :meth:`Reading.readinto`."""
        return self._answer.readinto(buffer[:_CHUNK])

    def close(self, error: bool) -> None:
        """See :meth:`Reading.close`."""
        if error or not self._answer.isclosed():
            self._connection.close()
        else:
            self._connections()[self._key] = self._connection


class NoBucketError(FileNotFoundError):
    """The bucket does not exist."""


class ServerError(Exception):
    """The server says that it cannot now."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


class PieceReading:
    """See :class:`Reading`. By whatever the file system has: all of a piece comes, or nothing.

    Args:
        fs: a file system.
        path: in it.
        start: the first byte.
        timeout: seconds for a piece.
        tries: that failed since a piece came; each makes the next one half as long.

    Raises:
        Exception: what the file system raises.
    """

    def __init__(self, fs: fsspec.AbstractFileSystem, path: str, start: int, *, timeout: float, tries: int) -> None:
        self._fs, self._path, self._at, self._timeout = fs, path, start, timeout
        self._piece = max(_PIECE >> tries, _CHUNK)
        fs.invalidate_cache(path)
        try:
            info = self._call("info", path)
        except FileNotFoundError as error:
            raise behind_missing(error) from None
        if info.get("size") is None:
            raise DatasetError(f"{shown(path)}: the server does not tell its size")
        self.size = int(info["size"])
        self.stamp = Stamp("info", stamp_of(info))

    def _call(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        if isinstance(self._fs, AsyncFileSystem):
            function = getattr(self._fs, f"_{name}")
            return sync(self._fs.loop, function, *arguments, timeout=self._timeout, **keywords)
        return getattr(self._fs, name)(*arguments, **keywords)

    def readinto(self, buffer: memoryview) -> int:
        """See :meth:`Reading.readinto`."""
        end = self._at + min(len(buffer), self._piece)
        try:
            data = self._call("cat_file", self._path, start=self._at, end=end)
        except Exception as error:
            if "NotPartial" in str(error):
                raise DatasetError(
                    f"{shown(self._path)}: obstore refuses this server's answers (200 to a request for a range, "
                    "not 206): leave the storage option backend='obstore' out"
                ) from None
            raise
        if len(data) > end - self._at:
            raise _no_ranges(self._path)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self, error: bool) -> None:
        """See :meth:`Reading.close`."""


def behind_missing(error: FileNotFoundError) -> BaseException:
    """Return the real cause of an error: fsspec's HTTP file system reports every failure as a missing file."""
    cause = error.__cause__
    status = getattr(cause, "status", None)
    if status in (401, 403):
        return PermissionError()
    if cause is not None and status not in (None, 404, 410):
        return cause
    if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
        return cause
    return error


def _no_ranges(what: str) -> DatasetError:
    return DatasetError(
        f"{shown(what)}: the server ignores ranges and sends all of the file: take another server (`rclone serve http` "
        "has them), or copy the data set to a disk"
    )


def stamp_of(info: dict[str, Any]) -> str:
    """What changes in a file system's ``info`` when a file is replaced: its ETag, or else when it was written."""
    for name in ("ETag", "etag", "e_tag", "md5Hash"):
        if info.get(name):
            return str(info[name]).removeprefix("W/")
    times = ("Last-Modified", "LastModified", "last_modified", "updated", "mtime", "created")
    return next((str(info[name]) for name in times if info.get(name)), "")
