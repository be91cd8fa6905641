"""Numbers that a user gave, checked when a transform is built, so that no worker meets a wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real


def probability(name: str, value: float) -> float:
    """*value*, if it is one.

    Raises:
        ValueError: it is not in [0, 1].
    """
    if not isinstance(value, Real) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a probability, from 0 to 1, not {value!r}")
    return float(value)


def span(name: str, value: Sequence[float], lowest: float, highest: float) -> tuple[float, float]:
    """*value* as (low, high), if lowest <= low <= high <= highest.

    Raises:
        ValueError: it is not.
    """
    low, high = value
    if not (isinstance(low, Real) and isinstance(high, Real) and lowest <= low <= high <= highest):
        raise ValueError(f"{name} must rise within [{lowest:g}, {highest:g}], not go from {low!r} to {high!r}")
    return float(low), float(high)


def between(name: str, value: float, lowest: float, highest: float) -> float:
    """*value*, if it lies between these.

    Raises:
        ValueError: it does not.
    """
    if not isinstance(value, Real) or not lowest <= value <= highest:
        raise ValueError(f"{name} must be from {lowest:g} to {highest:g}, not {value!r}")
    return float(value)


def count(name: str, value: int, least: int = 1) -> int:
    """*value*, if it is a whole number, of pixels or of other things.

    Raises:
        ValueError: it is not, or below *least*.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be a whole number, {least} or more, not {value!r}")
    return int(value)
