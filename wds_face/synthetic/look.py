"""What all images of an identity share."""

from __future__ import annotations

from typing import Final

import numpy as np

from wds_face.synthetic.color import Color, mix, palette, shades
from wds_face.synthetic.hairstyle import WITH_BEARD, WITHOUT

_SKIN = palette("f9dcc9 f2cbb2 e6b998 d4a07c bc8561 9a694b 7a513b 5f3f30")
_HAIR = palette("1c1818 281e1b 382820 543826 70442c 8c4628 b65e30 b08654 d4ae72 e4cca0")  # dark to light
_GREY_HAIR = palette("807e7e acaaa8 d8d6d2")
_EYES = palette("3c2416 5c381e 7c5c2e 5c7846 4a7aa6 708696")  # brown first
_LIPSTICK = palette("be283e a02c48 ce5c64")
_FRAMES = palette("1a1a1e 5c361e 967846 78242a 2a3a5e")


def _skin(color: Color) -> Color:
    """Skin by brightness: shadows turn red before they turn dark, highlights pale."""
    dark, dim, pale = color * (0.30, 0.18, 0.16), color * (0.68, 0.55, 0.50), mix(color, 255, 0.45)
    return shades((20, 95, 168, 250), (dark, dim, color, pale))


def _hair(color: Color) -> Color:
    """Hair by brightness."""
    return shades((0, 128, 180, 255), (color * 0.25, color, color * 1.25 + 20, mix(color, 255, 0.5)))


class Look:
    """An identity, drawn from *rng*.  Sizes are factors unless said otherwise."""

    def __init__(self, rng: np.random.Generator) -> None:
        uniform = rng.uniform

        def pick(colors: Color) -> Color:
            """One of *colors*, a little brighter or darker, warmer or colder; never greener."""
            tint = 1 + uniform(-0.12, 0.12) + np.array([0.03, 0, -0.03]) * rng.normal()
            return np.asarray(np.clip(colors[rng.integers(len(colors))] * tint, 0, 250))

        tone = uniform(0, len(_SKIN) - 1)
        skin = np.array([np.interp(tone, np.arange(len(_SKIN)), channel) for channel in _SKIN.T])
        skin = np.clip(skin * uniform(0.96, 1.03) + rng.normal(0, 4) * np.array([0.3, -0.2, -1.0]), 20, 250)
        dark, bearded = tone > 4 or uniform() < 0.25, uniform() < 0.36
        lip = mix(skin * (0.84, 0.6, 0.6), (176, 60, 72), uniform(0.05, 0.3))
        painted = not bearded and uniform() < 0.3

        self.skin: Final = _skin(skin)
        self.hair: Final = _hair(pick(_GREY_HAIR if uniform() < 0.16 else _HAIR[:3] if dark else _HAIR))
        self.iris: Final = pick(_EYES[:2] if dark and uniform() < 0.8 else _EYES)
        self.lip: Final = mix(lip, pick(_LIPSTICK), 0.7) if painted else lip
        self.frame: Final = pick(_FRAMES) if uniform() < 0.2 else None  # of glasses
        styles = WITH_BEARD if bearded else WITHOUT
        self.style: Final = styles[rng.integers(len(styles))]
        self.mirrored: Final = uniform() < 0.5  # the hair is parted on the other side
        self.width: Final = uniform(34.5, 41) + bearded  # half the head's, px
        self.chin: Final = uniform(106, 112)  # its y
        self.jaw: Final = uniform(0.02, 0.18)  # by how much it is narrower than the cheekbones
        self.eye: Final = uniform(0.9, 1.2)
        self.tilt: Final = uniform(-0.8, 1.4)  # px by which the eyes' outer corners are higher
        self.brow: Final = uniform(0.6, 1.3) + 0.35 * bearded
        self.arch: Final = uniform(0.4, 2.4)  # of the brows, px
        self.nose: Final = uniform(0.82, 1.3)
        self.lips: Final = uniform(0.7, 1.35) - 0.1 * bearded
        self.lashes: Final = uniform(0.0, 0.4) if bearded else uniform(0.4, 1.0)
        self.beard: Final = uniform(0.3, 0.9) if bearded and uniform() < 0.75 else 0.0  # opacity
        self.moustache: Final = uniform(0.4, 0.9) if bearded else 0.0  # opacity
        self.freckles: Final = rng.integers(18, 50) if tone < 3 and uniform() < 0.22 else 0
        self.grain: Final = rng.integers(1 << 31)  # seeds freckles and strands
