"""The page as Chromium shows it, whole and unchanged, in frames of several widths."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pypdf
import pytest
from PIL import Image

from tests.report.browser import HOST, browser, chromium

pytestmark = pytest.mark.skipif(chromium() is None, reason="there is no chromium; apt-get install chromium")

WIDTHS = (400, 768, 1280)

# Measures the page in each frame, and chooses each view.
PROBE = """
const round = box => [box.left, box.top, box.right, box.bottom].map(Math.round);
const measure = frame => {
  const page = frame.contentDocument, all = what => [...page.querySelectorAll(what)];
  const views = {};
  for (const name of ["before", "after", "masks"]) {
    page.querySelector(`label[for=view-${name}]`).click();
    views[name] = Object.fromEntries(["before", "after", "over"].map(kind =>
      [kind, [...new Set(all(".layers ." + kind).map(image => getComputedStyle(image).visibility))]]));
  }
  return {
    width: page.documentElement.clientWidth,
    scrolls: page.documentElement.scrollWidth,
    images: [...page.images].map(image => [image.naturalWidth, image.naturalHeight]),
    charts: all("svg").map(chart => ({
      box: round(chart.getBoundingClientRect()),
      card: round(chart.closest(".card").getBoundingClientRect()),
      marks: [...chart.querySelectorAll(".fill, path")].map(mark => round(mark.getBoundingClientRect())),
      words: [...chart.querySelectorAll("text")].map(word => round(word.getBoundingClientRect())),
      ticks: [...chart.querySelectorAll(".tick[text-anchor=middle]")].map(word => round(word.getBoundingClientRect())),
    })),
    loaded: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name)
      .filter(name => !name.startsWith("data:")),
    views,
  };
};
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(measure);
  document.getElementById("probe").textContent = JSON.stringify(found);
});
"""

CHOOSE = """
addEventListener("load", () => document.querySelectorAll("iframe").forEach((frame, i) => {
  frame.contentDocument.querySelector(`label[for=view-${["masks", "after", "before"][i]}]`).click();
  frame.contentDocument.getElementById("batches").scrollIntoView({behavior: "instant"});
}));
"""


def host(widths: tuple[int, ...], script: str, height: int) -> str:
    size = "border:0;flex:none;width:{}px;height:{}px"
    frames = "".join(f'<iframe src="/report.html" style="{size.format(width, height)}"></iframe>' for width in widths)
    head = '<!DOCTYPE html><link rel="icon" href="data:,"><style>body{margin:0;display:flex;background:#fff}</style>'
    return f'{head}{frames}<pre id="probe"></pre><script>{script}</script>'


def test_it_is_whole_at_every_width(page: Path) -> None:
    pages = {"/report.html": page.read_text(), "/host.html": host(WIDTHS, PROBE, 800)}
    with browser(pages) as opened:
        frames = opened.probe("/host.html")
    assert {url.removeprefix(f"http://{HOST}") for url in opened.asked} == set(pages), "no request leaves the page"
    assert opened.said == []
    assert [frame["width"] for frame in frames] == list(WIDTHS)
    for frame in frames:
        assert frame["scrolls"] == frame["width"], "nothing is wider than the page"
        assert frame["loaded"] == []
        assert len(frame["images"]) > 30
        assert all(width > 0 and height > 0 for width, height in frame["images"])
        assert len(frame["charts"]) >= 9
        for chart in frame["charts"]:
            left, top, right, bottom = chart["box"]
            assert right - left > 80
            assert bottom - top > 40
            assert any(mark[2] > mark[0] and mark[3] > mark[1] for mark in chart["marks"])
            for word in chart["words"]:
                assert chart["card"][0] <= word[0], "words stay in their card"
                assert word[2] <= chart["card"][2]
            places = sorted(chart["ticks"])
            for one, other in pairwise(places):
                assert one[2] < other[0], "labels do not touch"
        assert frame["views"] == {
            "before": {"before": ["visible"], "after": ["visible"], "over": ["hidden"]},
            "after": {"before": ["hidden"], "after": ["visible"], "over": ["hidden"]},
            "masks": {"before": ["hidden"], "after": ["visible"], "over": ["visible"]},
        }


def test_views_change_what_is_seen(page: Path, tmp_path: Path) -> None:
    pages = {"/report.html": page.read_text(), "/host.html": host((400,) * 3, CHOOSE, 1200)}
    with browser(pages) as opened:
        picture = opened.picture("/host.html", tmp_path / "views.png", 1200, 1200)
    assert opened.said == []
    masks, after, before = np.split(np.asarray(Image.open(picture).convert("RGB"), np.int16)[150:], 3, axis=1)
    marked = np.abs(masks - after).max(2) > 20
    assert marked.sum() > 1000
    red, green, blue = (masks - after)[marked].mean(0)
    assert red > green
    assert blue > green, "it is marked in magenta"
    assert (np.abs(before - after).max(2) > 20).sum() > 5000


def words(pdf: Path) -> list[list[tuple[str, float, float, float]]]:
    """Return the pieces of text of each page, as (text, x, y, font size) in points from the lower left corner."""
    pages = []
    for sheet in pypdf.PdfReader(pdf).pages:
        found: list[tuple[str, float, float, float]] = []

        def note(
            piece: str, outer: list[float], inner: list[float], _font: object, size: float, found: list[Any] = found
        ) -> None:
            if piece.strip():
                whole = np.array([[*inner[:2], 0], [*inner[2:4], 0], [*inner[4:], 1]])
                whole = whole @ np.array([[*outer[:2], 0], [*outer[2:4], 0], [*outer[4:], 1]])
                found.append((piece.strip(), *whole[2, :2].tolist(), size * abs(whole[1, 1])))

        sheet.extract_text(visitor_text=note)
        pages.append(found)
    return pages


@pytest.mark.parametrize("shift", range(0, 1000, 200))
def test_headings_are_printed_clear_of_other_text(page: Path, tmp_path: Path, shift: int) -> None:
    """Wherever sheets of paper end, which depends on the length of what comes before."""
    html = page.read_text().replace("<main>", f'<main><div style="height:{shift}px"></div>')
    with browser({"/report.html": html}) as opened:
        sheets = words(opened.printed("/report.html", tmp_path / "report.pdf"))
    for title in ("Identities and shards", "Images", "Those that stand out", "Batches", "Shuffle", "Plan"):
        headings = [(sheet, one) for sheet in sheets for one in sheet if one[0] == title and one[3] > 11]
        assert len(headings) == 1, title
        sheet, heading = headings[0]
        y, size = heading[2:]
        assert not [one for one in sheet if one is not heading and y - size * 0.9 < one[2] < y + size], "overprinted"
        below = [one for one in sheet if 30 < one[2] < y - size]  # not the browser's own last line
        assert len(below) > 3, f"{title} stands above what it is the heading of"


TAP = """
addEventListener("load", () => {
  const inner = frames[0].document, figure = inner.querySelector(".thumbs figure");
  const place = figure.querySelector(".place"), before = inner.defaultView.getComputedStyle(place).display;
  figure.focus();
  const box = place.getBoundingClientRect();
  document.getElementById("probe").textContent = JSON.stringify({
    before, after: inner.defaultView.getComputedStyle(place).display,
    said: place.textContent, left: box.left, right: box.right,
  });
});
"""


def test_where_an_image_lies_is_shown_by_a_tap(page: Path) -> None:
    """A tap gives the focus, which needs no pointer that hovers."""
    with browser({"/report.html": page.read_text(), "/host.html": host((390,), TAP, 800)}) as opened:
        found = opened.probe("/host.html")
    assert (found["before"], found["after"]) == ("none", "block")
    assert "label" in found["said"]
    assert ".tar" in found["said"]
    assert 0 <= found["left"] < found["right"] <= 390


def test_it_is_dark_in_the_dark(page: Path, tmp_path: Path) -> None:
    with browser({"/report.html": page.read_text()}) as opened:
        dark, light = (
            opened.picture(
                "/report.html", tmp_path / f"{number}.png", 600, 500, f"--blink-settings=preferredColorScheme={number}"
            )
            for number in (0, 1)
        )
    paper = [np.asarray(Image.open(file).convert("L"))[:20, :20].mean() for file in (dark, light)]
    assert paper[0] < 40
    assert paper[1] > 220


def test_what_would_leave_the_page_is_seen(page: Path) -> None:
    """The probes find what they look for."""
    html = page.read_text().replace("</body>", '<img src="http://elsewhere.test/a.png"><script>1</script></body>')
    free = html.replace(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'", "default-src * 'unsafe-inline' data:"
    )
    assert free != html
    with browser({"/report.html": html, "/host.html": host((400,), PROBE, 800)}) as opened:
        opened.probe("/host.html")
    assert not any("elsewhere" in url for url in opened.asked), "the policy keeps it in"
    assert any("elsewhere" in line for line in opened.said)
    with browser({"/report.html": free, "/host.html": host((400,), PROBE, 800)}) as opened:
        opened.probe("/host.html")
    assert "http://elsewhere.test/a.png" in opened.asked
