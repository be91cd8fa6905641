"""Segments of shards with the place of every image in them: the latest are kept, as many as there is room for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wds_face.errors import DatasetError, TarError
from wds_face.shards.scan import DATA, LABEL, SIZE, START, STEM, scan
from wds_face.stream.ranges import Ranges

Ints = NDArray[np.int64]


class Segment(NamedTuple):
    """The bytes of a segment, and where the images of its identities lie in them.

    Attributes:
        view: its bytes.
        images: int64 ``[n, 4]``, in the order of the rows: first byte and end of the image, first byte and end of its
            key.
        keys: of the images, where they do not stand in the bytes.
    """

    view: memoryview
    images: Ints
    keys: list[str] | None


class Segments:
    """Reads segments, checks them against the index, and keeps them.

    Args:
        ranges: the bytes.
        names: of the shards.
        rows: of the index, :data:`~wds_face.shards.index.IDENTITY` ``[n]``.
        cuts: int64, the first row of each segment, and behind them the number of rows.
        checked: whether ``.cls`` members say the labels of the index.
        where: the data set, for messages.
        buffer_bytes: how much is kept, in bytes; the latest segment always is.
    """

    def __init__(
        self,
        ranges: Ranges,
        names: list[str],
        rows: NDArray[np.void],
        cuts: Ints,
        *,
        checked: bool,
        where: str,
        buffer_bytes: int,
    ) -> None:
        self.ranges, self._names, self._rows, self.cuts = ranges, names, rows, cuts
        self._checked, self._where, self._limit = checked, where, buffer_bytes
        self.fetched = self.fetched_again = 0  #: bytes, and of these those that had been there before
        self._kept: OrderedDict[int, Segment] = OrderedDict()
        self._bytes = 0
        self._seen = np.zeros(len(cuts) - 1, bool)
        self._coming: set[int] = set()

    def find(self, rows: Ints) -> Ints:
        """The number of the segment of each row."""
        return np.searchsorted(self.cuts, rows, side="right") - 1

    def ahead(self, numbers: Iterable[int]) -> None:
        """Say that segments are wanted soon."""
        for number in numbers:
            if number not in self._kept and number not in self._coming:
                self._coming.add(number)
                self.ranges.ahead(*self._span(number))

    def get(self, number: int) -> Segment:
        """A segment.

        Raises:
            DatasetError: it cannot be read, or is not what the index says.
        """
        shard, start, end = self._span(number)
        if number in self._kept:
            self._kept.move_to_end(number)
            segment = self._kept[number]
            return segment if self.ranges.copied else segment._replace(view=self.ranges.read(shard, start, end))
        view = self.ranges.read(shard, start, end)
        try:
            segment = self._located(number, view)
        except (TarError, DatasetError) as error:
            raise DatasetError(f"{self._where}/{self._names[shard]}: {error}: run `wds-face verify`") from None
        self._coming.discard(number)
        if self.ranges.copied:
            self.fetched += len(view)
            self.fetched_again += len(view) * bool(self._seen[number])
        self._seen[number] = True
        self._bytes += self._size(segment)
        while self._kept and self._bytes > self._limit:
            self._bytes -= self._size(self._kept.popitem(last=False)[1])
        # A view of a mapping would keep its file open.
        self._kept[number] = segment if self.ranges.copied else segment._replace(view=memoryview(b""))
        return segment

    def _span(self, number: int) -> tuple[int, int, int]:
        first, last = self._rows[self.cuts[number]], self._rows[self.cuts[number + 1] - 1]
        return int(first["shard"]), int(first["offset"]), int(last["offset"] + last["nbytes"])

    def _size(self, segment: Segment) -> int:
        names = 100 * len(segment.keys) if segment.keys else 0
        return segment.images.nbytes + names + (len(segment.view) if self.ranges.copied else 0)

    def _located(self, number: int, view: memoryview) -> Segment:
        rows = self._rows[self.cuts[number] : self.cuts[number + 1]]
        start = int(rows["offset"][0])
        try:
            found = scan(view)
        except TarError as error:
            raise TarError(f"{error} of the segment that begins at byte {start}") from None
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
        labels = table[:, LABEL]
        if self._checked and (wrong := np.flatnonzero((labels != rows["label"][row]) & (labels >= 0))).size:
            one = rows["label"][row[wrong[0]]]
            raise DatasetError(f"identity {one} has an image with label {labels[wrong[0]]}")
        images = np.stack(
            [table[:, DATA], table[:, DATA] + table[:, SIZE], table[:, START], table[:, START] + table[:, STEM]], 1
        )
        return Segment(view, images, keys)
