"""How well the stream shuffles, in pictures, figures and words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wds_face.report import charts
from wds_face.report.markup import GOOD, NOTE, WARN, card, grid
from wds_face.report.training import Training
from wds_face.report.words import share, text
from wds_face.stream.mixing import Mixing
from wds_face.units import plural

Floats = NDArray[np.float64]

_DOTS = 1600  # of a picture

_NAMES = {"stream": "PKStream", "full": "a full shuffle", "shards": "shards in order"}

# Of what a full shuffle reaches: as good, near it, and still varied.
_MET = 0.9, 0.6, 0.3
# Of the pairs in a batch, neighbours beyond those of a full shuffle.
_NEAR = 0.02, 0.1
_SMALL = 0.5


def verdict(found: Mixing) -> tuple[str, str]:
    """What to think of it: a level, and a sentence in HTML."""
    if not found.stream.pairs:
        return NOTE, "<b>Shuffle:</b> a batch of one identity mixes nothing."
    extra = found.stream.neighbours - found.full.neighbours
    met = (
        "identities meet as many others as in a full shuffle"
        if found.met >= _MET[0]
        else "identities meet nearly as many others as in a full shuffle"
        if found.met >= _MET[1]
        else "identities meet the same others again, fewer different ones than in a full shuffle"
    )
    often = share(found.stream.neighbours)
    near = (
        "the set is so small that most of it are neighbours in a shard"
        if found.full.neighbours > _SMALL
        else f"{often} of the pairs in a batch are neighbours in a shard, about as many as there"
        if extra < _NEAR[0] <= found.stream.neighbours
        else f"only {often} of the pairs in a batch are neighbours in a shard"
        if extra < _NEAR[0]
        else f"{often} of the pairs in a batch are neighbours in a shard"
    )
    level = WARN if found.met < _MET[2] or extra > _NEAR[1] else GOOD if extra < _NEAR[0] else NOTE
    if found.met < _MET[1] and level == GOOD:
        level = NOTE
    remedy = "" if level == GOOD else " A larger <code>window</code> mixes more."
    return level, f"<b>Shuffle:</b> {met} ({found.met:.2f} of its pairs), and {near}.{remedy}"


def _times(one: float, other: float) -> str:
    if not other:
        return "1.0 ×" if not one else "∞ ×"
    ratio = one / other
    return f"{ratio:.1f} ×" if ratio < 9.95 else f"{ratio:,.0f} ×"


def intro(training: Training) -> str:
    """What is counted, and of how much."""
    found = training.mixing
    of = "an epoch" if found.batches == found.total else f"{found.batches:,} of an epoch's {found.total:,} batches"
    return (
        f"Counted from the plan of {of}, without reading an image, beside a full shuffle of the same groups and the "
        "shards in their order, which is the worst."
    )


def pictures(training: Training) -> str:
    """The orders in pictures, and both measures."""
    found = training.mixing
    if not found.stream.pairs:
        return '<p class="empty">A batch of one identity mixes nothing.</p>'
    cards = [
        card(
            "Where a batch comes from",
            '<div class="orders">'
            + "".join(_order(name, training.orders[name], training.p) for name in _NAMES)
            + "</div>",
            "A column of dots is a batch; a dot is an identity of it, at its place among the shards. "
            "Even noise is good, lines and bands are not.",
            wide=True,
        )
    ]
    return grid([*cards, _met(found), _neighbours(found)])


def _order(name: str, order: Sequence[Floats], p: int) -> str:
    step = max(1, math.ceil(p * len(order) / _DOTS))
    points = [(i + 0.5, place) for i, batch in enumerate(order) for place in batch[::step].tolist()]
    summary = f"{_NAMES[name]}: places of identities in the first {plural(len(order), 'batch', 'batches')}"
    return (
        f'<figure class="order {name}">{charts.dots(points, summary=summary, wide=max(1, len(order)))}'
        f"<figcaption><b>{text(_NAMES[name])}</b><span>{plural(len(order), 'batch', 'batches')} →</span></figcaption>"
        "</figure>"
    )


def _met(found: Mixing) -> str:
    rows = [
        ("full", 1.0, found.full.met),
        ("stream", found.met, found.stream.met),
        ("shards", found.met_unshuffled, found.unshuffled.met),
    ]
    top = max(1.0, found.met, found.met_unshuffled)
    chart = charts.rows(
        [
            charts.Row(
                _NAMES[name],
                [(value / top, _style(name), f"{value:.2f}", f"{_NAMES[name]}: {met:,} different pairs of identities")],
            )
            for name, value, met in rows
        ],
        summary="Different pairs of identities that met, of those in a full shuffle",
        bar=14,
    )
    return card(
        "Pairs that met",
        f'<div class="labelled">{chart}</div>',
        "Different pairs of identities in one batch, of those in a full shuffle. <b>From 0.9 it is as good as one</b>; "
        "from 0.3 on identities still meet varied others. With p=64 MS1MV2 has 0.39; webdataset's <code>batched</code> "
        "has 0.01 there.",
    )


def _neighbours(found: Mixing) -> str:
    rows = [("full", found.full), ("stream", found.stream), ("shards", found.unshuffled)]
    most = max(one.neighbours for _, one in rows) or 1.0
    chart = charts.rows(
        [
            charts.Row(
                _NAMES[name],
                [
                    (
                        one.neighbours / most,
                        _style(name),
                        f"{share(one.neighbours)} · {_times(one.neighbours, found.full.neighbours)}",
                        f"{_NAMES[name]}: {one.near:,} of {one.pairs:,} pairs are neighbours",
                    )
                ],
            )
            for name, one in rows
        ],
        summary="Share of the pairs in a batch that are neighbours in a shard",
        bar=14,
    )
    return card(
        "Neighbours that met",
        f'<div class="labelled">{chart}</div>',
        "Pairs in a batch that lie within 8 MB of a shard, and how many times as often as in a full shuffle. "
        "Neighbours are strangers, so <b>a few percent more than there do no harm</b>; with a tenth more a batch comes "
        "out of few places.",
    )


def _style(name: str) -> str:
    return {"stream": "first", "full": "second", "shards": "third"}[name]
