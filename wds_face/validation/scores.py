"""Verification of several sets, and the table of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike

from wds_face.validation.benchmarks import BENCHMARKS
from wds_face.validation.verification import (
    FARS,
    Ints,
    Verification,
    as_array,
    as_flags,
    evaluate_verification,
)


def evaluate_benchmarks(
    embeddings: ArrayLike | torch.Tensor,
    issame: ArrayLike | torch.Tensor,
    dataname: ArrayLike | torch.Tensor,
    index: ArrayLike | torch.Tensor | None = None,
    *,
    names: Mapping[str, int] | None = None,
    folds: int = 10,
    fars: Sequence[float] = FARS,
) -> dict[str, Verification]:
    """Evaluate the rows of several sets, as the validation loader yields them.

    Args:
        embeddings: numbers [m, d].
        issame: bool [m].
        dataname: int [m], the number of the set.
        index: int [m], the position in the whole data set, where rows 2i and 2i + 1 are a pair. Rows are put in this
            order, and those that come again are dropped: a DistributedSampler pads with some. Without it, rows must be
            in order and come once.
        names: numbers of the sets by name; :data:`~wds_face.validation.benchmarks.BENCHMARKS` by default.
        folds: see :func:`~wds_face.validation.verification.evaluate_distances`.
        fars: see :func:`~wds_face.validation.verification.evaluate_distances`.

    Returns:
        By name, in the order of numbers; sets without rows are left out.

    Raises:
        ValueError: if lengths differ, there are no rows, a number has no name, rows of a set are missing, an index
            comes again with another *issame* or *dataname*, or from :func:`evaluate_verification`, with the name of the
            set.
    """
    rows, same, sets = as_array(embeddings), as_flags(issame), as_array(dataname)
    place = np.arange(len(rows)) if index is None else as_array(index)
    if not len(rows) == len(same) == len(sets) == len(place) > 0:
        lengths = f"{len(rows)}, {len(same)}, {len(sets)} and {len(place)}"
        raise ValueError(f"embeddings, issame, dataname and index must have as many rows, not {lengths}")
    place, order, copy_of = np.unique(place, return_index=True, return_inverse=True)
    clash = np.flatnonzero((same[order][copy_of] != same) | (sets[order][copy_of] != sets))
    if len(clash):
        raise ValueError(
            f"index {place[copy_of[clash[0]]]} comes again with another issame or dataname: it must be the position in "
            "the whole data set"
        )
    by_number = {number: name for name, number in (BENCHMARKS if names is None else names).items()}
    results = {}
    for number in np.unique(sets).tolist():
        if number not in by_number:
            raise ValueError(f"dataname {number} has no name; there are {by_number}")
        name = by_number[number]
        members = np.flatnonzero(sets[order] == number)
        if len(members) % 2:
            raise ValueError(f"{name} has {len(members)} rows, an odd number: images are missing")
        if index is not None:
            _check_pairs(name, place[members])
        try:
            results[name] = evaluate_verification(rows[order[members]], same[order[members]], folds=folds, fars=fars)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return results


def mean_accuracy(results: Mapping[str, Verification]) -> float:
    """Plain mean over sets, of 0 to 1. ValueError if there are none."""
    if not results:
        raise ValueError("there are no results to take the mean of")
    return float(np.mean([result.accuracy for result in results.values()]))


def table(results: Mapping[str, Verification]) -> str:
    """A text table, a row for each set and one for the mean; all but pairs and AUC in percent."""
    fars = list(dict.fromkeys(far for result in results.values() for far in result.tar))
    targets = [f"TAR@{np.format_float_scientific(far, trim='-', exp_digits=1)}" for far in fars]
    rows = [["", "pairs", "accuracy", "", *targets, "AUC"]]
    for name, result in results.items():
        accuracy = f"{100 * result.accuracy:.2f}", f"± {100 * result.accuracy_std:.2f}"
        tars = [f"{100 * result.tar[far]:.2f}" if far in result.tar else "-" for far in fars]
        rows.append([name, f"{result.pairs:,}", *accuracy, *tars, f"{result.auc:.4f}"])
    if results:
        of_all = list(results.values())
        tars = [f"{100 * np.mean([result.tar[far] for result in of_all if far in result.tar]):.2f}" for far in fars]
        auc = np.mean([result.auc for result in of_all])
        # A deviation over sets would be another thing than those over folds above it, so its place stays empty.
        rows.append(["mean", "", f"{100 * mean_accuracy(results):.2f}", "", *tars, f"{auc:.4f}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _check_pairs(name: str, place: Ints) -> None:
    """That sorted positions are those of whole pairs, 2i and 2i + 1."""
    broken = np.flatnonzero(place[::2] // 2 != place[1::2] // 2)
    if len(broken):
        first, second = place[2 * broken[0] : 2 * broken[0] + 2]
        raise ValueError(f"{name}: images are missing: index {second} comes after {first}, which is no pair")
