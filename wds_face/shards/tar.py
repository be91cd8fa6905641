"""Tar files as bytes: headers made many at a time, members found without ``tarfile`` where they are plain ustar.

ustar (POSIX.1-1988): blocks of 512 bytes; a header block, then the data padded to a block; two zero blocks at the
end. Numbers are octal ASCII; the checksum is the sum of the header's bytes with the checksum itself as spaces.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wds_face import git_lfs
from wds_face.errors import TarError

BLOCK = 512
#: Two zero blocks close an archive.
END = bytes(2 * BLOCK)

_MAX_SIZE = 8**11 - 1
_WALK = 1024  # headers whose checksums are summed at once
_ZEROS = 1 << 20  # bytes after the end that are looked at at once
_CHECKSUM = slice(148, 156)
_SIZE = slice(124, 136)


class Member(NamedTuple):
    """A file in a tar. ``start`` is the byte of its first header, ``data`` that of its content."""

    name: str
    start: int
    data: int
    size: int

    @property
    def end(self) -> int:
        """The byte behind its last block."""
        return self.data + padded(self.size)


def padded(size: int) -> int:
    """Bytes that content takes in a tar, rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def _template() -> NDArray[np.uint8]:
    """A header of an empty name and size 0: mtime, uid and gid 0, mode 0644, no owner names."""
    return np.frombuffer(tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT), np.uint8)


_TEMPLATE = _template()


def headers(names: Sequence[str], sizes: ArrayLike) -> NDArray[np.uint8]:
    """ustar headers of regular files, uint8 ``[n, 512]``; mtime, uid and gid are 0, the mode is 0644.

    Args:
        names: ASCII names of at most 100 characters.
        sizes: bytes of each, below 8 GiB.

    Raises:
        TarError: a name or a size that ustar cannot hold.
    """
    size = np.asarray(sizes, np.int64)
    encoded = np.array(names, dtype="S")
    if encoded.dtype.itemsize > 100 or (len(size) and int(size.max()) > _MAX_SIZE):
        raise TarError("a member needs a name of at most 100 characters and fewer than 8 GiB")
    table = np.tile(_TEMPLATE, (len(names), 1))
    table[:, : encoded.dtype.itemsize] = encoded.view(np.uint8).reshape(len(names), encoded.dtype.itemsize)
    table[:, 124:135] = _octal(size, 11)
    table[:, _CHECKSUM] = ord(" ")
    table[:, 148:154] = _octal(table.sum(axis=1, dtype=np.int64), 6)
    table[:, 154] = 0
    return table


def _octal(values: NDArray[np.int64], digits: int) -> NDArray[np.uint8]:
    shifts = 3 * np.arange(digits - 1, -1, -1)
    return ((values[:, None] >> shifts & 7) + ord("0")).astype(np.uint8)


def walk(buffer: memoryview, *, ends: bool = True) -> Iterator[Member]:
    """The regular files of a tar, in order.

    Plain ustar and old GNU headers are read here; from the first other one (PAX, GNU long names, base-256 sizes, …)
    the rest is left to ``tarfile``.

    Args:
        buffer: a whole tar, or members of one.
        ends: whether the zero blocks that close an archive must be there.

    Raises:
        TarError: a header that is none, a wrong checksum, or an end that is missing, after everything before it was
            yielded; or a Git LFS pointer in place of the archive.
    """
    if git_lfs.is_pointer(buffer):
        raise TarError(git_lfs.REASON)
    at = 0
    while True:
        batch, after, problem = _plain(buffer, at)
        if not ends and after == len(buffer):
            problem = ""
        good = _checked(buffer, batch)
        yield from (member for member in batch[:good] if member.name[-1:] != "/")
        if good < len(batch):
            raise TarError(f"header with a wrong checksum at byte {batch[good].start}")
        if problem == "other":
            yield from _tarfile(buffer, after, ends)
            return
        if problem:
            raise TarError(f"{problem} at byte {after}")
        if after == at or len(batch) < _WALK:
            _check_end(buffer, after)
            return
        at = after


