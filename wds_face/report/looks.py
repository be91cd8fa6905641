"""What the images look like: light, sharpness and sizes, and those that stand out."""

from __future__ import annotations

from collections import Counter

import numpy as np

from wds_face.report import charts
from wds_face.report.about import About
from wds_face.report.markup import card, grid
from wds_face.report.pictures import jpeg
from wds_face.report.survey import KINDS, SIZE, SIZES, Specimen, Survey
from wds_face.report.words import number, share, size, text
from wds_face.units import plural

_SIZES = 8  # that are shown one by one
_LISTED = 12  # of what cannot be decoded

_TOLD = {
    "darkest": "by mean luma",
    "brightest": "by mean luma",
    "blurriest": "by the variance of the Laplacian: blurred, enlarged, or without structure",
}


def intro(survey: Survey, seed: int) -> str:
    """What was looked at."""
    said = (
        f"{plural(survey.samples, 'image')} of {plural(survey.identities, 'identity', 'identities')}, chosen at random "
        f"(seed {seed}). Light and sharpness are measured at {SIZES}, as the stream resizes images."
    )
    sizes = {(look.width, look.height) for look in survey.looks}
    if len(sizes) == 1:
        said += " All are {}\u00a0×\u00a0{}\u00a0px.".format(*sizes.pop())
    return said + (f" {share(survey.column('grey').mean())} are grey." if survey.looks else "")


def charts_of(survey: Survey) -> str:
    """Histograms of all that was measured."""
    if not survey.looks:
        return '<p class="empty">None of the images can be decoded.</p>'
    luma, contrast, sharpness = (survey.column(name) for name in ("luma", "contrast", "sharpness"))
    sizes = _sizes(survey)
    return grid(
        [
            card(
                "Brightness",
                charts.histogram(luma, x="mean luma", span=(0, 256)),
                "Luma is 0.299 R + 0.587 G + 0.114 B, from 0 (black) to 255.",
            ),
            card(
                "Sharpness",
                charts.histogram(sharpness, x="variance of the Laplacian, logarithmic", log=True),
                "Of luma; the Laplacian is the sum of the 4 neighbours minus 4 times the pixel.",
            ),
            card(
                "Contrast",
                charts.histogram(contrast, x="standard deviation of luma", span=(0, max(96.0, contrast.max()))),
                "Within an image. Near 0 it is of one grey.",
            ),
            card(
                "File sizes",
                charts.histogram(survey.column("nbytes") / 1000, x="encoded image, kB", unit=" kB"),
                _formats(survey),
            ),
            *sizes,
        ],
        narrow=not sizes,
    )


def _formats(survey: Survey) -> str:
    found = Counter(look.format for look in survey.looks).most_common()
    kinds = ", ".join(f"{share(count, len(survey.looks))} {text(kind)}" for kind, count in found)
    return f"Together {size(survey.column('nbytes').sum())}. {kinds}."


def _sizes(survey: Survey) -> list[str]:
    """A chart of widths and heights, if there are several."""
    found = Counter((look.width, look.height) for look in survey.looks)
    if len(found) == 1:
        return []
    total = len(survey.looks)
    most = sorted(found.items(), key=lambda one: (-one[1], one[0]))
    note = (
        f"Of another size than {SIZES}: {share(total - found[SIZE, SIZE], total)}. The stream stretches them, unless "
        "<code>fit</code> crops or pads them."
    )
    if len(most) > 2 * _SIZES:
        sides = np.array([min(look.width, look.height) for look in survey.looks], float)
        chart = charts.histogram(sides, x="shorter side, px", log=sides.max() > 8 * sides.min(), unit=" px")
        return [card("Image sizes", chart, f"{len(found):,} different sizes. {note}")]
    shown, rest = most[:_SIZES], most[_SIZES:]
    rows = [(f"{width} × {height}", count) for (width, height), count in shown]
    if rest:
        rows.append((plural(len(rest), "other"), sum(count for _, count in rest)))
    top = max(count for _, count in rows) / total
    chart = charts.rows(
        [
            charts.Row(name, [(count / total / top, "first", share(count, total), f"{name}: {plural(count, 'image')}")])
            for name, count in rows
        ],
        summary="Images by width and height in pixels",
        bar=12,
    )
    return [card("Image sizes", chart, "Width × height in px. " + note)]


def extremes(survey: Survey, about: About) -> str:
    """The images that stand out, and a list of those that cannot be decoded."""
    parts = [_gallery(kind, survey.extremes.get(kind, []), about) for kind in KINDS]
    if survey.undecodable:
        parts.append(_undecodable(survey, about))
    return "".join(parts)


def _gallery(kind: str, specimens: list[Specimen], about: About) -> str:
    made = []
    for drawn, value, image in specimens:
        name = about.of(drawn.label)
        where = f"{name}, label {drawn.label}: {drawn.key} in {drawn.url}"
        made.append(
            f'<figure tabindex="0"><img src="{jpeg(image)}" width="{image.shape[1]}" '
            f'height="{image.shape[0]}" alt="{text(kind)}: {text(name)}">'
            f"<figcaption><b>{number(value)}</b>{text(name)}</figcaption>"
            f'<p class="place">{text(where)}</p></figure>'
        )
    if not made:
        return ""
    return (
        f'<div class="shelf"><h3>{text(kind.capitalize())}</h3><p class="note">{text(_TOLD[kind])}</p>'
        f'<div class="thumbs">{"".join(made)}</div></div>'
    )


def _undecodable(survey: Survey, about: About) -> str:
    listed = "".join(
        f"<li>{text(about.of(drawn.label))}, label {drawn.label}: <code>{text(drawn.key)}</code> in "
        f"<code>{text(drawn.url)}</code></li>"
        for drawn in survey.undecodable[:_LISTED]
    )
    more = len(survey.undecodable) - _LISTED
    listed += f"<li>and {more:,} more</li>" if more > 0 else ""
    bad = len(survey.undecodable)
    said = f"{plural(bad, 'image')}, {share(bad, survey.samples)} of those looked at."
    return (
        f'<div class="shelf"><h3>Cannot be decoded</h3><p class="note">{said} The stream takes another of the identity '
        f'instead.</p><ul class="list">{listed}</ul></div>'
    )
