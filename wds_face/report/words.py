"""Numbers and names as people read them, safe to stand in a page."""

from __future__ import annotations

import html
import re

from wds_face import units

_UNPRINTED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def text(value: object) -> str:
    """Anything as text of a page: escaped, and with a mark where it is no text (names of files may be anything)."""
    return html.escape(_UNPRINTED.sub("\ufffd", str(value)))


def number(value: float) -> str:
    """A number with three digits that count, or all of a whole one: ``1,204``, ``35.2``, ``0.0041``."""
    value = float(value)
    if value == round(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.3g}"


def share(part: float, whole: float = 1) -> str:
    """A part of a whole in percent: ``89 %``, ``0.49 %``. Its space is one that no line breaks at."""
    percent = 100 * part / whole if whole else 0.0
    if not percent:
        return "0\u00a0%"
    if percent == 100 or 9.95 <= percent < 99.5:
        return f"{percent:.0f}\u00a0%"
    if percent >= 99.5:
        return f"{percent:.1f}\u00a0%" if percent < 99.95 else "> 99.9\u00a0%"
    return (
        f"{percent:.1f}\u00a0%" if percent >= 0.95 else f"{percent:.2g}\u00a0%" if percent >= 0.01 else "< 0.01\u00a0%"
    )


def size(nbytes: float) -> str:
    """Bytes for people, see :func:`wds_face.units.size`, without a space that lines break at."""
    return units.size(nbytes).replace(" ", "\u00a0")


def short(count: float) -> str:
    """A count in few letters: ``13,233``, ``5.82 M``."""
    for least, unit in ((1e9, "G"), (1e6, "M")):
        if count >= least:
            return f"{count / least:,.3g}\u00a0{unit}"
    return f"{count:,.0f}"
