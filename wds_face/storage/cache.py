"""Pieces of remote files on a local disk, shared by the processes of a machine."""

from __future__ import annotations

import errno
import hashlib
import logging
import mmap
import os
import re
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from wds_face.errors import DatasetError
from wds_face.location import local_path

if sys.platform != "win32":  # which lacks the file locks, sparse files and positional reads that a cache needs
    import fcntl

# Behind the bytes of a piece: their number and crc32.
_TRAILER = struct.Struct("<8sQI")
_MAGIC = b"wdsface1"
# In the lock: the number of bytes that are taken, and its complement, by which damage is noticed.
_COUNT = struct.Struct("<qq")
_OURS = re.compile(r"[0-9a-f]{40}(\.part)?")  # what may be removed
_BLOCK = 4096  # of the disk: what a file takes is a multiple
# Of the limit, what is cleared at once: looking through the folder takes long where there are many files.
_CLEARED = 0.05
# Seconds between looks at what another one makes.
_LOOK = 0.02

_log = logging.getLogger("wds_face")


class Cache:
    """A folder of immutable files, one for each piece; its state is the folder itself.

    A piece is written under another name and renamed when it is whole. It is fetched by one process, which holds a lock
    on the file that it writes; others wait for it. What is used least recently is removed to make room, but nothing
    that a process reads, which holds a lock on that too. All locks are the kernel's (flock), which ends them with the
    process. Each process checks the bytes of a piece when it reads it first.

    Args:
        folder: made if need be; on a local disk.
        limit: bytes, of all files in it; by default what is there and nine tenths of what is free.

    Raises:
        DatasetError: the folder cannot be written, or this is Windows.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int | None = None) -> None:
        if sys.platform == "win32":
            raise DatasetError("cache_dir needs the file locks of Linux or macOS: leave it out on Windows")
        self.folder = local_path(folder, "cache_dir").expanduser().absolute()
        self._checked: dict[str, int] = {}  # inodes
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked() as lock:
                used = self._used(lock)
                if limit is not None and used > limit:
                    self._clear(lock, limit)
            status = os.statvfs(self.folder)
        except OSError as error:
            raise DatasetError(f"cache_dir {self.folder} cannot be written ({error.strerror})") from None
        self.limit = used + status.f_bavail * status.f_frsize * 9 // 10 if limit is None else limit

    @staticmethod
    def key(url: str, stamp: str, start: int, end: int) -> str:
        """The name of bytes *start* to *end* of a file in one version."""
        return hashlib.sha256(f"{url}\0{stamp}\0{start}\0{end}".encode()).hexdigest()[:40]

    def get(self, key: str) -> memoryview | None:
        """A piece that is there, mapped; it stays until the last view of it is gone."""
        try:
            file = os.open(self.folder / key, os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_SH)  # soon: who has it alone removes it, or has just made it
            return self._mapped(file, key) if os.fstat(file).st_nlink else None
        except OSError:
            return None
        finally:
            os.close(file)  # the mapping keeps the lock, as it has the file open

    def _mapped(self, file: int, key: str) -> memoryview | None:
        with suppress(OSError):  # another user's
            os.utime(file)
        status, path = os.fstat(file), self.folder / key
        nbytes = status.st_size - _TRAILER.size
        view = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ) if nbytes >= 0 else bytes(_TRAILER.size))
        magic, said, crc = _TRAILER.unpack(view[-_TRAILER.size :])
        known = self._checked.get(key) == status.st_ino
        if magic == _MAGIC and said == nbytes and (known or crc == zlib.crc32(view[:nbytes])):
            self._checked[key] = status.st_ino
            return view[:nbytes]
        _log.warning("%s: a file of the cache was damaged, and is fetched again", path)
        _drop(file, path)
        return None

    def fetch(
        self, key: str, make: Callable[[], bytes | memoryview], wait: Callable[[float], object] = time.sleep
    ) -> memoryview:
        """A piece; if it is not there it is made, by one process at a time, and kept if there is room.

        Args:
            key: of the piece.
            make: its bytes.
            wait: some seconds, while another one makes it; may raise where nobody wants it any more.

        Raises:
            Exception: what *make* or *wait* raises.
        """
        part = self.folder / f"{key}.part"
        while (found := self.get(key)) is None:
            with ExitStack() as stack:
                try:
                    file = stack.enter_context(_held(part, os.O_CREAT, fcntl.LOCK_EX | fcntl.LOCK_NB))
                except BlockingIOError:  # for a lock itself one can only wait to the end
                    wait(_LOOK)
                    continue
                except OSError as error:
                    _warn(self.folder, error.strerror)
                    return memoryview(make())
                if not _same(file, part):
                    continue
                stack.callback(_drop, file, part)
                if (found := self.get(key)) is None:
                    data = make()
                    self._keep(file, part, key, data)
            if found is None:
                found = self.get(key)
                return memoryview(data) if found is None else found
        return found

    def _keep(self, file: int, part: Path, key: str, data: bytes | memoryview) -> None:
        """Write a piece, if there is room."""
        try:
            if self._reserve(file, len(data) + _TRAILER.size):
                trailer = _TRAILER.pack(_MAGIC, len(data), zlib.crc32(data))
                if os.pwritev(file, [data, trailer], 0) != len(data) + len(trailer):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                with self._locked():  # or who counts might see neither name
                    os.rename(part, self.folder / key)
                self._checked[key] = os.fstat(file).st_ino
        except OSError as error:
            _warn(self.folder, error.strerror)

    def _locked(self) -> AbstractContextManager[int]:
        """The lock under which room is given away; its file holds the number of bytes that are taken."""
        return _held(self.folder / "lock", os.O_CREAT, fcntl.LOCK_EX)

    def _used(self, lock: int) -> int:
        found = os.pread(lock, _COUNT.size, 0)
        used = int.from_bytes(found[:8], "little", signed=True)
        return used if found == _COUNT.pack(used, ~used) else self._clear(lock, None)

    def _reserve(self, file: int, nbytes: int) -> bool:
        """Take room for a file that is to be written, and clear some if there is too little: whether there is.

        It is taken before it is used, so a process that dies in between leaves less room, until the next clearing, but
        never more.
        """
        need = -(-nbytes // _BLOCK) * _BLOCK
        if need + _BLOCK > self.limit:
            return False
        with self._locked() as lock:
            os.truncate(file, 0)  # of who died making it
            used = self._used(lock) + need
            if used > self.limit:
                used = self._clear(lock, max(self.limit - need - int(self.limit * _CLEARED), 0)) + need
                if used > self.limit:
                    return False
            os.pwrite(lock, _COUNT.pack(used, ~used), 0)
            os.truncate(file, nbytes)  # for who counts
        return True

    def _clear(self, lock: int, goal: int | None) -> int:
        """Remove what the dead left half-written, and what was used least recently until *goal* bytes are left.

        Returns:
            The bytes left.
        """
        files: list[tuple[int, int, str]] = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    files.append((status.st_mtime_ns, -(-status.st_size // _BLOCK) * _BLOCK, entry.name))
        used = _BLOCK + sum(size for _, size, name in files if name != "lock")
        for _, size, name in sorted(files):
            ours, old = _OURS.fullmatch(name), goal is not None and used > goal
            if ours and (old or ours[1]) and self._remove(name):
                used -= size
        os.truncate(lock, 0)
        os.pwrite(lock, _COUNT.pack(used, ~used), 0)
        return used

    def _remove(self, name: str) -> bool:
        """Remove a file that nobody has locked."""
        with suppress(OSError), _held(self.folder / name, 0, fcntl.LOCK_EX | fcntl.LOCK_NB) as file:
            os.unlink(self.folder / name)
            os.truncate(file, 0)  # who has just opened it would keep the room
            return True
        return False


@contextmanager
def _held(path: Path, flags: int, lock: int) -> Iterator[int]:
    """A file, open and locked. Closing it would not do: a child that is forked meanwhile has it open as well."""
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | flags, 0o666)
    try:
        fcntl.flock(file, lock)
        yield file
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)


def _same(file: int, path: Path) -> bool:
    """Whether a path still stands for an open file."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False


def _drop(file: int, path: Path) -> None:
    if _same(file, path):
        with suppress(OSError):
            os.unlink(path)


@cache
def _warn(folder: Path, why: str) -> None:
    """Once: it may be so for every piece."""
    _log.warning("%s: cannot keep what was fetched (%s)", folder, why)
