"""One request for bytes of a remote file: what the server gives, and in what version."""

from __future__ import annotations

import http.client
import os
import re
import ssl
import threading
import time
from typing import Any, Protocol
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import fsspec
from fsspec.asyn import AsyncFileSystem, sync

from wds_face.errors import DatasetError

# Seconds for which a signed URL is good, and after which another one is asked for.
_SIGNED, _OLD = 3600, 1200
# One read of a connection: what is lost when it breaks in the middle.
_CHUNK = 64 << 10
# Of a file system that gives all or nothing.
_PIECE = 2 << 20

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class IndirectError(Exception):
    """The server does not take our request: the file system's own way is to be tried."""


class Reading(Protocol):
    """An answer.

    Attributes:
        size: of the whole file, in bytes.
        stamp: of its content; changes when the file is replaced. Empty where nothing tells.
    """

    size: int
    stamp: str

    def readinto(self, buffer: memoryview) -> int:
        """Fill some of a buffer, from the front: the number of bytes, 0 if no more come."""

    def close(self, error: bool) -> None:
        """Have done with it; after an *error* the connection is not used again."""


class SignedUrls:
    """URLs for plain GET requests, which the file system signs: S3, Google's and Azure's do, of HTTP they are as given.

    Args:
        fs: a file system.
        plain: the protocol is HTTP itself.
    """

    def __init__(self, fs: fsspec.AbstractFileSystem, plain: bool) -> None:
        self._fs, self._plain = fs, plain
        self._signed: dict[str, tuple[float, str]] = {}

    def url(self, path: str) -> str:
        """The URL of a file.

        Raises:
            IndirectError: there is none, or a proxy stands between.
        """
        made, url = self._signed.get(path, (0.0, ""))
        if not url or time.monotonic() - made > _OLD:
            try:
                url = path if self._plain else str(self._fs.sign(path, expiration=_SIGNED))
            except Exception:
                raise IndirectError from None
            parts = urlsplit(url)
            if getproxies().keys() & {"all", parts.scheme} and not proxy_bypass(parts.hostname or ""):
                raise IndirectError
            self._signed[path] = time.monotonic(), url
        return url

    def forget(self, path: str) -> bool:
        """Sign anew the next time. Whether that may help: a URL was refused that is not new."""
        made, _ = self._signed.pop(path, (0.0, ""))
        return time.monotonic() - made > 60


class HttpReading:
    """See :class:`Reading`. A GET by the standard library, straight into the buffer; connections stay open.

    Args:
        url: http or https.
        start, end: bytes; None for the end of the file.
        timeout: seconds without a byte.

    Raises:
        FileNotFoundError: there is no such file.
        IndirectError: the server refuses.
        OSError, http.client.HTTPException: it fails.
    """

    _open = threading.local()

    def __init__(self, url: str, start: int, end: int | None, timeout: float) -> None:
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
        try:
            self._look(start)
        except BaseException:
            self._connection.close()
            raise

    def _connections(self) -> dict[Any, http.client.HTTPConnection]:
        """Those of this thread that wait for a request."""
        if getattr(self._open, "pid", None) != os.getpid():  # a fork would share them with its parent
            self._open.pid, self._open.connections = os.getpid(), {}
        return self._open.connections  # type: ignore[no-any-return]

    def _look(self, start: int) -> None:
        answer = self._answer
        if answer.status == 404:
            raise FileNotFoundError
        if answer.status == 429 or answer.status >= 500:
            raise ServerError(answer.status)
        if answer.status not in (200, 206):
            raise IndirectError
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if found:  # some servers send 200 with it
            if int(found[1]) != start:
                raise http.client.HTTPException
            self.size = int(found[3])
        elif start or answer.length is None:
            raise IndirectError
        else:
            self.size = answer.length
        self.stamp = stamp_of({name: answer.headers.get(name) for name in ("ETag", "Last-Modified")})

    def readinto(self, buffer: memoryview) -> int:
        """See :meth:`Reading.readinto`."""
        return self._answer.readinto(buffer[:_CHUNK])

    def close(self, error: bool) -> None:
        """See :meth:`Reading.close`."""
        if error or not self._answer.isclosed():
            self._connection.close()
        else:
            self._connections()[self._key] = self._connection


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
        info = self._call("info", path)
        self.size = int(info["size"])
        self.stamp = stamp_of(info)

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
                    f"{self._path}: obstore refuses this server's answers (200 to a request for a range, not 206): "
                    "leave the storage option backend='obstore' out"
                ) from None
            raise
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self, error: bool) -> None:
        """See :meth:`Reading.close`."""


def stamp_of(info: dict[str, Any]) -> str:
    """What changes in a file system's ``info`` when a file is replaced: its ETag, or else when it was written."""
    for name in ("ETag", "etag", "e_tag", "md5Hash"):
        if info.get(name):
            return str(info[name]).removeprefix("W/")
    times = ("Last-Modified", "LastModified", "last_modified", "updated", "mtime", "created")
    return next((str(info[name]) for name in times if info.get(name)), "")
