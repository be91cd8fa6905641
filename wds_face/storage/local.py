"""A folder on this machine, or on a file system mounted here."""

from __future__ import annotations

import io
import mmap
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from wds_face.errors import NOT_THE_FILE, DatasetError
from wds_face.storage.store import Listing, Store


class LocalStore(Store):
    """See :class:`Store`. Files are mapped for reading, and renamed into place when they are written and synced."""

    local: Path

    def __init__(self, path: str) -> None:
        super().__init__(path.rstrip("/") or path[:1] or ".", {})
        self.local = Path(os.path.abspath(self.url))  # the process may go elsewhere

    def listing(self, folder: str = "") -> Listing:
        """See :meth:`Store.listing`."""
        listing = Listing([], [])
        try:
            with os.scandir(self.local / folder) as entries:
                for entry in entries:
                    kind = listing.folders if entry.is_dir() else listing.files
                    kind.append(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return Listing([], [])
        listing.files.sort()
        listing.folders.sort()
        return listing

    def size(self, name: str) -> int | None:
        """See :meth:`Store.size`."""
        try:
            return (self.local / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, name: str) -> bytes:
        """See :meth:`Store.read`."""
        return (self.local / name).read_bytes()

    def view(self, name: str) -> memoryview:
        """See :meth:`Store.view`."""
        with (self.local / name).open("rb") as file:
            if not os.fstat(file.fileno()).st_size:  # an empty file cannot be mapped
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def reader(self, name: str) -> io.BufferedReader:
        """See :meth:`Store.reader`."""
        return (self.local / name).open("rb")

    def ranges(self, names: list[str], starts: list[int], ends: list[int]) -> list[bytes | Exception]:
        """See :meth:`Store.ranges`."""
        found: list[bytes | Exception] = []
        for name, start, end in zip(names, starts, ends, strict=True):
            try:
                # copied, so that images that wait to be written keep no file open
                found.append(bytes(_mapped(self, name, self.stamp(name))[start:end]))
            except OSError as error:
                if error.errno in NOT_THE_FILE:
                    raise
                found.append(error)
        return found

    def stamp(self, name: str) -> str:
        """See :meth:`Store.stamp`."""
        status = (self.local / name).stat()
        return f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"

    def sync(self, name: str) -> None:
        """See :meth:`Store.sync`."""
        with (self.local / name).open("rb") as file:
            os.fsync(file.fileno())

    def remove(self, name: str) -> None:
        """See :meth:`Store.remove`."""
        (self.local / name).unlink(missing_ok=True)

    def remove_folder(self, folder: str) -> None:
        """See :meth:`Store.remove_folder`."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.local / folder)

    def check_writable(self) -> bool:
        """See :meth:`Store.check_writable`."""
        folder = nearest_folder(self.local)
        try:
            os.rmdir(tempfile.mkdtemp(prefix=".wds-face-", dir=folder))
        except OSError as error:
            raise DatasetError(f"{self} cannot be written ({folder}: {error.strerror})") from None
        return True

    @contextmanager
    def _write(self, name: str, durable: bool) -> Iterator[BinaryIO]:
        target = self.local / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")  # two writers never share one
        try:
            with part.open("xb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
                written = file.tell()
            if (found := part.stat().st_size) != written:  # seen on network file systems
                raise OSError(f"{target} has {found} bytes after {written} were written")
            os.replace(part, target)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise


def nearest_folder(path: Path) -> Path:
    """Return *path* if it exists, or else its nearest parent that does.

    Raises:
        DatasetError: The existing path is not a folder.
    """
    while not path.exists():
        path = path.parent
    if not path.is_dir():
        raise DatasetError(f"{path} is a file: give a folder")
    return path


# a mapping holds an open file, of which a process may have 1024 or fewer
@lru_cache(maxsize=64)
def _mapped(store: LocalStore, name: str, stamp: str) -> memoryview:
    return store.view(name)
