"""A folder that fsspec reaches: an object store, a server, memory."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

import fsspec
from fsspec.core import url_to_fs

from wds_face.errors import DatasetError
from wds_face.storage.store import Store

#: Protocols of object stores: what is uploaded appears when it is complete.
_WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "az", "adl", "oss", "oci", "memory"}


class RemoteStore(Store):
    """See :class:`Store`."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        super().__init__(url, options)
        self._open()
        protocol = self._fs.protocol
        self._protocols = {protocol} if isinstance(protocol, str) else set(protocol)
        self.shared = "memory" not in self._protocols

    def _open(self) -> None:
        try:
            self._fs, root = url_to_fs(self.url, **self.options)
        except (ImportError, ValueError) as error:
            raise DatasetError(f"{self}: {error}") from None
        self._pid = os.getpid()
        self._root = root.rstrip("/")

    @property
    def fs(self) -> fsspec.AbstractFileSystem:
        """The file system, opened in this process: its event loop does not survive a fork."""
        if self._pid != os.getpid():
            self._open()
        return self._fs

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    def names(self, folder: str = "") -> list[str]:
        """See :meth:`Store.names`."""
        try:
            found = self.fs.ls(self._path(folder), detail=True, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(row["name"].rsplit("/", 1)[-1] for row in found if row["type"] != "directory")

    def size(self, name: str) -> int | None:
        """See :meth:`Store.size`."""
        try:
            self.fs.invalidate_cache(self._path(name))
            return int(self.fs.size(self._path(name)))
        except (FileNotFoundError, TypeError):
            return None

    def read(self, name: str) -> bytes:
        """See :meth:`Store.read`."""
        return bytes(self.fs.cat_file(self._path(name)))

    def view(self, name: str) -> memoryview:
        """See :meth:`Store.view`."""
        return memoryview(self.read(name))

    def ranges(self, names: list[str], starts: list[int], ends: list[int]) -> list[bytes | Exception]:
        """See :meth:`Store.ranges`."""
        paths = [self._path(name) for name in names]
        found: list[bytes | Exception] = self.fs.cat_ranges(paths, starts, ends, on_error="return")
        return found

    def stamp(self, name: str) -> str:
        """See :meth:`Store.stamp`."""
        self.fs.invalidate_cache(self._path(name))
        info = self.fs.info(self._path(name))
        return " ".join(f"{key}={info[key]}" for key in ("ETag", "etag", "size", "mtime", "created") if key in info)

    def sync(self, name: str) -> None:
        """See :meth:`Store.sync`. What was uploaded is there."""

    def remove(self, name: str) -> None:
        """See :meth:`Store.remove`."""
        with suppress(FileNotFoundError):
            self.fs.rm_file(self._path(name))

    def remove_folder(self, folder: str) -> None:
        """See :meth:`Store.remove_folder`."""
        with suppress(FileNotFoundError):
            self.fs.rm(self._path(folder), recursive=True)

    @contextmanager
    def _write(self, name: str, durable: bool) -> Iterator[BinaryIO]:
        with tempfile.NamedTemporaryFile() as file:
            yield file  # type: ignore[misc]
            file.flush()
            written = file.tell()
            if _WHOLE.isdisjoint(self._protocols):
                self.fs.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
                part = self._path(f".{name.rpartition('/')[2]}.{uuid.uuid4().hex}.part")
                self.fs.put_file(file.name, part)
                self.fs.mv(part, self._path(name))
            else:
                self.fs.put_file(file.name, self._path(name))
            if (found := self.size(name)) != written:
                self.remove(name)
                raise OSError(f"{self}/{name} has {found} bytes after {written} were uploaded")
