"""Where on a face a medical mask lies, from three points and the numbers drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]

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
    """A picture's size, turn and place on a face.

    Args:
        points: nose tip, left and right mouth corner, as (x, y) in pixels of a 112 x 112 image.
        wide, high: the image's size in pixels.
        draws: 10 numbers in [0, 1): points as x and y, shift as x and y, scale, angle.
    """

    DRAWS = 10

    def __init__(self, points: Sequence[Point], wide: int, high: int, draws: Sequence[float]) -> None:
        across, down = wide / SIZE, high / SIZE
        (ax, ay, bx, by, cx, cy, dx, dy, growth, tilt) = draws[: self.DRAWS]
        (nose_x, nose_y), (left_x, left_y), (right_x, right_y) = points
        self.nose_x, self.nose_y = across * (nose_x + _both(ax, _JITTER)), down * (nose_y + _both(ay, _JITTER))
        left_x, left_y = across * (left_x + _both(bx, _JITTER)), down * (left_y + _both(by, _JITTER))
        right_x, right_y = across * (right_x + _both(cx, _JITTER)), down * (right_y + _both(cy, _JITTER))
        scale = _SCALE[0] + (_SCALE[1] - _SCALE[0]) * growth
        self.mouth = math.hypot(right_x - left_x, right_y - left_y)
        self.width = max(1, int(self.mouth * _WIDTH * scale))
        self.height = max(1, int((right_y - self.nose_y) * _HEIGHT * scale))
        aside = self.nose_x - (left_x + right_x) / 2
        self.turn = "front" if abs(aside) <= _TURN * self.mouth else "left" if aside < 0 else "right"

        angle = math.radians(_both(tilt, _ANGLE))  # counterclockwise
        self._cos, self._sin = math.cos(angle), math.sin(angle)
        half_x = (self.width * abs(self._cos) + self.height * abs(self._sin)) / 2
        half_y = (self.width * abs(self._sin) + self.height * abs(self._cos)) / 2
        # Whole pixels as PIL's rotate(expand=True) and paste have them.
        box_x = math.ceil(self.width / 2 + half_x) - math.floor(self.width / 2 - half_x)
        box_y = math.ceil(self.height / 2 + half_y) - math.floor(self.height / 2 - half_y)
        self._x = int(self.nose_x + across * _both(dx, _SHIFT)) - box_x // 2 + box_x / 2
        self._y = int(self.nose_y - down * _RISE + down * _both(dy, _SHIFT)) + box_y / 2
        #: first row that may show the picture, and the one after the last
        self.rows = max(0, math.floor(self._y - half_y)), min(high, math.ceil(self._y + half_y))

    def affine(self, wide: int, high: int) -> tuple[float, float, float, float, float, float]:
        """(xx, xy, x0, yx, yy, y0) from pixel to texel, of a texture of *wide* x *high*; see ``paste``."""
        across, down = wide / self.width, high / self.height
        xx, xy = across * self._cos, -across * self._sin
        yx, yy = down * self._sin, down * self._cos
        x, y = self._x - 0.5, self._y - 0.5  # pixel centres
        return xx, xy, wide / 2 - xx * x - xy * y, yx, yy, high / 2 - yx * x - yy * y


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


def _both(draw: float, most: float) -> float:
    """Uniform in [-most, most)."""
    return (2 * draw - 1) * most
