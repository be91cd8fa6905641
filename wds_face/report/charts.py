"""Charts as inline SVG, made for a page: as wide as there is room, with text of one size, coloured by its style sheet.

Places along x are in percent of the width, so that nothing is scaled. Every mark says in a ``<title>`` what it stands
for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wds_face.report.words import number, text

Floats = NDArray[np.float64]

_HEIGHT = 132  # px, of what is drawn in
_ROW = 26


class Row(NamedTuple):
    """A row of :func:`rows`: its label, and bars of it, each as (share of the width, style, label, tooltip)."""

    label: str
    bars: Sequence[tuple[float, str, str, str]]


def ticks(least: float, most: float, count: int = 5) -> list[float]:
    """Round numbers from *least* to *most*, about *count*."""
    if most <= least:
        return [least]
    rough = (most - least) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first = math.ceil(least / step - 1e-9)
    return [round(step * i, 10) for i in range(first, math.floor(most / step + 1e-9) + 1)]


def decades(least: float, most: float) -> list[float]:
    """Round numbers for a logarithmic axis: 1, 2 and 5 times powers of ten where these are few."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [factor * 10.0**power for power in powers for factor in factors]
        found = [value for value in found if least * 0.999 <= value <= most * 1.001]
        if len(found) <= 6:
            break
    return found if len(found) > 1 else ticks(least, most, 4)


def histogram(
    values: Floats,
    *,
    x: str,
    y: str = "images",
    span: tuple[float, float] | None = None,
    bins: int | None = None,
    log: bool = False,
    whole: bool = False,
    unit: str = "",
) -> str:
    """How often values come.

    Args:
        values: at least one.
        x, y: labels of the axes.
        span: from where to where; by default from the least to the most.
        bins: how many; by default more for more values, 32 at most.
        log: bins of equal ratios.
        whole: values are whole numbers, so that bins begin and end between them.
        unit: behind a value.
    """
    least, most = span or (float(values.min()), float(values.max()))
    bins = bins or min(32, max(8, math.ceil(2 * math.sqrt(len(values)))))
    if log:
        values, least = np.maximum(values, 1e-3), max(least, 1e-3)
        edges = np.geomspace(least / 1.02, max(most, least) * 1.02, bins + 1)
    elif whole:
        step = max(1, math.ceil((most - least + 1) / bins))
        edges = np.arange(least, most + step + 1, step) - 0.5
    else:
        edges = np.linspace(least, most if most > least else least + 1, bins + 1)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    scale = np.log(edges) if log else edges
    places = 100 * (scale - scale[0]) / (scale[-1] - scale[0])

    def place(value: float) -> float:
        """In percent of the width."""
        at = math.log(max(value, 1e-3)) if log else value
        return float(100 * (at - scale[0]) / (scale[-1] - scale[0]))

    bars = [
        (places[i], places[i + 1], int(count), f"{_span(edges[i], edges[i + 1], whole)}{unit}: {count:,} {y}")
        for i, count in enumerate(counts)
    ]
    shown = decades(edges[0], edges[-1]) if log else ticks(edges[0], edges[-1])
    median = float(np.median(values))
    return columns(
        bars,
        labels=[(place(value), number(value)) for value in shown],
        x=x,
        y=y,
        mark=(place(median), f"median {number(median)}{unit}"),
        summary=f"Histogram of {x}, {len(values):,} {y}, from {number(values.min())} to {number(values.max())}{unit}, "
        f"median {number(median)}{unit}",
    )


def _span(least: float, most: float, whole: bool) -> str:
    if not whole:
        return f"{number(least)} to {number(most)}"
    first, last = math.ceil(least), math.floor(most)
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"


