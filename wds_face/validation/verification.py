"""Face verification: are two images of the same person? 10-fold accuracy, ROC and TAR at FAR of pairs of embeddings.

The protocol is the one published with LFW, as facenet's and InsightFace's ``verification.py`` have it. They compare
every distance with every threshold, in every fold. Here each distance is sorted into the thresholds once, and counts do
the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

#: Squared distances that accuracy and the ROC, and TAR at FAR, are looked for at; as published.
THRESHOLDS: Floats = np.arange(0, 4, 0.01)
FINE_THRESHOLDS: Floats = np.arange(0, 4, 0.001)

#: The FARs that TAR is given for.
FARS = 1e-3, 1e-4
_BLOCK = 128  # rows whose distances are taken at a time, an even number: in float64 they stay in the processor's cache


@dataclass(frozen=True, eq=False)  # arrays have no single truth to compare by
class Verification:
    """What :func:`evaluate_verification` finds in a set.

    Attributes:
        pairs: how many there are.
        accuracy, accuracy_std: mean and standard deviation over folds, of 0 to 1.
        accuracies: float64 [folds].
        thresholds: float64 [folds], squared distances: the best of the other folds.
        tar: share of genuine pairs taken for the same person, for each FAR that was asked for; mean over folds.
        tar_std: its standard deviation over folds.
        far: share of impostor pairs that were taken for the same person at that, mean over folds.
        roc_thresholds: float64 [400], :data:`THRESHOLDS`.
        tpr, fpr: float64 [400], shares of genuine and of impostor pairs below each, mean over folds.
    """

    pairs: int
    accuracy: float
    accuracy_std: float
    accuracies: Floats
    thresholds: Floats
    tar: dict[float, float]
    tar_std: dict[float, float]
    far: dict[float, float]
    roc_thresholds: Floats
    tpr: Floats
    fpr: Floats

    @property
    def auc(self) -> float:
        """Area under the ROC, which begins at (0, 0) and ends at (1, 1), by trapezoids."""
        fpr, tpr = (np.concatenate([[0.0], rates, [1.0]]) for rates in (self.fpr, self.tpr))
        return float(np.diff(fpr) @ (tpr[1:] + tpr[:-1]) / 2)


def evaluate_verification(
    embeddings: ArrayLike | torch.Tensor,
    issame: ArrayLike | torch.Tensor,
    *,
    folds: int = 10,
    fars: Sequence[float] = FARS,
) -> Verification:
    """Evaluate pairs of embeddings.

    Args:
        embeddings: numbers [2n, d], numpy or torch; rows 2i and 2i + 1 are pair i. They are brought to length 1 here,
            in float64; a row of zeros stays one.
        issame: bool [n], or [2n] with each value twice, as the data set yields them.
        folds: see :func:`evaluate_distances`.
        fars: see :func:`evaluate_distances`.

    Raises:
        ValueError: if shapes do not fit, the two of a pair have different *issame*, an embedding is not finite, or from
            :func:`evaluate_distances`.
    """
    rows = as_array(embeddings)
    if rows.ndim != 2 or len(rows) % 2:
        raise ValueError(f"embeddings must have the shape (2 x pairs, d), not {rows.shape}")
    return evaluate_distances(_distances(rows), _of_pairs(as_flags(issame), len(rows)), folds=folds, fars=fars)


def evaluate_distances(
    distances: Floats, issame: Flags, *, folds: int = 10, fars: Sequence[float] = FARS
) -> Verification:
    """Evaluate pairs whose distances are known. A pair is taken for the same person where distance < threshold.

    Folds are contiguous, and the first n % folds have one pair more: scikit-learn's ``KFold(folds, shuffle=False)``.
    Accuracy of a fold is that at the first threshold that is best on the others.

    For TAR at FAR the threshold is interpolated linearly where the FAR of the other folds crosses the target, by
    :func:`numpy.interp`, as scipy's ``interp1d(kind="linear")`` does it: where the FAR of thresholds is exactly the
    target, it is the last of them. It is 0, and takes no pair, where no threshold reaches the target or the other folds
    have no impostors. Folds without genuine pairs are left out of TAR, and those without impostors out of the measured
    FAR; in the ROC both count as 0, as published.

    Args:
        distances: float64 [n], squared Euclidean, of 0 to 4.
        issame: bool [n].
        folds: 2 at least.
        fars: targets, above 0 and up to 1.

    Raises:
        ValueError: if there are fewer pairs than *folds*, no genuine or no impostor pairs, or *folds* or *fars* are out
            of range.
    """
    n = len(distances)
    if not 2 <= folds <= n:
        raise ValueError(f"folds must be from 2 to the number of pairs, {n}, not {folds}")
    if not all(0 < far <= 1 for far in fars):
        raise ValueError(f"each FAR must be above 0 and up to 1, not {tuple(fars)}")
    if issame.all() or not issame.any():
        raise ValueError(f"all {n} pairs are {'genuine' if issame.any() else 'impostors'}: both kinds are needed")

    sizes = n // folds + (np.arange(folds) < n % folds)
    fold = np.repeat(np.arange(folds), sizes)
    group = 2 * fold + issame
    impostors, genuine = np.bincount(group, minlength=2 * folds).reshape(folds, 2).T

    false, true = _below(distances, group, THRESHOLDS, folds)
    right = true + impostors[:, None] - false
    best = (right.sum(0) - right).argmax(1)
    accuracies = right[np.arange(folds), best] / sizes

    false_fine = _below(distances, group, FINE_THRESHOLDS, folds)[0]
    others = (impostors.sum() - impostors)[:, None]
    far_train = (false_fine.sum(0) - false_fine) / np.maximum(others, 1)
    tar, tar_std, measured = {}, {}, {}
    for far in map(float, fars):
        limits = np.array([np.interp(far, row, FINE_THRESHOLDS) if row[-1] >= far else 0.0 for row in far_train])
        taken = np.bincount(group[distances < limits[fold]], minlength=2 * folds).reshape(folds, 2)
        tars = taken[genuine > 0, 1] / genuine[genuine > 0]
        tar[far], tar_std[far] = float(tars.mean()), float(tars.std())
        measured[far] = float((taken[impostors > 0, 0] / impostors[impostors > 0]).mean())
    return Verification(
        pairs=n,
        accuracy=float(accuracies.mean()),
        accuracy_std=float(accuracies.std()),
        accuracies=accuracies,
        thresholds=THRESHOLDS[best],
        tar=tar,
        tar_std=tar_std,
        far=measured,
        roc_thresholds=THRESHOLDS.copy(),
        tpr=(true / np.maximum(genuine, 1)[:, None]).mean(0),
        fpr=(false / np.maximum(impostors, 1)[:, None]).mean(0),
    )


def as_array(values: ArrayLike | torch.Tensor) -> NDArray[Any]:
    """As numpy, which has no bfloat16."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return np.asarray(values)


