"""Where on faces medical masks lie, from three points and the numbers drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Point = tuple[float, float]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Nose tip, left and right mouth corner (in the image), in pixels of a 112 x 112 image that was aligned to the older
#: template, made for 96 x 112 and not moved to the middle of the wider image.
CASIA_WEBFACE: tuple[Point, ...] = ((48.0252, 71.7366), (33.5493, 92.3655), (62.7299, 92.2041))

#: The same points 8 px further right: the template of faces aligned to 112 x 112 (insightface's ``arcface_dst``).
ARCFACE_112: tuple[Point, ...] = tuple((x + 8, y) for x, y in CASIA_WEBFACE)

SIZE = 112  #: the image size that points and offsets are given for

_JITTER = 3.0  # px, of each point
_SHIFT = 5.0  # px
_SCALE = (0.95, 1.10)
_ANGLE = 7.0  # degrees
_WIDTH = 4.0  # x mouth width
_HEIGHT = 4.0  # x height of the nose above the mouth
_RISE = 25.0  # px from the nose up to the picture's upper edge
_TURN = 0.08  # of the mouth width: a nose further than this from the middle of the mouth has turned


class Placement:
    """The sizes, turns and places of pictures on M faces, in arrays.

    Args:
        points: nose tip, left and right mouth corner, as (x, y) in pixels of a 112 x 112 image.
        wide, high: the size of the images in pixels.
        draws: [M, 10] in [0, 1): points as x and y, shift as x and y, scale, angle.
    """

    DRAWS = 10

    def __init__(self, points: Sequence[Point], wide: int, high: int, draws: Floats) -> None:
        self._wide, self._high = wide, high
        across, down = wide / SIZE, high / SIZE
        ax, ay, bx, by, cx, cy, dx, dy, _, tilt = (2 * draws - 1).T  # uniform in [-1, 1)
        (nose_x, nose_y), (left_x, left_y), (right_x, right_y) = points
        self.nose_x, self.nose_y = across * (nose_x + _JITTER * ax), down * (nose_y + _JITTER * ay)  #: [M] each
        left, left_height = across * (left_x + _JITTER * bx), down * (left_y + _JITTER * by)
        right, right_height = across * (right_x + _JITTER * cx), down * (right_y + _JITTER * cy)
        self.mouth = np.hypot(right - left, right_height - left_height)  #: [M], width
        scale = _SCALE[0] + (_SCALE[1] - _SCALE[0]) * draws[:, 8]
        self.width = np.maximum(1, np.trunc(self.mouth * _WIDTH * scale))  #: [M], whole pixels
        self.height = np.maximum(1, np.trunc((right_height - self.nose_y) * _HEIGHT * scale))  #: [M], whole pixels
        aside = (self.nose_x - (left + right) / 2) / self.mouth
        #: [M], 0 from the front, 1 the nose to the image's left, 2 to its right
        self.turn: Ints = (aside < -_TURN) + 2 * (aside > _TURN)

        angle = math.radians(_ANGLE) * tilt  # counterclockwise
        self._cos, self._sin = np.cos(angle), np.sin(angle)
        half_x = (self.width * self._cos + self.height * abs(self._sin)) / 2
        half_y = (self.width * abs(self._sin) + self.height * self._cos) / 2
        # Whole pixels as PIL's rotate(expand=True) and paste have them.
        box_x = np.ceil(self.width / 2 + half_x) - np.floor(self.width / 2 - half_x)
        box_y = np.ceil(self.height / 2 + half_y) - np.floor(self.height / 2 - half_y)
        self._x = np.trunc(self.nose_x + across * _SHIFT * dx) - box_x // 2 + box_x / 2
        self._y = np.trunc(self.nose_y + down * (_SHIFT * dy - _RISE)) + box_y / 2
        top, bottom = _within(high, self._y - half_y, self._y + half_y)
        #: [M, 2], the first row that may show the picture and the one after the last
        self.rows: Ints = _columns(top, bottom).astype(np.int64)

    def affine(self, sizes: Floats) -> Floats:
        """[M, 6], (xx, xy, x0, yx, yy, y0) from pixel to texel of textures of *sizes* [M, 2]: see ``paste``."""
        high, wide = sizes.T
        across, down = wide / self.width, high / self.height
        xx, xy, yx, yy = across * self._cos, -across * self._sin, down * self._sin, down * self._cos
        x, y = self._x - 0.5, self._y - 0.5  # pixel centres
        return _columns(xx, xy, wide / 2 - xx * x - xy * y, yx, yy, high / 2 - yx * x - yy * y)

    def faces(self) -> Ints:
        """[M, 4], top, bottom, left and right of the skin around nose and mouth; at least one pixel of the image."""
        rows = _within(self._high, self.nose_y - self.height / 8, self.nose_y + self.height / 4, least=1)
        columns = _within(self._wide, self.nose_x - self.mouth / 2, self.nose_x + self.mouth / 2, least=1)
        return _columns(*rows, *columns).astype(np.int64)


def _within(size: int, first: Floats, last: Floats, least: int = 0) -> tuple[Floats, Floats]:
    """Whole pixels from *first* to *last*, as far as the image goes; at least *least*."""
    start = np.minimum(np.maximum(np.floor(first), 0), size - least)
    return start, np.minimum(np.maximum(np.ceil(last), start + least), size)


def _columns(*parts: Floats) -> Floats:
    """[M] each -> [M, n], in C order."""
    table = np.empty((len(parts[0]), len(parts)))
    for number, part in enumerate(parts):
        table[:, number] = part
    return table


def checked_points(points: Sequence[Point]) -> tuple[Point, ...]:
    """Three points as tuples of floats.

    Raises:
        ValueError: they are no nose above a mouth.
    """
    try:
        (nx, ny), (lx, ly), (rx, ry) = ((float(x), float(y)) for x, y in points)
    except (TypeError, ValueError):
        raise ValueError(f"ref_points must be (x, y) of nose, left and right mouth corner, not {points!r}") from None
    if not all(abs(number) < 1e6 for number in (nx, ny, lx, ly, rx, ry)):
        raise ValueError(f"ref_points must be pixels of a {SIZE} x {SIZE} image, not {points!r}")
    if min(ly, ry) - ny <= 2 * _JITTER or rx - lx <= 2 * _JITTER:
        raise ValueError(
            f"ref_points must have the nose more than {2 * _JITTER:g} px above the mouth and its left corner that far "
            f"left of the right one, in pixels of a {SIZE} x {SIZE} image, not {points!r}"
        )
    return (nx, ny), (lx, ly), (rx, ry)
