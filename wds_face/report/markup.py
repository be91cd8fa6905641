"""The pieces that a page is put together from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wds_face.report.words import text

#: What a finding is: as it should be, worth knowing, or to be looked after.
GOOD, NOTE, WARN = "good", "note", "warn"

_MARKS = {GOOD: "✓", NOTE: "i", WARN: "!"}


def section(name: str, title: str, intro: str, body: str) -> str:
    """A section.

    Args:
        name: of its anchor.
        title: plain.
        intro: what is shown, as HTML; '' for nothing.
        body: HTML.
    """
    lead = f'<p class="lead">{intro}</p>' if intro else ""
    return f'<section id="{name}"><h2>{text(title)}</h2>{lead}{body}</section>'


def card(title: str, body: str, note: str = "", *, wide: bool = False) -> str:
    """A chart or a table with its title and what is to be known of it (HTML)."""
    foot = f'<figcaption class="note">{note}</figcaption>' if note else ""
    return f'<figure class="card{" wide" if wide else ""}"><h3>{text(title)}</h3>{body}{foot}</figure>'


def grid(cards: Iterable[str], *, narrow: bool = False) -> str:
    """Cards side by side, as many as fit; they fill each row.

    Args:
        cards: HTML.
        narrow: four in a row, instead of three, where there is room.
    """
    return f'<div class="grid{" narrow" if narrow else ""}">{"".join(cards)}</div>'


def stack(cards: Iterable[str]) -> str:
    """Cards one below the other, in one place of a grid."""
    return f'<div class="stack">{"".join(cards)}</div>'


def tiles(figures: Sequence[tuple[str, str, str]]) -> str:
    """Key figures: what, the figure, and what is to be known of it; all plain."""
    made = (
        f'<div class="tile"><dt>{text(what)}</dt><dd><b>{text(figure)}</b><span>{text(more)}</span></dd></div>'
        for what, figure, more in figures
    )
    return f'<dl class="tiles">{"".join(made)}</dl>'


def findings(found: Sequence[tuple[str, str]]) -> str:
    """A list of findings, each :data:`GOOD`, :data:`NOTE` or :data:`WARN`, and HTML."""
    items = (
        f'<li class="is-{level}"><span class="sign" aria-label="{level}">{_MARKS[level]}</span><div>{said}</div></li>'
        for level, said in found
    )
    return f'<ul class="findings">{"".join(items)}</ul>'


def facts(rows: Iterable[tuple[str, str, str]]) -> str:
    """A table of names, values and remarks, all plain."""
    made = (
        f'<tr><th scope="row">{text(name)}</th><td class="figure">{text(value)}</td><td>{text(remark)}</td></tr>'
        for name, value, remark in rows
    )
    return f'<table class="facts"><tbody>{"".join(made)}</tbody></table>'


def terms(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values in columns, plain."""
    made = (f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in rows)
    return f'<dl class="terms">{"".join(made)}</dl>'


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """What the styles of bars stand for."""
    made = (f'<span><i class="{style}"></i>{text(what)}</span>' for style, what in entries)
    return f'<div class="legend">{"".join(made)}</div>'
