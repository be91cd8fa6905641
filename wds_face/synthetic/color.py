"""Colours: RGB in 0..255, float64 [3]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Color = npt.NDArray[Any]


def palette(digits: str) -> Color:
    """Colours written in hexadecimal, [n, 3]."""
    return np.array(list(bytes.fromhex(digits)), np.float64).reshape(-1, 3)


def mix(a: Any, b: Any, t: float) -> Color:
    """The colour from *a*, at 0, to *b*, at 1."""
    return np.asarray(np.multiply(a, 1 - t) + np.multiply(b, t))


def shades(places: Sequence[float], colors: Sequence[Color]) -> Color:
    """A material by brightness, uint8 [256, 3]: *colors* at *places*, and what lies between."""
    channels = [np.interp(np.arange(256), places, channel) for channel in np.stack(colors, 1)]
    return np.asarray(np.clip(np.stack(channels, 1), 0, 255).astype(np.uint8))
