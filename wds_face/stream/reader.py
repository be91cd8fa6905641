"""Images of identities, out of the segments of shards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wds_face.stream.batch import Batch, Found, Origin, Sample
from wds_face.stream.choice import choose
from wds_face.stream.plan import GROUP
from wds_face.stream.segments import Segments

Ints = NDArray[np.int64]


class Reader:
    """Reads batches, and what comes in the place of an image.

    Args:
        segments: where images are.
        rows: Identities that can be read, :data:`~wds_face.shards.index.IDENTITY` ``[n]``.
        index_rows: int64 ``[n]``, ascending: the row of each identity in the index, which batches refer to. If None,
            batches refer to positions in *rows*.
        labels: int64 ``[n]``, the label of each identity; None for those in *rows*.
    """

    def __init__(
        self,
        segments: Segments,
        rows: NDArray[np.void],
        index_rows: Ints | None = None,
        labels: Ints | None = None,
    ) -> None:
        self.segments = segments
        self._rows = rows
        self._index_rows = np.arange(len(rows)) if index_rows is None else index_rows
        self._labels = rows["label"].astype(np.int64) if labels is None else labels
        self._before = np.cumsum(rows["images"], dtype=np.int64) - rows["images"]

    def _places(self, batch: Batch) -> Ints:
        """Return the positions of a batch's identities in the reader's rows.

        Raises:
            ValueError: An identity is not streamed.
        """
        named = batch.groups["row"]
        places = np.searchsorted(self._index_rows, named).clip(max=len(self._index_rows) - 1)
        missing = named[self._index_rows[places] != named]
        if len(missing):
            raise ValueError(
                f"a stage put row {missing[0]} into a batch: the index does not have it, or min_images leaves it out"
            )
        return places

    def ahead(self, batch: Batch) -> bool:
        """Say that a batch comes soon; whether there is room for more."""
        batch.wanted = sorted(set(self.segments.find(self._places(batch)).tolist()))
        return self.segments.ahead(batch.wanted)

    def done(self, batch: Batch) -> bool:
        """Say that a batch was read that was said to come; whether there is room for more."""
        return self.segments.done(batch.wanted)

    def read(self, batch: Batch) -> None:
        """Fill in the samples of a batch.

        Raises:
            DatasetError: a shard is not what the index says.
        """
        places_of_groups = self._places(batch)
        numbers = self.segments.find(places_of_groups)
        order = np.argsort(numbers, kind="stable")  # segment by segment
        numbers, rows = numbers[order], places_of_groups[order]
        self.segments.ranges.check(set(self._rows["shard"][rows].tolist()))
        within = batch.chosen[order] + (self._before[rows] - self._before[self.segments.cuts[numbers]])[:, None]
        images: list[Any] = []
        origins: list[Origin] = []
        first, copied = np.flatnonzero(np.diff(numbers, prepend=-1)), self.segments.ranges.copied
        begins = [*first.tolist(), len(rows)]
        for number, begin, end in zip(numbers[first].tolist(), begins[:-1], begins[1:], strict=True):
            chosen = within[begin:end].ravel()
            view, (places, keys, url) = self.segments.get(number)
            spots = places[chosen].tolist()
            found = [view[data:stop] for data, stop, _, _ in spots]
            origin = Origin(url, [keys[image] for image in chosen.tolist()] if keys else None, view, spots)
            if copied:  # no view of what was fetched stays, so that a segment that was dropped is gone
                images += map(bytes, found)
                origins.append(Origin(url, origin.names(), memoryview(b""), []))
            else:
                images += found
                origins.append(origin)
        k = batch.chosen.shape[1]
        back = (np.argsort(order)[:, None] * k + np.arange(k)).ravel().tolist()
        labels = np.repeat(self._labels[places_of_groups], k)
        batch.fill(Found([images[place] for place in back], labels, origins, back))
        batch.reader = self

    def _group(self, place: int, chosen: NDArray[np.int64]) -> list[Sample]:
        batch = Batch((0, 0, 0), np.array([(self._index_rows[place], 0, True)], GROUP), chosen[None])
        self.read(batch)
        return batch.samples

    def spares(self, batch: Batch, number: int) -> Iterator[Sample]:
        """Other images of the identity of a sample: those not in the batch first."""
        group, place = divmod(number, batch.chosen.shape[1])
        row, chosen = int(self._places(batch)[group]), batch.chosen[group]
        images = int(self._rows["images"][row])
        others = (int(chosen[place]) + np.arange(1, images)) % images
        taken = np.isin(others, chosen)
        for image in np.r_[others[~taken], others[taken]]:
            chosen[place] = image  # of the batch, so that the next spare is another one
            yield from self._group(row, np.array([image]))

    def neighbours(self, batch: Batch, number: int) -> Iterator[list[Sample]]:
        """The samples of other identities, one after the other, which take the place of a sample's in the plan."""
        k = batch.chosen.shape[1]
        group, places = number // k, self._places(batch)
        taken = set(places.tolist())
        for row in (int(places[group]) + np.arange(1, len(self._rows))) % len(self._rows):
            if int(row) not in taken:
                batch.groups["row"][group] = self._index_rows[row]
                images = self._rows["images"][[row]].astype(np.int64)
                chosen = np.empty((1, k), np.int64)
                choose(np.uint64(batch.number), np.array([row]), np.zeros(1, np.int64), images, chosen)
                batch.chosen[group] = chosen[0]
                yield self._group(int(row), chosen[0])
