"""The planner: full batches of different identities, everything once, whatever the data and the numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wds_face.stream.plan import Epoch, cut_segments


def planned(images: list[int], *, entropy: tuple[int, int] = (0, 0), size: int = 400, **numbers: Any) -> Epoch:
    """An epoch of identities with these images, in shards of 20 identities, of 10 bytes an image."""
    counts = np.array(images, np.int64)
    segments = cut_segments(np.arange(len(counts)) // 20, counts * 10, size)
    return Epoch(counts, segments, entropy=list(entropy), **{"every": True, "lanes": 1, "window": 2, **numbers})


def check(epoch: Epoch) -> int:
    """Every promise that holds for any data; the number of groups that only fill."""
    seen: Counter[tuple[int, int]] = Counter()
    shown: dict[int, set[int]] = {}
    fills = 0
    for g in range(len(epoch)):
        batch = epoch.batch(g)
        assert len(batch) == epoch.p
        assert len(set(batch["row"].tolist())) == epoch.p, "all different identities"
        for (row, group, fill), chosen in zip(batch.tolist(), epoch.images_of(batch).tolist(), strict=True):
            images = int(epoch.images[row])
            assert all(0 <= image < images for image in chosen)
            assert len(set(chosen)) == min(epoch.k, images), "different images as far as there are"
            shown.setdefault(row, set()).update(chosen)
            seen[row, group] += not fill
            fills += fill
    assert max(seen.values()) == 1
    rows = range(len(epoch.images))
    assert {row for row, _ in seen} == set(rows), "every identity"
    if epoch.every:
        assert all(len(shown[row]) == epoch.images[row] for row in rows), "every image"
    else:
        assert sum(seen.values()) == len(rows), "each identity once"
    assert sum(seen.values()) + fills == len(epoch) * epoch.p
    return fills


COUNTS = st.lists(st.one_of(st.integers(1, 12), st.integers(1, 3), st.integers(1, 90)), min_size=1, max_size=70)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_data_set(data: st.DataObject) -> None:
    images = data.draw(COUNTS)
    epoch = planned(
        images,
        p=data.draw(st.integers(1, len(images))),
        k=data.draw(st.integers(1, 6)),
        every=data.draw(st.booleans()),
        lanes=data.draw(st.integers(1, 9)),
        window=data.draw(st.integers(1, 6)),
        size=data.draw(st.integers(1, 2000)),
        entropy=(data.draw(st.integers(0, 1 << 31)), data.draw(st.integers(0, 99))),
    )
    check(epoch)


@pytest.mark.parametrize("lanes", [1, 3, 8])
def test_one_identity_with_ten_thousand_images(lanes: int) -> None:
    epoch = planned([10_000, *[3] * 30], p=4, k=4, lanes=lanes)
    check(epoch)
    assert len(epoch) == -(-2500 // lanes) * lanes, "as many batches as it has groups"


@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
def test_few_fill(lanes: int) -> None:
    images = np.random.default_rng(0).geometric(0.2, 3000).tolist()
    images[7] = 700
    groups = planned(images, p=16, k=4, lanes=lanes)
    assert check(groups) < 16 * lanes
    assert check(planned(images, p=16, k=4, lanes=lanes, every=False)) < 16 * lanes


def test_the_same_numbers_give_the_same_plan_in_any_order() -> None:
    images = np.random.default_rng(1).integers(1, 30, 200).tolist()
    one, two = (planned(images, p=8, k=3, lanes=3) for _ in range(2))
    forth = [one.batch(g).tolist() for g in range(len(one))]
    back = [two.batch(g).tolist() for g in reversed(range(len(two)))]
    assert forth == back[::-1]
    assert forth != [planned(images, p=8, k=3, lanes=3, entropy=(0, 1)).batch(g).tolist() for g in range(len(one))]


def test_a_lane_reads_few_segments_at_a_time() -> None:
    epoch = planned([8] * 2000, p=8, k=4, lanes=2, window=3)
    segment = np.searchsorted(epoch._segments, np.arange(2000), side="right")
    near = [set(segment[epoch.batch(g)["row"]].tolist()) for g in range(0, len(epoch), 2)]
    for n in range(len(near) - 4):
        assert len(set().union(*near[n : n + 4])) <= 2 * (3 + 1), "those of two chapters at most"


def test_fewer_identities_than_p() -> None:
    with pytest.raises(ValueError, match="3 identities are fewer than p=4"):
        planned([1, 2, 3], p=4, k=1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(1, 1000), st.integers(1, 5))
def test_segments_are_of_one_shard_and_hold_everything(nbytes: list[int], size: int, shards: int) -> None:
    shard = np.sort(np.arange(len(nbytes)) % shards)
    cuts = cut_segments(shard, np.array(nbytes), size)
    assert cuts[0] == 0
    assert cuts[-1] == len(nbytes)
    for first, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        assert end > first
        assert len(set(shard[first:end].tolist())) == 1
        assert sum(nbytes[first:end]) < 2 * size + max(nbytes)