def as_flags(issame: ArrayLike | torch.Tensor) -> Flags:
    """bool [n]. ValueError for what is neither True nor False, 1 nor 0."""
    flags = as_array(issame)
    if flags.ndim != 1 or not ((flags == 0) | (flags == 1)).all():
        raise ValueError("issame must be one-dimensional, of True and False or of 1 and 0")
    return flags.astype(np.bool_)


def _of_pairs(issame: Flags, rows: int) -> Flags:
    """bool [n], from that or from [2n] with each value twice."""
    if 2 * len(issame) == rows:
        return issame
    if len(issame) != rows:
        raise ValueError(f"{rows} embeddings need issame of {rows // 2} pairs or {rows} rows, not of {len(issame)}")
    different = np.flatnonzero(issame[::2] != issame[1::2])
    if len(different):
        raise ValueError(f"rows {2 * different[0]} and {2 * different[0] + 1} are a pair, but have different issame")
    return issame[::2]


def _distances(embeddings: NDArray[Any]) -> Floats:
    """Squared distances [n] of the rows 2i and 2i + 1 of [2n, d], brought to length 1.

    The operations are those of scikit-learn's ``normalize`` and of the published code, in their order: a distance that
    lies on a threshold lies on the same side of it.
    """
    found = np.empty(len(embeddings) // 2)
    for start in range(0, len(embeddings), _BLOCK):
        rows = np.asarray(embeddings[start : start + _BLOCK], np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        if not np.isfinite(lengths).all():
            row = start + int(np.isfinite(lengths).argmin())
            raise ValueError(f"row {row} of the embeddings has NaN, infinite or too large numbers")
        lengths[lengths == 0] = 1
        rows = rows / lengths[:, None]
        difference = rows[::2] - rows[1::2]
        found[start // 2 : (start + _BLOCK) // 2] = np.sum(np.square(difference, out=difference), 1)
    return found


def _below(distances: Floats, group: Ints, thresholds: Floats, folds: int) -> tuple[Ints, Ints]:
    """How many impostor and how many genuine pairs of each fold lie below each threshold: int64 [folds, thresholds]."""
    bins = len(thresholds) + 1
    first_above = np.searchsorted(thresholds, distances, side="right")
    counts = np.bincount(group * bins + first_above, minlength=2 * folds * bins).reshape(folds, 2, bins)
    below = counts.cumsum(2)[:, :, :-1]
    return below[:, 0], below[:, 1]