def columns(
    bars: Sequence[tuple[float, float, float, str]],
    *,
    labels: Sequence[tuple[float, str]],
    x: str,
    y: str,
    summary: str,
    mark: tuple[float, str] | None = None,
    height: Callable[[float], str] = number,
) -> str:
    """Columns side by side.

    Args:
        bars: from and to in percent of the width, height, tooltip.
        labels: of the x axis: where in percent, and what.
        x, y: labels of the axes.
        summary: the chart in words.
        mark: a line upright: where in percent, and what.
        height: labels a height.
    """
    top = max(1.0, *(one for _, _, one, _ in bars))
    step = max(1.0, ticks(0, top, 3)[1])
    top = step * math.ceil(top / step - 0.05)  # a round number, which the highest may exceed a little
    parts = []
    for i in range(round(top / step) + 1):
        at = round(_HEIGHT - _HEIGHT * step * i / top, 1)
        parts.append(f'<line class="{"line" if i else "axis"}" x1="0" x2="100%" y1="{at:g}" y2="{at:g}"/>')
        parts.append(f'<text class="tick" x="-7" y="{at + 4:g}" text-anchor="end">{text(height(step * i))}</text>')
    for left, right, value, tooltip in bars:
        high = max(_HEIGHT * value / top, 1.5 if value else 0)
        parts.append(
            f'<g class="bar"><rect class="hit" x="{left:.2f}%" width="{right - left:.2f}%" y="0" height="{_HEIGHT}"/>'
            f'<rect class="fill" x="{left:.2f}%" width="{right - left:.2f}%" y="{_HEIGHT - high:.1f}" '
            f'height="{high:.1f}"/><title>{text(tooltip)}</title></g>'
        )
    for at, label in labels:
        parts.append(f'<line class="axis" x1="{at:.2f}%" x2="{at:.2f}%" y1="{_HEIGHT}" y2="{_HEIGHT + 4}"/>')
        parts.append(f'<text class="tick" x="{at:.2f}%" y="{_HEIGHT + 17}" text-anchor="middle">{text(label)}</text>')
    if mark:
        at, label = mark
        anchor, shift = ("end", -5) if at > 50 else ("start", 5)
        parts.append(f'<line class="mark" x1="{at:.2f}%" x2="{at:.2f}%" y1="-14" y2="{_HEIGHT}"/>')
        parts.append(
            f'<text class="label" x="{at:.2f}%" dx="{shift}" y="-5" text-anchor="{anchor}">{text(label)}</text>'
        )
    parts.append(f'<text class="name" x="100%" y="{_HEIGHT + 36}" text-anchor="end">{text(x)}</text>')
    parts.append(f'<text class="name" x="-44" y="-20" text-anchor="start">{text(y)}</text>')
    return _svg("columns", _HEIGHT + 42, summary, parts)


def rows(chart: Sequence[Row], *, summary: str, bar: int = 9) -> str:
    """Bars that lie, one row below the other, each with its label; wide enough for labels of some words.

    Args:
        chart: the rows.
        summary: the chart in words.
        bar: how thick, in px.
    """
    parts, y = [], 0.0
    for row in chart:
        high = max(_ROW, (bar + 4) * len(row.bars) + 8)
        parts.append(f'<text class="tick" x="-10" y="{y + high / 2 + 4:g}" text-anchor="end">{text(row.label)}</text>')
        at = y + (high - (bar + 4) * len(row.bars) + 4) / 2
        for share, style, label, tooltip in row.bars:
            wide = 62 * min(1.0, share)
            parts.append(
                f'<g class="bar"><rect class="hit" x="0" width="100%" y="{at - 2:g}" height="{bar + 4}"/>'
                f'<rect class="fill {style}" x="0" width="{wide:.2f}%" y="{at:g}" height="{bar}" rx="1.5"/>'
                f'<text class="value" x="{wide:.2f}%" dx="6" y="{at + bar / 2 + 4:g}">{text(label)}</text>'
                f"<title>{text(tooltip)}</title></g>"
            )
            at += bar + 4
        y += high
    parts.append(f'<line class="axis" x1="0" x2="0" y1="0" y2="{y:g}"/>')
    return _svg("rows", y + 2, summary, parts)


def dots(points: Sequence[tuple[float, float]], *, summary: str, wide: float, high: float = 1) -> str:
    """Dots in a box without labels, drawn as one path: x from 0 to *wide*, y from 0, below, to *high*."""
    path = "".join(f"M{100 * x / wide:.1f} {100 - 100 * y / high:.1f}h0" for x, y in points)
    return (
        f'<svg class="dots" role="img" aria-label="{text(summary)}" viewBox="0 0 100 100" preserveAspectRatio="none">'
        f'<title>{text(summary)}</title><path d="{path}" vector-effect="non-scaling-stroke"/></svg>'
    )


def _svg(kind: str, high: float, summary: str, parts: list[str]) -> str:
    return f'<svg class="chart {kind}" role="img" aria-label="{text(summary)}" height="{high:g}">{"".join(parts)}</svg>'
