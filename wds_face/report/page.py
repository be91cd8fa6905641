"""The page: one HTML file that needs no other, and no network."""

from __future__ import annotations

from collections.abc import Sequence

from wds_face.report import looks, overview, plan, sheets, shuffle
from wds_face.report.about import About
from wds_face.report.markup import findings, section
from wds_face.report.notable import notable
from wds_face.report.style import STYLE
from wds_face.report.survey import Survey
from wds_face.report.training import Pictures, Training
from wds_face.report.words import text
from wds_face.version import __version__

# The browser is told to fetch nothing and to run nothing, whatever should have come in.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

# Browsers would ask for one otherwise: four faces in a square.
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect width='16' height='16' rx='4' fill='%232f6fde'/%3E"
    "%3Cpath d='M5 5h0M11 5h0M5 11h0M11 11h0' stroke='%23fff' stroke-width='4' stroke-linecap='round'/%3E%3C/svg%3E"
)

_SECTIONS = (
    ("identities", "Identities"),
    ("images", "Images"),
    ("extremes", "Extremes"),
    ("batches", "Batches"),
    ("shuffle", "Shuffle"),
    ("plan", "Plan"),
)


def page(
    about: About,
    survey: Survey,
    training: Training,
    batches: Sequence[Pictures],
    *,
    seed: int,
    p: int,
    command: str,
    transforms: str,
) -> str:
    """The HTML.

    Args:
        about: the data set.
        survey: of a sample of its images.
        training: its plan.
        batches: pictures of some.
        seed: of the sample and of the batches.
        p: identities in a batch, as it was asked for.
        command: that makes this page.
        transforms: what the batches went through.
    """
    sections = [
        section("identities", "Identities and shards", "", overview.spread(about)),
        section("images", "Images", looks.intro(survey, seed), looks.charts_of(survey)),
        section("extremes", "Those that stand out", "Of the images that were looked at. Point at one, or tap it, to "
                "see where it lies.", looks.extremes(survey, about)),
        section("batches", "Batches", f"The first of epoch 0, after {transforms}. An identity stands in a row, with "
                "its label.", sheets.sheets(batches, about) if batches else '<p class="empty">There are none.</p>'),
        section("shuffle", "Shuffle", shuffle.intro(training), shuffle.pictures(training)),
        section("plan", "Plan", plan.intro(training), plan.tables(training, about.counts["bytes"])),
    ]  # fmt: skip
    links = "".join(f'<a href="#{name}">{text(title)}</a>' for name, title in _SECTIONS)
    made = " · ".join(
        part for part in (f"index of {about.date}" if about.date else "", f"data {about.digest[:12]}") if part
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><link rel="icon" href="{_ICON}">'
        f"<title>{text(about.name)} · wds_face report</title>"
        f"<style>{STYLE}</style></head><body>"
        f'<header><p class="over">wds_face data set report</p><h1>{text(about.name)}</h1>'
        f'<p class="where"><code>{text(about.url)}</code><span>{text(made)}</span></p><nav>{links}</nav></header>'
        f"<main>{overview.key_figures(about)}{findings(notable(about, survey, training, p))}{''.join(sections)}</main>"
        f"<footer><p>Made by wds_face {text(__version__)}; the same data gives the same page:</p>"
        f"<pre><code>{text(command)}</code></pre></footer></body></html>\n"
    )
