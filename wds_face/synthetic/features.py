"""Painting what is on a face: beard, nose, mouth, eyes, glasses."""

from __future__ import annotations

import numpy as np

from wds_face.synthetic.canvas import Canvas, blank, draw, enlarge
from wds_face.synthetic.color import Color, mix
from wds_face.synthetic.head import outline
from wds_face.synthetic.look import Look
from wds_face.synthetic.shapes import CIRCLE, Points, curve, ellipse, move, ring
from wds_face.synthetic.template import ARCFACE_112
from wds_face.synthetic.variation import Variation

_BLACK = (10, 8, 8)
_WHITE = (246, 240, 234)
_EYES = ARCFACE_112[:2].astype(np.float64)


def _both(shape: Points) -> list[Points]:
    """*shape* around either eye, x outwards."""
    return [_EYES[0] + shape * (-1, 1), _EYES[1] + shape]


def paint_beard(canvas: Canvas, look: Look, variation: Variation) -> None:
    """Paint a moustache, and maybe a beard."""
    grain = enlarge(np.random.default_rng(look.grain).integers(150, 256, (112, 112), dtype=np.uint8))
    color, a, drop = mix(look.hair[128], _BLACK, 0.25), look.width, 0.4 * variation.gap
    if look.beard:
        half = [(-a, 58), (-0.88 * a, 72), (-0.6 * a, 85), (-17, 89), (-8, 101 + drop)]
        cheeks = move(curve([*half, (0, 100 + drop), *((-x, y) for x, y in half[::-1])]), variation.axis)
        head = outline(look, variation)
        canvas.paint([np.concatenate([head[head[:, 1] > 60], cheeks])], color, look.beard, blur=1.2, clip=grain)
    corner = 92 - 0.8 * variation.smile
    upper = curve([(40, corner), (46, 84), (53, 81), (56, 82), (59, 81), (66, 84), (72, corner)])
    lower = curve([(44, 90), (56, 87.5), (68, 90)])
    canvas.paint([ring(upper, lower)], color, look.moustache, blur=0.6, clip=grain)


def paint_nose(canvas: Canvas, look: Look, variation: Variation) -> None:
    """Paint wings, nostrils and the tip's shine."""
    size, tip = look.nose, ARCFACE_112[2] + (1.3 * variation.yaw, 0)
    wing = curve([(6.3 * size, -1.5), (7.3 * size, 1.5), (6.3 * size, 4.2)])
    canvas.paint([tip + wing, tip + wing * (-1, 1)], look.skin[48], 0.4, blur=0.5, line=0.8)
    nostrils = [tip + ellipse(x * size, 4.7, 1.9 * size, 0.95) for x in (-3.1, 3.1)]
    canvas.paint(nostrils, look.skin[48], 0.85, blur=0.4)
    canvas.paint([tip + ellipse(2 * variation.light[0], -1.2, 1.5, 1.1)], look.skin[250], 0.4, blur=0.9)


def paint_mouth(canvas: Canvas, look: Look, variation: Variation) -> None:
    """Paint the lips, and teeth between them."""
    smile, gap, skin = variation.smile, variation.gap, look.skin
    s = np.linspace(-1, 1, 19)
    arc = 1 - s * s  # 0 in the corners, 1 in the middle
    bow = 1 + 0.3 * np.exp(-(((np.abs(s) - 0.2) / 0.15) ** 2)) - 0.15 * np.exp(-((s / 0.1) ** 2))  # the cupid's bow
    (left, y), (right, _) = ARCFACE_112[3:].astype(float)
    x = (left + right) / 2 + 0.4 * variation.yaw + s * ((right - left) / 2 + 0.6 * smile)
    seam = y + 0.4 - 1.5 * smile + (0.3 + 3.7 * smile) * arc
    thick = look.lips * (1 - 0.2 * smile)
    above, below = seam - 0.15 * gap * arc, seam + 0.85 * gap * arc**0.8
    edges = (above - 3 * thick * bow * arc**0.85, above, below, below + 4.9 * thick * arc**0.7)
    top, upper, lower, bottom = (np.stack([x, edge], 1) for edge in edges)
    lip = look.lip * (0.9 + 0.25 * (variation.ambient - 0.36))
    canvas.paint([move(bottom[3:-3], 0, 0.5)], skin[50], 0.3, blur=0.6, line=0.8)
    canvas.paint([ring(top, upper)], mix(lip, skin[60], 0.3), 0.8, blur=0.3)
    canvas.paint([ring(lower, bottom)], lip, 0.8, blur=0.3)
    shine = move(lower[5:-5], 2 * variation.light[0], 2.2 * thick)
    canvas.paint([shine], mix(lip, _WHITE, 0.6), 0.4, blur=0.5, line=0.9)
    if gap:
        canvas.paint([ring(upper, lower)], (58, 20, 22), blur=0.2)
        teeth = upper[3:-3] + min(0.5 * gap, 2.8) * arc[3:-3, None] * (0, 1)
        canvas.paint([ring(upper[3:-3], teeth)], _WHITE, 0.75, blur=0.3)
    else:
        canvas.paint([upper], mix(look.lip, _BLACK, 0.7), 0.8, blur=0.2, line=0.6)


