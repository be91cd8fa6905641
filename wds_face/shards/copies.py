"""Copy shards to a local disk as plain tars: decompress them, and fetch remote ones in large pieces."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from wds_face.errors import SourceError, TarError
from wds_face.shards.compression import HEAD, decompressed, recognize
from wds_face.storage import Store
from wds_face.storage.local import LocalStore
from wds_face.units import size

#: Name of the file that holds the size limit of the folder in bytes, and of the lock for measuring its size.
LIMIT = "limit"
SIZE_LOCK = "size.lock"

# Number of bytes that a file may grow by before the size limit is checked again.
_STEP = 16 << 20

_FULL = {errno.ENOSPC, errno.EDQUOT}


class Copies:
    """Copies of shards in one folder, which all processes of a machine share.

    A copy is written under a temporary name and renamed when it is complete, so that a partial copy of a killed process
    is never read. One process makes a copy while the others wait.

    Args:
        folder: The folder, with the file :data:`LIMIT`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.limit = int((folder / LIMIT).read_text())
        self._whole: set[str] = set()

    def require(self, nbytes: int, what: str) -> None:
        """Check that *nbytes* fit into the size limit.

        Raises:
            SourceError: They do not.
        """
        if nbytes > self.limit:
            raise SourceError(self._no_room(f"{what}: {size(nbytes)} have to be copied to a local disk, but"))

    def view(self, store: Store, name: str, stamp: str) -> tuple[memoryview, str]:
        """Map the copy of a shard into memory. Make the copy first if there is none.

        Args:
            store: Where the shard is.
            name: Its name.
            stamp: Its version, see :meth:`wds_face.storage.Store.stamp`.

        Returns:
            The bytes of the tar, and a description of the damage to the compressed file, "" if there is none. The bytes
            of a damaged file end where the damage begins.

        Raises:
            FileNotFoundError: The shard does not exist.
            TarError: The file is not a shard.
            SourceError: The spool is full, or the package for the compression is missing.
            DatasetError: The server cannot be read.
        """
        key = self._made(store, name, stamp, wait=True)
        damage = self.folder / f"{key}.damage"
        return _mapped(self.folder / key), damage.read_text() if damage.exists() else ""

    def ranges(
        self, store: Store, names: list[str], stamps: list[str], starts: list[int], ends: list[int]
    ) -> list[bytes | Exception]:
        """Read byte ranges of decompressed shards. An exception takes the place of each range that could not be read.

        Raises:
            SourceError: The spool is full, or a shard was replaced since it was scanned.
            DatasetError: The server cannot be read.
        """
        keys: dict[str, str | Exception] = {}
        missing = dict(zip(names, stamps, strict=True))
        for wait in (False, True):  # first the shards that no other process is copying
            for name, stamp in list(missing.items()):
                try:
                    self._same(store, name, stamp)
                    keys[name] = self._made(store, name, stamp, wait)
                except Timeout:
                    continue
                except (OSError, TarError) as error:
                    keys[name] = error
                del missing[name]
        local = LocalStore(str(self.folder))
        found: list[bytes | Exception] = []
        for name, start, end in zip(names, starts, ends, strict=True):
            key = keys[name]
            found += [key] if isinstance(key, Exception) else local.ranges([key], [start], [end])
        return found

    def _same(self, store: Store, name: str, stamp: str) -> None:
        """Check that a shard without a copy has not changed since it was scanned, perhaps on another machine."""
        key = _key(store, name, stamp)
        if key not in self._whole and not (self.folder / key).exists() and store.stamp(name) != stamp:
            raise SourceError(f"{store}/{name} was replaced while it was converted: run the same command again")

    def _made(self, store: Store, name: str, stamp: str, wait: bool) -> str:
        """Return the name of the copy of a shard, making the copy if necessary.

        Raises:
            Timeout: Another process is making the copy, and *wait* is False.
        """
        key = _key(store, name, stamp)
        if key not in self._whole:
            with FileLock(self.folder / f"{key}.lock", timeout=-1 if wait else 0):
                if not (self.folder / key).exists():
                    self._make(key, store, name)
            self._whole.add(key)
        return key

    def _make(self, key: str, store: Store, name: str) -> None:
        part = self.folder / f"{key}.part"
        damage = ""
        try:
            with store.reader(name) as source, part.open("wb") as file:
                grown = 0
                try:
                    for piece in decompressed(source, recognize(source.peek(HEAD)[:HEAD])):
                        if file.tell() + len(piece) > grown:
                            grown = self._grow(file, file.tell() + len(piece), f"{store}/{name}")
                        file.write(piece)
                except TarError as error:
                    if not file.tell():
                        raise
                    damage = str(error)
                file.truncate()
            if damage:
                (self.folder / f"{key}.damage").write_text(damage)
            os.replace(part, self.folder / key)
        except OSError as error:
            if error.errno in _FULL:
                raise SourceError(self._no_room(f"{store}/{name}: the disk is full, and")) from None
            raise
        finally:
            part.unlink(missing_ok=True)

    def _grow(self, file: BinaryIO, nbytes: int, what: str) -> int:
        """Grow a file to *nbytes* plus one step, within the limit. Returns its new size."""
        with FileLock(self.folder / SIZE_LOCK):
            file.flush()
            own = os.fstat(file.fileno()).st_size
            with os.scandir(self.folder) as entries:
                others = sum(entry.stat().st_size for entry in entries) - own
            if others + nbytes > self.limit:
                raise SourceError(self._no_room(f"{what}:"))
            grown = min(nbytes + _STEP, self.limit - others)
            os.truncate(file.fileno(), grown)
        return grown

    def _no_room(self, what: str) -> str:
        return (
            f"{what} the spool in {self.folder.parent} may take {size(self.limit)}: raise --spool-size, or give "
            "--spool-dir a folder on a larger disk"
        )


def _key(store: Store, name: str, stamp: str) -> str:
    return hashlib.sha256(f"{store.url}\0{name}\0{stamp}".encode("utf-8", "surrogateescape")).hexdigest()[:40]


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:  # an empty file cannot be mapped
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
