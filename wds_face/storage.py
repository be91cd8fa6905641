"""The folder of a data set: a local path or any fsspec URL, with writes that appear whole or not at all."""

from __future__ import annotations

import errno
import mmap
import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from wds_face.errors import DatasetError

_FATAL = {errno.ENOSPC: "no space left", errno.EDQUOT: "disk quota exceeded", errno.EROFS: "read-only file system"}
#: Protocols of object stores: what is uploaded appears when it is complete.
_WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "az", "adl", "oss", "oci", "memory"}


class Store:
    """Named files under one URL. Pickled by URL: the file system is opened where it is used, also after a fork.

    Args:
        url: a local path or an fsspec URL (``s3://…``, ``file://…``, ``memory://…``).
        options: what fsspec's file system takes (its ``storage_options``).

    Raises:
        DatasetError: no file system is installed for the URL.
    """

    def __init__(self, url: str | os.PathLike[str], options: dict[str, Any] | None = None) -> None:
        self.url = os.fspath(url)
        self.options = options or {}
        self._pid = 0
        self._fs: fsspec.AbstractFileSystem
        self._open()

    def _open(self) -> None:
        if self._pid == os.getpid():
            return
        try:
            self._fs, root = url_to_fs(self.url, **self.options)
        except (ImportError, ValueError) as error:
            raise DatasetError(f"{self}: {error}") from None
        self._pid = os.getpid()
        self._root = root.rstrip("/") or "/"

    def __str__(self) -> str:
        """The URL without a user name and password."""
        return re.sub(r"//[^/@]*@", "//", self.url)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and (self.url, self.options) == (other.url, other.options)

    def __hash__(self) -> int:
        return hash(self.url)

    def __reduce__(self) -> tuple[type[Store], tuple[str, dict[str, Any]]]:
        return type(self), (self.url, self.options)

    @cached_property
    def local(self) -> Path | None:
        """The folder on this machine, None for every other kind of URL."""
        return Path(self._root) if isinstance(self.fs, LocalFileSystem) else None

    @property
    def fs(self) -> fsspec.AbstractFileSystem:
        """The file system, opened in this process."""
        self._open()
        return self._fs

    @property
    def _protocols(self) -> set[str]:
        found = self.fs.protocol
        return {found} if isinstance(found, str) else set(found)

    @property
    def shared(self) -> bool:
        """Whether other processes see what this one writes."""
        return "memory" not in self._protocols

    def path(self, name: str) -> str:
        """The path of a file as the file system wants it."""
        return f"{self._root}/{name}" if self._root != "/" else f"/{name}"

    def names(self, folder: str = "") -> list[str]:
        """Names of the files directly in a folder below, sorted; none if it is not there."""
        try:
            found = self.fs.ls(self.path(folder).rstrip("/"), detail=True, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(row["name"].rsplit("/", 1)[-1] for row in found if row["type"] != "directory")

    def size(self, name: str) -> int | None:
        """Bytes of a file, None if it is not there."""
        if self.local is not None:
            try:
                return os.stat(self.path(name)).st_size
            except (FileNotFoundError, NotADirectoryError):
                return None
        try:
            self.fs.invalidate_cache(self.path(name))
            return int(self.fs.size(self.path(name)))
        except (FileNotFoundError, TypeError):
            return None

    def read(self, name: str) -> bytes:
        """The whole of a file.

        Raises:
            FileNotFoundError: it is not there.
        """
        return bytes(self.fs.cat_file(self.path(name)))

    def view(self, name: str) -> memoryview:
        """The whole of a file: mapped where it is local, read where it is not.

        Raises:
            FileNotFoundError: it is not there.
        """
        if self.local is None:
            return memoryview(self.read(name))
        with open(self.path(name), "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def ranges(self, names: list[str], starts: list[int], ends: list[int]) -> list[bytes | Exception]:
        """Byte ranges of several files, read together; an error takes the place of a range that failed."""
        paths = [self.path(name) for name in names]
        found: list[bytes | Exception] = self.fs.cat_ranges(paths, starts, ends, on_error="return")
        return found

    @contextmanager
    def write(self, name: str) -> Iterator[BinaryIO]:
        """A file to write into, visible under its name when the block ends, and not at all if it raises.

        Raises:
            DatasetError: the disk is full or read-only.
        """
        try:
            with self._write_local(name) if self.local is not None else self._write_remote(name) as file:
                yield file
        except OSError as error:
            if error.errno in _FATAL:
                message = f"{self}: {_FATAL[error.errno]} while writing {name}; make room and run the same command"
                raise DatasetError(message) from None
            raise

    @contextmanager
    def _write_local(self, name: str) -> Iterator[BinaryIO]:
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")  # two writers never share one
        try:
            with part.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise

    @contextmanager
    def _write_remote(self, name: str) -> Iterator[BinaryIO]:
        with tempfile.NamedTemporaryFile() as file:
            yield file  # type: ignore[misc]
            file.flush()
            if _WHOLE.isdisjoint(self._protocols):
                part = self.path(f".{name.rpartition('/')[2]}.{uuid.uuid4().hex}.part")
                self.fs.put_file(file.name, part)
                self.fs.mv(part, self.path(name))
            else:
                self.fs.put_file(file.name, self.path(name))

    def put(self, name: str, data: bytes) -> None:
        """Write a whole file at once, atomically."""
        with self.write(name) as file:
            file.write(data)

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        with suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    def remove_folder(self, folder: str) -> None:
        """Remove a folder below with all that is in it, if it is there."""
        with suppress(FileNotFoundError):
            self.fs.rm(self.path(folder), recursive=True)
