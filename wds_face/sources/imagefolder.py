"""Faces in a folder per identity: ``ROOT/<identity>/…/<image>``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wds_face import recognise
from wds_face.errors import NOT_THE_FILE, SourceError
from wds_face.location import local_text
from wds_face.pool import Workers
from wds_face.sources.folder_listing import Listing, list_folders
from wds_face.sources.nesting import FolderTree, Layout, choose_depth, depth_of, name_identities, notes_on_identities
from wds_face.sources.source import ALONE, Image, Inventory, Skipped, quiet, runs

_READ = 1 << 16  # more than nearly every aligned face
_TASK = 512  # folders that a worker lists at a time
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0)  # without O_BINARY, Windows converts line endings


class ImageFolder:
    """A folder with one sub-folder per identity, as torchvision's ``ImageFolder`` reads it.

    Sub-folders within an identity belong to it, symbolic links are followed, and identities and files are taken in
    the order of their names, so labels equal torchvision's ``class_to_idx`` wherever nothing had to be left out.
    Hidden, thumbnail and trash folders (``.ipynb_checkpoints``, ``@eaDir``, ``__MACOSX``, …) are left out at every
    depth.

    The depth of the identities is inferred from the tree. Images directly in ``ROOT/<identity>/`` mean depth 1, a
    single folder that leads to ten or more is a level above the identities, and sub-folders whose names recur
    (``<person>/frontal``, ``<person>/profile``) are variants within identities. Anything else, such as
    ``train/<person>`` next to ``test/<person>``, is refused; the error gives both readings. See
    :func:`wds_face.sources.nesting.choose_depth`.

    If identities lie deeper than depth 1, their names do not include split names (``train``, ``test``, ``val``, …) or
    folders that contain all identities: ``train/ann`` and ``test/ann`` are one identity, ``ann``, and a note reports
    this; ``a/0`` and ``b/0`` are two.

    Args:
        root: Path of the folder.
        identity_depth: Depth of the identity folders below the root, 1 for ``ROOT/<identity>``, 2 for
            ``ROOT/<split>/<identity>``; 0 if the root itself is the only identity. None infers it from the tree.

    Raises:
        ValueError: ``identity_depth`` is negative.
        PathError: ``root`` is a URL.
    """

    kind = "imagefolder"
    recursive = True

    def __init__(self, root: str | os.PathLike[str], *, identity_depth: int | None = None) -> None:
        if identity_depth is not None and identity_depth < 0:
            raise ValueError(f"identity_depth is {identity_depth}: it must be 0 or more, or None")
        self.root = local_text(root, "SRC")
        self.identity_depth = identity_depth

    @property
    def location(self) -> str:
        """See :class:`wds_face.sources.Source`."""
        return self.root

    def scan(self, workers: Workers = ALONE, progress: Callable[[int], object] = quiet) -> Inventory:
        """See :class:`wds_face.sources.Source`.

        Raises:
            SourceError: The root is not a folder of image folders, or the depth of the identities is ambiguous.
        """
        if not os.path.isdir(self.root):
            raise SourceError(self._why_no_folder())
        listing = self._list(workers, progress)
        if not listing.folders:
            raise SourceError(self._why_no_images(listing.skipped))
        layout = self._layout(listing)
        identities = _group(listing, layout.depth, self.root)
        listing.skipped.sort()
        return Inventory(
            names=identities.names,
            images=identities.images,
            nbytes=identities.nbytes,
            part=lambda rows: _FolderPart(self.root, identities.of(rows)),
            skipped=[*listing.skipped, *_above(listing, layout.depth)],
            notes=[*layout.notes, *identities.notes],
            facts={"identity_depth": layout.depth},
        )

    def _list(self, workers: Workers, progress: Callable[[int], object]) -> Listing:
        """List the tree, and distribute its folders over the workers level by level."""
        try:
            listing = list_folders((self.root, [""]))
        except OSError as error:
            raise SourceError(f"{self.root} cannot be read ({error.strerror})") from None
        waiting = sorted(listing.deferred)
        while waiting:
            tasks = [(self.root, waiting[i : i + _TASK]) for i in range(0, len(waiting), _TASK)]
            waiting = []
            for found in workers.map(list_folders, tasks):
                listing.extend(found)
                waiting += found.deferred
                progress(sum(found.images))
            waiting.sort()
        return listing

    def _layout(self, listing: Listing) -> Layout:
        tree = FolderTree(listing.folders, listing.images)
        if self.identity_depth is not None:
            if not tree.at_depth(self.identity_depth):
                raise SourceError(
                    f"{self.root} has no images at --identity-depth {self.identity_depth}: they lie at most "
                    f"{max(map(depth_of, listing.folders))} folders deep"
                )
            return Layout(self.identity_depth, [])
        if not tree.children:
            raise SourceError(
                f"{self.root} has no sub-folders with images: an image folder has one sub-folder per identity, but "
                f"{listing.images[0]:,} images lie side by side"
            )
        return choose_depth(self.root, tree)

    def _why_no_folder(self) -> str:
        if os.path.exists(self.root):
            hint = recognise.hint(self.root) or ": give the folder that holds one sub-folder per identity"
            return f"{self.root} is a file{hint}"
        return f"{self.root} is not there: give the folder that holds one sub-folder per identity"

    def _why_no_images(self, skipped: list[Skipped]) -> str:
        problems = [item for item in skipped if item.kind != "other"]
        if problems:
            more = f" ({len(problems) - 1:,} more)" if problems[1:] else ""
            return f"{self.root} holds no image that can be read: {problems[0].item}: {problems[0].reason}{more}"
        hidden = [item.item for item in skipped if "hidden" in item.reason]
        if hidden:
            more = f" and {len(hidden) - 1:,} more" if hidden[1:] else ""
            return f"{self.root} has no sub-folders with images; {hidden[0]}{more}, hidden, is not searched"
        return f"{self.root} has no sub-folders with images{recognise.hint(self.root)}"


class _Folder(NamedTuple):
    """Folder of one identity: path below the root, NUL-joined names of its images, and their stamp."""

    path: str
    files: bytes
    stamp: bytes


@dataclass(frozen=True)
class _Identities:
    """The identities of a listing, sorted by name, and the folders of each."""

    names: list[str]
    images: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    listing: Listing
    order: NDArray[np.int64]
    """Positions in the listing, identity by identity."""
    starts: NDArray[np.int64]
    """Where each identity starts in ``order``, ``[n + 1]``."""
    notes: list[str]

    def of(self, rows: NDArray[np.int64]) -> list[list[_Folder]]:
        """Return the folders of the identities in these rows."""
        listing = self.listing
        return [
            [_Folder(listing.folders[i], listing.files[i], listing.stamps[i]) for i in self.order[run].tolist()]
            for run in runs(self.starts, rows)
        ]


def _group(listing: Listing, depth: int, root: str) -> _Identities:
    """Group the folders at this depth and below by identity."""
    positions = [i for i, folder in enumerate(listing.folders) if depth_of(folder) >= depth]
    tops = ["/".join(listing.folders[i].split("/")[:depth]) for i in positions]
    notes: list[str] = []
    if depth == 0:
        names = [os.path.basename(os.path.abspath(root))] * len(positions)
    elif depth == 1:
        names = tops
    else:
        names = name_identities(tops)
        notes = notes_on_identities(tops, names, [listing.images[i] for i in positions])
    ranks = sorted(range(len(positions)), key=lambda rank: (names[rank], listing.folders[positions[rank]]))
    order = np.array([positions[rank] for rank in ranks], np.int64)
    names = [names[rank] for rank in ranks]
    first = np.array([i for i, name in enumerate(names) if i == 0 or name != names[i - 1]], np.int64)
    return _Identities(
        names=[names[i] for i in first.tolist()],
        images=np.add.reduceat(np.array(listing.images, np.int64)[order], first),
        nbytes=np.add.reduceat(np.array(listing.nbytes, np.int64)[order], first),
        listing=listing,
        order=order,
        starts=np.append(first, len(order)),
        notes=notes,
    )


def _above(listing: Listing, depth: int) -> list[Skipped]:
    """Return the images that lie next to the identity folders or above them."""
    skipped = []
    for folder, files in zip(listing.folders, listing.files, strict=True):
        if depth_of(folder) < depth:
            names = os.fsdecode(files).split("\0")
            skipped += [Skipped(_join(folder, name), "not in an identity folder") for name in names]
    return sorted(skipped)


def _join(folder: str, file: str) -> str:
    return f"{folder}/{file}" if folder else file


@dataclass(frozen=True)
class _FolderPart:
    root: str
    identities: list[list[_Folder]]

    @property
    def fingerprint(self) -> bytes:
        """See :class:`wds_face.sources.Part`."""
        digest = hashlib.sha256(os.fsencode(os.path.realpath(self.root)))
        for folders in self.identities:
            digest.update(len(folders).to_bytes(8, "little"))
            for folder in folders:
                digest.update(os.fsencode(folder.path) + b"\0\0" + folder.files + b"\0\0" + folder.stamp)
        return digest.digest()

    def read(self) -> Iterator[Iterable[Image | Skipped]]:
        """See :class:`wds_face.sources.Part`."""
        for folders in self.identities:
            yield self._identity(folders)

    def _identity(self, folders: list[_Folder]) -> Iterator[Image | Skipped]:
        for folder in folders:
            for file in os.fsdecode(folder.files).split("\0"):
                item = _join(folder.path, file)
                try:
                    data = _read(f"{self.root}/{item}")
                except OSError as error:
                    if error.errno in NOT_THE_FILE:
                        raise
                    yield Skipped(item, f"unreadable ({error.strerror})")
                    continue
                yield Image(item, file.rpartition(".")[2].lower(), data)


def _read(path: str) -> bytes:
    """Read a whole file, a small one in three system calls."""
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
