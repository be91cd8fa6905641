"""Segments of shards with the place of every image in them: the latest are kept, as many as there is room for.

Of what was fetched only images and their keys are, without the tar around them, a quarter or more.
"""

from __future__ import annotations

import mmap
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from wds_face.errors import DatasetError, TarError
from wds_face.jit import compiled
from wds_face.shards.scan import DATA, LABEL, SIZE, START, STEM, Images, scan
from wds_face.storage.memory import memory
from wds_face.stream.ranges import Ranges

Ints = NDArray[np.int64]

# A mapped piece of the cache holds an open file, of which a process may have 1024 or fewer.
_MAPPED = 256


class Segment(NamedTuple):
    """Where the images of a segment's identities lie in its bytes.

    Attributes:
        images: int64 ``[n, 4]``, in the order of the rows: first byte and end of the image, first byte and end of its
            key.
        keys: of the images, where they do not stand in the bytes.
        url: name of the shard.
    """

    images: Ints
    keys: list[str] | None
    url: str


class Segments:
    """Reads segments, ahead as far as there is room, checks them against the index, and keeps them.

    Args:
        ranges: the bytes.
        names: of the shards.
        rows: of the index, :data:`~wds_face.shards.index.IDENTITY` ``[n]``.
        cuts: int64, the first row of each segment, and behind them the number of rows.
        labels: where shards say the labels of the index: ``cls`` members or the ``key``, or elsewhere.
        where: the data set, for messages.
        buffer_bytes: how much is kept or asked for ahead, in bytes; the latest segment always is.
    """

    def __init__(
        self,
        ranges: Ranges,
        names: list[str],
        rows: NDArray[np.void],
        cuts: Ints,
        *,
        labels: str,
        where: str,
        buffer_bytes: int,
    ) -> None:
        self.ranges, self._names, self._rows, self.cuts = ranges, names, rows, cuts
        self._labels, self._where, self._limit = labels, where, buffer_bytes
        self._kept: OrderedDict[int, tuple[memoryview | None, Segment]] = OrderedDict()
        self._bytes = self._mapped = 0
        self._uses: Counter[int] = Counter()  # of segments, by the batches that are to come
        self._wanted: deque[int] = deque()  # what there is no room for yet
        self._coming: dict[int, int] = {}  # what was asked for, and its bytes
        first, last = rows[cuts[:-1]], rows[cuts[1:] - 1]
        self._spans = np.stack([first["shard"], first["offset"], last["offset"] + last["nbytes"]], 1).astype(np.int64)

    def find(self, rows: Ints) -> Ints:
        """The number of the segment of each row."""
        return np.searchsorted(self.cuts, rows, side="right") - 1

    def ahead(self, numbers: Iterable[int]) -> bool:
        """Say that a batch comes that wants these segments; whether there is room for more."""
        for number in numbers:
            self._uses[number] += 1
            if number not in self._kept and number not in self._coming and self._uses[number] == 1:
                self._wanted.append(number)
        self._ask()
        return not self._wanted

    def _ask(self) -> None:
        """Ask for what is wanted, in its order, as long as there is room."""
        while self._wanted:
            number = self._wanted[0]
            if number not in self._kept and number not in self._coming and self._uses[number]:
                shard, start, end = self._spans[number].tolist()
                nbytes = end - start if self.ranges.copied else 0
                if self._coming and not self._room(nbytes, spare=True):
                    return
                self._coming[number] = nbytes
                self._bytes += nbytes
                self.ranges.ahead(shard, start, end)
            self._wanted.popleft()

    def _room(self, nbytes: int, *, spare: bool) -> bool:
        """Drop segments, those used least recently first, until there is room for more: whether there is.

        Args:
            nbytes: that are to come.
            spare: what a batch to come wants.
        """
        full = self._bytes + nbytes > self._limit or self._mapped >= _MAPPED
        for number in list(self._kept) if full else ():
            if self._bytes + nbytes <= self._limit and self._mapped < _MAPPED:
                break
            if not (spare and self._uses[number]):
                view, segment = self._kept.pop(number)
                self._bytes -= _size(view, segment)
                self._mapped -= _is_mapped(view)
        return self._bytes + nbytes <= self._limit

    def done(self, numbers: Iterable[int]) -> bool:
        """Say that a batch was read; whether there is room for more."""
        for number in numbers:
            self._uses[number] -= 1
            if self._uses[number] <= 0:
                del self._uses[number]
        self._ask()
        return not self._wanted

    def forget(self) -> None:
        """No batch comes of those that were said to."""
        self.ranges.forget()
        self._bytes -= sum(self._coming.values())
        self._uses.clear()
        self._wanted.clear()
        self._coming.clear()

    def get(self, number: int) -> tuple[memoryview, Segment]:
        """The bytes of a segment, and what is where.

        Raises:
            DatasetError: it cannot be read, or is not what the index says.
        """
        kept = self._kept.get(number)
        if kept is not None:
            self._kept.move_to_end(number)
            # Of a mapping no view is kept: it would keep the file open.
            return kept[0] if kept[0] is not None else self.ranges.read(*self._spans[number].tolist()), kept[1]
        shard, start, end = self._spans[number].tolist()
        self._bytes -= self._coming.pop(number, 0)
        view = self.ranges.read(shard, start, end)
        try:
            segment = self._located(number, view)
        except (TarError, DatasetError) as error:
            raise DatasetError(f"{self._where}/{self._names[shard]}: {error}: run `wds-face verify`") from None
        if self.ranges.copied and not _is_mapped(view):
            view, segment = _packed(view, segment)
        copy = view if self.ranges.copied else None
        size = _size(copy, segment)
        if not self._room(size, spare=True):
            self._room(size, spare=False)
        self._kept[number] = copy, segment
        self._bytes += size
        self._mapped += _is_mapped(copy)
        return view, segment

    def _located(self, number: int, view: memoryview) -> Segment:
        rows = self._rows[self.cuts[number] : self.cuts[number + 1]]
        start = int(rows["offset"][0])
        try:
            found = scan(view)
        except TarError as error:
            raise TarError(f"{error} of the segment that begins at byte {start}") from None
        url = self._names[int(rows["shard"][0])]
        if self._labels != "key" and _fit(found.table, rows["offset"], rows["nbytes"], rows["images"], rows["label"]):
            return Segment(_placed(found.table), found.keys, url)
        table, keys = found.table, found.keys
        begins = rows["offset"] - start
        row = np.searchsorted(begins, table[:, START], side="right") - 1
        inside = table[:, DATA] + table[:, SIZE] <= (begins + rows["nbytes"])[row]
        if not inside.all():  # identities that are left out lie between
            table, row = table[inside], row[inside]
            keys = [key for key, kept in zip(keys, inside, strict=True) if kept] if keys else None
        counts = np.bincount(row, minlength=len(rows))
        if (wrong := np.flatnonzero(counts != rows["images"])).size:
            one = rows[wrong[0]]
            raise DatasetError(f"{counts[wrong[0]]} images of identity {one['label']}, the index says {one['images']}")
        self._check(Images(table, keys), row, rows, view)
        return Segment(_placed(table), keys, url)

    def _check(self, images: Images, row: Ints, rows: NDArray[np.void], view: memoryview) -> None:
        """Whether images have the labels of their rows, as far as shards say it."""
        said = images.table[:, LABEL]
        if self._labels == "key":
            said = np.full(len(row), -1)
            for first in np.flatnonzero(np.diff(row, prepend=-1)).tolist():
                folder = images.key(view, first).rpartition("/")[0]
                said[first] = int(folder) if folder.isdecimal() and len(folder) <= 18 else -1
        elif self._labels != "cls":
            return
        if (wrong := np.flatnonzero((said != rows["label"][row]) & (said >= 0))).size:
            label = rows["label"][row[wrong[0]]]
            raise DatasetError(f"identity {label} has an image with label {said[wrong[0]]}")


