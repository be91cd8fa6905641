"""Faces in a folder per identity: ``ROOT/<identity>/…/<image>``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wds_face import images
from wds_face.errors import NOT_THE_FILE, SourceError
from wds_face.location import local_path
from wds_face.pool import Workers
from wds_face.sources.source import ALONE, Image, Inventory, Skipped, quiet

_READ = 1 << 16  # more than nearly every aligned face
_TASK = 512  # folders that a worker lists at a time
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0)  # without O_BINARY, Windows changes line ends


class _Listing(NamedTuple):
    """What some identities hold. Files of one are NUL-joined in order: millions of names are a few large strings."""

    files: list[bytes]
    images: list[int]
    nbytes: list[int]
    stamps: list[bytes]  # change with the size or the time of any file
    skipped: list[Skipped]


class ImageFolder:
    """A folder with one sub-folder per identity, as torchvision's ``ImageFolder`` reads it.

    Sub-folders within an identity belong to it, symbolic links are followed, and identities and files are taken in
    the order of their names, so labels equal torchvision's ``class_to_idx`` wherever nothing had to be left out.

    Args:
        root: the folder.
    """

    kind = "imagefolder"
    recursive = True

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = str(local_path(root, "SRC"))

    @property
    def location(self) -> str:
        """See :class:`wds_face.sources.Source`."""
        return self.root

    def scan(self, workers: Workers = ALONE, progress: Callable[[int], object] = quiet) -> Inventory:
        """See :class:`wds_face.sources.Source`."""
        if not os.path.isdir(self.root):
            hint = "is a file" if os.path.exists(self.root) else "is not there"
            raise SourceError(f"{self.root} {hint}: give the folder that holds one sub-folder per identity")
        skipped: list[Skipped] = []
        try:
            entries = sorted(os.scandir(self.root), key=lambda entry: entry.name)
        except OSError as error:
            raise SourceError(f"{self.root} cannot be read ({error.strerror})") from None
        names = []
        for entry in entries:
            try:
                identity = entry.is_dir() and not entry.name.startswith(".")
            except OSError:  # a link to itself
                identity = False
            if identity:
                names.append(entry.name)
            else:
                skipped.append(Skipped(entry.name, "not in an identity folder"))
        if not names:
            raise SourceError(f"{self.root} has no sub-folders: an image folder has one per identity")
        tasks = [(self.root, names[i : i + _TASK]) for i in range(0, len(names), _TASK)]
        files: list[bytes] = []
        images: list[int] = []
        nbytes: list[int] = []
        stamps: list[bytes] = []
        for found in workers.map(_list, tasks):
            files += found.files
            images += found.images
            nbytes += found.nbytes
            stamps += found.stamps
            skipped += found.skipped
            progress(sum(found.images))
        full = np.flatnonzero(images)
        return Inventory(
            names=[names[i] for i in full],
            images=np.array(images, np.int64)[full],
            nbytes=np.array(nbytes, np.int64)[full],
            part=lambda rows: _FolderPart(self.root, [(names[i], files[i], stamps[i]) for i in full[rows]]),
            skipped=skipped,
        )


def _list(task: tuple[str, list[str]]) -> _Listing:
    root, identities = task
    found = _Listing([], [], [], [], [])
    for identity in identities:
        walk = _Walk(identity)
        try:
            walk.enter(f"{root}/{identity}", "", frozenset())
        except RecursionError:
            walk.skipped.append(Skipped(identity, "folders nested too deeply"))
        walk.files.sort()
        found.files.append(os.fsencode("\0".join([name for name, _, _ in walk.files])))
        found.images.append(len(walk.files))
        found.nbytes.append(sum([size for _, size, _ in walk.files]))
        stamp = hash(tuple([number for _, *numbers in walk.files for number in numbers]))  # of integers: never salted
        found.stamps.append(stamp.to_bytes(8, "little", signed=True))
        found.skipped.extend(walk.skipped)
        if not walk.files and not walk.skipped:
            found.skipped.append(Skipped(identity, "empty identity folder"))
    return found


class _Walk:
    """Every image of an identity with its size, and what is none."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.files: list[tuple[str, int, int]] = []  # name, bytes, time of the last change
        self.skipped: list[Skipped] = []

    def enter(self, folder: str, prefix: str, above: frozenset[tuple[int, int]]) -> None:
        """Walk a folder that lies within the folders with the (device, inode) ``above``."""
        try:
            with os.scandir(folder) as entries:
                listing = list(entries)
        except OSError as error:
            if error.errno in NOT_THE_FILE:
                raise
            return self._skip(prefix, f"unreadable folder ({error.strerror})")
        for entry in listing:
            name = prefix + entry.name
            try:
                if entry.is_dir():
                    within = above | {_identify(folder)}
                    if _identify(entry.path) in within:
                        self._skip(name, "symbolic link loop")
                    else:
                        self.enter(entry.path, name + "/", within)
                elif entry.name.startswith(".") or entry.name.rpartition(".")[2].lower() not in images.EXTENSIONS:
                    self._skip(name, "not an image")
                elif not (size := (status := entry.stat()).st_size):
                    self._skip(name, "empty")
                elif size > images.MAX_BYTES:
                    self._skip(name, f"{size:,} bytes, more than {images.MAX_BYTES:,}")
                else:
                    self.files.append((name, size, status.st_mtime_ns))
            except OSError as error:
                if error.errno in NOT_THE_FILE:
                    raise
                self._skip(name, f"unreadable ({error.strerror})")
        return None

    def _skip(self, name: str, reason: str) -> None:
        self.skipped.append(Skipped(f"{self.identity}/{name}".rstrip("/"), reason))


def _identify(folder: str) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


@dataclass(frozen=True)
class _FolderPart:
    root: str
    folders: list[tuple[str, bytes, bytes]]
    """Name, files and stamp of each identity."""

    @property
    def fingerprint(self) -> bytes:
        """See :class:`wds_face.sources.Part`."""
        digest = hashlib.sha256(os.fsencode(os.path.realpath(self.root)))
        for name, files, stamp in self.folders:
            digest.update(os.fsencode(name) + b"\0\0" + files + b"\0\0" + stamp)
        return digest.digest()

    def read(self) -> Iterator[Iterable[Image | Skipped]]:
        """See :class:`wds_face.sources.Part`."""
        for name, files, _ in self.folders:
            yield self._identity(name, os.fsdecode(files).split("\0"))

    def _identity(self, identity: str, files: list[str]) -> Iterator[Image | Skipped]:
        for file in files:
            try:
                data = _read(f"{self.root}/{identity}/{file}")
            except OSError as error:
                if error.errno in NOT_THE_FILE:
                    raise
                yield Skipped(f"{identity}/{file}", f"unreadable ({error.strerror})")
                continue
            yield Image(f"{identity}/{file}", file.rpartition(".")[2].lower(), data)


def _read(path: str) -> bytes:
    """A whole small file in three system calls."""
    descriptor = os.open(path, _FLAGS)
    try:
        data = os.read(descriptor, _READ)
        if len(data) < _READ:
            return data
        chunks = [data]
        while data := os.read(descriptor, 1 << 20):
            chunks.append(data)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


__all__ = ["ImageFolder"]
