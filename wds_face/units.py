"""Sizes and counts as people read them."""

from __future__ import annotations


def size(nbytes: float) -> str:
    """Bytes: ``91.9 MB``."""
    number, unit = float(nbytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1000, larger
    return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: ``1 shard``, ``2,000 identities``.

    Args:
        count: How many there are.
        one: Noun for one.
        many: Noun for several; by default *one* with an s, or with "ies" for a y.
    """
    if not many:
        many = f"{one[:-1]}ies" if one.endswith("y") else f"{one}s"
    return f"{count:,} {one if count == 1 else many}"
