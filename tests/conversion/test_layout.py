"""Every identity lands in one shard, shards are even, and holes are filled with the fewest changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wds_face.conversion.layout import deal, fill_holes, shard_size

SIZES = st.lists(st.integers(1, 10_000), min_size=1, max_size=200).map(lambda sizes: np.array(sizes, np.int64))


@given(SIZES, st.integers(1, 50_000), st.integers(0, 3))
def test_every_identity_is_dealt_once_and_shards_keep_to_the_target(sizes: np.ndarray, target: int, seed: int) -> None:
    shards = deal(sizes, target, seed)
    assert sorted(np.concatenate(shards).tolist()) == list(range(len(sizes)))
    assert all(len(shard) for shard in shards)
    assert all(sizes[shard].sum() <= target + sizes.max() for shard in shards)
    assert len(shards) <= -(-sizes.sum() // target)


def test_shards_are_even() -> None:
    shards = deal(np.full(1050, 100), 10_000, 0)
    assert [len(shard) for shard in shards] == pytest.approx([1050 / 11] * 11, abs=1)


def test_one_large_identity_makes_its_shard_longer() -> None:
    sizes = np.array([100] * 50 + [100_000] + [100] * 50)
    shards = deal(sizes, 1_000, 0)
    assert sum(50 in shard for shard in shards) == 1


def test_the_order_is_seeded_and_random() -> None:
    sizes = np.full(1000, 10)
    first, again, other = (np.concatenate(deal(sizes, 500, seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    # neighbours are strangers: in a random order about 2 of 999 pairs are neighbours by name
    assert (np.abs(np.diff(first)) == 1).sum() < 15


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_numbers_without_holes(case: tuple[int, set[int]]) -> None:
    count, lost = case
    numbers = fill_holes(count, lost)
    assert {i for i in range(count) if numbers[i] < 0} == lost
    assert sorted(numbers[numbers >= 0].tolist()) == list(range(count - len(lost)))
    moved = sum(numbers[i] not in (i, -1) for i in range(count))
    assert moved <= len(lost)


def test_nothing_lost_nothing_moved() -> None:
    assert fill_holes(5, []).tolist() == [0, 1, 2, 3, 4]
    assert fill_holes(5, [1]).tolist() == [0, -1, 2, 3, 1]


@pytest.mark.parametrize(("nbytes", "expected"), [(0, 8), (10**6, 8), (10**10, 149), (10**13, 256)])
def test_default_shard_size(nbytes: int, expected: int) -> None:
    assert shard_size(nbytes) >> 20 == expected
