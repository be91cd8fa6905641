"""Write, read and summarize ``skipped.tsv``, the list of what a conversion left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import get_args

from wds_face.shards.classes import fields, table
from wds_face.sources.source import Skipped, SkippedKind

#: Name of the list in a data set. Each line holds item, reason and kind.
SKIPPED = "skipped.tsv"

_TOO_FEW = "identity with fewer than"
_KINDS: tuple[SkippedKind, ...] = get_args(SkippedKind)
_EXAMPLES = 2  # number of items that an error names for each reason
_REASONS = 3  # number of reasons that an error names


def too_few_images(identity: str, least: int) -> Skipped:
    """Return the entry of an identity with fewer than *least* good images."""
    return Skipped(identity, f"{_TOO_FEW} {least} good images", "other")


def is_too_few(skipped: Skipped) -> bool:
    """Return whether an entry is an identity with too few images."""
    return skipped.reason.startswith(_TOO_FEW)


def write_skipped(skipped: Iterable[Skipped]) -> bytes:
    """Return the bytes of ``skipped.tsv``."""
    return table(skipped)


def read_skipped(data: bytes) -> list[Skipped]:
    """Read ``skipped.tsv``.

    Files of earlier versions have no kind. Their lines count as items, except for identities with too few images, which
    are recognized by their reason.
    """
    return [_entry(line) for line in fields(data)]


def _entry(line: list[str]) -> Skipped:
    entry = Skipped(line[0], line[1] if len(line) > 1 else "")
    if len(line) > 2:
        kind = next((kind for kind in _KINDS if kind == line[2]), entry.kind)
        return entry._replace(kind=kind)
    return entry._replace(kind="other") if is_too_few(entry) else entry


def count_kinds(skipped: Iterable[Skipped]) -> dict[str, int]:
    """Count entries by kind, including kinds with none."""
    counts = Counter(entry.kind for entry in skipped)
    return {kind: counts[kind] for kind in _KINDS}


def describe(skipped: Sequence[Skipped]) -> str:
    """Summarize entries: ``1 image that cannot be read and 12 other files``; an empty string for none."""
    counts = count_kinds(skipped)
    identities = sum(is_too_few(entry) for entry in skipped)
    phrases = [
        _count(counts["container"], "damaged part of a container", "damaged parts of containers"),
        _count(counts["item"], "image that cannot be read", "images that cannot be read"),
        _count(identities, "identity with too few images", "identities with too few images"),
        _count(counts["other"] - identities, "other file", "other files"),
    ]
    *first, last = [phrase for phrase in phrases if phrase] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def frequent_reasons(skipped: Iterable[Skipped]) -> str:
    """Name the most frequent reasons with examples: ``7 × truncated JPEG (a/1.jpg, …), 3 × empty (b/1.jpg)``.

    Reasons that differ only in numbers or in details in parentheses count as one.
    """
    groups: dict[str, list[Skipped]] = {}
    for entry in sorted(skipped):
        general = re.sub(r"\d[\d,]*", "#", entry.reason.partition(" (")[0])
        groups.setdefault(general, []).append(entry)
    ranked = sorted(groups.values(), key=len, reverse=True)
    phrases = []
    for group in ranked[:_REASONS]:
        examples = ", ".join(entry.item for entry in group[:_EXAMPLES])
        more = ", …" if len(group) > _EXAMPLES else ""
        phrases.append(f"{len(group):,} × {group[0].reason} ({examples}{more})")
    if len(ranked) > _REASONS:
        rest = sum(len(group) for group in ranked[_REASONS:])
        phrases.append(f"{rest:,} for other reasons")
    return ", ".join(phrases)


def _count(number: int, singular: str, plural: str) -> str:
    if not number:
        return ""
    return f"{number:,} {singular if number == 1 else plural}"
