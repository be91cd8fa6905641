"""Count the sizes of a data set's images, and describe them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wds_face.images import Size

#: Number of sizes that an index lists, the most frequent first; the rest are summed up. This keeps ``index.json``
#: small for unaligned photographs, where nearly every image has a different size.
MOST_LISTED = 200

# Number of sizes that :meth:`Sizes.describe` names.
_NAMED = 3


@dataclass(frozen=True)
class Sizes:
    """Number of images of each size.

    Attributes:
        listed: Number of images by (width, height), the most frequent size first.
        other_sizes: Number of sizes that are not listed.
        other_images: Number of images of these sizes.
        other_not_square: Number of images of these sizes whose width and height differ.
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
        """Total number of images."""
        return sum(self.listed.values()) + self.other_images

    @property
    def not_square(self) -> int:
        """Number of images whose width and height differ."""
        oblong = sum(images for (width, height), images in self.listed.items() if width != height)
        return oblong + self.other_not_square

    def other_than(self, side: int) -> int:
        """Return the number of images that are not *side* x *side* pixels."""
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
        """Return the sizes as stored in ``index.json``."""
        return {
            "listed": [[width, height, images] for (width, height), images in self.listed.items()],
            "other_sizes": self.other_sizes,
            "other_images": self.other_images,
            "other_not_square": self.other_not_square,
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Sizes:
        """Return the sizes that :meth:`to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: *saved* has another form.
        """
        return cls(
            {(int(width), int(height)): int(images) for width, height, images in saved["listed"]},
            int(saved["other_sizes"]),
            int(saved["other_images"]),
            int(saved["other_not_square"]),
        )


def total(counts: Iterable[Mapping[Size, int]]) -> Counter[Size]:
    """Return the sum of the counts of several shards."""
    found = Counter[Size]()
    for one in counts:
        found.update(one)
    return found


def share(images: int, of: int) -> str:
    """Format a share in percent; it shows 0% or 100% only if that is exact."""
    if images in {0, of}:
        return f"{images / max(of, 1):.0%}"
    percent = min(max(100 * images / of, 0.1), 99.9)
    return f"{'<' if 1000 * images < of else ''}{percent:.1f}%"


def _name(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
