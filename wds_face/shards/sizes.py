"""The sizes of a data set's images, and how they are put into words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wds_face.images import Size

#: Sizes that an index lists one by one, the most frequent first; the rest is summed up. It bounds ``index.json`` for
#: sets of unaligned photographs, where nearly every image has a size of its own.
MOST_LISTED = 200

# Sizes that :meth:`Sizes.describe` names one by one.
_NAMED = 3


@dataclass(frozen=True)
class Sizes:
    """How many images there are of each size.

    Attributes:
        listed: Images by (width, height), the most frequent size first.
        other_sizes: Sizes that are not listed.
        other_images: Images of these sizes.
        other_not_square: Images of these sizes whose width and height differ.
    """

    listed: dict[Size, int]
    other_sizes: int = 0
    other_images: int = 0
    other_not_square: int = 0

    @classmethod
    def of(cls, counts: Mapping[Size, int]) -> Sizes:
        """Return the sizes of images counted by (width, height), in any order."""
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        rest = ordered[MOST_LISTED:]
        return cls(
            dict(ordered[:MOST_LISTED]),
            len(rest),
            sum(images for _, images in rest),
            sum(images for (width, height), images in rest if width != height),
        )

    @property
    def images(self) -> int:
        """All images."""
        return sum(self.listed.values()) + self.other_images

    @property
    def not_square(self) -> int:
        """Images whose width and height differ."""
        oblong = sum(images for (width, height), images in self.listed.items() if width != height)
        return oblong + self.other_not_square

    def other_than(self, side: int) -> int:
        """Return how many images are not *side* x *side* pixels."""
        return self.images - self.listed.get((side, side), 0)

    def describe(self) -> str:
        """Return one line, such as ``112x112 98.2%, 96x112 1.5%, 14 others (e.g. 250x250)``."""
        if not self.images:
            return "no images"
        sizes = list(self.listed)
        parts = [f"{_name(size)} {share(self.listed[size], self.images)}" for size in sizes[:_NAMED]]
        others = len(sizes[_NAMED:]) + self.other_sizes
        if others:
            word = "other" if others == 1 else "others"
            parts.append(f"{others:,} {word} (e.g. {_name(sizes[_NAMED])})")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the form in which ``index.json`` has it."""
        return {
            "listed": [[width, height, images] for (width, height), images in self.listed.items()],
            "other_sizes": self.other_sizes,
            "other_images": self.other_images,
            "other_not_square": self.other_not_square,
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Sizes:
        """Return what :meth:`to_json` made.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        return cls(
            {(int(width), int(height)): int(images) for width, height, images in saved["listed"]},
            int(saved["other_sizes"]),
            int(saved["other_images"]),
            int(saved["other_not_square"]),
        )


def total(counts: Iterable[Mapping[Size, int]]) -> Counter[Size]:
    """Return the sum of counts of several shards."""
    found = Counter[Size]()
    for one in counts:
        found.update(one)
    return found


def share(images: int, of: int) -> str:
    """Return a share in percent that is neither 0 nor 100 unless it is exactly so."""
    if images in {0, of}:
        return f"{images / max(of, 1):.0%}"
    percent = min(max(100 * images / of, 0.1), 99.9)
    return f"{'<' if 1000 * images < of else ''}{percent:.1f}%"


def _name(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
