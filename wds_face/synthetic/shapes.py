"""Outlines in template pixels, x right and y down: float64 [n, 2]."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[Any]

_T = np.linspace(0, 1, 5, endpoint=False)
_CATMULL_ROM = 0.5 * np.stack(
    [-_T + 2 * _T**2 - _T**3, 2 - 5 * _T**2 + 3 * _T**3, _T + 4 * _T**2 - 3 * _T**3, _T**3 - _T**2], 1
)
_TURN = np.linspace(0, 2 * np.pi, 25)
CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)


def curve(points: Any) -> Points:
    """A smooth open curve through *points*, five to a step."""
    p = np.asarray(points, np.float64)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    quads = np.stack([p[:-3], p[1:-2], p[2:-1], p[3:]], 1)
    return np.concatenate([(_CATMULL_ROM @ quads).reshape(-1, 2), p[-2:-1]])


def move(points: Points, x: float, y: float = 0.0) -> Points:
    """*points*, that much further to the right and down."""
    return np.asarray(points + np.array([x, y]))


def ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    """An ellipse around a point."""
    return move(CIRCLE * (rx, ry), x, y)


def ring(upper: Points, lower: Points) -> Points:
    """The polygon between two curves that run the same way."""
    return np.concatenate([upper, lower[::-1]])


def resample(points: Points, count: int) -> Points:
    """*count* points evenly along a line, so that those of two lines pair up."""
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    places = np.linspace(0, length[-1], count)
    return np.stack([np.interp(places, length, points[:, c]) for c in (0, 1)], 1)
