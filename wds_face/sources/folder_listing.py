"""List the images of a folder tree, and the files and folders that are skipped."""

from __future__ import annotations

import os
from typing import NamedTuple

from wds_face import git_lfs, images
from wds_face.errors import NOT_THE_FILE
from wds_face.hidden_files import is_hidden
from wds_face.sources.source import Skipped, SkippedKind

#: Maximum number of sub-folders that a task lists itself. It defers larger numbers to separate tasks, so that workers
#: share wide levels of the tree.
_WIDE = 64

#: Extensions of unsupported image formats. Such a file is a lost image, so it counts as an item.
_UNREAD_IMAGES = frozenset({"avif", "gif", "heic", "heif", "jfif", "jp2", "jpe", "jxl", "tga"})

#: Extensions of files that are never images. They are not opened, as there may be one for each image.
_NEVER_IMAGES = frozenset({"cls", "csv", "html", "json", "log", "md", "npy", "txt", "xml", "yaml", "yml"})
# Ends of the names of backup copies, which lie beside the file itself.
_BACKUPS = ("_original", "~", ".bak", ".orig")


class Listing(NamedTuple):
    """Contents of some folders.

    The first five are parallel lists, with one entry per folder that has images directly in it. The file names of a
    folder are NUL-joined in order, so that millions of names take few objects.

    Attributes:
        folders: Path of each folder below the root, ``""`` for the root itself.
        files: Names of the images in it, encoded, NUL-joined, sorted.
        images: Number of images in it.
        nbytes: Total size of these images in bytes.
        stamps: Hash of the sizes and modification times of these images.
        deferred: Folders that were found but are left to further tasks.
        skipped: Files and folders that are not images, or cannot be read.
    """

    folders: list[str]
    files: list[bytes]
    images: list[int]
    nbytes: list[int]
    stamps: list[bytes]
    deferred: list[str]
    skipped: list[Skipped]

    @classmethod
    def empty(cls) -> Listing:
        """Return an empty listing."""
        return cls([], [], [], [], [], [], [])

    def extend(self, other: Listing) -> None:
        """Append another listing, except for its deferred folders."""
        self.folders.extend(other.folders)
        self.files.extend(other.files)
        self.images.extend(other.images)
        self.nbytes.extend(other.nbytes)
        self.stamps.extend(other.stamps)
        self.skipped.extend(other.skipped)


def list_folders(task: tuple[str, list[str]]) -> Listing:
    """List folders and everything below them, except deferred sub-folders.

    Hidden and system folders are not entered at any depth. Symbolic links are followed, unless they lead to a folder
    that contains them.

    Args:
        task: The root, and the paths of folders below it. ``""``, the root itself, always defers its sub-folders.
    """
    root, folders = task
    walk = _Walk(root)
    for folder in folders:
        waiting = [folder]
        while waiting:
            current = waiting.pop()
            below = walk.visit(current)
            if current == "" or len(below) > _WIDE:
                walk.listing.deferred.extend(below)
            else:
                waiting.extend(below)
    return walk.listing