def _check_end(buffer: memoryview, end: int) -> None:
    """Check that nothing but zeros follows the last member of a tar.

    Readers stop at the first zero block, so members after one would be lost: those of archives that were joined, or
    behind blocks that a failing disk or an interrupted download left empty.

    Args:
        buffer: A tar.
        end: Byte after its last member.

    Raises:
        TarError: Something else follows.
    """
    for start in range(end, len(buffer), _ZEROS):
        piece = bytes(buffer[start : start + _ZEROS])
        if piece.count(0) != len(piece):
            at = start + len(piece) - len(piece.lstrip(b"\0"))
            raise TarError(
                f"the archive ends at byte {end}, but data follows at byte {at}: split archives that were joined, or "
                "copy a damaged one again"
            )


def _plain(buffer: memoryview, at: int) -> tuple[list[Member], int, str]:
    """Up to a thousand members from ``at``, the byte behind them, and why it stopped: '' at the end or when full."""
    batch: list[Member] = []
    total = len(buffer)
    while len(batch) < _WALK:
        if at + BLOCK > total:
            return batch, at, "the archive is cut off"
        block = bytes(buffer[at : at + BLOCK])
        kind, magic = block[156:157], block[257:263]
        if not block[0]:
            if block.count(0) == BLOCK:
                return batch, at, ""
            return batch, at, "no tar header"
        if magic not in (b"ustar\0", b"ustar ") or kind not in (b"0", b"\0", b"5") or block[124] >= 0x80:
            return batch, at, "other"
        try:
            size = int(block[_SIZE].rstrip(b" \0") or b"0", 8)
        except ValueError:
            return batch, at, "no tar header"
        name = block[:100].split(b"\0", 1)[0]
        if magic == b"ustar\0" and block[345]:
            name = block[345:500].split(b"\0", 1)[0] + b"/" + name
        if kind == b"5":
            name, size = name.rstrip(b"/") + b"/", 0
        if at + BLOCK + size > total:
            return batch, at, "the archive is cut off"
        batch.append(Member(name.decode("utf-8", "surrogateescape"), at, at + BLOCK, size))
        at = batch[-1].end
    return batch, at, ""


def _checked(buffer: memoryview, batch: list[Member]) -> int:
    """How many of the members from the first have a right checksum."""
    if not batch:
        return 0
    starts = np.array([member.start for member in batch])
    blocks = np.frombuffer(buffer, np.uint8)[starts[:, None] + np.arange(BLOCK)]
    stored = blocks[:, _CHECKSUM].copy()
    blocks[:, _CHECKSUM] = ord(" ")
    sums = blocks.sum(axis=1, dtype=np.int64).tolist()
    for row, total in enumerate(sums):
        try:
            if int(stored[row].tobytes().strip(b" \0"), 8) != total:
                return row
        except ValueError:
            return row
    return len(batch)


def _tarfile(buffer: memoryview, at: int, ends: bool) -> Iterator[Member]:
    try:
        with tarfile.open(fileobj=io.BufferedReader(_Window(buffer[at:])), mode="r:") as archive:
            for member in archive:
                if member.offset_data + member.size > len(buffer) - at:
                    raise TarError(f"the archive is cut off at byte {at + member.offset}")
                if member.isreg():
                    yield Member(member.name, at + member.offset, at + member.offset_data, member.size)
            end = at + archive.offset
            if (ends or end != len(buffer)) and bytes(buffer[end : end + BLOCK]) != bytes(
                BLOCK
            ):  # tarfile takes this for a normal end
                raise TarError(f"the archive is cut off at byte {end}")
            _check_end(buffer, end)
    except TarError:
        raise
    except (tarfile.TarError, OSError, ValueError) as error:  # numbers that are none, in extended headers
        raise TarError(f"{error} at byte {at} or later") from None


class _Window(io.RawIOBase):
    """A seekable file over a buffer, without copying it."""

    def __init__(self, buffer: memoryview) -> None:
        self._buffer = buffer
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._buffer)}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        chunk = self._buffer[self._at : self._at + len(target)]
        target[: len(chunk)] = chunk
        self._at += len(chunk)
        return len(chunk)
