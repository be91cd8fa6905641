"""Sizes as people read them."""

from __future__ import annotations


def size(nbytes: float) -> str:
    """Bytes: ``91.9 MB``."""
    number, unit = float(nbytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1000, larger
    return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"
