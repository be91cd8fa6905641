"""Pieces of remote files on a local disk, shared by the processes of a machine."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wds_face.errors import DatasetError

# Behind the bytes of a piece: their number and crc32.
_TRAILER = struct.Struct("<8sQI")
_MAGIC = b"wdsface1"
_BLOCK = 4096  # of the disk: what a file takes is a multiple
# Of the limit, what is cleared at once: looking through the folder takes long where there are many files.
_CLEARED = 0.05

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
        DatasetError: the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int | None = None) -> None:
        self.folder = Path(os.path.abspath(os.path.expanduser(folder)))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked() as lock:
                used = self._used(lock)
        except OSError as error:
            raise DatasetError(f"cache_dir {self.folder} cannot be written ({error.strerror})") from None
        if limit is None:
            status = os.statvfs(self.folder)
            limit = used + status.f_bavail * status.f_frsize * 9 // 10
        self.limit = limit
        self._checked: set[str] = set()

    @staticmethod
    def key(url: str, stamp: str, start: int, end: int) -> str:
        """The name of bytes *start* to *end* of a file in one version."""
        return hashlib.sha256(f"{url}\0{stamp}\0{start}\0{end}".encode()).hexdigest()[:40]

    def get(self, key: str) -> memoryview | None:
        """A piece that is there, mapped; it stays until the last view of it is gone."""
        try:
            file = os.open(self.folder / key, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            with suppress(BlockingIOError):  # it is being removed
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                if os.fstat(file).st_nlink:
                    return self._mapped(file, key)
            return None
        finally:
            os.close(file)

    def _mapped(self, file: int, key: str) -> memoryview | None:
        with suppress(PermissionError):  # another user's
            os.utime(file)
        nbytes = os.fstat(file).st_size - _TRAILER.size
        # The mapping keeps the lock, as it has the file open.
        view = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ)) if nbytes >= 0 else memoryview(b"")
        if key not in self._checked:
            if nbytes < 0 or _TRAILER.unpack(view[nbytes:]) != (_MAGIC, nbytes, zlib.crc32(view[:nbytes])):
                _log.warning("%s: a file of the cache was damaged, and is fetched again", self.folder / key)
                if _same(file, self.folder / key):
                    _unlink(self.folder / key)
                return None
            self._checked.add(key)
        return view[:nbytes]

    def fetch(self, key: str, make: Callable[[], bytes | bytearray]) -> memoryview:
        """A piece; if it is not there it is made, by one process at a time, and kept if there is room.

        Raises:
            Exception: what *make* raises.
        """
        part = self.folder / f"{key}.part"
        while (found := self.get(key)) is None:
            try:
                file = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                return self._unkept(make(), error)
            try:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:  # wait for who makes it, and goes on reading it then, or has died doing so
                    fcntl.flock(file, fcntl.LOCK_SH)
                    continue
                if _same(file, part) and (found := self.get(key)) is None:
                    data = make()
                    if self._reserve(file, len(data)):
                        return self._publish(file, part, key, data)
                    _unlink(part)
                    return memoryview(data)
            except BaseException:
                _unlink(part)
                raise
            finally:
                os.close(file)
        return found

    def _publish(self, file: int, part: Path, key: str, data: bytes | bytearray) -> memoryview:
        try:
            trailer = _TRAILER.pack(_MAGIC, len(data), zlib.crc32(data))
            if os.pwritev(file, [data, trailer], 0) != len(data) + len(trailer):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            with self._locked():  # or who counts might see neither name
                os.rename(part, self.folder / key)
        except OSError as error:
            _unlink(part)
            return self._unkept(data, error)
        fcntl.flock(file, fcntl.LOCK_SH)
        self._checked.add(key)
        return memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ))[: len(data)]

    def _unkept(self, data: bytes | bytearray, error: OSError) -> memoryview:
        _log.warning("%s: cannot keep what was fetched (%s)", self.folder, error.strerror)
        return memoryview(data)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The lock under which room is given away; its file holds the number of bytes that are taken."""
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock
        finally:
            os.close(lock)

    def _used(self, lock: int) -> int:
        found = os.pread(lock, 8, 0)
        return int.from_bytes(found, "little") if len(found) == 8 else self._clear(lock, None)

    def _reserve(self, file: int, nbytes: int) -> bool:
        """Take room for a file that is to be written, and clear some if there is too little: whether there is.

        It is taken before it is used, so a process that dies in between leaves less room, until the next clearing, but
        never more.
        """
        nbytes += _TRAILER.size
        with self._locked() as lock:
            used = self._used(lock) + _taken(nbytes)
            if used > self.limit:
                goal = self.limit - _taken(nbytes)
                used = self._clear(lock, goal - min(goal, int(self.limit * _CLEARED))) + _taken(nbytes)
                if used > self.limit:
                    return False
            os.pwrite(lock, used.to_bytes(8, "little"), 0)
            os.truncate(file, nbytes)  # for who counts
        return True

    def _clear(self, lock: int, goal: int | None) -> int:
        """Remove what the dead left half-written, and the files used least recently until *goal* bytes are left.

        Returns:
            The bytes left.
        """
        files: list[tuple[int, int, str]] = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    files.append((status.st_mtime_ns, _taken(status.st_size), entry.name))
        used = sum(size for _, size, _ in files)
        for _, size, name in sorted(files):
            half, old = name.endswith(".part"), goal is not None and used > goal
            if name != "lock" and (half or old) and self._remove(name):
                used -= size
        os.pwrite(lock, used.to_bytes(8, "little"), 0)
        return used

    def _remove(self, name: str) -> bool:
        """Remove a file that nobody has locked."""
        try:
            file = os.open(self.folder / name, os.O_RDONLY)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(self.folder / name)
        except (BlockingIOError, FileNotFoundError):
            return False
        finally:
            os.close(file)
        return True


def _taken(nbytes: int) -> int:
    return -(-nbytes // _BLOCK) * _BLOCK


def _same(file: int, path: Path) -> bool:
    """Whether a path still stands for an open file."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _unlink(path: Path) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
