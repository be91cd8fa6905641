"""Painting the head: neck, ears, and the skin, modelled by light."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from wds_face.synthetic.canvas import GRID, Array, Canvas, blank, draw, enlarge, look_up
from wds_face.synthetic.color import mix
from wds_face.synthetic.look import Look
from wds_face.synthetic.shapes import Points, curve, ellipse, move, ring
from wds_face.synthetic.template import ARCFACE_112
from wds_face.synthetic.variation import Variation


def outline(look: Look, variation: Variation) -> Points:
    """The head's: a superellipse, narrower at the jaw."""
    t = np.linspace(0, 2 * np.pi, 65)
    cos, sin = np.cos(t), np.sin(t)
    x, y = (np.sign(way) * np.abs(way) ** 0.85 for way in (cos, sin))
    y *= np.where(sin > 0, look.chin - 48 + 0.3 * variation.gap, 56)
    return np.stack([variation.axis + look.width * (1 - look.jaw * np.clip(y / 60, 0, 1)) * x, 48 + y], 1)


def _bumps(table: Sequence[tuple[float, ...]]) -> Array:
    """A sum of Gaussians (x, y, sigma x, sigma y, height): float32 [112, 112].  Separable: one matrix product."""
    x, y, sx, sy, height = np.array(table, np.float32).T[:, :, None]
    rows = np.exp(-0.5 * ((GRID - y) / sy) ** 2) * height
    return np.asarray(rows.T @ np.exp(-0.5 * ((GRID - x) / sx) ** 2))


def _relief(look: Look, variation: Variation) -> Array:
    """How far the skin stands out, in px."""
    turn, nose = 1.3 * variation.yaw, look.nose
    nx, ny = ARCFACE_112[2] + (turn, 0)
    bumps = [
        (nx - 0.6 * turn, 56, 3.6, 9, 5.0),  # bridge of the nose
        (nx - 0.2 * turn, 66, 4 * nose, 6, 4.5),  # back of the nose
        (nx, ny + 0.5, 3.9 * nose, 3.4, 5.0),  # tip of the nose
        (56, 90, 9, 4, 2.0),  # mouth
        (56, 100.5, 7, 1.8, -2.2),  # below the lip
        (variation.axis + turn, look.chin - 6, 7, 4.5, 3.5),  # chin
    ]
    for (x, y), out in zip(ARCFACE_112[:2], (-1, 1), strict=True):
        bumps += [
            (nx + 6 * out * nose, ny + 2, 2.4, 2.4, 2.6),  # wing of the nose
            (x - 2 * out, y - 3, 7, 4.5, -4.0),  # socket
            (x, y, 6, 4, 2.6),  # eyeball
            (x + out, y - 9.5, 9, 3, 1.8),  # brow
            (x + 5 * out, y + 16, 8, 6, 3.2),  # cheekbone
            (x + 1.5 * out, y + 31, 4, 8, -1.6),  # beside the mouth
            (x + 6 * out, y + 27 - 6 * variation.smile, 5, 5, 1.0 + 1.6 * variation.smile),  # cheek
        ]
    ball = 1 - ((GRID - variation.axis) / (look.width * 1.08)) ** 2 - ((GRID[:, None] - 50) / 66) ** 2
    return np.asarray(34 * np.sqrt(np.maximum(ball, 0.04)) + _bumps(bumps))


def _brightness(look: Look, variation: Variation, hair: Array) -> Array:
    """How bright the skin is, uint8 on the canvas: its relief under the light, and the shadow of *hair*, a mask."""
    relief = _relief(look, variation)
    gx, gy = cv2.Sobel(relief, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(relief, cv2.CV_32F, 0, 1, scale=1 / 8)
    steep = cv2.sqrt(gx * gx + gy * gy + 1)
    light = np.array([*variation.light, 0.85], np.float32)
    light /= np.linalg.norm(light)
    half = light + np.array([0, 0, 1], np.float32)  # between the light and the camera
    half /= np.linalg.norm(half)
    lit = np.maximum(0.2 + 0.8 * (light[2] - gx * light[0] - gy * light[1]) / steep, 0)
    gloss = cv2.pow(np.maximum((half[2] - gx * half[0] - gy * half[1]) / steep, 0), 28)
    nose = 56 + 4 * variation.yaw - 2 * variation.light[0]
    dark = [(nose, 79.5, 6 * look.nose, 2.4, 0.16), (variation.axis, look.chin + 4, 22, 3, 0.15)]  # below nose and chin
    bright = variation.ambient + (1 - variation.ambient) * lit + 0.16 * gloss - _bumps(dark)
    # an anchor off the centre of the blur moves the hair's shadow away from the light
    small = cv2.resize(hair, (112, 112), interpolation=cv2.INTER_AREA)
    shadow = cv2.blur(small, (9, 9), anchor=(4 - round(2.5 * variation.light[0]), 7))
    bright *= 1 - shadow * np.float32(0.36 / 255)
    return enlarge(np.clip(bright * 205, 0, 255).astype(np.uint8))


def paint_head(canvas: Canvas, look: Look, variation: Variation, hair: Array) -> None:
    """Paint the head, in the shadow of *hair*, a mask."""
    axis, a, skin = variation.axis, look.width, look.skin
    neck = curve([(-0.66 * a, 80), (-0.64 * a, 100), (-0.74 * a, 112), (-a, 124)])
    canvas.paint([move(ring(neck, neck * (-1, 1)), axis)], skin[118])
    canvas.paint([ellipse(axis - 2 * variation.light[0], look.chin - 3, 0.68 * a, 10)], skin[60], 0.75, blur=2.5)
    if look.style.sides < 80:  # it leaves the ears free
        sides = (axis - a + 0.3, axis + a - 0.3)
        canvas.paint([ellipse(x, 59, 4.6, 9.2) for x in sides], skin[122])
        canvas.paint([ellipse(x, 58.5, 2.8, 6) for x in sides], skin[85], 0.7, blur=0.7)
    mask = draw(blank(), [outline(look, variation)])
    canvas.blend(mask, look_up(_brightness(look, variation, hair), skin))
    canvas.paint([ellipse(x, 72, 7, 5) for x in (33, 79)], (214, 70, 70), 0.14, blur=3.0)
    if look.freckles:
        spots = np.random.default_rng(look.grain).normal((56, 67), (15, 4), (look.freckles, 2))
        canvas.paint([ellipse(x, y, 0.5, 0.5) for x, y in spots], mix(skin[110], (150, 80, 40), 0.3), 0.5)
