"""The images in a run of tar members: plain ustar in one compiled loop, everything else by ``walk``."""

from __future__ import annotations

from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from wds_face.images import EXTENSIONS
from wds_face.jit import compiled
from wds_face.shards.samples import extension
from wds_face.shards.tar import Member, walk

#: Of an image within the run: the byte of its header, with which its key begins; its first byte; its size; the length
#: of its key (0: see :attr:`Images.keys`); and the number in the ``.cls`` member of its sample, -1 if there is none. As
#: in webdataset, a sample is made of members in a row that have the same key.
START, DATA, SIZE, STEM, LABEL = range(5)


class Images(NamedTuple):
    """The images of a run: int64 ``[n, 5]``, see above; their keys, where no header says them whole."""

    table: NDArray[np.int64]
    keys: list[str] | None

    def key(self, run: memoryview, number: int) -> str:
        """WebDataset's key of an image."""
        if self.keys is not None:
            return self.keys[number]
        start, stem = self.table[number, [START, STEM]].tolist()
        return str(run[start : start + stem], "utf-8", "surrogateescape")


def scan(run: memoryview) -> Images:
    """Find the images in members of a tar that end where *run* ends.

    Raises:
        TarError: a damaged header, or a member that is cut off.
    """
    table = np.empty((len(run) // 1024 + 1, 5), np.int64)  # a member takes two blocks at least, unless it is empty
    count = _scan(np.frombuffer(run, np.uint8), _KINDS, table)
    if count >= 0:
        return Images(table[:count].copy(), None)
    rows: list[list[int]] = []
    keys: list[str] = []
    for key, members in groupby(walk(run, ends=False), _key):
        first, label = len(rows), -1
        for member in members:
            kind = extension(member)
            if kind in EXTENSIONS:
                rows.append([member.start, member.data, member.size, 0, -1])
                keys.append(key)
            elif kind == "cls":
                text = bytes(run[member.data : member.data + member.size]).strip()
                label = int(text) if text.isdigit() and len(text) <= 18 else -1
        for row in rows[first:]:
            row[LABEL] = label
    return Images(np.array(rows, np.int64).reshape(-1, 5), keys)


def _key(member: Member) -> str:
    folder, slash, file = member.name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _packed(text: str) -> int:
    return int.from_bytes(text.encode(), "little")


# What counts as an image, and behind it ``cls``.
_KINDS = np.array([*sorted(_packed(kind) for kind in EXTENSIONS), _packed("cls")], np.int64)
_BYTES = types.Array(types.uint8, 1, "C", readonly=True)


@compiled(types.int64(_BYTES, types.int64, types.int64))
def _octal(head: Any, begin: Any, end: Any) -> Any:
    """A field's octal digits as a number, -1 if there are none."""
    number, digits = 0, 0
    for i in range(begin, end):
        if 48 <= head[i] <= 55:
            number, digits = number * 8 + head[i] - 48, digits + 1
        elif digits and (head[i] == 0 or head[i] == 32):
            break
        elif digits or head[i] != 32:
            return -1
    return number if digits else -1


@compiled(types.boolean(_BYTES))
def _plain(head: Any) -> Any:
    """Whether a header is that of a regular file in ustar (or old GNU tar), without a prefix, and undamaged."""
    for i, char in enumerate((117, 115, 116, 97, 114)):  # ustar
        if head[257 + i] != char:
            return False
    if head[262] not in (0, 32) or head[156] not in (0, 48) or head[345] != 0 or head[0] == 0:
        return False
    total = 8 * 32  # the checksum counts as blanks
    for i in range(512):
        total += head[i]
    for i in range(148, 156):
        total -= head[i]
    return _octal(head, 148, 156) == total


@compiled(types.Tuple((types.int64, types.int64, types.int64))(_BYTES))  # type: ignore[no-untyped-call]
def _name(head: Any) -> Any:
    """Length of the name; where its first dot behind the last slash is, or -1; what follows that, as one number."""
    length, dot = 0, -1
    while length < 100 and head[length] != 0:
        if head[length] == 47:
            dot = -1
        elif head[length] == 46 and dot < 0:
            dot = length
        length += 1
    kind = 0
    if dot >= 0 and length - dot <= 8:
        for i in range(length - 1, dot, -1):
            kind = kind * 256 + (head[i] + 32 if 65 <= head[i] <= 90 else head[i])
    return length, dot, kind


@compiled(types.int64(_BYTES))
def _label(text: Any) -> Any:
    """A whole number of at most 18 digits in ASCII, with nothing but white space around it; -1 for anything else."""
    begin, end = 0, len(text)
    while begin < end and (text[begin] == 32 or 9 <= text[begin] <= 13):
        begin += 1
    while end > begin and (text[end - 1] == 32 or 9 <= text[end - 1] <= 13):
        end -= 1
    if not 0 < end - begin <= 18:
        return -1
    number = 0
    for i in range(begin, end):
        if not 48 <= text[i] <= 57:
            return -1
        number = number * 10 + text[i] - 48
    return number


@compiled(types.boolean(_BYTES, types.int64, types.int64, types.int64))
def _same(data: Any, one: Any, two: Any, length: Any) -> Any:
    """Whether two names begin with the same key of this length."""
    for i in range(length):  # noqa: SIM110 (numba compiles no generators)
        if data[one + i] != data[two + i]:
            return False
    return True


@compiled(types.boolean(types.int64[::1], types.int64))
def _among(numbers: Any, wanted: Any) -> Any:
    for number in numbers:  # noqa: SIM110
        if number == wanted:
            return True
    return False


@compiled(types.int64(_BYTES, types.int64[::1], types.int64[:, ::1]))
def _scan(data: Any, kinds: Any, table: Any) -> Any:
    """The number of rows filled; -1 for what only ``walk`` understands, or refuses."""
    at, count = 0, 0
    first, label = 0, -1  # of a sample: its first image, and what its .cls says
    before, width = 0, -1  # the member before: where it is, and the length of its key
    while at < len(data):
        if at + 512 > len(data) or not _plain(data[at : at + 512]):
            return -1
        head = data[at : at + 512]
        size = _octal(head, 124, 136)
        length, dot, kind = _name(head)
        end = at + 512 + size
        if size < 0 or end > len(data) or head[length - 1] == 47:
            return -1
        stem = dot if dot >= 0 else length
        if stem != width or not _same(data, before, at, stem):
            first, label = count, -1
        before, width = at, stem
        if kind == kinds[-1]:
            label = _label(data[at + 512 : end])
            table[first:count, 4] = label
        elif _among(kinds[:-1], kind):
            if count == len(table):
                return -1
            table[count, 0], table[count, 1], table[count, 2], table[count, 3] = at, at + 512, size, stem
            table[count, 4] = label
            count += 1
        at = end + (-size) % 512
    return count if at == len(data) else -1
