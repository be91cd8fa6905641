"""Keep local copies of shards while they are converted, and remove them afterwards."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import finalize

from filelock import FileLock, Timeout

from wds_face.errors import SourceError
from wds_face.location import local_path
from wds_face.shards.copies import LIMIT, SIZE_LOCK, Copies

# Share of the free disk space that a spool may take by default.
_SHARE = 0.9
# Seconds to wait for the lock of a folder that looks abandoned: forked workers briefly outlive a killed parent.
_GRACE = 1.0
# Age in seconds from which a folder without any lock counts as abandoned; a younger one may still be in the making.
_NEW = 3600

_FOLDER = re.compile(r"wds-face-spool-[0-9a-f]{32}")


class Spool:
    """Local copies of shards, shared by the processes of a machine and removed when the conversion ends.

    Each machine keeps its own copies, in a folder that only this run uses. A process that uses the folder holds a lock
    in it, which the kernel releases when the process ends. A folder in which no lock is held was left by killed
    processes; the next run that spools on the machine removes it.

    Args:
        folder: Folder for the copies, by default ``$TMPDIR`` or ``/var/tmp``; created if missing.
        limit: Bytes that all copies may take on a machine, by default nine tenths of the free disk space. It also
            limits how far a compressed shard can expand.

    Raises:
        ValueError: The limit is below 1.
        PathError: The folder is a URL.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"spool_size is {limit}: it must be at least 1 byte")
        self.folder = None
        if folder is not None:
            self.folder = os.path.abspath(local_path(folder, "spool_dir").expanduser())
        self.limit = limit
        self._run = uuid.uuid4().hex
        self._owner_pid = os.getpid()
        self._owner_lock = FileLock(self._path / "owner.lock", thread_local=False)
        self._finalizer = finalize(self, _remove, self._path, self._owner_lock, self._owner_pid)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "limit": self.limit, "_run": self._run, "_owner_pid": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def base(self) -> Path:
        """The folder for copies on this machine."""
        if self.folder is not None:
            return Path(self.folder)
        # /tmp is more often kept in memory than /var/tmp. gettempdir() would cache an earlier TMPDIR.
        default = "/var/tmp" if os.path.isdir("/var/tmp") else tempfile.gettempdir()  # noqa: S108 (folders are private)
        return Path(os.path.abspath(os.environ.get("TMPDIR") or default))

    @property
    def _path(self) -> Path:
        return self.base / f"wds-face-spool-{self._run}"

    @contextmanager
    def using(self) -> Iterator[Copies]:
        """Yield the copies on this machine, and lock them so that no other run removes them as abandoned.

        Raises:
            SourceError: The folder cannot be written.
        """
        path = self._path
        try:
            self._make(path)
            if self._owner_pid == os.getpid():
                self._owner_lock.acquire()
                lock = None
            else:
                lock = FileLock(path / f"use-{uuid.uuid4().hex}.lock")
                lock.acquire()
        except OSError as error:
            raise SourceError(
                f"the spool in {self.base} cannot be written ({error.strerror}): give another --spool-dir"
            ) from None
        try:
            yield Copies(path)
        finally:
            if lock is not None:
                lock.release()
                with suppress(OSError):
                    os.unlink(lock.lock_file)

    def close(self) -> None:
        """Remove the copies on this machine. A later use makes them again."""
        if self._owner_pid == os.getpid():
            self._owner_lock.release(force=True)
        shutil.rmtree(self._path, ignore_errors=True)

    def _make(self, path: Path) -> None:
        if (path / LIMIT).exists():
            return
        self.base.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _sweep(self.base)
        path.mkdir(mode=0o700, exist_ok=True)
        with FileLock(path / SIZE_LOCK):
            if not (path / LIMIT).exists():
                free = shutil.disk_usage(path).free
                limit = int(free * _SHARE) if self.limit is None else self.limit
                (path / f"{LIMIT}.new").write_text(str(limit))
                os.replace(path / f"{LIMIT}.new", path / LIMIT)


def _remove(path: Path, lock: FileLock, pid: int) -> None:
    if os.getpid() == pid:
        lock.release(force=True)
        shutil.rmtree(path, ignore_errors=True)


def _sweep(base: Path) -> None:
    """Remove the folders that killed processes left behind."""
    for path in base.glob("wds-face-spool-*"):
        with suppress(OSError):
            status = path.lstat()
            ours = not hasattr(os, "getuid") or status.st_uid == os.getuid()
            if ours and path.is_dir() and _FOLDER.fullmatch(path.name) and _abandoned(path, status.st_mtime):
                shutil.rmtree(path, ignore_errors=True)


def _abandoned(path: Path, changed: float) -> bool:
    locks = [*path.glob("owner.lock"), *path.glob("use-*.lock")]
    if not locks:
        return time.time() - changed > _NEW
    try:
        for lock in locks:
            with FileLock(lock, timeout=_GRACE):
                pass
    except Timeout:
        return False
    return True
