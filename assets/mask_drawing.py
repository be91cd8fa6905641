"""How a face mask is drawn: its parts as height maps over a rough head, which is turned and lit from above.

Lengths are canvas pixels.  x runs right from the middle of the nose, y runs down from the upper edge of the canvas; on
a frontal face the eyes are at (±116, 32), the tip of the nose at (0, 165), the corners of the mouth at (±96, 301), the
chin at y = 440.  Heights grow toward the viewer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

Plane = npt.NDArray[np.floating]  # float32 for what OpenCV gets
Point = tuple[float, float]
Colour = tuple[int, int, int]

WIDTH, HEIGHT = 768, 540
FINE = 3  # drawn this many times larger
LIGHT = (-0.15, -0.43, 0.89)  # toward the lamp: a little left, above, in front
AMBIENT = 0.55
STILL = 155.0  # what lies at this height stays in its place when the head turns: near the corners of eyes and mouth

_columns, _rows = np.meshgrid(np.arange(WIDTH * FINE, dtype=np.float32), np.arange(HEIGHT * FINE, dtype=np.float32))
X: Plane = (_columns + 0.5) / FINE - WIDTH / 2
Y: Plane = (_rows + 0.5) / FINE


# --- curves and planes ------------------------------------------------------------------------------------------------


def spline(points: Sequence[Point]) -> Plane:
    """A smooth curve through *points* (Catmull-Rom), 32 steps from one to the next."""
    knots = np.asarray(points, np.float32)
    knots = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    t = np.linspace(0, 1, 32, endpoint=False, dtype=np.float32)[:, None]
    pieces = []
    for a, b, c, d in zip(knots, knots[1:], knots[2:], knots[3:], strict=False):
        pieces.append(b + (c - a) / 2 * t + (a - 2.5 * b + 2 * c - d / 2) * t**2 + (d - a + 3 * (b - c)) / 2 * t**3)
    return np.vstack([*pieces, knots[-2:-1]])


def mirrored(points: Sequence[Point]) -> list[Point]:
    """The whole of a symmetric curve, from left to right, given its right half from the middle outward."""
    return [(-x, y) for x, y in reversed(points) if x] + list(points)


def pixels(curve: Plane) -> npt.NDArray[np.int32]:
    """*curve* as OpenCV wants vertices: in sixteenths of a fine pixel."""
    centred = curve + np.array([WIDTH / 2, 0])
    return np.rint((centred * FINE - 0.5) * 16).astype(np.int32)[:, None]


def blur(plane: Plane, sigma: float) -> Plane:
    return cv2.GaussianBlur(plane, (0, 0), sigma * FINE)


def step(values: Plane, start: float, stop: float) -> Plane:
    """0 before *start*, 1 after *stop*, smooth between; *start* may be the larger one."""
    t = np.clip((values - start) / (stop - start), 0, 1)
    return t * t * (3 - 2 * t)


def bump(values: Plane, width: float) -> Plane:
    """1 where *values* are 0, falling to nothing within some *width* to either side."""
    return np.exp(-((values / width) ** 2))


def below(curve: Plane) -> Plane:
    """How far each pixel lies below *curve*, measured across it; negative above."""
    x, y = curve.T
    level, slope = np.interp(X[0], x, y), np.interp(X[0], x, np.gradient(y, x))
    return ((Y - level) / np.hypot(1, slope)).astype(np.float32)


def crumple(seed: int, columns: int, rows: int) -> Plane:
    """Smooth random height, about -1 to 1, with *columns* x *rows* bumps."""
    coarse = np.random.default_rng(seed).uniform(-1, 1, (rows, columns)).astype(np.float32)
    return cv2.resize(coarse, (WIDTH * FINE, HEIGHT * FINE), interpolation=cv2.INTER_CUBIC)


def welds(edge: Plane, depth: float) -> Plane:
    """A row of pressed dots, *depth* inside the edge, where *edge* is the distance from it."""
    return bump(edge - depth, 2.5) * (0.5 + 0.5 * np.cos(150 * np.arctan2(Y - HEIGHT / 2, X)))


# --- the parts of a mask ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """The right half of the outline: upper edge from the nose outward, side downward, lower edge from the chin."""

    upper: Sequence[Point]
    side: Sequence[Point]
    lower: Sequence[Point]

    def top(self) -> Plane:
        return spline(mirrored(self.upper))

    def fill(self) -> Plane:
        side, bottom = spline(self.side), spline(mirrored(self.lower))
        outline = np.vstack([self.top(), side, bottom[::-1], side[::-1] * np.array([-1, 1])])
        plane = np.zeros(X.shape, np.uint8)
        cv2.fillPoly(plane, [pixels(outline)], 255, cv2.LINE_AA, shift=4)
        return plane / np.float32(255)


@dataclass(frozen=True)
class Wire:
    """The strip that is bent over the nose: *depth* below the upper edge, *length* to either side."""

    depth: float
    length: float
    height: float
    colour: Colour

    def fill(self, cut: Cut) -> Plane:
        return step(np.abs(below(cut.top()) - self.depth), 7, 5) * step(np.abs(X), self.length, self.length - 8)


@dataclass(frozen=True)
class Straps:
    """The elastics of the right side, each from under the mask outward to where it goes behind the ear."""

    lines: Sequence[Sequence[Point]]
    width: float
    colour: Colour

    def distance(self) -> Plane:
        """How far each pixel is from the middle of the nearest strap, in half widths."""
        drawn = np.ones(X.shape, np.uint8)
        for line in self.lines:
            for side in (1, -1):
                cv2.polylines(drawn, [pixels(spline(line) * np.array([side, 1]))], False, 0, shift=4)
        return cv2.distanceTransform(drawn, cv2.DIST_L2, 5) / np.float32(FINE * self.width / 2)

    def visible(self) -> Plane:
        """1, falling to 0 toward the far ends."""
        ends = [np.hypot(np.abs(X) - line[-1][0], Y - line[-1][1]) for line in self.lines]
        return step(np.minimum(*ends) - self.width / 2, 1, 13)


@dataclass(frozen=True)
class Kind:
    """What tells one mask from another.  *relief* makes the fine height out of the distance from the edge."""

    colour: Colour
    shade: tuple[float, float, float]  # exponents of the light, per channel: more of it is more contrast
    tent: float  # how far the nose lifts the mask
    cut: Cut
    wire: Wire
    straps: Straps
    relief: Callable[[Plane], Plane]


# --- the drawing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layers:
    """A mask before it is lit: how much each part covers, and how high it stands."""

    head: Plane  # the height of what lies beneath
    body: Plane
    wire: Plane
    straps: Plane
    relief: Plane  # the height of the body above the head
    cord: Plane  # the height of the straps


def head(tent: float) -> Plane:
    """The head as a mask sees it: a rounded front, a *tent* from the nose to the chin, and the jaw falling away."""
    front = 215 * bump(X, 235)
    nose = tent * bump(X, 70) * step(Y, 50, 175) * (1 - 0.55 * step(Y, 190, 430))
    jaw = -130 * step(Y, 300, 560) - 25 * step(Y, 170, 20)
    return front + nose + jaw


def draw(kind: Kind) -> Layers:
    """The mask on a face seen from the front; where the straps run on beneath it they show through."""
    body = kind.cut.fill()
    wire = kind.wire.fill(kind.cut)
    away = kind.straps.distance()
    cord = 4 * np.sqrt(np.clip(1 - away**4, 0, 1))
    edge = cv2.distanceTransform((body > 0.5).astype(np.uint8), cv2.DIST_L2, 5) / np.float32(FINE)
    relief = kind.relief(edge) + kind.wire.height * wire + 0.4 * blur(cord, 2)
    straps = step(away, 1.05, 0.95) * kind.straps.visible()
    return Layers(head(kind.tent), body, wire, straps, blur(relief, 0.7), blur(cord, 0.7))


def turned(layers: Layers, yaw: float) -> Layers:
    """*layers* when the nose points *yaw* degrees to the right: the near half is wider, the far half foreshortened."""
    sin, cos = np.sin(np.radians(yaw)), np.cos(np.radians(yaw))
    moved = X * cos + (layers.head - STILL) * sin
    source = np.stack([np.interp(X[0], row, X[0]) for row in moved])
    columns = ((source + WIDTH / 2) * FINE - 0.5).astype(np.float32)
    far = X * np.sign(yaw)  # grows toward the side that turns away
    seen = step(far, 292, 262) * step(-far, 334, 314)  # the straps vanish behind the far cheek and the near ear

    def look(plane: Plane) -> Plane:
        return cv2.remap(plane.astype(np.float32), columns, _rows, cv2.INTER_LINEAR)

    planes = {**vars(layers), "head": layers.head * cos - X * sin, "straps": layers.straps * seen}
    return Layers(**{name: look(plane) for name, plane in planes.items()})


def lit(height: Plane, relief: Plane) -> Plane:
    """How bright each pixel is, 1 where the surface faces the viewer; folds hold some shadow."""
    down, right = np.gradient(height + relief, 1 / FINE)
    facing = (LIGHT[2] - LIGHT[0] * right - LIGHT[1] * down) / np.sqrt(1 + right**2 + down**2)
    light = AMBIENT + (1 - AMBIENT) * np.clip(facing, 0, None) / LIGHT[2]
    hollow = relief - blur(relief, 7)
    return light * np.clip(1 + 0.045 * hollow, 0.6, 1.08)


def painted(colour: Plane, light: Plane, shade: Sequence[float]) -> Plane:
    return np.clip(colour / 255 * light[..., None] ** np.array(shade, np.float32), 0, 1)


def render(kind: Kind, layers: Layers) -> Plane:
    """Premultiplied RGBA: a soft shadow on the skin, the straps, the body."""
    cover = np.maximum(layers.body, layers.straps)
    shadow = 0.4 * np.roll(blur(cover, 4), 4 * FINE, axis=0)
    cloth, wire, elastic = np.array([kind.colour, kind.wire.colour, kind.straps.colour], np.float32)
    straps = painted(elastic, lit(layers.head * 0.4, layers.cord), (1, 1, 1))
    body = painted(cloth + layers.wire[..., None] * (wire - cloth), lit(layers.head, layers.relief), kind.shade)
    picture = np.dstack([np.zeros_like(body), shadow])
    for paint, alpha in ((straps, layers.straps[..., None]), (body, layers.body[..., None])):
        picture = np.dstack([paint * alpha, alpha]) + picture * (1 - alpha)
    return picture


def finished(picture: Plane) -> Image.Image:
    """Down to size, straight alpha.  Every edge ends in the shadow, so what is transparent is black as the shadow is:
    multiply by alpha before filtering.  Colours are even numbers, which nobody sees and saves a fifth of the file."""
    small = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    alpha = small[..., 3:]
    colour = np.clip(small[..., :3] / np.maximum(alpha, 1 / 255), 0, 1)
    return Image.fromarray(np.dstack([np.rint(colour * 127) * 2, np.rint(alpha * 255)]).astype(np.uint8), "RGBA")
