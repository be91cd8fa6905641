"""What a data set's folder can do, wherever it is."""

from __future__ import annotations

import errno
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from wds_face.errors import DatasetError
from wds_face.location import is_url, shown

_FATAL = {errno.ENOSPC: "no space left", errno.EDQUOT: "disk quota exceeded", errno.EROFS: "read-only file system"}


def open_store(url: str | os.PathLike[str], options: dict[str, Any] | None = None) -> Store:
    """The folder that a path or URL stands for; it need not be there yet.

    Args:
        url: a local path or an fsspec URL (``s3://…``, ``file://…``, ``memory://…``).
        options: what fsspec's file system takes (its ``storage_options``).

    Raises:
        PathError: *url* is ambiguous; see :func:`wds_face.location.is_url`.
        DatasetError: no file system is installed for the URL.
    """
    url = os.fsdecode(url)
    if url.startswith("file:///"):
        url = url.removeprefix("file://")
    if not is_url(url):
        from wds_face.storage.local import LocalStore  # noqa: PLC0415 (it derives from Store)

        return LocalStore(url)
    # fsspec takes longer to import than a worker takes to write its first shard
    from wds_face.storage.remote import RemoteStore  # noqa: PLC0415

    return RemoteStore(url, options or {})


class Listing(NamedTuple):
    """Entries of a folder: sorted names, without a path."""

    files: list[str]
    folders: list[str]


class Store(ABC):
    """Named files under one URL. It is pickled by URL, and opened where it is used."""

    #: The folder on this machine, None for every other kind of URL.
    local: Path | None = None
    #: Whether other processes see what this one writes.
    shared = True

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.url = url
        self.options = options

    @abstractmethod
    def listing(self, folder: str = "") -> Listing:
        """List a subfolder. The listing is empty if the folder does not exist.

        Raises:
            ListingError: The server does not list folders.
        """

    def names(self, folder: str = "") -> list[str]:
        """Names of the files directly in a folder below, sorted; none if it is not there.

        Raises:
            ListingError: The server does not list folders.
        """
        return self.listing(folder).files

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of a file, None if it is not there."""

    def sizes(self, names: list[str]) -> list[int | None]:
        """Return the size in bytes of each file, None for those that do not exist."""
        return [self.size(name) for name in names]

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The whole of a file.

        Raises:
            FileNotFoundError: it is not there.
        """

    @abstractmethod
    def view(self, name: str) -> memoryview:
        """The whole of a file: mapped where it is local, read where it is not.

        Raises:
            FileNotFoundError: it is not there.
        """

    @abstractmethod
    def reader(self, name: str) -> io.BufferedReader:
        """Open a file to read it from front to end, from a server in large pieces.

        Raises:
            FileNotFoundError: The file does not exist.
            DatasetError: The file cannot be read. ``read`` raises it too.
        """

    @abstractmethod
    def ranges(self, names: list[str], starts: list[int], ends: list[int]) -> list[bytes | Exception]:
        """Byte ranges of several files, read together; an error takes the place of a range that failed."""

    @abstractmethod
    def stamp(self, name: str) -> str:
        """Changes when a file is replaced.

        Raises:
            FileNotFoundError: it is not there.
        """

    @abstractmethod
    def sync(self, name: str) -> None:
        """Wait until a file is on the disk, so that it outlives a power cut too."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file if it is there."""

    @abstractmethod
    def remove_folder(self, folder: str) -> None:
        """Remove a folder below with all that is in it, if it is there."""

    @abstractmethod
    def check_writable(self) -> bool:
        """Check that files can be written, without leaving any behind.

        Returns:
            False if it cannot be checked without leaving something behind.

        Raises:
            DatasetError: Files cannot be written.
        """

    @abstractmethod
    def _write(self, name: str, durable: bool) -> AbstractContextManager[BinaryIO]:
        """See :meth:`write`."""

    @contextmanager
    def write(self, name: str, *, durable: bool = True) -> Iterator[BinaryIO]:
        """A file to write into, visible under its name when the block ends, and not at all if it raises.

        Args:
            name: of the file.
            durable: :meth:`sync` it before it gets its name.

        Raises:
            DatasetError: the disk is full or read-only.
        """
        try:
            with self._write(name, durable) as file:
                yield file
        except OSError as error:
            if error.errno in _FATAL:
                message = f"{self}: {_FATAL[error.errno]} while writing {name}; make room and run the same command"
                raise DatasetError(message) from None
            raise

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Write a whole file at once, atomically; see :meth:`write`."""
        with self.write(name, durable=durable) as file:
            file.write(data)

    def __str__(self) -> str:
        """The URL without a user name and password."""
        return shown(self.url)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and (self.url, self.options) == (other.url, other.options)

    def __hash__(self) -> int:
        return hash(self.url)

    def __reduce__(self) -> tuple[Any, ...]:
        return open_store, (self.url, self.options)
