"""What a face is painted on.

Shapes are in template pixels; a mask, uint8 [SIDE, SIDE], and a canvas have SCALE x SCALE pixels for each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shapes = Sequence[Array]

SCALE = 2  # on top of anti-aliased drawing, twice is enough
SIDE = 112 * SCALE
GRID = np.arange(112, dtype=np.float32)  # where the template's pixels are, along either side
_BITS = 4  # fractional bits of OpenCV's fixed-point coordinates


def _fixed(points: Array) -> npt.NDArray[np.int32]:
    """Template points as OpenCV's fixed-point coordinates."""
    one = 1 << _BITS
    return (points * (SCALE * one) + (0.5 * (SCALE - 1) * one + 0.5)).astype(np.int32)


def blank(value: int = 0) -> Array:
    """A mask of one value."""
    return np.full((SIDE, SIDE), value, np.uint8)


def draw(mask: Array, shapes: Iterable[Array], value: float = 255, *, line: float = 0.0) -> Array:
    """Fill *shapes* on a mask, or draw them as *line* px wide lines; returns the mask."""
    points = list(_fixed(shapes)) if isinstance(shapes, np.ndarray) else [_fixed(shape) for shape in shapes]
    if line:
        cv2.polylines(mask, points, False, value, max(1, round(line * SCALE)), cv2.LINE_AA, _BITS)
    else:
        cv2.fillPoly(mask, points, value, cv2.LINE_AA, _BITS)
    return mask


def soften(mask: Array, sigma: float) -> Array:
    """Blur by *sigma* template px."""
    # GaussianBlur takes four times as long on uint8; stackBlur's result depends on the number of threads
    kernel = cv2.getGaussianKernel(2 * math.ceil(2 * sigma * SCALE) + 1, sigma * SCALE, cv2.CV_32F)
    return np.asarray(cv2.sepFilter2D(mask, -1, kernel, kernel))


def enlarge(image: Array) -> Array:
    """An image of the template's size at the canvas's."""
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR))


def look_up(levels: Array, shades: Array) -> Array:
    """The planar image of uint8 *levels* of brightness in a material's *shades*, uint8 [256, 3]."""
    return np.stack([cv2.LUT(levels, shades[:, c]) for c in range(3)])


class Canvas:
    """A planar image, float32 [3, SIDE, SIDE], RGB in 0..255: masks and colours broadcast without copies."""

    def __init__(self, pixels: Array) -> None:
        self.pixels = pixels

    def blend(self, mask: Array, color: Array, alpha: float = 1.0, x: int = 0, y: int = 0) -> None:
        """Move towards *color*, one ([3, 1, 1]) or a planar image of them, where *mask* says so; its corner: x, y."""
        part = self.pixels[:, y : y + mask.shape[0], x : x + mask.shape[1]]
        change = color - part
        change *= mask * np.float32(alpha / 255)
        part += change

    def paint(
        self, shapes: Shapes, color: Any, alpha: float = 1.0, *, blur: float = 0, line: float = 0, clip: Any = None
    ) -> None:
        """Fill *shapes*, or draw them as *line* px wide lines; soft by *blur* px, and only inside the mask *clip*."""
        points, pad = np.concatenate(shapes), 2.5 * blur + line + 1
        x0, y0 = (max(int(v - pad), 0) for v in points.min(0).tolist())
        x1, y1 = (min(int(v + pad + 1), 112) for v in points.max(0).tolist())
        if x0 >= x1 or y0 >= y1:
            return
        mask: Array = np.zeros(((y1 - y0) * SCALE, (x1 - x0) * SCALE), np.uint8)
        draw(mask, [shape - (x0, y0) for shape in shapes], line=line)
        if blur:
            mask = soften(mask, blur)
        if clip is not None:
            mask = cv2.multiply(mask, clip[y0 * SCALE : y1 * SCALE, x0 * SCALE : x1 * SCALE], scale=1 / 255)
        self.blend(mask, np.array(color, np.float32).reshape(3, 1, 1), alpha, x0 * SCALE, y0 * SCALE)
