"""Where on faces medical masks lie, from three points and the numbers drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wds_face.jit import compiled

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


# What is known of each picture: nose, width of the mouth, size, cosine and sine of the angle, middle; all in pixels.
_NOSE_X, _NOSE_Y, _MOUTH, _WIDE, _HIGH, _COS, _SIN, _X, _Y = range(9)


class Placement:
    """The sizes, turns and places of pictures on M faces, in arrays.

    Args:
        points: nose tip, left and right mouth corner, as (x, y) in pixels of a 112 x 112 image.
        wide, high: the size of the images in pixels.
        draws: [M, 10] in [0, 1): points as x and y, shift as x and y, scale, angle.

    Attributes:
        nose_x, nose_y: [M].
        mouth: [M], its width.
        width, height: [M] of the picture, whole pixels.
        turn: [M], 0 from the front, 1 the nose to the image's left, 2 to its right.
        rows: [M, 2], the first row that may show the picture and the one after the last.
    """

    DRAWS = 10

    def __init__(self, points: Sequence[Point], wide: int, high: int, draws: Floats) -> None:
        self._size = wide, high
        self._table: Floats = np.empty((len(draws), 9))
        self.turn: Ints = np.empty(len(draws), np.int64)
        self.rows: Ints = np.empty((len(draws), 2), np.int64)
        _place(np.array(points), wide, high, draws, self._table, self.turn, self.rows)
        self.nose_x, self.nose_y, self.mouth, self.width, self.height = self._table.T[:5]

    def affine(self, sizes: Ints) -> Floats:
        """[M, 6], (xx, xy, x0, yx, yy, y0) from pixel to texel of textures of *sizes* [M, 2]: see ``paste``."""
        affines: Floats = _affine(self._table, sizes)
        return affines

    def faces(self) -> Ints:
        """[M, 4], top, bottom, left and right of the skin around nose and mouth; at least one pixel of the image."""
        faces: Ints = _faces(self._table, *self._size)
        return faces


@compiled("UniTuple(i8, 2)(i8, f8, f8, i8)")
def _within(size, first, last, least):  # type: ignore[no-untyped-def]
    """Whole pixels from *first* to *last*, as far as the image goes; at least *least*."""
    start = min(max(math.floor(first), 0.0), size - least)
    return int(start), int(min(max(math.ceil(last), start + least), size))


@compiled("void(f8[:,::1], i8, i8, f8[:,:], f8[:,::1], i8[::1], i8[:,::1])")
def _place(points, wide, high, draws, table, turns, rows):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """See :class:`Placement`."""
    across, down = wide / SIZE, high / SIZE
    moved = np.empty((3, 2))
    for m in range(len(draws)):
        for number in range(3):
            moved[number, 0] = across * (points[number, 0] + _JITTER * (2 * draws[m, 2 * number] - 1))
            moved[number, 1] = down * (points[number, 1] + _JITTER * (2 * draws[m, 2 * number + 1] - 1))
        (nose_x, nose_y), (left_x, left_y), (right_x, right_y) = moved[0], moved[1], moved[2]
        mouth = math.hypot(right_x - left_x, right_y - left_y)
        scale = _SCALE[0] + (_SCALE[1] - _SCALE[0]) * draws[m, 8]
        width = max(1.0, math.trunc(mouth * _WIDTH * scale))
        height = max(1.0, math.trunc((right_y - nose_y) * _HEIGHT * scale))
        aside = (nose_x - (left_x + right_x) / 2) / mouth
        turns[m] = 1 if aside < -_TURN else 2 if aside > _TURN else 0

        angle = math.radians(_ANGLE) * (2 * draws[m, 9] - 1)  # counterclockwise
        cos, sin = math.cos(angle), math.sin(angle)
        half_x = (width * cos + height * abs(sin)) / 2
        half_y = (width * abs(sin) + height * cos) / 2
        # Whole pixels as PIL's rotate(expand=True) and paste have them.
        box_x = math.ceil(width / 2 + half_x) - math.floor(width / 2 - half_x)
        box_y = math.ceil(height / 2 + half_y) - math.floor(height / 2 - half_y)
        shift_x, shift_y = _SHIFT * (2 * draws[m, 6] - 1), _SHIFT * (2 * draws[m, 7] - 1)
        x = math.trunc(nose_x + across * shift_x) - box_x // 2 + box_x / 2
        y = math.trunc(nose_y + down * (shift_y - _RISE)) + box_y / 2
        table[m, _NOSE_X], table[m, _NOSE_Y], table[m, _MOUTH] = nose_x, nose_y, mouth
        table[m, _WIDE], table[m, _HIGH], table[m, _COS], table[m, _SIN] = width, height, cos, sin
        table[m, _X], table[m, _Y] = x, y
        rows[m, 0], rows[m, 1] = _within(high, y - half_y, y + half_y, 0)


@compiled("f8[:,::1](f8[:,::1], i8[:,:])")
def _affine(table, sizes):  # type: ignore[no-untyped-def]
    """See :meth:`Placement.affine`."""
    affines = np.empty((len(table), 6))
    for m in range(len(table)):
        high, wide = sizes[m]
        across, down = wide / table[m, _WIDE], high / table[m, _HIGH]
        cos, sin = table[m, _COS], table[m, _SIN]
        x, y = table[m, _X] - 0.5, table[m, _Y] - 0.5  # pixel centres
        xx, xy, yx, yy = across * cos, -across * sin, down * sin, down * cos
        affines[m, 0], affines[m, 1], affines[m, 2] = xx, xy, wide / 2 - xx * x - xy * y
        affines[m, 3], affines[m, 4], affines[m, 5] = yx, yy, high / 2 - yx * x - yy * y
    return affines


@compiled("i8[:,::1](f8[:,::1], i8, i8)")
def _faces(table, wide, high):  # type: ignore[no-untyped-def]
    """See :meth:`Placement.faces`."""
    faces = np.empty((len(table), 4), np.int64)
    for m in range(len(table)):
        x, y, mouth, height = table[m, _NOSE_X], table[m, _NOSE_Y], table[m, _MOUTH], table[m, _HIGH]
        faces[m, 0], faces[m, 1] = _within(high, y - height / 8, y + height / 4, 1)
        faces[m, 2], faces[m, 3] = _within(wide, x - mouth / 2, x + mouth / 2, 1)
    return faces


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
