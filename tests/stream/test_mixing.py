"""How well a plan mixes: counted by hand, at its best and at its worst."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from wds_face.stream.lanes import default_lanes, default_window, segment_size
from wds_face.stream.mixing import NEAR, cut_batches, full_order, meetings, mixing, neighbourhoods, shard_order
from wds_face.stream.plan import Epoch, cut_segments

Ints = np.ndarray


def plan(images: Ints, nbytes: Ints, shards: Ints, p: int, **options: int) -> Epoch:
    lanes = options.get("lanes") or default_lanes(images, p, 4, True)
    segments = cut_segments(shards, nbytes, segment_size(int(nbytes.sum()), lanes))
    window = options.get("window") or default_window(images, segments, p)
    return Epoch(images, segments, p=p, k=4, every=True, lanes=lanes, window=window, entropy=[0, 0])


@pytest.fixture(scope="module")
def rows() -> tuple[Ints, Ints, Ints]:
    """2,000 identities of 5 to 15 images of 7 kB in 20 shards: 140 MB."""
    images = np.random.default_rng(0).integers(5, 16, 2000)
    return images, images * 7000, np.repeat(np.arange(20), 100)


def test_batches_are_of_different_identities_and_nothing_is_lost() -> None:
    order = np.array([3, 3, 3, 1, 2, 2, 1, 0, 3])
    batches = [batch.tolist() for batch in cut_batches(order, 3)]
    assert batches == [[3, 1, 2], [3, 2, 1], [3, 0], [3]]
    assert list(cut_batches(order[:0], 3)) == []


def test_pairs_are_counted_as_by_hand() -> None:
    batches = [np.array([0, 4, 2]), np.array([2, 0, 5]), np.array([1])]
    near = np.array([0, 0, 0, 1, 1, 1])
    found = meetings(iter(batches), near)
    pairs = [tuple(sorted(pair)) for batch in batches for pair in combinations(batch.tolist(), 2)]
    assert (found.batches, found.pairs, found.met) == (3, len(pairs), len(set(pairs)))
    assert found.near == sum(near[one] == near[other] for one, other in pairs) == 2
    assert found.neighbours == pytest.approx(2 / 6)
    nothing = meetings([], near)
    assert (nothing.batches, nothing.pairs, nothing.met, nothing.neighbours) == (0, 0, 0, 0)


def test_neighbourhoods_end_with_shards() -> None:
    found = neighbourhoods(np.array([0, 0, 0, 1]), np.array([NEAR, NEAR // 2, NEAR // 2, 100]))
    assert found.tolist() == [0, 1, 1, 2]


def test_the_stream_lies_between_the_best_and_the_worst(rows: tuple[Ints, Ints, Ints]) -> None:
    images, nbytes, shards = rows
    near = neighbourhoods(shards, nbytes)
    found = mixing(plan(images, nbytes, shards, 16), near)
    assert found.batches == found.total
    assert 0.9 < found.met < 1.1
    assert found.met_unshuffled < 0.7 * found.met
    assert found.full.neighbours <= found.stream.neighbours < 0.2 * found.unshuffled.neighbours
    narrow = mixing(plan(images, nbytes, shards, 16, window=4), near)
    assert narrow.met < found.met
    assert narrow.stream.neighbours > 2 * found.stream.neighbours


def test_of_a_large_epoch_a_part_is_looked_at(rows: tuple[Ints, Ints, Ints]) -> None:
    images, nbytes, shards = rows
    near, epoch = neighbourhoods(shards, nbytes), plan(images, nbytes, shards, 16, lanes=4, window=16)
    whole = mixing(epoch, near)
    part = mixing(epoch, near, most=epoch.length * 120)
    assert part.batches == epoch.length == whole.total // 4
    assert part.met == pytest.approx(whole.met, rel=0.1)
    assert mixing(epoch, near, most=10 * 120).batches == 10
    assert mixing(epoch, near, most=1).batches == 1


def test_a_full_shuffle_has_the_groups_of_the_epoch(rows: tuple[Ints, Ints, Ints]) -> None:
    images, nbytes, shards = rows
    epoch = plan(images, nbytes, shards, 16)
    groups = np.repeat(np.arange(2000), -(-images // 4))
    for order in (full_order(epoch, [1]), shard_order(epoch)):
        assert (np.sort(np.concatenate(list(order))) == groups).all()
    one, other = (np.concatenate(list(full_order(epoch, [seed])))[:100].tolist() for seed in (1, 2))
    assert one != other


def test_one_identity_meets_nobody() -> None:
    one = np.array([3])
    found = mixing(plan(one, one * 1000, one * 0, 1), np.zeros(1, np.int64))
    assert (found.stream.pairs, found.met, found.met_unshuffled, found.stream.neighbours) == (0, 1, 1, 0)
