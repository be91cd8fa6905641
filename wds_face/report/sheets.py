"""Batches as pictures: as they lie in the shards, as the model sees them, and what is occluded."""

from __future__ import annotations

from collections.abc import Sequence

from wds_face.report.about import About
from wds_face.report.pictures import jpeg, overlay, strip
from wds_face.report.training import Pictures
from wds_face.report.words import share, text
from wds_face.units import plural

_P, _K = 16, 8  # that are shown at most

#: Views of a batch: name, and what it is called. The last is shown first.
VIEWS = (
    ("before", "As stored"),
    ("after", "As the model sees"),
    ("masks", "Occlusions marked"),
)


def switches() -> str:
    """What to choose the view by, without a script; it stands before the batches, as siblings of theirs."""
    inputs = "".join(
        f'<input type="radio" name="view" id="view-{name}"{" checked" if name == VIEWS[-1][0] else ""}>'
        for name, _ in VIEWS
    )
    labels = "".join(f'<label for="view-{name}">{text(title)}</label>' for name, title in VIEWS)
    return f'{inputs}<div class="switch">{labels}</div>'


def sheet(number: int, pictures: Pictures, about: About) -> str:
    """One batch.

    Args:
        number: of the batch in its epoch.
        pictures: its images.
        about: knows the names.
    """
    p, k = pictures.after.shape[:2]
    occluded = int((pictures.masks.reshape(p * k, -1) == 0).any(1).sum())
    parts = [_identity(pictures, i, min(k, _K), about) for i in range(min(p, _P))]
    said = f"{plural(p, 'identity', 'identities')} × {plural(k, 'image')}, {share(occluded, p * k)} of them occluded"
    if p > _P or k > _K:
        said += f"; {min(p, _P)} × {min(k, _K)} are shown"
    return (
        f'<div class="sheet"><h3>Batch {number} <span>{text(said)}</span></h3>'
        f'<div class="strips">{"".join(parts)}</div></div>'
    )


def _identity(pictures: Pictures, i: int, k: int, about: About) -> str:
    label = pictures.labels[i]
    name = about.of(label)
    before, after, masks = (strip(column[i, :k]) for column in (pictures.before, pictures.after, pictures.masks))
    high, wide = after.shape[:2]
    size = f'width="{wide}" height="{high}"'
    shade = overlay(masks)
    over = f'<img class="over" src="{shade}" {size} alt="">' if shade else ""
    return (
        f'<figure><div class="layers"><img class="after" src="{jpeg(after)}" {size} '
        f'alt="{k} of {text(name)}"><img class="before" src="{jpeg(before)}" {size} alt="">'
        f'{over}</div><figcaption title="{text(name)}, label {label}"><b>{text(name)}</b><span>{label}</span>'
        "</figcaption></figure>"
    )


def sheets(batches: Sequence[Pictures], about: About) -> str:
    """All batches, with the switches."""
    return switches() + "".join(sheet(number, one, about) for number, one in enumerate(batches))
