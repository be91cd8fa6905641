"""The published protocol, written out: facenet's and InsightFace's functions, with numpy for scikit-learn and scipy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wds_face.validation.verification import (
    Verification,
)

Array = NDArray[Any]
FIELDS = ["accuracy", "accuracy_std", "accuracies", "thresholds", "tar", "tar_std", "far", "tpr", "fpr"]


def literal_folds(n: int, folds: int) -> Iterator[tuple[Array, Array]]:
    """KFold(folds, shuffle=False)."""
    start = 0
    for fold in range(folds):
        stop = start + n // folds + (1 if fold < n % folds else 0)
        test = np.arange(n)[start:stop]
        yield np.setdiff1d(np.arange(n), test), test
        start = stop


def literal_accuracy(threshold: float, distances: Array, issame: Array) -> tuple[float, float, float]:
    predicted = np.less(distances, threshold)
    tp = np.sum(np.logical_and(predicted, issame))
    fp = np.sum(np.logical_and(predicted, np.logical_not(issame)))
    tn = np.sum(np.logical_and(np.logical_not(predicted), np.logical_not(issame)))
    fn = np.sum(np.logical_and(np.logical_not(predicted), issame))
    tpr = 0 if tp + fn == 0 else float(tp) / float(tp + fn)
    fpr = 0 if fp + tn == 0 else float(fp) / float(fp + tn)
    return tpr, fpr, float(tp + tn) / distances.size


def literal_roc(distances: Array, issame: Array, folds: int) -> dict[str, Any]:
    thresholds = np.arange(0, 4, 0.01)
    tprs, fprs = np.zeros((folds, len(thresholds))), np.zeros((folds, len(thresholds)))
    accuracies, best = np.zeros(folds), np.zeros(folds)
    for fold, (train, test) in enumerate(literal_folds(len(distances), folds)):
        acc_train = np.zeros(len(thresholds))
        for i, threshold in enumerate(thresholds):
            _, _, acc_train[i] = literal_accuracy(threshold, distances[train], issame[train])
        best[fold] = thresholds[np.argmax(acc_train)]
        for i, threshold in enumerate(thresholds):
            tprs[fold, i], fprs[fold, i], _ = literal_accuracy(threshold, distances[test], issame[test])
        _, _, accuracies[fold] = literal_accuracy(best[fold], distances[test], issame[test])
    return {
        "accuracy": accuracies.mean(),
        "accuracy_std": accuracies.std(),
        "accuracies": accuracies,
        "thresholds": best,
        "tpr": tprs.mean(0),
        "fpr": fprs.mean(0),
    }


def literal_val_far(threshold: float, distances: Array, issame: Array) -> tuple[float, float]:
    """NaN where the published code divides by zero."""
    predicted = np.less(distances, threshold)
    true_accept = np.sum(np.logical_and(predicted, issame))
    false_accept = np.sum(np.logical_and(predicted, np.logical_not(issame)))
    same, different = np.sum(issame), np.sum(np.logical_not(issame))
    val = float(true_accept) / float(same) if same else np.nan
    return val, float(false_accept) / float(different) if different else np.nan


def literal_interpolation(target: float, far: Array, thresholds: Array) -> float:
    """scipy's interp1d(far, thresholds, kind="linear")(target), where far reaches the target and begins below it."""
    below = max(i for i in range(len(far)) if far[i] <= target)
    if far[below] == target:
        return float(thresholds[below])
    slope = (thresholds[below + 1] - thresholds[below]) / (far[below + 1] - far[below])
    return float(slope * (target - far[below]) + thresholds[below])


def literal_val(distances: Array, issame: Array, target: float, folds: int) -> tuple[float, float, float]:
    thresholds = np.arange(0, 4, 0.001)
    val, far = np.zeros(folds), np.zeros(folds)
    for fold, (train, test) in enumerate(literal_folds(len(distances), folds)):
        far_train = np.zeros(len(thresholds))
        for i, threshold in enumerate(thresholds):
            _, far_train[i] = literal_val_far(threshold, distances[train], issame[train])
        reached = np.max(far_train) >= target
        threshold = literal_interpolation(target, far_train, thresholds) if reached else 0.0
        val[fold], far[fold] = literal_val_far(threshold, distances[test], issame[test])
    return float(np.nanmean(val)), float(np.nanstd(val)), float(np.nanmean(far))


def literal_distances(embeddings: Array) -> Array:
    rows = embeddings.astype(np.float64)
    lengths = np.array([np.sqrt(np.dot(row, row)) for row in rows])
    rows /= np.where(lengths > 0, lengths, 1)[:, None]
    return np.sum(np.square(np.subtract(rows[0::2], rows[1::2])), 1)


def literal_of_distances(distances: Array, issame: Array, folds: int, fars: tuple[float, ...]) -> dict[str, Any]:
    found = literal_roc(distances, issame, folds)
    vals = {far: literal_val(distances, issame, far, folds) for far in fars}
    for i, name in enumerate(["tar", "tar_std", "far"]):
        found[name] = {far: val[i] for far, val in vals.items()}
    return found


def literal(
    embeddings: Array, issame: Array, folds: int = 10, fars: tuple[float, ...] = (1e-3, 1e-4)
) -> dict[str, Any]:
    """Everything that a Verification has, by the published protocol."""
    return literal_of_distances(literal_distances(embeddings), issame, folds, fars)


def assert_equal(ours: Verification, theirs: dict[str, Any]) -> None:
    for name in FIELDS:
        mine, other = getattr(ours, name), theirs[name]
        if isinstance(mine, dict):
            assert list(mine) == list(other)
            mine, other = list(mine.values()), list(other.values())
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-9, err_msg=name)


def pairs(n: int, d: int, noise: float, seed: int = 0, genuine: float = 0.5) -> tuple[Array, Array]:
    """float32 [2n, d] and bool [n]: genuine pairs are like each other."""
    rng = np.random.default_rng(seed)
    issame = rng.random(n) < genuine
    embeddings = rng.standard_normal((2 * n, d), np.float32)
    other = embeddings[::2] + noise * rng.standard_normal((n, d), np.float32)
    embeddings[1::2] = np.where(issame[:, None], other, embeddings[1::2])
    return embeddings, issame


def columns() -> dict[str, Array]:
    """Rows of three sets, in the order of the whole data set."""
    sets = [pairs(n, 8, 1.0, seed=n) for n in (40, 60, 50)]
    return {
        "embeddings": np.concatenate([embeddings for embeddings, _ in sets]),
        "issame": np.concatenate([issame.repeat(2) for _, issame in sets]),
        "dataname": np.repeat([0, 2, 4], [80, 120, 100]),
        "index": np.arange(300),
    }