def _packed(view: memoryview, segment: Segment) -> tuple[memoryview, Segment]:
    """Images and keys of a segment, in memory of their own."""
    places = segment.images.copy()
    packed = memory(int((places[:, 1] - places[:, 0] + places[:, 3] - places[:, 2]).sum()))
    _pack(np.frombuffer(view, np.uint8), places, np.frombuffer(packed, np.uint8))
    return packed, segment._replace(images=places)


def _size(view: memoryview | None, segment: Segment) -> int:
    """Bytes that a segment takes."""
    own = 0 if view is None or _is_mapped(view) else len(view)
    return segment.images.nbytes + 100 * len(segment.keys or "") + own


def _is_mapped(view: memoryview | None) -> bool:
    """Whether it is the operating system that keeps these bytes."""
    return view is not None and isinstance(view.obj, mmap.mmap)


_TABLE, _LONGS, _INTS = types.int64[:, ::1], types.int64[:], types.int32[:]
_RUN, _PACKED = types.Array(types.uint8, 1, "C", readonly=True), types.uint8[::1]


@compiled(types.boolean(_TABLE, _LONGS, _LONGS, _INTS, _LONGS))
def _fit(table: Any, offsets: Any, nbytes: Any, images: Any, labels: Any) -> Any:
    """Whether images are just those of the rows, in the same order, with their labels or none: as good as always."""
    at = 0
    for row in range(len(offsets)):
        begin = offsets[row] - offsets[0]
        for _ in range(images[row]):
            if at == len(table) or table[at, START] < begin or table[at, DATA] + table[at, SIZE] > begin + nbytes[row]:
                return False
            if table[at, LABEL] >= 0 and table[at, LABEL] != labels[row]:
                return False
            at += 1
    return at == len(table)


@compiled(_TABLE(_TABLE))
def _placed(table: Any) -> Any:
    """First byte and end of each image, and of its key."""
    places = np.empty((len(table), 4), np.int64)
    for i in range(len(table)):
        places[i, 0], places[i, 1] = table[i, DATA], table[i, DATA] + table[i, SIZE]
        places[i, 2], places[i, 3] = table[i, START], table[i, START] + table[i, STEM]
    return places


@compiled(types.void(_RUN, _TABLE, _PACKED))
def _pack(run: Any, places: Any, packed: Any) -> None:
    """Move keys and images to where they have no gaps, and say where that is."""
    at = 0
    for i in range(len(places)):
        for begin in (2, 0):
            start, stop = places[i, begin], places[i, begin + 1]
            packed[at : at + stop - start] = run[start:stop]
            places[i, begin], places[i, begin + 1] = at, at + stop - start
            at += stop - start
