"""Resizing as PIL's bilinear filter has it, at OpenCV's speed."""

from __future__ import annotations

from typing import Any

import cv2
from PIL import Image

#: PIL's names of the filters -> OpenCV's
_FILTERS = {
    Image.Resampling.NEAREST: cv2.INTER_NEAREST,
    Image.Resampling.BILINEAR: cv2.INTER_LINEAR,
    Image.Resampling.HAMMING: cv2.INTER_AREA,
    Image.Resampling.BICUBIC: cv2.INTER_CUBIC,
    Image.Resampling.LANCZOS: cv2.INTER_LANCZOS4,
    Image.Resampling.BOX: cv2.INTER_AREA,
}


def resize(plane: Any, height: int, width: int, interpolation: int = cv2.INTER_LINEAR) -> Any:
    """*plane*, an array [H, W] or [H, W, C], at another size.

    OpenCV's filters look at the same few pixels however much an image shrinks, so that most pixels would not be seen at
    all. PIL's look at all of them. Here an image is first halved, by averaging, as often as it takes.

    Args:
        plane: uint8 or float32.
        height, width: of the result.
        interpolation: one of OpenCV's.
    """
    if interpolation != cv2.INTER_NEAREST:
        while plane.shape[0] >= 2 * height and plane.shape[1] >= 2 * width:
            half = (plane.shape[1] + 1) // 2, (plane.shape[0] + 1) // 2
            plane = cv2.resize(plane, half, interpolation=cv2.INTER_AREA)
    if plane.shape[0] == height and plane.shape[1] == width:
        return plane
    return cv2.resize(plane, (width, height), interpolation=interpolation)


def cv2_filter(interpolation: int) -> int:
    """OpenCV's filter for one of PIL's; torchvision's ``InterpolationMode`` is understood too.

    Raises:
        ValueError: it is none.
    """
    name = getattr(interpolation, "value", interpolation)
    try:
        found = Image.Resampling[name.upper()] if isinstance(name, str) else Image.Resampling(name)
    except (KeyError, ValueError):
        raise ValueError(f"interpolation must be one of PIL's, such as Image.BILINEAR, not {interpolation!r}") from None
    return _FILTERS[found]
