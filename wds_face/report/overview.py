"""The top of the page: figures, what stands out, how many images identities have, shards, how it was made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from wds_face.report import charts
from wds_face.report.about import About
from wds_face.report.markup import card, grid, legend, stack, terms, tiles
from wds_face.report.words import number, share, short, size, text
from wds_face.units import plural

_COLUMNS = 100  # shards that have one each
_REASONS = 6  # that are listed


def key_figures(about: About) -> str:
    """The figures that everybody asks for first."""
    counts = about.counts
    per, below = counts["images_per_identity"], counts["below_k"]
    return tiles(
        [
            (
                "Identities",
                short(counts["identities"]),
                f"{_between(per['min'], per['max'], '{:,}'.format)} images each",
            ),
            ("Images", short(counts["images"]), f"{number(per['mean'])} per identity, median {number(per['median'])}"),
            ("Shards", short(counts["shards"]), f"{size(counts['bytes'])} of tar"),
            ("Per image", size(counts["bytes"] / max(1, counts["images"])), "of tar, headers and labels included"),
            (
                f"Fewer than {below['k']} images",
                share(below["share"]),
                f"of identities; they hold {share(below['share_of_images'])} of the images",
            ),
        ]
    )


def _between(least: float, most: float, said: Callable[[float], str]) -> str:
    return said(least) if said(least) == said(most) else f"{said(least)} to {said(most)}"


def spread(about: About) -> str:
    """How many images identities have, and what lies in the shards."""
    return grid([_identities(about), stack([_shards(about), _made(about)])])


def _identities(about: About) -> str:
    counts = about.counts
    total, images = max(1, counts["identities"]), max(1, counts["images"])
    top = max(*(count / total for _, _, count in counts["histogram"]), *(one / images for one in about.held), 1e-9)
    rows = []
    for (least, most, count), inside in zip(counts["histogram"], about.held, strict=True):
        label = f"{least:,}" if most == least else f"{least:,}–{most:,}" if most else f"{least:,}+"
        of = f"{label} {'image' if label == '1' else 'images'}"
        rows.append(
            charts.Row(
                label,
                [
                    (count / total / top, "first", f"{count:,} · {share(count, total)}",
                     f"{plural(count, 'identity', 'identities')} with {of}: {share(count, total)}"),
                    (inside / images / top, "second", f"{inside:,} · {share(inside, images)}",
                     f"{plural(inside, 'image')} of identities with {of}: {share(inside, images)}"),
                ],
            )
        )  # fmt: skip
    return card(
        "Images per identity",
        legend([("first", "identities"), ("second", "their images")])
        + charts.rows(
            rows,
            summary="Identities, and their images, by the number of images that an identity has",
            bar=9 if len(rows) > 6 else 14,
        ),
        "Bars are shares of all identities, and of all images.",
    )


def _shards(about: About) -> str:
    nbytes = [one for _, _, one in about.shards]
    if len(nbytes) > _COLUMNS:
        sizes = np.array(nbytes, float) / 1e6
        chart = charts.histogram(sizes, x="shard size, MB", y="shards", unit=" MB")
    else:
        step = 100 / max(8, len(nbytes))
        bars = [
            (step * i, step * (i + 1), one, f"{name}: {plural(images, 'image')}, {size(one)}")
            for i, (name, images, one) in enumerate(about.shards)
        ]
        every = max(1, round(len(nbytes) / 8))
        top = max(nbytes, default=1)
        chart = charts.columns(
            bars,
            labels=[(step * (i + 0.5), str(i)) for i in range(0, len(nbytes), every)],
            height=lambda value: size(value).replace(".0\u00a0", "\u00a0") if value else "0",
            x="shard number",
            y="bytes",
            summary=f"Bytes of {len(nbytes)} shards, {_between(min(nbytes, default=0), top, size)}",
        )
    return card(
        "Shard sizes",
        chart,
        f"{_between(min(nbytes, default=0), max(nbytes, default=0), size)}. No identity is split between two.",
    )


def _made(about: About) -> str:
    # Their counts are shown by reason below.
    made = {name: value for name, value in about.counts["made"].items() if name != "skipped"}
    rows = list(_flat(made))
    note = ""
    if about.left_out:
        rows.append(("left out", f"{sum(count for _, count in about.left_out):,}"))
        why = ", ".join(f"{text(reason)}: {count:,}" for reason, count in about.left_out[:_REASONS])
        note = (
            f"Left out by the conversion, see <code>skipped.tsv</code>: {why}{', …' * (len(about.left_out) > _REASONS)}"
        )
    return card("How it was made", terms(rows), note)


def _flat(made: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in made.items():
        if isinstance(value, dict):
            yield from _flat(value)
        elif name == "shard_size" and isinstance(value, int):
            yield "shard size", size(value)
        elif name == "plan":
            yield "plan", str(value)[:16]
        else:
            shown = "–" if value is None else ("no", "yes")[value] if isinstance(value, bool) else str(value)
            yield str(name).replace("_", " "), shown
