"""Scaling and cropping to a given size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from wds_face.transforms.checks import between, count
from wds_face.transforms.resize import NEAREST, cv2_filter, resize
from wds_face.transforms.transform import Draws, Geometric

ASPECT = 4 / 3  #: of crops, at most, and the inverse at least


class RectScale(Geometric):
    """Resizes to *height* x *width*; of a pair, the mask too.

    Args:
        height, width: in pixels.
        interpolation: one of PIL's; masks are always resized to the nearest pixel.

    Raises:
        ValueError: an argument is out of its range.
    """

    draws = 0

    def __init__(self, height: int, width: int, interpolation: int = Image.Resampling.BILINEAR) -> None:
        super().__init__()
        self.height, self.width = count("height", height), count("width", width)
        self._filter = cv2_filter(interpolation)

    def move(self, plane: Any, draws: Draws, *, mask: bool = False) -> Any:
        """See :meth:`Geometric.move`."""
        return resize(plane, self.height, self.width, NEAREST if mask else self._filter)


class RandomSizedRectCrop(Geometric):
    """Crops a random rectangle and resizes it to *height* x *width*; of a pair, the mask too.

    The rectangle has a share of the image's area that is uniform between the square of *crop_factor* and 1, an aspect
    (height / width, relative to the image's) that is log-uniform between 3/4 and 4/3 as far as it fits, and a uniform
    place.

    What differs from the text it follows: there the aspect, made for whole bodies, was between 2 and 3, at which no
    such part of a square face can be cut, so that faces were never cropped at all. Here one draw always succeeds.

    Args:
        height, width: in pixels.
        crop_factor: the side of the smallest crop, in (0, 1].
        interpolation: one of PIL's; masks are always resized to the nearest pixel.
        rng: see :class:`Transform`.

    Raises:
        ValueError: an argument is out of its range.
    """

    draws = 4  # area, aspect, top, left

    def __init__(
        self,
        height: int,
        width: int,
        crop_factor: float = 0.8,
        interpolation: int = Image.Resampling.BILINEAR,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(rng)
        self.height, self.width = count("height", height), count("width", width)
        self.crop_factor = between("crop_factor", crop_factor, 1e-3, 1.0)
        self._filter = cv2_filter(interpolation)

    def move(self, plane: Any, draws: Draws, *, mask: bool = False) -> Any:
        """See :meth:`Geometric.move`."""
        part = plane[cut(plane.shape, (self.crop_factor**2, 1.0), ASPECT, draws)]
        return resize(part, self.height, self.width, NEAREST if mask else self._filter)


def cut(shape: Sequence[int], area: tuple[float, float], aspect: float, draws: Draws) -> tuple[slice, slice]:
    """The rows and columns of a random rectangle in an image of *shape* (H, W, ...).

    Its share of the area is uniform in *area*; its aspect, relative to the image's, is log-uniform between 1 / *aspect*
    and *aspect*, or what of that a rectangle of this area can have; its place is uniform. *draws*: area, aspect, top,
    left.
    """
    share = area[0] + (area[1] - area[0]) * draws[0]
    widest = min(aspect, 1 / share)  # else it would be higher or wider than the image
    side, stretch = math.sqrt(share), widest ** (draws[1] - 0.5)
    return place(shape, shape[0] * side * stretch, shape[1] * side / stretch, draws[2], draws[3])


def place(shape: Sequence[int], high: float, wide: float, top: float, left: float) -> tuple[slice, slice]:
    """The rows and columns of a rectangle in an image of *shape* (H, W, ...).

    Its size in pixels is rounded, to 1 or more and to what there is; its place is one of all where it fits, by *top*
    and *left* in [0, 1).
    """
    rows, columns = (min(size, max(1, round(side))) for size, side in zip(shape, (high, wide), strict=False))
    first, start = int(top * (shape[0] - rows + 1)), int(left * (shape[1] - columns + 1))
    return slice(first, first + rows), slice(start, start + columns)
