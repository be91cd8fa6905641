"""Verification equals the published protocol, written out as it was published, on all kinds of pairs."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.validation.protocol import (
    Array,
    assert_equal,
    literal,
    literal_of_distances,
    pairs,
)
from wds_face.validation.verification import (
    FINE_THRESHOLDS,
    THRESHOLDS,
    evaluate_distances,
    evaluate_verification,
)


@st.composite
def known_distances(draw: st.DrawFn) -> tuple[Array, Array, int, tuple[float, ...]]:
    """Few values, so that many are the same; some exactly on thresholds, some a bit beside."""
    on = st.sampled_from([*THRESHOLDS.tolist(), *FINE_THRESHOLDS.tolist(), 4.0])
    beside = on.map(lambda value: float(np.nextafter(value, 4)))
    values = draw(st.lists(st.one_of(on, beside, st.floats(0, 4)), min_size=1, max_size=8))
    n = draw(st.integers(2, 40))
    distances = np.array(draw(st.lists(st.sampled_from(values), min_size=n, max_size=n)))
    issame = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    issame[draw(st.integers(0, n - 1))] ^= issame.all() or not issame.any()
    fars = draw(st.lists(st.sampled_from([1e-4, 0.1, 0.25, 1 / 3, 0.5, 1.0]), min_size=1, max_size=1))
    return distances, issame, draw(st.integers(2, min(n, 3))), tuple(fars)


@settings(max_examples=40, deadline=None)
@given(known_distances())
def test_equals_the_protocol_at_any_distances(case: tuple[Array, Array, int, tuple[float, ...]]) -> None:
    distances, issame, folds, fars = case
    ours = evaluate_distances(distances, issame, folds=folds, fars=fars)
    assert_equal(ours, literal_of_distances(distances, issame, folds, fars))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_equals_the_protocol_at_any_embeddings(data: st.DataObject) -> None:
    """Small integers: rows of zeros, the same rows, opposite ones."""
    n = data.draw(st.integers(2, 20))
    d = data.draw(st.integers(1, 3))
    rows = st.lists(st.integers(-2, 2), min_size=d, max_size=d)
    embeddings = np.array(data.draw(st.lists(rows, min_size=2 * n, max_size=2 * n)))
    issame = np.arange(n) % data.draw(st.integers(2, n)) == 0
    ours = evaluate_verification(embeddings, issame, folds=2, fars=[0.2])
    assert_equal(ours, literal(embeddings, issame, 2, (0.2,)))


@pytest.mark.parametrize(("n", "genuine", "folds"), [(1003, 0.5, 10), (600, 0.03, 10), (500, 0.97, 7), (13, 0.5, 13)])
def test_equals_the_protocol(n: int, genuine: float, folds: int) -> None:
    """Numbers of pairs that folds do not divide, classes that are not balanced, folds without one of them."""
    embeddings, issame = pairs(n, 16, noise=1.2, seed=n, genuine=genuine)
    fars = (1e-2, 1e-3)
    assert_equal(
        evaluate_verification(embeddings, issame, folds=folds, fars=fars), literal(embeddings, issame, folds, fars)
    )


def test_classes_in_separate_folds() -> None:
    """Where the other folds have no impostors the threshold is 0, which takes no pair."""
    embeddings, _ = pairs(40, 4, noise=1.0)
    issame = np.arange(40) < 20
    ours = evaluate_verification(embeddings, issame, folds=2)
    assert_equal(ours, literal(embeddings, issame, folds=2))
    assert ours.far == {1e-3: 0.0, 1e-4: 0.0}
    assert min(ours.tar.values()) > 0
    ours = evaluate_verification(embeddings, issame, folds=4, fars=[0.5])
    assert_equal(ours, literal(embeddings, issame, 4, (0.5,)))


def test_a_target_that_thresholds_have_exactly() -> None:
    """The last of them, as scipy has it: 2.0 here, where the distances are below 1.999 and above."""
    distances = np.tile([0.5, 1.0, 1.5, 2.0], 2)  # genuine, impostor, genuine, impostor
    issame = np.tile([True, False, True, False], 2)
    ours = evaluate_distances(distances, issame, folds=2, fars=[0.5])
    assert ours.tar == {0.5: 1.0}
    assert ours.far == {0.5: 0.5}


def test_numbers_of_a_small_set() -> None:
    """By hand: the best threshold of a fold is the first that is best on the other."""
    distances = np.array([0.0, 1.0, 0.5, 1.0])
    ours = evaluate_distances(distances, np.array([True, False, True, False]), folds=2, fars=[1.0])
    assert ours.pairs == 4
    assert ours.thresholds.tolist() == [THRESHOLDS[51], THRESHOLDS[1]]
    assert ours.accuracies.tolist() == [1.0, 0.5]
    assert (ours.accuracy, ours.accuracy_std) == (0.75, 0.25)
    assert (ours.tar, ours.tar_std, ours.far) == ({1.0: 1.0}, {1.0: 0.0}, {1.0: 1.0})
    assert (ours.tpr[[0, 1, 51]].tolist(), ours.fpr[[0, 100, 101]].tolist()) == ([0.0, 0.5, 1.0], [0.0, 0.0, 1.0])
    assert ours.auc == 1.0


def test_is_many_times_as_fast_as_the_protocol() -> None:
    """About 200 times; in turn, and the best of some, so that a busy machine does not decide."""
    embeddings, issame = pairs(6000, 512, noise=1.0)
    theirs, ours = [], []
    for _ in range(2):
        start = time.perf_counter()
        expected = literal(embeddings, issame)
        theirs.append(time.perf_counter() - start)
        for _ in range(3):
            start = time.perf_counter()
            found = evaluate_verification(embeddings, issame)
            ours.append(time.perf_counter() - start)
        assert_equal(found, expected)
    assert min(theirs) > 20 * min(ours)


def test_a_row_is_as_long_as_it_likes() -> None:
    embeddings, issame = pairs(500, 16, noise=1.0)
    expected = evaluate_verification(embeddings, issame)
    factors = np.random.default_rng(0).uniform(1e-3, 1e3, (1000, 1))
    assert_equal(evaluate_verification(embeddings * factors, issame), vars(expected))
    assert_equal(evaluate_verification(embeddings * np.float32(2) ** -60, issame), vars(expected))


def test_the_images_of_a_pair_have_no_order() -> None:
    embeddings, issame = pairs(500, 16, noise=1.0)
    swapped = embeddings.reshape(500, 2, 16)[:, ::-1].reshape(1000, 16)
    assert_equal(evaluate_verification(swapped, issame), vars(evaluate_verification(embeddings, issame)))


def test_perfect_and_random() -> None:
    embeddings, issame = pairs(2000, 64, noise=0.1)
    perfect = evaluate_verification(embeddings, issame)
    assert (perfect.accuracy, perfect.tar, perfect.auc) == (1.0, {1e-3: 1.0, 1e-4: 1.0}, 1.0)
    random = evaluate_verification(embeddings, np.random.default_rng(1).random(2000) < 0.5)
    assert random.accuracy == pytest.approx(0.5, abs=0.05)
    assert random.auc == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensors_and_repeated_issame(dtype: torch.dtype) -> None:
    embeddings, issame = pairs(100, 8, noise=1.0)
    tensor = torch.from_numpy(embeddings).to(dtype).requires_grad_()
    expected = evaluate_verification(tensor.detach().double().numpy(), issame.tolist())
    assert_equal(evaluate_verification(tensor, torch.from_numpy(issame)), vars(expected))
    assert_equal(evaluate_verification(tensor, issame.repeat(2).astype(np.int64)), vars(expected))


def spoiled(value: float) -> Array:
    embeddings = pairs(300, 4, 1.0)[0].astype(np.float64)
    embeddings[[501, 599], 2] = value
    return embeddings


HALF = np.arange(300) < 150
TWICE = HALF.repeat(2)
DIFFERENT = np.where(np.arange(600) == 11, ~TWICE, TWICE)


@pytest.mark.parametrize(
    ("embeddings", "issame", "options", "message"),
    [
        (spoiled(np.nan), HALF, {}, "row 501 of the embeddings has NaN"),
        (spoiled(-np.inf), HALF, {}, "row 501 of the embeddings has NaN, infinite"),
        (spoiled(1e200), HALF, {}, "row 501 .* too large"),
        (spoiled(0)[:599], HALF, {}, r"shape \(2 x pairs, d\), not \(599, 4\)"),
        (spoiled(0)[0], HALF, {}, "shape"),
        (spoiled(0), HALF[:299], {}, "600 embeddings need issame of 300 pairs or 600 rows, not of 299"),
        (spoiled(0), DIFFERENT, {}, "rows 10 and 11 are a pair, but have different issame"),
        (spoiled(0), HALF[:, None], {}, "one-dimensional"),
        (spoiled(0), HALF * 2, {}, "of True and False"),
        (spoiled(0), HALF | True, {}, "all 300 pairs are genuine"),
        (spoiled(0), HALF & False, {}, "all 300 pairs are impostors"),
        (spoiled(0), HALF, {"folds": 301}, "folds must be from 2 to the number of pairs, 300, not 301"),
        (spoiled(0), HALF, {"folds": 1}, "folds must be"),
        (spoiled(0)[:0], HALF[:0], {}, "folds must be"),
        (spoiled(0), HALF, {"fars": [0.0]}, "FAR must be above 0"),
        (spoiled(0), HALF, {"fars": [1.5]}, "FAR must be above 0"),
        (spoiled(0), HALF, {"fars": [float("nan")]}, "FAR must be above 0"),
    ],
)
def test_refused(embeddings: Array, issame: Array, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_verification(embeddings, issame, **options)
