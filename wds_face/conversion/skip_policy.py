"""Decide whether a conversion may leave out what it cannot read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real

from wds_face.conversion.skipped import frequent_reasons, is_too_few
from wds_face.errors import SourceError, WdsFaceError
from wds_face.shards.sizes import share
from wds_face.sources.source import Skipped

#: Default share of images that may be unreadable. Public face sets have a few such images per million; one in 100
#: points to an incomplete copy or the wrong folder.
DEFAULT_MAX_SKIPPED = 0.01

_EXAMPLES = 3  # number of damaged containers that an error names


@dataclass(frozen=True)
class SkipPolicy:
    """Decides whether a conversion may leave out what it cannot read.

    - A damaged *container* (shard, record file, index, Git LFS pointer) is refused unless ``salvage``.
    - Unreadable *items* are refused when there are more than ``max_skipped`` of them.
    - *Other* things (text files, identities with too few images) may always be left out.

    Attributes:
        strict: Refuse anything in the source that would be left out, whatever its kind.
        salvage: Take what can still be read of damaged containers.
        max_skipped: Limit of unreadable items: an int is a number of items, a float between 0 and 1 is a share of all
            items, a string is read by :func:`parse_max_skipped`.

    Raises:
        WdsFaceError: ``max_skipped`` is not a valid limit, or both ``strict`` and ``salvage`` are set.
    """

    strict: bool = False
    salvage: bool = False
    max_skipped: int | float | str = DEFAULT_MAX_SKIPPED

    def __post_init__(self) -> None:
        if self.strict and self.salvage:
            raise WdsFaceError("strict and salvage contradict each other: give one of them")
        object.__setattr__(self, "max_skipped", parse_max_skipped(self.max_skipped))

    def refuse_any(self, skipped: Iterable[Skipped]) -> None:
        """Raise an error about the first entry that a strict conversion would leave out.

        Raises:
            SourceError: ``strict`` is set, and something other than an identity with too few images is left out.
        """
        if not self.strict:
            return
        left_out = [entry for entry in skipped if not is_too_few(entry)]
        if left_out:
            more = f" ({len(left_out) - 1:,} more)" if left_out[1:] else ""
            raise SourceError(f"strict: {left_out[0].item}: {left_out[0].reason}{more}")

    def check(self, skipped: Iterable[Skipped], items: int, source: str, remedy: str = "") -> None:
        """Raise an error if any of the entries may not be left out.

        Args:
            skipped: Everything that would be left out.
            items: Number of all items, readable or not; ``max_skipped`` may be a share of it.
            source: Name of the source, for the message.
            remedy: Remedy for damaged containers other than replacing them, for the message.

        Raises:
            SourceError: A container is damaged and ``salvage`` is not set, or too many items are unreadable.
        """
        skipped = sorted(skipped)
        self.refuse_any(skipped)
        containers = [entry for entry in skipped if entry.kind == "container"]
        if containers and not self.salvage:
            named = "; ".join(f"{entry.item}: {entry.reason}" for entry in containers[:_EXAMPLES])
            more = f"; and {len(containers) - _EXAMPLES:,} more" if len(containers) > _EXAMPLES else ""
            remedy = remedy or "Replace it"
            raise SourceError(
                f"{source} is damaged, nothing is published: {named}{more}. {remedy}, or say --salvage to take what "
                "can be read"
            )
        unreadable = [entry for entry in skipped if entry.kind == "item"]
        if len(unreadable) > self.allowed(items):
            how_many = f"{len(unreadable):,} of {items:,} images cannot be read ({share(len(unreadable), items)})"
            raise SourceError(
                f"{source}: {how_many}, more than --max-skipped {self._limit()} allows; nothing is published: "
                f"{frequent_reasons(unreadable)}"
            )

    def allowed(self, items: int) -> int:
        """Return how many of *items* may be unreadable."""
        assert not isinstance(self.max_skipped, str)
        if isinstance(self.max_skipped, int):
            return self.max_skipped
        return math.floor(self.max_skipped * items + 1e-9)  # 0.29 * 100 is a little less than 29

    def _limit(self) -> str:
        if isinstance(self.max_skipped, float):
            return f"{100 * self.max_skipped:g}%"
        return str(self.max_skipped)


def parse_max_skipped(value: int | float | str) -> int | float:
    """Parse a limit of unreadable items.

    Args:
        value: ``"1%"`` or ``"0.01"`` for a share, ``"20"`` for a number of items. A float is a share, an int a number.

    Returns:
        A float between 0 and 1 for a share, an int for a number.

    Raises:
        WdsFaceError: *value* is neither.
    """
    limit: int | float | None = None
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"\d{1,15}", text):
            limit = int(text)
        elif match := re.fullmatch(r"(\d{1,15}(?:\.\d+)?|\.\d+)\s*%", text):
            limit = float(match[1]) / 100
        elif re.fullmatch(r"\d?\.\d+", text):
            limit = float(text)
    elif isinstance(value, bool):
        limit = None
    elif isinstance(value, Integral):
        limit = int(value)
    elif isinstance(value, Real):
        limit = float(value)
    valid = limit is not None and (limit >= 0 if isinstance(limit, int) else 0 <= limit <= 1)
    if not valid or limit is None:
        raise WdsFaceError(f"max-skipped is {value!r}: write it as a share like 1% or 0.01, or as a number of images")
    return limit
