"""Where on faces medical masks lie, from three points and the numbers drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Point = tuple[float, float]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Nose tip, left and right mouth corner (in the image), in pixels of a 112 x 112 image: the template of faces 96 wide.
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
        unit = np.array([wide / SIZE, high / SIZE])
        both = 2 * draws - 1  # uniform in [-1, 1)
        moved = unit * (np.array(points) + _JITTER * both[:, :6].reshape(-1, 3, 2))
        self.nose, left, right = moved[:, 0], moved[:, 1], moved[:, 2]  #: nose: [M, 2], x and y
        self.mouth = np.hypot(*(right - left).T)  #: [M], width
        scale = _SCALE[0] + (_SCALE[1] - _SCALE[0]) * draws[:, 8]
        self.width = np.maximum(1, np.trunc(self.mouth * _WIDTH * scale))  #: [M], whole pixels
        self.height = np.maximum(1, np.trunc((right[:, 1] - self.nose[:, 1]) * _HEIGHT * scale))  #: [M], whole pixels
        aside = (self.nose - (left + right) / 2)[:, 0] / self.mouth
        #: [M], 0 from the front, 1 the nose to the image's left, 2 to its right
        self.turn: Ints = np.where(aside < -_TURN, 1, np.where(aside > _TURN, 2, 0))

        angle = np.radians(_ANGLE * both[:, 9])  # counterclockwise
        self._cos, self._sin = np.cos(angle), np.sin(angle)
        half_x = (self.width * abs(self._cos) + self.height * abs(self._sin)) / 2
        half_y = (self.width * abs(self._sin) + self.height * abs(self._cos)) / 2
        # Whole pixels as PIL's rotate(expand=True) and paste have them.
        box_x = np.ceil(self.width / 2 + half_x) - np.floor(self.width / 2 - half_x)
        box_y = np.ceil(self.height / 2 + half_y) - np.floor(self.height / 2 - half_y)
        corner = np.trunc(self.nose + unit * (_SHIFT * both[:, 6:8] - [0, _RISE]))
        self._x, self._y = corner[:, 0] - box_x // 2 + box_x / 2, corner[:, 1] + box_y / 2
        #: [M, 2], the first row that may show the picture and the one after the last
        self.rows: Ints = _within(high, self._y - half_y, self._y + half_y)

    def affine(self, sizes: Floats) -> Floats:
        """[M, 6], (xx, xy, x0, yx, yy, y0) from pixel to texel of textures of *sizes* [M, 2]: see ``paste``."""
        high, wide = sizes.T
        across, down = wide / self.width, high / self.height
        xx, xy, yx, yy = across * self._cos, -across * self._sin, down * self._sin, down * self._cos
        x, y = self._x - 0.5, self._y - 0.5  # pixel centres
        return np.stack([xx, xy, wide / 2 - xx * x - xy * y, yx, yy, high / 2 - yx * x - yy * y], 1)

    def faces(self) -> Ints:
        """[M, 4], top, bottom, left and right of the skin around nose and mouth; at least one pixel of the image."""
        x, y = self.nose.T
        rows = _within(self._high, y - self.height / 8, y + self.height / 4, least=1)
        columns = _within(self._wide, x - self.mouth / 2, x + self.mouth / 2, least=1)
        return np.concatenate([rows, columns], 1)


def _within(size: int, first: Floats, last: Floats, least: int = 0) -> Ints:
    """[M, 2], whole pixels from *first* to *last* as far as the image goes."""
    start = np.clip(np.floor(first), 0, size - least)
    return np.stack([start, np.clip(np.ceil(last), start + least, size)], 1).astype(np.int64)


def checked_points(points: Sequence[Point]) -> tuple[Point, ...]:
    """Three points as tuples of floats.

    Raises:
        ValueError: they are no nose above a mouth.
    """
    try:
        (nx, ny), (lx, ly), (rx, ry) = ((float(x), float(y)) for x, y in points)
    except (TypeError, ValueError):
        raise ValueError(f"ref_points must be (x, y) of nose, left and right mouth corner, not {points!r}") from None
    if not all(map(math.isfinite, (nx, ny, lx, ly, rx, ry))):
        raise ValueError(f"ref_points must be finite, not {points!r}")
    if min(ly, ry) - ny <= 2 * _JITTER or rx - lx <= 2 * _JITTER:
        raise ValueError(
            f"ref_points must have the nose more than {2 * _JITTER:g} px above the mouth and its left corner that far "
            f"left of the right one, in pixels of a {SIZE} x {SIZE} image, not {points!r}"
        )
    return (nx, ny), (lx, ly), (rx, ry)
