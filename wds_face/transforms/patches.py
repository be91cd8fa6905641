"""Rectangles in front of the face."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from wds_face.transforms.checks import count, probability, span
from wds_face.transforms.forms import F32, U8
from wds_face.transforms.rect import cut, place
from wds_face.transforms.transform import Draws, Floats, Occlusion

Box = tuple[slice, slice]
Color = tuple[int, int, int]

_WHITE = (255, 255, 255)


class SyntheticOcclusionMask(Occlusion):
    """Puts one to *max_patches* rectangles on an image, and says which cells of the feature map they cover.

    An image comes back as (image, mask), the mask float32 [feature_map_size, feature_map_size], 1 visible and 0
    occluded. Patches have a side of *min_size* to *max_size* of the image's shorter one, an aspect of 0.7 to 1.4
    (width / height at the same area), a place within the image, and with equal chance a random colour or black: all
    uniform.

    A cell counts as occluded if a patch lies over its centre. What differs from the text it follows: there both edges
    were rounded down, which moved every patch up and to the left by half a cell and left small ones out altogether;
    here a patch that lies over no centre marks the cell its own centre is in. A mask that is there is added to, not
    erased.

    Args:
        prob: how likely an image is to be occluded.
        min_size, max_size: side of a patch as a share of the image's shorter side, in (0, 1].
        max_patches: 1 or more.
        feature_map_size: cells on a side of the mask; None for masks of the image's size, uint8, 255 visible and 0
            occluded.
        rng: see :class:`Transform`.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        prob: float = 0.5,
        min_size: float = 0.1,
        max_size: float = 0.4,
        max_patches: int = 3,
        feature_map_size: int | None = 7,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(None if feature_map_size is None else count("feature_map_size", feature_map_size), rng)
        self.prob = probability("prob", prob)
        self.min_size, self.max_size = span("min_size, max_size", (min_size, max_size), 1e-3, 1.0)
        self.max_patches = count("max_patches", max_patches)
        self.draws = 2 + 8 * self.max_patches  # whether, how many; size, aspect, top, left, black, red, green, blue

    def occlude(self, images: U8, masks: U8, draws: Floats) -> None:
        """See :meth:`Occlusion.occlude`."""
        for image, mask, row in zip(images, masks, draws.tolist(), strict=True):
            for box, color in self._patches(mask.shape, row):
                image[box] = color
                mask[box] = 0

    def shrink(self, masks: U8, size: int, draws: Floats) -> F32:
        """See :meth:`Occlusion.shrink`."""
        cells = np.ones((len(masks), size, size), np.float32)
        _, height, width = masks.shape
        for number, row in enumerate(draws.tolist()):
            for (rows, columns), _ in self._patches((height, width), row):
                cells[number, _cells(rows, height, size), _cells(columns, width, size)] = 0
        return cells

    def _patches(self, shape: tuple[int, ...], draws: Draws) -> Iterator[tuple[Box, Color]]:
        if draws[0] >= self.prob:
            return
        for number in range(1 + int(draws[1] * self.max_patches)):
            size, aspect, top, left, black, *color = draws[2 + 8 * number :][:8]
            side = min(shape) * (self.min_size + (self.max_size - self.min_size) * size)
            root = math.sqrt(0.7 + 0.7 * aspect)
            red, green, blue = (int(256 * part) for part in color)
            yield place(shape, side / root, side * root, top, left), (0, 0, 0) if black < 0.5 else (red, green, blue)


