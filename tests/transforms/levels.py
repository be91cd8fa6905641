"""Small tests of random numbers, by hand: scipy would be a dependency for three formulas.

Seeds are fixed, so a check that passes once passes always; the level says how odd a sample may look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

LEVEL = 0.001  #: every p-value must be above


def assert_uniform(sample: Sequence[float] | npt.NDArray[np.float64], low: float, high: float) -> None:
    """Kolmogorov and Smirnov: is *sample* uniform between *low* and *high*?"""
    share = (np.sort(np.asarray(sample, np.float64)) - low) / (high - low)
    count = len(share)
    distance = max((np.arange(1, count + 1) / count - share).max(), (share - np.arange(count) / count).max())
    scaled = distance * (math.sqrt(count) + 0.12 + 0.11 / math.sqrt(count))
    p = 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    assert p > LEVEL, f"not uniform in [{low}, {high}]: D = {distance:.3f} of {count}, p = {p:.2g}"


def assert_equally_often(counts: Sequence[int]) -> None:
    """Chi-square: did each of some things happen as often as the others?"""
    expected, freedom = sum(counts) / len(counts), len(counts) - 1
    assert expected >= 5, "too few for this test"
    statistic = sum((count - expected) ** 2 / expected for count in counts)
    # Wilson and Hilferty: the cube root of chi-square is nearly normal
    spread = 2 / (9 * freedom)
    p = _above(((statistic / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread))
    assert p > LEVEL, f"not equally often: {list(counts)}, p = {p:.2g}"


def assert_share(hits: int, count: int, probability: float) -> None:
    """Did something of this probability happen *hits* times out of *count*? (normal approximation, two sides)"""
    z = (abs(hits - count * probability) - 0.5) / math.sqrt(count * probability * (1 - probability))
    p = min(1.0, 2 * _above(z))
    assert p > LEVEL, f"{hits} of {count} is not {probability}, p = {p:.2g}"


def _above(z: float) -> float:
    return math.erfc(z / math.sqrt(2)) / 2
