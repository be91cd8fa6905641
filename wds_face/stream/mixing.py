"""How well an order of batches mixes identities, beside a full shuffle: counted from the plan, no image is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from wds_face.stream.lanes import groups_of
from wds_face.stream.plan import Epoch, cut_segments

Ints = NDArray[np.int64]

#: Bytes of a shard in which identities count as neighbours.
NEAR = 8 << 20

# Pairs in batches that are looked at: whole epochs of small sets, a part of one of large ones, in some seconds.
_PAIRS = 4_000_000

# What a generator is for: behind the seed, apart from what the plan draws from.
_FULL = 2000


def neighbourhoods(shards: Ints, nbytes: Ints) -> Ints:
    """The number of the part of a shard, of about :data:`NEAR` bytes, that each row of an index lies in."""
    cuts = cut_segments(shards, nbytes, NEAR)
    return np.repeat(np.arange(len(cuts) - 1), np.diff(cuts))


def inner_pairs(batch: Ints, of: Ints) -> int:
    """Pairs in one batch that have the same number in *of*."""
    if not len(of):
        return 0
    counts = np.unique(batch * (of.max() + 1) + of, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def cut_batches(order: Ints, p: int) -> Iterator[Ints]:
    """An order of groups, by their rows, cut into batches of p; one whose row is there already waits for the next."""
    coming, waiting = _numbers(order), list[int]()
    while True:
        batch: dict[int, None] = {}
        still = []
        for row in waiting:
            if row in batch or len(batch) == p:
                still.append(row)
            else:
                batch[row] = None
        while len(batch) < p and (row := next(coming, -1)) >= 0:
            if row in batch:
                still.append(row)
            batch[row] = None
        if not batch:
            return
        waiting = still
        yield np.array(list(batch), np.int64)


def _numbers(order: Ints) -> Iterator[int]:
    """Piece by piece, as Python's numbers take five times the memory."""
    for begin in range(0, len(order), 1 << 16):
        yield from order[begin : begin + (1 << 16)].tolist()


@dataclass(frozen=True)
class Meetings:
    """Who meets whom in some batches.

    Attributes:
        batches: how many there are.
        pairs: of different identities in a batch, over all of them.
        met: different ones among these.
        near: those of neighbours in a shard, see :data:`NEAR`.
    """

    batches: int
    pairs: int
    met: int
    near: int

    @property
    def neighbours(self) -> float:
        """The share of the pairs that are neighbours."""
        return self.near / self.pairs if self.pairs else 0.0


def meetings(batches: Iterable[Ints], near: Ints) -> Meetings:
    """Count the pairs in batches.

    Args:
        batches: the rows of each, all different.
        near: of each row of the index, see :func:`neighbourhoods`.
    """
    taken = [np.sort(batch) for batch in batches]
    rows = np.concatenate([np.zeros(0, np.int64), *taken])
    batch = np.repeat(np.arange(len(taken)), [len(one) for one in taken])
    keys, apart = [np.zeros(0, np.int64)], 1
    while apart < len(rows) and (same := batch[apart:] == batch[:-apart]).any():
        keys.append(rows[:-apart][same] * len(near) + rows[apart:][same])
        apart += 1
    pairs = np.concatenate(keys)
    return Meetings(len(taken), len(pairs), _count_different(pairs), inner_pairs(batch, near[rows]))


def _count_different(numbers: Ints) -> int:
    """Return the number of distinct values. Sorts *numbers* in place.

    np.unique uses a hash table, which takes ten times as long for millions of values.
    """
    numbers.sort()
    return int(np.count_nonzero(numbers[1:] != numbers[:-1])) + bool(len(numbers))


@dataclass(frozen=True)
class Mixing:
    """An epoch of the stream, or a part of it, beside as many batches of other orders.

    Attributes:
        batches: of the epoch that were looked at.
        total: of the whole epoch.
        stream: what the plan makes.
        full: a full shuffle of the same groups.
        unshuffled: the same groups in the order of the shards, which is the worst.
    """

    batches: int
    total: int
    stream: Meetings
    full: Meetings
    unshuffled: Meetings

    @property
    def met(self) -> float:
        """Different pairs of identities that met, of those in the full shuffle."""
        return self.stream.met / self.full.met if self.full.met else 1.0

    @property
    def met_unshuffled(self) -> float:
        """The same of the order of the shards."""
        return self.unshuffled.met / self.full.met if self.full.met else 1.0


def stream_order(epoch: Epoch, numbers: Iterable[int]) -> Iterator[Ints]:
    """The rows in batches of an epoch."""
    for number in numbers:
        yield epoch.batch(number)["row"]


def full_order(epoch: Epoch, entropy: list[int]) -> Iterator[Ints]:
    """The rows in batches of a full shuffle of the epoch's groups."""
    return cut_batches(np.random.default_rng([*entropy, _FULL]).permutation(_groups(epoch)), epoch.p)


def shard_order(epoch: Epoch) -> Iterator[Ints]:
    """The rows in batches of the epoch's groups in the order of the shards."""
    return cut_batches(_groups(epoch), epoch.p)


def _groups(epoch: Epoch) -> Ints:
    """The rows of all groups, in the order of the shards."""
    return np.repeat(np.arange(len(epoch.images)), groups_of(epoch.images, epoch.k, epoch.every))


def mixing(epoch: Epoch, near: Ints, *, seed: int = 0, most: int = _PAIRS) -> Mixing:
    """How well an epoch mixes.

    Of an epoch with too many pairs whole lanes are looked at, as many as that allows, or a part of the first: what a
    lane mixes it mixes within itself.

    Args:
        epoch: the plan.
        near: of each row of the index, see :func:`neighbourhoods`.
        seed: of the full shuffle.
        most: pairs in batches that are looked at.
    """
    allowed = max(1, most // max(1, epoch.p * (epoch.p - 1) // 2))
    if allowed >= len(epoch):
        numbers = np.arange(len(epoch))
    else:
        lanes = max(1, allowed // epoch.length)
        numbers = (np.arange(epoch.length)[None] * epoch.lanes + np.arange(lanes)[:, None]).ravel()[:allowed]
    count = len(numbers)
    return Mixing(
        count,
        len(epoch),
        meetings(stream_order(epoch, numbers.tolist()), near),
        meetings(islice(full_order(epoch, [seed]), count), near),
        meetings(islice(shard_order(epoch), count), near),
    )
