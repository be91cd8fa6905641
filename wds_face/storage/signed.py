"""URLs of remote files for plain requests."""

from __future__ import annotations

import time
from functools import partial
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import fsspec

from wds_face.storage.patience import within

# Seconds for which a signed URL is good, and after which another one is asked for.
_SIGNED, _OLD = 3600, 1200


class IndirectError(Exception):
    """The server does not take our request: the file system's own way is to be tried."""


class SignedUrls:
    """URLs for plain GET requests, which the file system signs: S3, Google's and Azure's do, of HTTP they are as given.

    Args:
        fs: a file system.
        plain: the protocol is HTTP itself.
    """

    def __init__(self, fs: fsspec.AbstractFileSystem, plain: bool) -> None:
        self._fs, self._plain = fs, plain
        self._signed: dict[str, tuple[float, str]] = {}

    def url(self, path: str, timeout: float) -> str:
        """The URL of a file.

        Args:
            path: of the file.
            timeout: seconds that signing may take, for which some ask a server.

        Raises:
            IndirectError: there is none, or it is not enough: a proxy stands between, or a password is asked for.
            ConnectionError, TimeoutError: it cannot be had now.
        """
        made, url = self._signed.get(path, (0.0, ""))
        if not url or time.monotonic() - made > _OLD:
            try:
                sign = partial(self._fs.sign, path, expiration=_SIGNED)
                url = path if self._plain else str(within(timeout, sign))
            except (ConnectionError, TimeoutError):
                raise
            except Exception:
                raise IndirectError from None
            parts = urlsplit(url)
            if "@" in parts.netloc:
                raise IndirectError
            if getproxies().keys() & {"all", parts.scheme} and not proxy_bypass(parts.hostname or ""):
                raise IndirectError
            self._signed[path] = time.monotonic(), url
        return url

    def forget(self, path: str, url: str) -> bool:
        """Sign anew the next time, as a URL was refused. Whether that may help: it is not new, or no longer the one."""
        made, known = self._signed.get(path, (0.0, ""))
        if known != url:  # another thread was faster
            return True
        self._signed.pop(path, None)
        return time.monotonic() - made > 60
