"""Git LFS pointers: the small text files that stand in a checkout for large files that were not downloaded."""

from __future__ import annotations

import os

#: Every pointer file begins with this line (git-lfs ``docs/spec.md``).
POINTER = b"version https://git-lfs.github.com/spec/v1"

#: Upper bound of a pointer's size in bytes, by the same specification. Larger files are not opened to look.
MAX_BYTES = 1024

#: Says what is wrong with a pointer that is read as data, and what to do.
REASON = "a Git LFS pointer, not the file itself: run `git lfs pull`"


def is_pointer(data: bytes | memoryview) -> bool:
    """Return True if these are the first bytes of a Git LFS pointer."""
    return bytes(data[: len(POINTER)]) == POINTER


def is_pointer_file(path: str | os.PathLike[str]) -> bool:
    """Return True if a local file is a Git LFS pointer.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, "rb") as file:
        return is_pointer(file.read(len(POINTER)))
