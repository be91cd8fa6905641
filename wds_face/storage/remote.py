"""A folder that fsspec reaches: an object store, a server, memory."""

from __future__ import annotations

import io
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, BinaryIO, TypeVar

import fsspec

from wds_face.errors import DatasetError, ListingError
from wds_face.storage.fetch import Fetch, Fetched
from wds_face.storage.filesystem import open_filesystem
from wds_face.storage.misconfiguration import answered, credentials_remedy, explain, misspelt_option, redacted
from wds_face.storage.patience import Patience, error_code, reason, within
from wds_face.storage.reading import HttpReading, NoBucketError, PieceReading, Reading, behind_missing, stamp_of
from wds_face.storage.sequential import SequentialFile
from wds_face.storage.signed import IndirectError, SignedUrls
from wds_face.storage.store import Listing, Store

#: Protocols of object stores: what is uploaded appears when it is complete.
_WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "az", "adl", "oss", "oci", "memory"}
# Protocols with signed URLs, and options that those URLs do not leave out.
_SIGNING = {"s3", "s3a", "gs", "gcs", "abfs", "az", "http", "https"}
_SIGNED_OPTIONS = {"key", "secret", "token", "anon", "endpoint_url", "profile", "client_kwargs", "config_kwargs"} | {
    *("use_ssl", "account_name", "account_key", "sas_token", "connection_string", "project")
}

# Protocols without folder listings: the links of a folder's page, if it has one, are taken for its entries.
_LISTED_BY_LINKS = {"http", "https"}
# HTTP statuses of a folder without such a page.
_NO_LIST = {401, 403, 404, 405, 410}

# Buffer of a sequential reader, in bytes.
_BUFFER = 1 << 20

# Tries of an upload, though each may take longer than patience lasts.
_UPLOADS = 3

T = TypeVar("T")


