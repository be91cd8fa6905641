"""Images of identities, out of the segments of shards."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wds_face.stream.batch import Batch, Sample
from wds_face.stream.choice import choose
from wds_face.stream.plan import GROUP
from wds_face.stream.segments import Segment, Segments


class Reader:
    """Reads batches, and what comes in the place of an image.

    Args:
        segments: where images are.
        names: of the shards.
        rows: of the index, :data:`~wds_face.shards.index.IDENTITY` ``[n]``.
    """

    def __init__(self, segments: Segments, names: list[str], rows: NDArray[np.void]) -> None:
        self.segments, self._names, self._rows = segments, names, rows
        self._before = np.cumsum(rows["images"], dtype=np.int64) - rows["images"]

    def ahead(self, batch: Batch) -> None:
        """Say that a batch comes soon."""
        self.segments.ahead(set(self.segments.find(batch.groups["row"]).tolist()))

    def read(self, batch: Batch) -> None:
        """Fill in the samples of a batch.

        Raises:
            DatasetError: a shard is not what the index says.
        """
        rows = batch.groups["row"]
        numbers = self.segments.find(rows)
        self.segments.ranges.check(set(self._rows["shard"][rows].tolist()))
        within = batch.chosen + (self._before[rows] - self._before[self.segments.cuts[numbers]])[:, None]
        places = np.empty((*within.shape, 4), np.int64)
        read: dict[int, Segment] = {}
        for number in set(numbers.tolist()):
            segment = read[number] = self.segments.get(number)
            here = numbers == number
            places[here] = segment.images[within[here]]
        samples: list[Sample] = []
        batch.samples, batch.reader = samples, self
        labels, shards = self._rows["label"][rows].tolist(), self._rows["shard"][rows].tolist()
        for label, shard, number, images, group in zip(
            labels, shards, numbers.tolist(), within.tolist(), places.tolist(), strict=True
        ):
            view, _, keys = read[number]
            url = self._names[shard]
            for image, (begin, end, key, stem) in zip(images, group, strict=True):
                name = keys[image] if keys else str(view[key:stem], "utf-8", "surrogateescape")
                samples.append({"__key__": name, "__url__": url, "image": view[begin:end], "cls": label})

    def _group(self, row: int, chosen: NDArray[np.int64]) -> list[Sample]:
        batch = Batch((0, 0, 0), np.array([(row, 0, True)], GROUP), chosen[None])
        self.read(batch)
        return batch.samples

    def spares(self, batch: Batch, number: int) -> Iterator[Sample]:
        """Other images of the identity of a sample: those not in the batch first."""
        group, place = divmod(number, batch.chosen.shape[1])
        row, chosen = int(batch.groups["row"][group]), batch.chosen[group]
        images = int(self._rows["images"][row])
        others = (int(chosen[place]) + np.arange(1, images)) % images
        taken = np.isin(others, chosen)
        for image in np.r_[others[~taken], others[taken]]:
            chosen[place] = image  # of the batch, so that the next spare is another one
            yield from self._group(row, np.array([image]))

    def neighbours(self, batch: Batch, number: int) -> Iterator[None]:
        """Put other identities into the place of a sample's, one after the other: those that follow in the index."""
        k = batch.chosen.shape[1]
        group, taken = number // k, set(batch.groups["row"].tolist())
        for row in (int(batch.groups["row"][group]) + np.arange(1, len(self._rows))) % len(self._rows):
            if int(row) not in taken:
                batch.groups["row"][group] = row
                images = self._rows["images"][[row]].astype(np.int64)
                chosen = np.empty((1, k), np.int64)
                choose(np.uint64(batch.number), np.array([row]), np.zeros(1, np.int64), images, chosen)
                batch.chosen[group] = chosen[0]
                batch.samples[group * k : (group + 1) * k] = self._group(int(row), chosen[0])
                yield
