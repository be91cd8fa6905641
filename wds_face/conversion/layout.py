"""Which identity goes into which shard, and under which label. Pure functions of arrays."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

_MIB = 1 << 20


def shard_size(nbytes: int) -> int:
    """The default target size of a shard: a 64th of the data, between 8 and 256 MiB.

    Many shards let many workers convert, copy and read; files of a few hundred MiB suit object stores.
    """
    return min(max(nbytes // 64, 8 * _MIB), 256 * _MIB)


def deal(nbytes: NDArray[np.int64], target: int, seed: int) -> list[NDArray[np.int64]]:
    """Deal identities to shards in a seeded random order, so that neighbours in a shard are strangers.

    The order is cut into even stretches of about ``target`` bytes, between identities: one that is larger than the
    target makes its shard longer, and is never split.

    Args:
        nbytes: bytes that each identity takes in a shard, ``[n]``.
        target: bytes of a shard.
        seed: of the order.

    Returns:
        For each shard the identities in it, in order.
    """
    order = np.random.default_rng(seed).permutation(len(nbytes))
    ends = np.cumsum(nbytes[order])
    count = -(-int(ends[-1]) // target)
    middles = ends - nbytes[order] / 2
    stretch = (middles * (count / ends[-1])).astype(np.int64)
    return np.split(order, np.flatnonzero(np.diff(stretch)) + 1)


def fill_holes(count: int, lost: Collection[int]) -> NDArray[np.int64]:
    """New numbers without gaps for 0..count-1 less the ``lost``; those get -1.

    The last numbers move into the holes, so that the fewest change: an identity whose images all turned out to be
    unreadable costs the rewriting of one other shard, not of all.
    """
    numbers = np.arange(count)
    numbers[list(lost)] = -1
    kept = count - len(lost)
    holes = np.flatnonzero(numbers[:kept] < 0)
    movers = kept + np.flatnonzero(numbers[kept:] >= 0)
    numbers[movers] = holes
    return numbers
