"""Verification of several sets, and its table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.validation.protocol import (
    Array,
    assert_equal,
    columns,
)
from wds_face.validation.benchmarks import BENCHMARKS
from wds_face.validation.scores import evaluate_benchmarks, mean_accuracy, table
from wds_face.validation.verification import (
    evaluate_verification,
)


def test_benchmarks() -> None:
    given_, index = columns(), np.arange(300)
    results = evaluate_benchmarks(**given_, folds=5, fars=[0.1])
    assert list(results) == ["agedb_30", "lfw", "calfw"]
    assert [result.pairs for result in results.values()] == [40, 60, 50]
    for name, result in results.items():
        rows = given_["dataname"] == BENCHMARKS[name]
        expected = evaluate_verification(given_["embeddings"][rows], given_["issame"][rows], folds=5, fars=[0.1])
        assert_equal(result, vars(expected))
    assert mean_accuracy(results) == pytest.approx(np.mean([result.accuracy for result in results.values()]))

    given_.pop("index")
    for name, result in evaluate_benchmarks(**given_, folds=5, fars=[0.1]).items():
        assert_equal(result, vars(results[name]))
    given_["dataname"] = index >= 100
    assert list(evaluate_benchmarks(**given_, names={"later": 1, "first": 0})) == ["first", "later"]


def test_rows_of_several_ranks() -> None:
    """Each rank has every third row, and the first ones come again to make their numbers equal, or in a last batch."""
    ordered = columns()
    expected = evaluate_benchmarks(**ordered)
    padded = np.concatenate([np.arange(300), [0, 1, 2, 0]])
    rows = np.concatenate([padded[rank::3] for rank in (2, 0, 1)])
    for order in (rows, np.random.default_rng(0).permutation(rows)):
        tensors = {name: torch.from_numpy(column[order]) for name, column in ordered.items()}
        results = evaluate_benchmarks(**tensors)
        assert list(results) == list(expected)
        for name, result in results.items():
            assert_equal(result, vars(expected[name]))


def without(*missing: int) -> Callable[[dict[str, Array]], dict[str, Array]]:
    return lambda rows: {name: np.delete(column, missing, 0) for name, column in rows.items()}


def changed(name: str, at: int, value: float) -> Callable[[dict[str, Array]], dict[str, Array]]:
    def change(rows: dict[str, Array]) -> dict[str, Array]:
        rows[name][at] = value
        return rows

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(100), "lfw has 119 rows, an odd number: images are missing"),
        (without(101, 110), "lfw: images are missing: index 102 comes after 100, which is no pair"),
        (without(80, 199), "lfw: images are missing: index 82 comes after 81"),
        (without(*range(300)), "as many rows, not 0, 0, 0 and 0"),
        (changed("dataname", slice(80, 200), 7), "dataname 7 has no name; there are .*agedb_30"),
        (changed("issame", slice(200, 300), True), "^calfw: all 50 pairs are genuine"),
        (changed("embeddings", 85, np.nan), "^lfw: row 5 of the embeddings has NaN"),
        (changed("index", 299, 0), "index 0 comes again with another issame or dataname"),
        (lambda rows: rows | {"index": rows["index"][:-1]}, "as many rows, not 300, 300, 300 and 299"),
        (lambda rows: rows | {"issame": rows["issame"][::2]}, "as many rows, not 300, 150"),
    ],
)
def test_benchmarks_refused(change: Callable[[dict[str, Array]], dict[str, Array]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_benchmarks(**change(columns()))


def test_no_results() -> None:
    with pytest.raises(ValueError, match="no results"):
        mean_accuracy({})


def test_table() -> None:
    rows = columns()
    results = evaluate_benchmarks(**rows)
    lines = table(results).splitlines()
    assert lines[0].split() == ["pairs", "accuracy", "TAR@1e-3", "TAR@1e-4", "AUC"]
    assert [line.split()[0] for line in lines[1:]] == ["agedb_30", "lfw", "calfw", "mean"]
    lfw = results["lfw"]
    expected = ["lfw", "60", f"{100 * lfw.accuracy:.2f}", "±", f"{100 * lfw.accuracy_std:.2f}"]
    assert lines[2].split() == [*expected, *(f"{100 * tar:.2f}" for tar in lfw.tar.values()), f"{lfw.auc:.4f}"]
    assert lines[-1].split()[1] == f"{100 * mean_accuracy(results):.2f}"
    assert len({len(line) for line in lines}) == 1
    assert len({line.find(".") for line in lines[1:]}) == 1
    assert len(lines[0]) <= 80
    other = evaluate_verification(rows["embeddings"], rows["issame"], fars=[0.05])
    assert "TAR@5e-2" in table(results | {"cfp_fp": other})
    assert "-" in table(results | {"cfp_fp": other}).splitlines()[2].split()
    assert table({}).split() == ["pairs", "accuracy", "AUC"]