class RemoteStore(Store):
    """See :class:`Store`. Reading is patient, and goes on where an answer broke off.

    Beside the file system's own options these are taken:

    - ``patience``: seconds without a byte after which reading is given up, 60 by default;
    - ``stall``: seconds without a byte after which a request is made again, 10 by default;
    - ``requests``: that a process has at a time while it streams, 16 by default;
    - ``backend``: ``"obstore"`` for obstore instead of what fsspec has for the protocol.
    """

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        super().__init__(url, options)
        self._own = dict(options)
        self._backend = self._own.pop("backend", "fsspec")
        try:
            self.patience = Patience(
                stall=float(self._own.pop("stall", Patience.stall)),
                total=float(self._own.pop("patience", Patience.total)),
            )
            self.requests = int(self._own.pop("requests", 16))
        except (TypeError, ValueError):
            raise DatasetError("storage options patience, stall and requests are numbers") from None
        if min(self.patience.stall, self.patience.total, self.requests) <= 0:
            raise DatasetError("storage options patience, stall and requests are above 0")
        # Whether the server has answered, in this process or the one that this store came from. Afterwards a failure is
        # an outage, which is retried; before, it may be a wrong address, which is an error at once.
        self._reached = False
        self._open()
        protocol = self._fs.protocol
        self._protocols = {protocol} if isinstance(protocol, str) else set(protocol)
        self.shared = "memory" not in self._protocols

    def _open(self) -> None:
        try:
            misspelt = misspelt_option(self.url, self._own)
            if misspelt:
                raise DatasetError(f"{self}: no storage option is named {misspelt[0]!r}: is {misspelt[1]} meant?")
            self._fs, self._root = open_filesystem(self.url, self._own, self._backend)
        except ImportError as error:
            raise DatasetError(f"{self}: {_missing(self.url, self._backend, error)}") from None
        except (ValueError, TypeError, LookupError) as error:
            raise DatasetError(f"{self} cannot be opened ({redacted(error, self._all_options())})") from None
        protocol = self.url.partition("://")[0]
        plain = protocol in ("http", "https")
        direct = self._backend == "fsspec" and protocol in _SIGNING and _SIGNED_OPTIONS.issuperset(self._own)
        self._signed = SignedUrls(self._fs, plain) if direct else None
        self._pid = os.getpid()  # last: another thread that sees it takes what is above

    @property
    def fs(self) -> fsspec.AbstractFileSystem:
        """The file system, opened in this process: its event loop does not survive a fork."""
        if self._pid != os.getpid():
            self._open()
        return self._fs

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    def _try(self, what: str, action: Callable[[], T], tries: int = 1) -> T:
        """The result of an action of the file system, which may fail for a while."""
        try:
            return self.patience.retry(partial(self._judged, action), tries)
        except (FileNotFoundError, NotADirectoryError, DatasetError):
            raise
        except Exception as error:
            remedy = f": {credentials_remedy(self.url)}" if isinstance(error, PermissionError) else ""
            raise DatasetError(f"{self}: {what} failed ({reason(error)}){remedy}") from None

    def _judged(self, action: Callable[[], T]) -> T:
        """Run an action that makes a request.

        Raises:
            DatasetError: The first request failed for a reason that retrying cannot fix, or the bucket does not exist.
        """
        try:
            result = action()
        except DatasetError:
            raise
        except Exception as error:
            if isinstance(error, NoBucketError) or error_code(error) == "NoSuchBucket":
                message = f"{self}: there is no such bucket: check its name and the endpoint, or make it first"
                raise DatasetError(message) from None
            if not self._reached:
                self._reached = answered(error)
                explanation = explain(error, self.url, self._all_options())
                if explanation:
                    raise DatasetError(f"{self}: {explanation}") from None
            raise
        self._reached = True
        return result

    def _all_options(self) -> dict[str, Any]:
        """Return the options of the file system, including those of fsspec's configuration."""
        return {**fsspec.config.conf.get(self.url.partition("://")[0], {}), **self._own}

    def listing(self, folder: str = "") -> Listing:
        """See :meth:`Store.listing`."""
        path = self._path(folder)
        try:
            rows = self._try("listing", lambda: self._rows(path))
        except (FileNotFoundError, NotADirectoryError):
            return Listing([], [])
        files: set[str] = set()
        folders: set[str] = set()
        for row in rows:
            name = row["name"].rstrip("/")
            if name != path:
                (folders if row["type"] == "directory" else files).add(name.rsplit("/", 1)[-1])
        return Listing(sorted(files), sorted(folders))

    def _rows(self, path: str) -> list[dict[str, Any]]:
        """List a folder once.

        Raises:
            ListingError: The server answers without a listing.
        """
        if self._protocols.isdisjoint(_LISTED_BY_LINKS):
            return list(self.fs.ls(path, detail=True, refresh=True))
        try:
            # without the slash at the end, many servers redirect to the folder's page
            rows = self.fs.ls(f"{path}/", detail=True, refresh=True)
        except Exception as error:
            status = 404 if isinstance(error, FileNotFoundError) else getattr(error, "status", 0)
            if status in _NO_LIST:
                raise ListingError(
                    f"{self} does not list its files (HTTP {status}): name them, such as {self}/train-{{000..099}}.tar"
                ) from None
            raise
        below = []
        for row in rows:
            name = row["name"].removeprefix(f"{path}/").removeprefix("./")
            # skip links for sorting and links to other places
            if name != row["name"] and re.fullmatch(r"[^/?#]+/?", name):
                below.append({"name": f"{path}/{name}", "type": row["type"]})
        return below

    def _info(self, name: str) -> dict[str, Any]:
        def info() -> dict[str, Any]:
            self.fs.invalidate_cache(self._path(name))
            try:
                return dict(self.fs.info(self._path(name)))
            except FileNotFoundError as error:
                cause = behind_missing(error)
                if isinstance(cause, PermissionError):  # many servers deny access to files that do not exist
                    raise error from None
                if type(cause).__name__ == "TooManyRedirects":
                    raise DatasetError(f"{self}/{name}: its redirections have no end") from None
                raise cause from None

        return self._try(f"asking for {name}", lambda: within(self.patience.stall, info))

    def size(self, name: str) -> int | None:
        """See :meth:`Store.size`."""
        try:
            info = self._info(name)
        except FileNotFoundError:
            return None
        return None if info["type"] == "directory" or info.get("size") is None else int(info["size"])

    def sizes(self, names: list[str]) -> list[int | None]:
        """See :meth:`Store.sizes`. Sends several requests at a time."""
        with ThreadPoolExecutor(min(self.requests, max(1, len(names)))) as pool:
            return list(pool.map(self.size, names))

    def stamp(self, name: str) -> str:
        """See :meth:`Store.stamp`."""
        return stamp_of(self._info(name))

    def read(self, name: str) -> bytes:
        """See :meth:`Store.read`."""
        return bytes(self.fetch(name, 0, None).data)

    def view(self, name: str) -> memoryview:
        """See :meth:`Store.view`."""
        return self.fetch(name, 0, None).data

    def reader(self, name: str) -> io.BufferedReader:
        """See :meth:`Store.reader`."""
        return io.BufferedReader(SequentialFile(partial(self.fetch, name), f"{self}/{name}"), _BUFFER)

    def ranges(self, names: list[str], starts: list[int], ends: list[int]) -> list[bytes | Exception]:
        """See :meth:`Store.ranges`."""

        def one(name: str, start: int, end: int) -> bytes | Exception:
            try:
                return bytes(self.fetch(name, start, end).data)
            except (DatasetError, FileNotFoundError) as error:
                return error

        with ThreadPoolExecutor(min(self.requests, max(1, len(names)))) as pool:
            return list(pool.map(one, names, starts, ends))

    def fetch(self, name: str, start: int, end: int | None, fetch: Fetch | None = None) -> Fetched:
        """Bytes of a file; see :class:`~wds_face.storage.fetch.Fetch`.

        Raises:
            FileNotFoundError: it is not there.
            DatasetError: it cannot be read.
        """
        return (fetch or Fetch(self.patience))(partial(self._ask, self._path(name)), f"{self}/{name}", start, end)

    def _ask(self, path: str, start: int, end: int | None, timeout: float, tries: int) -> Reading:
        return self._judged(partial(self._request, path, start, end, timeout, tries))

    def _request(self, path: str, start: int, end: int | None, timeout: float, tries: int) -> Reading:
        fs, signed = self.fs, self._signed
        while signed is not None:
            url = ""
            try:
                url = signed.url(path, timeout)
                return HttpReading(url, start, end, timeout)
            except IndirectError:
                if not (url and signed.forget(path, url)):
                    self._signed = signed = None
        return PieceReading(fs, path, start, timeout=timeout, tries=tries)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.url, self.options, self._reached)

    def sync(self, name: str) -> None:
        """See :meth:`Store.sync`. What was uploaded is there."""

    def remove(self, name: str) -> None:
        """See :meth:`Store.remove`."""
        with suppress(FileNotFoundError):
            self._try(f"removing {name}", lambda: self.fs.rm_file(self._path(name)))

    def remove_folder(self, folder: str) -> None:
        """See :meth:`Store.remove_folder`."""
        with suppress(FileNotFoundError):
            self._try(f"removing {folder}", lambda: self.fs.rm(self._path(folder), recursive=True))

    def check_writable(self) -> bool:
        """See :meth:`Store.check_writable`."""
        if not self._protocols.isdisjoint(("http", "https")):
            raise DatasetError(f"{self} can only be read: choose a folder or an object store")
        if _WHOLE.isdisjoint(self._protocols):
            return False  # folders would be made
        name = f".wds-face-{uuid.uuid4().hex}.part"
        self.put(name, b"")
        self.remove(name)
        return True

    @contextmanager
    def _write(self, name: str, durable: bool) -> Iterator[BinaryIO]:
        with tempfile.NamedTemporaryFile() as file:
            yield file  # type: ignore[misc]
            file.flush()
            written = file.tell()
            target = part = self._path(name)
            if _WHOLE.isdisjoint(self._protocols):
                folder = target.rpartition("/")[0]
                self._try(f"making {folder}", lambda: self.fs.makedirs(folder, exist_ok=True))
                part = self._path(f".{name.rpartition('/')[2]}.{uuid.uuid4().hex}.part")
            self._try(f"writing {name}", lambda: self._put(file.name, part), tries=_UPLOADS)
            if part != target:
                self._try(f"renaming {name}", lambda: self.fs.mv(part, target))
            if (found := self.size(name)) != written:
                self.remove(name)
                raise OSError(f"{self}/{name} has {found} bytes after {written} were uploaded")

    def _put(self, file: str, path: str) -> None:
        try:
            self.fs.put_file(file, path)
        except FileNotFoundError as error:
            if "upload" in str(error).lower():  # of its parts, which the server has dropped meanwhile
                raise OSError("the upload is gone") from error
            raise DatasetError(f"{self}: there is no such bucket or folder to write to: make it first") from None


def _reopen(url: str, options: dict[str, Any], reached: bool) -> RemoteStore:
    """Open a store that was sent from another process, and keep whether its server has answered there."""
    store = RemoteStore(url, options)
    store._reached = reached
    return store


def _missing(url: str, backend: str, error: ImportError) -> str:
    protocol = "obstore" if backend == "obstore" else url.partition("://")[0]
    package = {"s3": "'wds-face[s3]'", "s3a": "'wds-face[s3]'", "obstore": "obstore", "gs": "gcsfs", "gcs": "gcsfs"}
    package |= {"http": "'fsspec[http]'", "https": "'fsspec[http]'", "abfs": "adlfs", "az": "adlfs"}
    return f"pip install {package[protocol]}" if protocol in package else " ".join(str(error).split())
