"""Painting hair."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from wds_face.synthetic.canvas import GRID, SCALE, Array, blank, draw, enlarge, look_up, soften
from wds_face.synthetic.look import Look
from wds_face.synthetic.shapes import Points, curve, move, resample, ring
from wds_face.synthetic.template import AXIS
from wds_face.synthetic.variation import Variation


def _edges(look: Look) -> tuple[list[Points], list[Points]]:
    """Left and right, from the parting outwards: where hair ends at the face, and where it ends around the skull."""
    style, a = look.style, look.width
    line = style.line[::-1] if look.mirrored else style.line
    part, end, wide, inner = int(np.argmin(line)), style.sides, a + style.volume, a - style.inset
    places = a * np.array([-0.86, -0.48, 0.0, 0.48, 0.86])
    y = np.linspace(46, end, 16)[1:]
    foot = a - 1.5 + 0.3 * style.volume if end < 80 else wide + (2 if end > 112 else -2)
    x = wide + (foot - wide) * ((y - 46) / (end - 46)) ** 2
    x += style.wave * np.sin(y / 5.5) * np.clip((y - 46) / 12, 0, 1)
    nears, fars = [], []
    for out in (-1, 1):
        way = range(part, -1, -1) if out < 0 else range(part, 5)
        near = [(out * places[i], line[i]) for i in way]
        near += [(inner, max(*line, 46) + 6), (inner, 74), (inner * 0.86, 100), (inner * 0.8, 150)]
        t = np.linspace(np.arccos(np.clip(out * places[part] / wide, -1, 1)), 0, 24)
        skull = np.stack([wide * np.cos(t), 46 - (54 + style.volume) * np.sin(t) ** 0.85], 1)
        far = np.concatenate([skull, np.stack([x, y], 1)])
        nears.append(move(resample(curve(near), 40) * (out, 1), AXIS))
        fars.append(move(resample(far, 40) * (out, 1), AXIS))
    return nears, fars


def _streak(strands: Array, lines: Array, contrast: float = 1.0) -> None:
    """Draw *lines* lighter and darker than the hair's own 128."""
    for start, level in enumerate((-56, 60, -36, 38, -18, 20)):
        draw(strands, lines[start::6], 128 + contrast * level, line=1)


def _curls(mask: Array, edge: Points, size: float, rng: np.random.Generator) -> None:
    """Let curls of about *size* stick out of an edge."""
    dots = np.repeat((edge + rng.normal(0, 0.3 * size, edge.shape))[:, None], 2, axis=1)
    for start, wide in enumerate((1.0, 1.5, 2.0)):
        draw(mask, dots[start::3], line=wide * size)


@lru_cache(maxsize=8)
def _layers(look: Look) -> Array:
    """A frontal head's hair, uint8 [3, SIDE, SIDE]: masks behind and before the head, strands around 128.

    It is the slowest part to draw and the same in all images but for the turn of the head, hence the cache.
    """
    style, rng = look.style, np.random.default_rng(look.grain)
    back, strands = blank(), blank(128)
    if not style.line:
        return np.stack([back, back, strands])
    nears, fars = _edges(look)
    draw(back, [ring(fars[0][::-1], fars[1][::-1])])
    if style.curl:
        _curls(back, np.concatenate(fars), style.curl, rng)
    front = draw(back.copy(), [ring(nears[0][::-1], nears[1][::-1])], 0)
    if style.curl:
        edge = np.concatenate(nears)
        _curls(front, edge[edge[:, 1] < min(style.sides, 108)][::2], 0.8 * style.curl, rng)
        turn = rng.uniform(0, 2 * np.pi, (420, 1)) + np.linspace(0, 3.6, 8)
        bends = np.stack([np.cos(turn), np.sin(turn)], 2) * rng.uniform(0.4, 0.9, (420, 1, 1)) * style.curl
        _streak(strands, rng.uniform(-4, 116, (420, 1, 2)) + bends, 0.7)
    elif style.comb:
        for near, far in zip(nears, fars, strict=True):
            i, slant = rng.integers(0, len(near) - 4, 110), rng.integers(0, 4, 110)
            tips = near[i + slant] + rng.normal(0.3, 0.9, (110, 1)) * (0, 1)
            lines = np.stack([far[i], 0.45 * far[i] + 0.55 * near[i + slant // 2], tips], 1)
            draw(front, lines[tips[:, 1] < min(style.sides, 60)][::2], line=0.5)  # an uneven hairline
            _streak(strands, lines, 0.7)
    else:
        for near, far in zip(nears, fars, strict=True):
            u = rng.uniform(-0.05, 1.05, (70, 1, 1))
            _streak(strands, near[::2] * (1 - u) + far[::2] * u)
    return np.stack([back, soften(front, style.soft), soften(strands, 0.5)])


def hair(look: Look, variation: Variation) -> tuple[Array, Array, Array]:
    """Masks of the hair behind and before the head, and its colours everywhere, a planar image."""
    back, front, strands = np.roll(_layers(look), round((variation.axis - AXIS) * SCALE), axis=2)
    across, down, lx = (GRID - variation.axis) / (look.width + 5), (GRID[:, None] - 40) / 60, variation.light[0]
    light = 0.72 + 0.5 * variation.ambient - 0.22 * across**2 + 0.25 * across * lx - 0.2 * down - 0.1 * down**2
    band = (GRID[:, None] - 9 - 19 * across**2 + 4 * lx * across) / 5  # a gloss across the top
    gloss = 0.12 if look.style.curl else 0.35
    light += gloss * np.exp(-0.5 * (band**2 + ((across - 0.4 * lx) / 0.45) ** 2))
    bright = enlarge(np.clip(light * 128, 0, 255).astype(np.uint8))
    return back, front, look_up(cv2.multiply(bright, strands, scale=1 / 128), look.hair)