def paint_eyes(canvas: Canvas, look: Look, variation: Variation) -> None:
    """Paint eyes, lids and brows."""
    skin, tilt, light = look.skin, look.tilt, variation.light[0]
    w, up, low = 8.3 * look.eye, 4.4 * look.eye * variation.lid, (3.0 - 0.6 * variation.smile) * look.eye

    def balls(dy: float, rx: float, ry: float, dx: float = 0.0) -> list[Points]:
        """Ellipses on the irises: unlike lids, they look the same way."""
        x, y = variation.gaze[0] + 0.4 * variation.yaw + dx, variation.gaze[1] - 0.4 + dy
        return [eye + ellipse(x, y, rx, ry) for eye in _EYES]

    lid = curve([(-w, 0.9), (-0.55 * w, -0.62 * up), (-0.05 * w, -up), (0.55 * w, -0.75 * up), (w, -tilt)])
    under = curve([(-w, 0.9), (-0.5 * w, 0.7 * low), (0.1 * w, low), (0.6 * w, 0.72 * low - 0.4 * tilt), (w, -tilt)])
    opening = _both(ring(lid, under))
    inside = draw(blank(), opening)
    r, lash = 4.0 * look.eye**0.5, mix(skin[30], _BLACK, 0.4 + 0.6 * look.lashes)
    canvas.paint(opening, mix((60, 30, 28), _WHITE, 0.84))
    canvas.paint(balls(0, r, r), mix(look.iris, _BLACK, 0.62), clip=inside)
    canvas.paint(balls(0.2, 0.78 * r, 0.78 * r), look.iris, blur=0.25, clip=inside)
    canvas.paint(balls(1.6, 0.55 * r, 0.35 * r), mix(look.iris, (255, 240, 210), 0.4), 0.6, blur=0.4, clip=inside)
    canvas.paint(balls(0, 1.75, 1.75), _BLACK, clip=inside)
    canvas.paint(_both(move(lid, 0, 1)), (40, 22, 20), 0.45, blur=0.6, line=1.6, clip=inside)
    canvas.paint(balls(-1.3, 0.85, 0.85, np.copysign(1.3, light)), (255, 255, 255), 0.95)
    canvas.paint(_both(under), skin[70], 0.5, blur=0.2, line=0.5)
    canvas.paint(_both(move(lid, 0, -0.3)), lash, 0.9, blur=0.15, line=0.6 + 0.8 * look.lashes)
    canvas.paint(_both(lid[3:-1] * (1.02, 0.95) - (0, 2.1)), skin[62], 0.55, blur=0.45, line=0.7)
    y = np.array([0.2, -0.3 * look.arch, -0.85 * look.arch, -0.7 * look.arch, 1.2 - 0.4 * tilt])
    brow = np.stack([(-9, -4, 2, 7, 11.5), y - 10.8 - variation.lift], 1)
    thick = np.outer((0.9, 1.4, 1.25, 0.85, 0.15), (0, look.brow))
    brows = _both(ring(curve(brow - thick), curve(brow + thick)))
    canvas.paint(brows, mix(look.hair[128], (38, 24, 18), 0.4), 0.85, blur=0.4)


def paint_glasses(canvas: Canvas, frame: Color, look: Look) -> None:
    """Paint glasses of the colour *frame*."""
    rim = move(np.sign(CIRCLE) * np.abs(CIRCLE) ** 0.75 * (11.6, 9.6), 0.8, 1.6)
    arm = np.array([(12, -2), (look.width - 18, -3)])
    bridge = curve([(49.5, 51.5), (56, 49.5), (62.3, 51.5)])
    canvas.paint([*_both(rim), *_both(arm), bridge], frame, 0.95, line=1.2)
