"""The images in a run of tar members: plain ustar in one compiled loop, everything else by ``walk``."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from wds_face.images import EXTENSIONS
from wds_face.jit import compiled
from wds_face.shards.samples import extension
from wds_face.shards.tar import walk

#: Of an image within the run: the byte of its header, with which its key begins; its first byte; its size; the length
#: of its key (0: see :attr:`Images.keys`); and the number in the ``.cls`` member beside it, -1 if there is none.
START, DATA, SIZE, STEM, LABEL = range(5)


class Images(NamedTuple):
    """The images of a run: int64 ``[n, 5]``, see above; their keys, where no header says them whole."""

    table: NDArray[np.int64]
    keys: list[str] | None


def scan(run: memoryview) -> Images:
    """Find the images in members of a tar that end where *run* ends.

    Raises:
        TarError: a damaged header, or a member that is cut off.
    """
    table = np.empty((len(run) // 1024 + 1, 5), np.int64)  # a member takes two blocks at least, unless it is empty
    count = _scan(np.frombuffer(run, np.uint8), _KINDS, table)
    if count >= 0:
        return Images(table[:count].copy(), None)
    rows: list[tuple[int, ...]] = []
    keys: list[str] = []
    labels: dict[str, int] = {}
    for member in walk(run, ends=False):
        folder, slash, file = member.name.rpartition("/")
        key, kind = folder + slash + file.partition(".")[0], extension(member)
        if kind in EXTENSIONS:
            rows.append((member.start, member.data, member.size, 0, -1))
            keys.append(key)
        elif kind == "cls":
            text = bytes(run[member.data : member.data + min(member.size, 32)]).strip()
            labels[key] = int(text) if text.isdigit() and len(text) <= 18 else -1
    table = np.array(rows, np.int64).reshape(-1, 5)
    table[:, LABEL] = [labels.get(key, -1) for key in keys]
    return Images(table, keys)


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
    """A whole number in ASCII, with nothing but white space behind it; -1 for anything else."""
    number, i = 0, 0
    while i < min(len(text), 18) and 48 <= text[i] <= 57:
        number, i = number * 10 + text[i] - 48, i + 1
    return -1 if i == 0 or (i < len(text) and text[i] > 32) else number


@compiled(types.boolean(_BYTES, types.int64, types.int64, types.int64))
def _same(data: Any, one: Any, two: Any, length: Any) -> Any:
    """Whether two names begin with the same key, up to the dot behind it."""
    for i in range(length + 1):  # noqa: SIM110 (numba compiles no generators)
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
    early, label = -1, -1  # a .cls that comes before its image: where, and what it says
    while at < len(data):
        if at + 512 > len(data) or not _plain(data[at : at + 512]):
            return -1
        head = data[at : at + 512]
        size = _octal(head, 124, 136)
        length, dot, kind = _name(head)
        end = at + 512 + size
        if size < 0 or end > len(data) or head[length - 1] == 47:
            return -1
        if kind == kinds[-1]:
            found = _label(data[at + 512 : end])
            if count and table[count - 1, 3] == dot and _same(data, table[count - 1, 0], at, dot):
                table[count - 1, 4] = found
            else:
                early, label = at, found
        elif _among(kinds[:-1], kind):
            if count == len(table):
                return -1
            table[count, 0], table[count, 1], table[count, 2], table[count, 3] = at, at + 512, size, dot
            table[count, 4] = label if early >= 0 and _same(data, early, at, dot) else -1
            count += 1
        at = end + (-size) % 512
    return count if at == len(data) else -1
