"""Charts: sound XML, every value in it, nothing that is not."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from wds_face.report import charts
from wds_face.report.charts import Row, decades, ticks


def parsed(svg: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert root.get("aria-label")
    return root


def titles(svg: str) -> list[str]:
    return [title.text or "" for title in parsed(svg).iter("title")]


def test_round_numbers() -> None:
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(0, 289, 3) == [0, 100, 200]
    assert ticks(3.6, 7.1, 4) == [4, 5, 6, 7]
    assert ticks(5, 5) == [5]
    assert decades(14, 1100) == [20, 50, 100, 200, 500, 1000]
    assert len(decades(1684, 1745)) > 1


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values",
    [np.random.default_rng(0).lognormal(3, 1, 500), np.full(9, 7.0), np.zeros(3), np.array([1e-5, 1e6])],
    ids=["many", "same", "zero", "wide"],
)
def test_histograms_count_every_value(values: np.ndarray, log: bool) -> None:
    svg = charts.histogram(values, x="mean luma", log=log)
    counts = [int(re.search(r": ([\d,]+) images$", title)[1].replace(",", "")) for title in titles(svg)]  # type: ignore[index]
    assert sum(counts) == len(values)
    assert "nan" not in svg
    assert f"{len(values)} images" in svg
    assert "median" in svg
    words = [element.text for element in parsed(svg).iter("text")]
    assert "mean luma" in words
    assert "images" in words


def test_values_beyond_the_span_are_in_its_last_bins() -> None:
    svg = charts.histogram(np.array([-5.0, 3.0, 500.0]), x="x", span=(0, 256), bins=8)
    assert titles(svg)[0] == "0 to 32: 2 images"
    assert titles(svg)[-1] == "224 to 256: 1 images"


def test_heights_are_true() -> None:
    bars = [(0.0, 50.0, 4.0, "four"), (50.0, 100.0, 1.0, "one")]
    svg = charts.columns(bars, labels=[(50, "x")], x="x", y="y", summary="two columns")
    high = [float(rect.get("height", 0)) for rect in parsed(svg).iter("rect") if rect.get("class") == "fill"]
    assert high[0] == pytest.approx(4 * high[1], rel=0.01)
    assert max(high) <= 132


def test_rows_are_escaped_and_as_long_as_they_should_be() -> None:
    chart = [Row("<a>", [(1.0, "first", "1 & 2", "<title>"), (0.5, "second", "", "half")])]
    svg = charts.rows(chart, summary='"rows"')
    assert "<a>" not in svg
    assert titles(svg) == ["<title>", "half"]
    wide = [float(rect.get("width", "0").rstrip("%")) for rect in parsed(svg).iter("rect") if rect.get("rx")]
    assert wide[0] == 2 * wide[1]


def test_dots_lie_in_their_box() -> None:
    svg = charts.dots([(0.5, 0.0), (1.5, 1.0)], summary="dots", wide=2)
    (path,) = parsed(svg).iter("path")
    assert path.get("d") == "M25.0 100.0h0M75.0 0.0h0"
