"""Full batches of p distinct identities x k images; every sample at least once."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
import webdataset as wds
from hypothesis import given
from hypothesis import strategies as st

from wds_face import PKGrouper, pk_batched

Item = tuple[int, int]


def stream(counts: list[int], seed: int | None = None) -> list[dict[str, object]]:
    """Samples of identities 0, 1, ... with so many images; in order, or shuffled by a seed."""
    samples: list[dict[str, object]] = [
        {"__key__": f"{label}/{i}", "cls": label} for label, count in enumerate(counts) for i in range(count)
    ]
    if seed is not None:
        samples = [samples[i] for i in np.random.default_rng(seed).permutation(len(samples))]
    return samples


COUNTS = st.lists(st.integers(1, 12), min_size=1, max_size=30)


@given(COUNTS, st.integers(1, 6), st.integers(1, 5), st.integers(1, 80), st.one_of(st.none(), st.integers(0, 3)))
def test_every_batch_is_full_and_every_sample_comes(
    counts: list[int], p: int, k: int, bufsize: int, order: int | None
) -> None:
    samples = stream(counts, order)
    batches = pk_batched(p, k, bufsize=bufsize)(iter(samples))
    if len(counts) < p:
        with pytest.raises(ValueError, match=f"p={p} identities are wanted"):
            list(batches)
        return
    seen: Counter[str] = Counter()
    try:
        for batch in batches:
            assert len(batch) == p * k
            groups = [batch[i : i + k] for i in range(0, p * k, k)]
            labels = [{sample["cls"] for sample in group} for group in groups]
            assert all(len(label) == 1 for label in labels)
            assert len(set.union(*labels)) == p
            seen.update(sample["__key__"] for sample in batch)
    except ValueError:
        # a buffer smaller than p identities cannot fill the first batch
        assert bufsize < p * max(counts)
        return
    assert set(seen) == {sample["__key__"] for sample in samples}


def test_images_of_an_identity_differ_while_there_are_k() -> None:
    batches = list(pk_batched(4, 3, bufsize=40)(iter(stream([7] * 12))))
    groups = [batch[i : i + 3] for batch in batches for i in range(0, 12, 3)]
    assert all(len({sample["__key__"] for sample in group}) == 3 for group in groups)


def test_repeats_are_only_what_filling_takes() -> None:
    batches = list(pk_batched(5, 2, bufsize=100)(iter(stream([4] * 50))))
    assert len(batches) == 20, "200 samples that divide evenly need no repeat"


def test_seeded() -> None:
    def keys(seed: int) -> list[list[object]]:
        return [
            [s["__key__"] for s in batch] for batch in pk_batched(3, 2, bufsize=20, seed=seed)(iter(stream([3] * 20)))
        ]

    assert keys(1) == keys(1)
    assert keys(1) != keys(2)


def test_large_identities_do_not_remain_for_the_end() -> None:
    """One identity with as many images as all others: its groups spread over the batches."""
    counts = [40, *([2] * 20)]
    batches = list(pk_batched(4, 2, bufsize=10_000)(iter(stream(counts))))
    first_half = batches[: len(batches) // 2]
    assert sum(any(s["cls"] == 0 for s in batch) for batch in first_half) > len(first_half) / 2


def test_as_a_webdataset_stage() -> None:
    pipeline = wds.DataPipeline(lambda: iter(stream([3] * 8)), pk_batched(p=4, k=2))
    assert {len(batch) for batch in pipeline} == {8}
    pickle.loads(pickle.dumps(pk_batched(p=4, k=2)))


def test_any_label() -> None:
    samples = [{"json": {"who": i % 3}} for i in range(12)]
    for batch in pk_batched(3, 2, label=who)(iter(samples)):
        assert [who(sample) for sample in batch] == sorted([who(s) for s in batch], key=[who(s) for s in batch].index)


def who(sample: dict[str, dict[str, int]]) -> int:
    return sample["json"]["who"]


@pytest.mark.parametrize(("p", "k"), [(0, 1), (1, 0), (-1, 4)])
def test_sizes_that_make_no_sense(p: int, k: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        PKGrouper(p, k, np.random.default_rng(0))


def test_the_grouper_alone() -> None:
    grouper: PKGrouper[str] = PKGrouper(2, 2, np.random.default_rng(0))
    for label, name in [(7, "a"), (7, "b"), (9, "c"), (7, "d")]:
        grouper.add(label, name)
    assert grouper.pending == 4
    batch = grouper.batch()
    assert Counter(label for label, _ in batch) == {7: 2, 9: 2}
    assert grouper.pending == 1
    assert {name for label, name in grouper.batch() if label == 7} > {"a", "b", "d"} - {n for _, n in batch}


def test_a_sample_without_a_label_is_for_the_handler() -> None:
    samples = [*stream([4] * 6, seed=1), {"__key__": "lost"}]
    with pytest.raises(KeyError, match="cls"):
        list(pk_batched(2, 2)(iter(samples)))
    batches = list(pk_batched(2, 2, handler=wds.ignore_and_continue)(iter(samples)))
    assert {sample["__key__"] for batch in batches for sample in batch} == {
        sample["__key__"] for sample in samples[:-1]
    }
