"""Which identities meet in which batch: an epoch planned from the index, without reading an image.

A plan is a pure function of the index, (seed, epoch) and the numbers below; nothing else enters. Words:

- *Group*: k images of one identity, what it brings into one batch. In an epoch of identities each has one, in an epoch
  of images as many as its images fill, the last filled up with others of its own.
- *Segment*: consecutive identities of one shard, of some MB.
- *Lane*: one sequence of batches over its own share of the groups. Batch g of the epoch is number g // lanes of lane
  g % lanes.
- *Chapter*: what a lane mixes at a time, about ``window`` segments.

Segments are shuffled and laid end to end, and this row of groups is cut into lanes at exact counts, so that every lane
has as many batches as any other. Identities with more groups than a chapter has batches would meet themselves: theirs
are dealt over all batches of the epoch instead. What is missing at the end of a lane is filled with groups that come
twice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wds_face.stream.choice import choose
from wds_face.stream.lanes import epoch_length, groups_of

Ints = NDArray[np.int64]

#: One identity in one batch: its row, the number of its group, and whether it only fills the batch. An :class:`Epoch`
#: counts the rows that it plans; in a :class:`~wds_face.stream.Batch` the row is that of the index.
GROUP = np.dtype([("row", "<i8"), ("group", "<i4"), ("fill", "?")])

# Of an epoch, at most, what is dealt over all of its batches.
_SPREAD_MOST = 0.1

# What a generator is for: behind the other numbers, as trailing zeros would not count.
_SEGMENTS, _SPREAD, _CHAPTER, _BATCH, _IMAGES = 1, 2, 3, 4, 5


def cut_segments(shards: Ints, nbytes: Ints, size: int) -> Ints:
    """First rows of the segments, and behind them the number of rows: equal parts of a shard of about *size* bytes.

    Args:
        shards: of each row, ascending.
        nbytes: of each row.
        size: in bytes. A row that is larger is a segment of its own.
    """
    if not len(shards):
        return np.zeros(1, np.int64)
    new = np.r_[True, shards[1:] != shards[:-1]]
    first = np.flatnonzero(new)
    rows = np.diff(np.r_[first, len(shards)])
    total = np.add.reduceat(nbytes, first)
    parts = np.maximum(1, np.rint(total / size).astype(np.int64))
    ends = np.cumsum(nbytes)
    begins = ends - nbytes - np.repeat((ends - nbytes)[first], rows)
    number = begins * np.repeat(parts, rows) // np.repeat(total, rows)
    cuts: Ints = np.r_[np.flatnonzero(new | np.r_[True, number[1:] != number[:-1]]), len(shards)]
    return cuts


class _Chapter(NamedTuple):
    """The groups of a chapter, batch by batch, each in random order; the first batch; where each begins and ends."""

    groups: NDArray[Any]
    first: int
    ends: list[int]

    def of(self, n: int) -> NDArray[Any]:
        """Those in batch *n* of the lane."""
        begin, end = self.ends[n - self.first : n - self.first + 2]
        return self.groups[begin:end]


class Epoch:
    """One epoch, planned chapter by chapter, as far as it is asked for.

    Args:
        images: of each row of the index.
        segments: first rows of the segments, see :func:`cut_segments`.
        p, k: identities in a batch, images of each.
        every: each image at least once, instead of each identity once.
        lanes, window: see the module.
        entropy: of all choices: the seed and the number of the epoch.

    Raises:
        ValueError: there are fewer identities than p.
    """

    def __init__(
        self, images: Ints, segments: Ints, *, p: int, k: int, every: bool, lanes: int, window: int, entropy: list[int]
    ) -> None:
        if len(images) < p:
            raise ValueError(f"{len(images)} identities are fewer than p={p}")
        self.images, self.p, self.k, self.every, self.lanes, self._entropy = images, p, k, every, lanes, entropy
        self._segments = segments
        self._key = np.random.SeedSequence([*entropy, _IMAGES]).generate_state(1, np.uint64)[0]
        self._order = self._rng(_SEGMENTS).permutation(len(segments) - 1)
        self._all = groups_of(images, k, every)
        self.length = epoch_length(images, p, k, every, lanes)  #: batches of each lane
        self._chapters = max(1, round(len(self._order) / (window * lanes)))  # of each lane
        # Where chapters are too short for the groups of many identities, there are fewer of them.
        while self._divided() > _SPREAD_MOST and self._chapters > 1:
            self._chapters //= 2
        self._ends: dict[int, Ints] = {}  # of each lane, what _edges found
        self._made: dict[tuple[int, int], _Chapter] = {}

    def __len__(self) -> int:
        """Batches of the epoch, of all lanes together."""
        return self.length * self.lanes

    def _rng(self, purpose: int, *place: int) -> np.random.Generator:
        return np.random.default_rng([*self._entropy, *place, purpose])

    def _divided(self) -> float:
        """Divide the groups; the share of them that is dealt over all batches."""
        most = max(1, self.length // self._chapters)
        while (shortest := self._divide(most)) < most and most > 1:
            most = max(1, shortest)
        return 1 - float(self._groups.sum() / self._all.sum())

    def _divide(self, most: int) -> int:
        """Deal identities of more than *most* groups over all batches, the others to lanes and chapters.

        Returns the batches that the shortest chapter is sure to reach over.
        """
        spread = self._all > most
        self._spread = self._rng(_SPREAD, 0).permutation(np.flatnonzero(spread))
        self._spread_ends = np.cumsum(self._all[self._spread])
        self._groups = np.where(spread, 0, self._all)
        dealt = int(self._spread_ends[-1]) if len(self._spread) else 0
        # Like cards: each batch gets as many as any other or one more, and never two of one identity.
        self._turn = turn = self._rng(_SPREAD).permutation(len(self))  # of each batch
        per, more = divmod(dealt, len(self))
        free = (self.p - per - (turn < more)).reshape(self.length, self.lanes).T  # [lane, batch]
        #: the places of a lane that its batches begin and end at
        self._places = np.concatenate([np.zeros((self.lanes, 1), np.int64), np.cumsum(free, 1)], 1)
        self._before = np.r_[0, np.cumsum(np.add.reduceat(self._groups, self._segments[:-1])[self._order])]
        room = np.r_[0, np.cumsum(self._places[:, -1])]
        self._cuts = self._before[-1] * room // max(1, room[-1])  # exact, and no lane gets more than it has room for
        shortest = int(np.diff(self._cuts).min()) // self._chapters - most
        return max(0, shortest) // self.p

    def batch(self, g: int) -> NDArray[Any]:
        """The groups of batch *g*, :data:`GROUP` ``[p]``, all of different identities, in random order."""
        lane, n = g % self.lanes, g // self.lanes
        parts = []
        edges = self._edges(lane)
        begin, end = self._places[lane, n], min(self._places[lane, n + 1], edges[-1] - edges[0])
        if begin < end:
            first, last = np.searchsorted(edges, (edges[0] + begin, edges[0] + end - 1), side="right").tolist()
            parts = [self._chapter(lane, chapter).of(n) for chapter in range(first - 1, last)]
        if len(parts) == 1 and len(parts[0]) == self.p:
            return parts[0].copy()
        taken = np.concatenate([self._dealt(g), *parts])
        rng = self._rng(_BATCH, g)
        if len(taken) < self.p:
            near = self._chapter(lane, len(edges) - 2).groups["row"] if edges[-1] > edges[0] else np.zeros(0, np.int64)
            taken = np.concatenate([taken, self._fill(taken["row"], near, rng)])
        return taken[rng.permutation(self.p)]

    def _dealt(self, g: int) -> NDArray[Any]:
        """The groups of a batch that are dealt over all batches."""
        end = int(self._spread_ends[-1]) if len(self._spread) else 0
        numbers = np.arange(self._turn[g], end, len(self))
        found = np.zeros(len(numbers), GROUP)
        if len(numbers):
            which = np.searchsorted(self._spread_ends, numbers, side="right")
            found["row"] = self._spread[which]
            found["group"] = numbers - self._spread_ends[which] + self._all[found["row"]]
        return found

    def _fill(self, taken: Ints, near: Ints, rng: np.random.Generator) -> NDArray[Any]:
        """Groups of identities that are not taken: of those near first, which are in memory."""
        missing = self.p - len(taken)
        rows = np.setdiff1d(near, taken)
        if len(rows) < missing:
            others = np.setdiff1d(np.arange(len(self.images)), np.r_[taken, rows])
            rows = np.r_[rows, others[rng.permutation(len(others))[: missing - len(rows)]]]
        else:
            rows = rows[rng.permutation(len(rows))[:missing]]
        fill = np.zeros(missing, GROUP)
        fill["row"], fill["fill"] = rows, True
        fill["group"] = (rng.random(missing) * self._all[rows]).astype(np.int32)
        return fill

    def _edges(self, lane: int) -> Ints:
        """Where in the row of groups a lane's chapters begin and end: between identities, except at its own ends."""
        if lane not in self._ends:
            self._ends[lane] = self._find_edges(lane)
        return self._ends[lane]

    def _find_edges(self, lane: int) -> Ints:
        begin, end = int(self._cuts[lane]), int(self._cuts[lane + 1])
        wanted = begin + (end - begin) * np.arange(1, self._chapters) // self._chapters
        inner = []
        for place in wanted.tolist():
            segment = min(int(np.searchsorted(self._before, place, side="right")), len(self._order)) - 1
            _, starts = self._rows(segment)
            inner.append(int(starts[np.searchsorted(starts, place, side="right") - 1]))
        edges: Ints = np.array([begin, *inner, end], np.int64)
        return np.unique(np.clip(edges, begin, end)) if end > begin else edges[[0, -1]]

    def _rows(self, place: int) -> tuple[Ints, Ints]:
        """The rows of the segment that is number *place* this epoch, and where in the row of groups each begins."""
        segment = self._order[place]
        rows = np.arange(self._segments[segment], self._segments[segment + 1])
        counts = self._groups[rows]
        return rows, self._before[place] + np.cumsum(counts) - counts

    def _chapter(self, lane: int, chapter: int) -> _Chapter:
        key = lane, chapter
        if key not in self._made:
            while len(self._made) >= 2 * self.lanes:  # a batch may lie in two
                del self._made[next(iter(self._made))]
            self._made[key] = self._deal(lane, chapter)
        return self._made[key]

    def _deal(self, lane: int, chapter: int) -> _Chapter:
        edges = self._edges(lane)
        begin, end = int(edges[chapter]), int(edges[chapter + 1])
        first = int(np.searchsorted(self._before, begin, side="right")) - 1
        last = int(np.searchsorted(self._before, end, side="left"))
        parts = [self._rows(place) for place in range(first, last)]
        rows = np.concatenate([rows for rows, _ in parts])
        starts = np.concatenate([starts for _, starts in parts])
        low = np.maximum(begin - starts, 0)  # the lane may begin and end within an identity
        counts = np.minimum(self._groups[rows], end - starts) - low
        rows, low, counts = rows[counts > 0], low[counts > 0], counts[counts > 0]
        # What the chapter's places leave of each batch.
        places = np.clip(self._places[lane], begin - edges[0], end - edges[0])
        room = np.diff(places)
        batches = np.flatnonzero(room)
        room = room[batches].copy()
        rng = self._rng(_CHAPTER, lane, chapter)
        groups, batch, at = np.zeros(end - begin, GROUP), np.zeros(end - begin, np.int64), 0
        # The largest first, each into the batches with the most room: where any way fits, this one does (Gale, Ryser).
        several = np.flatnonzero(counts > 1)
        for i in several[np.argsort(-counts[several], kind="stable")].tolist():
            count = int(counts[i])
            # Sorted, as the order in which a partition comes out is another on another processor.
            chosen = np.sort(np.argpartition(-(room + rng.random(len(room))), count - 1)[:count])
            room[chosen] -= 1
            groups["row"][at : at + count], groups["group"][at : at + count] = rows[i], low[i] + rng.permutation(count)
            batch[at : at + count] = batches[chosen]
            at += count
        single = counts == 1
        groups["row"][at:], groups["group"][at:] = rows[single], low[single]
        batch[at:] = rng.permutation(np.repeat(batches, room))
        order = np.lexsort((rng.random(len(batch)), batch))
        ends = np.searchsorted(batch[order], np.arange(batches[0], batches[-1] + 2))
        return _Chapter(groups[order], int(batches[0]), ends.tolist())

    def images_of(self, groups: NDArray[Any]) -> Ints:
        """Which images of its identity each group has: int64 ``[len(groups), k]``, different ones if there are k."""
        found = np.empty((len(groups), self.k), np.int64)
        rows, numbers = groups["row"].copy(), groups["group"].astype(np.int64)
        choose(self._key, rows, numbers, self.images[rows], found)
        return found