class _Walk:
    def __init__(self, root: str) -> None:
        self.root = root
        self.listing = Listing.empty()

    def visit(self, folder: str) -> list[str]:
        """Add the images that lie directly in a folder, and return its sub-folders."""
        below: list[str] = []
        files: list[tuple[str, int, int]] = []
        for entry in self._entries(folder):
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                if entry.is_dir():
                    if entry.is_symlink() and self._leads_up(entry.path, folder):
                        self._skip(path, "symbolic link to a folder that contains it", "other")
                    else:
                        below.append(path)
                elif _extension(entry.name) in images.EXTENSIONS:
                    status = entry.stat()
                    if self._is_readable(path, status.st_size):
                        files.append((entry.name, status.st_size, status.st_mtime_ns))
                else:
                    self._skip_other(path, entry)
            except OSError as error:
                if error.errno in NOT_THE_FILE:
                    raise
                self._skip_unreadable(path, error)
        if files:
            self._add(folder, files)
        return below

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        """Return the visible entries of a folder, none if it cannot be read."""
        try:
            with os.scandir(self._full(folder)) as scan:
                entries = list(scan)
        except OSError as error:
            if error.errno in NOT_THE_FILE or folder == "":
                raise
            self._skip(folder, f"unreadable folder ({error.strerror})", "container")
            return []
        if not entries:
            self._skip(folder, "empty folder", "other")
        hidden = [entry.name for entry in entries if is_hidden(entry.name)]
        for name in hidden:
            self._skip(f"{folder}/{name}" if folder else name, "hidden or system file", "other")
        if hidden:
            entries = [entry for entry in entries if not is_hidden(entry.name)]
        return entries

    def _add(self, folder: str, files: list[tuple[str, int, int]]) -> None:
        files.sort()
        self.listing.folders.append(folder)
        self.listing.files.append(os.fsencode("\0".join([name for name, _, _ in files])))
        self.listing.images.append(len(files))
        self.listing.nbytes.append(sum([size for _, size, _ in files]))
        stamp = hash(tuple([number for _, *numbers in files for number in numbers]))  # of integers: never salted
        self.listing.stamps.append(stamp.to_bytes(8, "little", signed=True))

    def _full(self, folder: str) -> str:
        return f"{self.root}/{folder}" if folder else self.root

    def _leads_up(self, link: str, folder: str) -> bool:
        """Return whether a link points to a folder that contains it, up to the root."""
        target = os.stat(link)
        parts = folder.split("/") if folder else []
        above = ["/".join(parts[:count]) for count in range(len(parts) + 1)]
        return any(os.path.samestat(target, os.stat(self._full(path))) for path in above)

    def _is_readable(self, path: str, nbytes: int) -> bool:
        if nbytes == 0:
            self._skip(path, "empty", "item")
            return False
        if nbytes > images.MAX_BYTES:
            self._skip(path, f"{nbytes:,} bytes, more than {images.MAX_BYTES:,}", "item")
            return False
        if nbytes <= git_lfs.MAX_BYTES and git_lfs.is_pointer_file(self._full(path)):
            self._skip(path, git_lfs.REASON, "container")
            return False
        return True

    def _skip_other(self, path: str, entry: os.DirEntry[str]) -> None:
        if entry.is_symlink():
            os.stat(entry.path)  # raises where the link is broken
        extension = _extension(entry.name)
        if extension in _UNREAD_IMAGES:
            self._skip(path, f"an image format that is not read (.{extension}): convert it to JPEG or PNG", "item")
        elif extension not in _NEVER_IMAGES and entry.is_file() and _is_lost_image(entry.path):
            reason = "looks like an image, but its name does not end like one: rename it to take it, or move it away"
            self._skip(path, reason, "item")
        else:
            self._skip(path, "not an image", "other")

    def _skip_unreadable(self, path: str, error: OSError) -> None:
        """Skip a file that cannot be inspected, or a broken link. A link without an extension counts as a folder."""
        extension = _extension(path.rpartition("/")[2])
        kind: SkippedKind = "other"
        if not extension:
            kind = "container"
        elif extension in images.EXTENSIONS or extension in _UNREAD_IMAGES:
            kind = "item"
        self._skip(path, f"unreadable ({error.strerror})", kind)

    def _skip(self, path: str, reason: str, kind: SkippedKind) -> None:
        self.listing.skipped.append(Skipped(path, reason, kind))


def _is_lost_image(path: str) -> bool:
    """Return whether a file without an image extension starts like an image and is not a backup of a file beside it.

    Formats with first bytes that are common in other files are not recognized.
    """
    if any(path.endswith(end) and os.path.exists(path.removesuffix(end)) for end in _BACKUPS):
        return False
    with open(path, "rb", buffering=0) as file:
        return images.kind(file.read(16)) in ("jpg", "png", "webp", "tif")


def _extension(name: str) -> str:
    """Return the extension of a file name in lower case, ``""`` if it has none."""
    return name.rpartition(".")[2].lower() if "." in name else ""


__all__ = ["Listing", "list_folders"]