class RandomOcclusion(Occlusion):
    """Puts a white square on an image; of a pair, the mask is 0 there.

    Its side is uniform between *min_size* and *max_size* of the image's shorter side, its place uniform within the
    image.

    Args:
        min_size, max_size: in [0, 1]; a max_size of 0 does nothing.
        rng: see :class:`Transform`.

    Raises:
        ValueError: an argument is out of its range.
    """

    draws = 3  # size, top, left
    pairs = False

    def __init__(self, min_size: float = 0.2, max_size: float = 1.0, *, rng: np.random.Generator | None = None) -> None:
        super().__init__(None, rng)
        self.min_size, self.max_size = span("min_size, max_size", (min_size, max_size), 0.0, 1.0)

    def occlude(self, images: U8, masks: U8, draws: Floats) -> None:
        """See :meth:`Occlusion.occlude`."""
        if not self.max_size:
            return
        for image, mask, (size, top, left) in zip(images, masks, draws.tolist(), strict=True):
            side = min(mask.shape) * (self.min_size + (self.max_size - self.min_size) * size)
            box = place(mask.shape, side, side, top, left)
            image[box] = _WHITE
            mask[box] = 0


class RandomErasing(Occlusion):
    """Fills a random rectangle with one colour; of a pair, the mask is 0 there.

    Its area is uniform between 0.02 and 0.2 of the image's, its aspect (height / width, relative to the image's)
    log-uniform between 0.3 and 1 / 0.3, its place uniform within the image. It takes float tensors [3, H, W] too, as
    they come out of ``ToTensor``, and fills them with *mean* as it is; all other images with 255 times that.

    What differs from the text it follows: a tensor is not changed in place, and tall and wide rectangles are as
    likely as each other.

    Args:
        EPSILON: how likely an image is to lose a rectangle.
        mean: the colour; in [0, 1], except on tensors that were normalised.
        rng: see :class:`Transform`.

    Raises:
        ValueError: an argument is out of its range.
    """

    draws = 5  # whether, area, aspect, top, left
    pairs = False

    def __init__(
        self,
        EPSILON: float = 0.5,  # noqa: N803 (the mission's name)
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(None, rng)
        self.EPSILON = probability("EPSILON", EPSILON)
        try:
            red, green, blue = map(float, mean)
        except (TypeError, ValueError):
            red = green = blue = math.nan
        if not all(map(math.isfinite, (red, green, blue))):
            raise ValueError(f"mean must be three numbers, not {mean!r}")
        self.mean = red, green, blue

    def occlude(self, images: U8, masks: U8, draws: Floats) -> None:
        """See :meth:`Occlusion.occlude`."""
        color = [min(max(round(255 * part), 0), 255) for part in self.mean]
        for image, mask, row in zip(images, masks, draws.tolist(), strict=True):
            if row[0] < self.EPSILON:
                box = self._erased(mask.shape, row)
                image[box] = color
                mask[box] = 0

    def _erased(self, shape: Sequence[int], draws: Draws) -> Box:
        return cut(shape, (0.02, 0.2), 1 / 0.3, draws[1:])

    def _occluded(self, image: Any) -> tuple[Any, U8, Floats]:
        if not (isinstance(image, torch.Tensor) and image.is_floating_point() and image.ndim == 3):
            return super()._occluded(image)
        draws = self._chance.draw(self.draws)
        mask, out = np.full((1, *image.shape[1:]), 255, np.uint8), image.clone()
        if draws[0] < self.EPSILON:
            box = self._erased(mask.shape[1:], draws)
            mean = self.mean if len(out) == 3 else [sum(self.mean) / 3] * len(out)
            out[(slice(None), *box)] = torch.tensor(mean, dtype=out.dtype, device=out.device)[:, None, None]
            mask[(0, *box)] = 0
        return out, mask, np.array([draws])


def _cells(pixels: slice, extent: int, size: int) -> slice:
    """The cells, of *size* over *extent* pixels, whose centres are in these pixels; else the one that theirs is in."""
    # In whole numbers, as centres may lie on the edges of pixels: (2 i + 1) extent >= 2 size start.
    first, last = (-((extent - 2 * size * edge) // (2 * extent)) for edge in (pixels.start, pixels.stop))
    if first < last:
        return slice(first, last)
    middle = (pixels.start + pixels.stop) * size // (2 * extent)
    return slice(middle, middle + 1)
