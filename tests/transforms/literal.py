"""The mission's medical mask, word for word with PIL and one step at a time: slow, and what ours must equal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

Bool = npt.NDArray[np.bool_]
Point = tuple[float, float]


def medical_mask(
    picture: Image.Image,
    draws: Sequence[float],
    points: Sequence[Point],
    size: tuple[int, int] = (112, 112),
    rotation: Image.Resampling = Image.Resampling.NEAREST,
) -> Bool:
    """True where the mask picture occludes an image of *size* (width, height).

    *draws*, in [0, 1): three points as x and y, shift as x and y, scale, angle. At other sizes than 112 x 112 points
    and offsets are multiplied, which is all that is not in the mission's text.
    """
    across, down = size[0] / 112, size[1] / 112
    # 1. Randomize facial landmarks
    nose, left_mouth, right_mouth = (
        (across * (x + _uniform(-3, 3, draws[2 * i])), down * (y + _uniform(-3, 3, draws[2 * i + 1])))
        for i, (x, y) in enumerate(points)
    )
    # 2. Random disturbance
    shift_x = across * _uniform(-5, 5, draws[6])
    shift_y = down * _uniform(-5, 5, draws[7])
    scale = _uniform(0.95, 1.10, draws[8])
    angle = _uniform(-7, 7, draws[9])
    # 3. Compute mask dimensions
    mouth_width = math.hypot(right_mouth[0] - left_mouth[0], right_mouth[1] - left_mouth[1])
    mask_width = max(1, int(mouth_width * 4.0 * scale))
    mask_height = max(1, int((right_mouth[1] - nose[1]) * 4.0 * scale))
    # 4. Resize and rotate mask
    mask = picture.resize((mask_width, mask_height))
    mask = mask.rotate(angle, rotation, expand=True)
    # 5. Position mask
    center_x = int(nose[0] + shift_x)
    paste_y = int(nose[1] - 25 * down + shift_y)
    paste_x = center_x - mask.width // 2
    # 6. and 7. Paste it; what its alpha covers is occluded
    alpha = Image.new("L", size, 0)
    alpha.paste(mask.getchannel("A"), (paste_x, paste_y))
    return np.asarray(alpha) > 128


def turn(draws: Sequence[float], points: Sequence[Point]) -> str:
    """Which picture of a kind: ``front``, or where a nose off the middle of the mouth has turned to."""
    nose, left, right = (
        (x + _uniform(-3, 3, draws[2 * i]), y + _uniform(-3, 3, draws[2 * i + 1])) for i, (x, y) in enumerate(points)
    )
    aside = nose[0] - (left[0] + right[0]) / 2
    if abs(aside) <= 0.08 * math.hypot(right[0] - left[0], right[1] - left[1]):
        return "front"
    return "left" if aside < 0 else "right"


def _uniform(low: float, high: float, draw: float) -> float:
    return low + (high - low) * draw
