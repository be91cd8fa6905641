"""The planner: full batches of different identities, everything once, whatever the data and the numbers."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wds_face.stream.lanes import default_lanes, default_window, groups_of, segment_size
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


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 9), st.booleans(), st.integers(1, 5))
def test_one_image_each_and_k_above_any_count(n: int, p: int, k: int, every: bool, lanes: int) -> None:
    check(planned([1] * n, p=min(p, n), k=k, every=every, lanes=lanes))
    few = np.random.default_rng(n).integers(1, k + 1, n).tolist()
    check(planned(few, p=min(p, n), k=k + 1, every=every, lanes=lanes))


@pytest.mark.parametrize("every", [False, True])
def test_no_identity_and_only_one(every: bool) -> None:
    with pytest.raises(ValueError, match="0 identities are fewer than p=1"):
        planned([], p=1, k=1, every=every)
    assert cut_segments(np.zeros(0, np.int64), np.zeros(0, np.int64), 100).tolist() == [0]
    check(planned([7], p=1, k=3, every=every))


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


def test_a_plan_is_the_same_on_every_processor() -> None:
    """To the bit, for states and clusters of unlike machines. If this changes, so must ``format`` in the state."""
    code = """if True:
        import hashlib
        import numpy as np
        from wds_face.stream.plan import Epoch, cut_segments

        images = np.rint(np.random.default_rng(5).geometric(0.004, 3000)).astype(np.int64)
        found = hashlib.sha256()
        for lanes, every in ((1, True), (3, True), (2, False)):
            segments = cut_segments(np.arange(3000) // 500, images * 7000, 1 << 20)
            epoch = Epoch(images, segments, p=16, k=4, every=every, lanes=lanes, window=3000, entropy=[3, 1])
            for g in range(0, len(epoch), 7):
                batch = epoch.batch(g)
                found.update(batch.tobytes() + epoch.images_of(batch).tobytes())
        print(found.hexdigest())
    """
    plans = set()
    for features in ("", "X86_V4 AVX512_ICL", "X86_V3 X86_V4 AVX512_ICL"):
        environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": features}
        run = [sys.executable, "-W", "ignore", "-c", code]
        plans.add(subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout.strip())
    assert plans == {"abe42796d2f28d807b6eb8d8a907eab5d4416cb7df5339bcd1da4cea05fe78eb"}


@pytest.mark.parametrize("n", [2, 3, 4])
def test_every_order_of_an_identitys_images_is_as_likely(n: int) -> None:
    """Chi-square over identities and epochs."""
    counts = Counter[tuple[int, ...]]()
    for epoch in range(20):
        plan = planned([n] * 300, p=4, k=n, entropy=(0, epoch))
        groups = np.zeros(300, plan.batch(0).dtype)
        groups["row"] = np.arange(300)
        counts.update(map(tuple, plan.images_of(groups).tolist()))
    orders = math.factorial(n)
    expected = 6000 / orders
    square = sum((counts[order] - expected) ** 2 / expected for order in permutations(range(n)))
    assert square < {2: 10.83, 3: 20.52, 4: 49.73}[n], "p > 0.001"


def test_neighbours_meet_little_more_often_than_in_a_full_shuffle() -> None:
    """In a set of many segments; the whole study is benchmarks/shuffle.py."""
    images = np.random.default_rng(0).geometric(0.1, 3000)
    nbytes = images * 7000
    lanes = default_lanes(images, 16, 4, True)
    segments = cut_segments(np.arange(3000) // 300, nbytes, segment_size(int(nbytes.sum()), lanes))
    window = default_window(images, segments, 16)
    near = np.cumsum(nbytes) // (8 << 20)
    weight = groups_of(images, 4, True) / groups_of(images, 4, True).sum()
    chance = float((np.bincount(near, weight) ** 2).sum())
    met = total = 0
    for number in range(2):
        epoch = Epoch(images, segments, p=16, k=4, every=True, lanes=lanes, window=window, entropy=[0, number])
        for g in range(len(epoch)):
            places = near[epoch.batch(g)["row"]]
            met += int((places[:, None] == places).sum()) - 16
            total += 16 * 15
    assert lanes > 1
    assert met / total < 1.5 * chance


@pytest.mark.parametrize(("heavy", "dealt"), [(4, True), (5, False)])
def test_no_more_than_a_tenth_of_an_epoch_is_dealt_over_all_of_its_batches(heavy: int, dealt: bool) -> None:
    """Identities with more groups than a chapter has batches: 9.1 % of all groups, or 11.1 %."""
    images = np.random.default_rng(0).permutation(np.r_[np.full(1200, 2), np.full(heavy, 60)])
    segments = np.r_[np.arange(0, len(images) - 20, 20), len(images)]
    epoch = Epoch(images, segments, p=4, k=1, every=True, lanes=1, window=4, entropy=[0, 0])
    first = np.full(len(images), len(epoch))
    last = np.zeros(len(images), np.int64)
    for g in range(len(epoch)):
        rows = epoch.batch(g)["row"]
        first[rows] = np.minimum(first[rows], g)
        last[rows] = np.maximum(last[rows], g)
    reach = (last - first) / len(epoch)
    if dealt:
        assert reach[images == 60].min() > 0.9
        assert reach[images == 2].max() < 0.08, "chapters stay as short as the window says"
    else:
        assert reach[images == 60].max() < 0.2, "chapters are longer instead"


@pytest.mark.parametrize(
    ("identities", "segments", "p", "window"),
    [(1000, 1000, 4, 64), (1000, 1000, 8, 64), (1000, 1000, 9, 72), (1000, 250, 40, 80), (10_000, 100, 64, 64)],
)
def test_the_default_window_holds_8_p_identities_and_64_segments_at_least(
    identities: int, segments: int, p: int, window: int
) -> None:
    cuts = np.linspace(0, identities, segments + 1).astype(np.int64)
    assert default_window(np.ones(identities, np.int64), cuts, p) == window
