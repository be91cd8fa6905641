"""Images within a page, as data URIs."""

from __future__ import annotations

import io
from base64 import b64encode

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

U8 = NDArray[np.uint8]

# What is occluded, and its edge: in a colour that no face or mask has, translucent.
_COLOR = (255, 24, 130)
_OPACITY = bytes([0, 90, 235])

_QUALITY = 82


def jpeg(image: U8) -> str:
    """An image, uint8 RGB ``[H, W, 3]``."""
    data = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=_QUALITY, colorspace="RGB", colorsubsampling="420"
    )
    return f"data:image/jpeg;base64,{b64encode(data).decode()}"


def overlay(masks: U8) -> str | None:
    """What masks occlude, ``[H, W]`` with 0 for it, in a translucent colour; None where it is nothing."""
    occluded = (masks == 0).astype(np.uint8)
    if not occluded.any():
        return None
    inner = cv2.erode(occluded, np.ones((3, 3), np.uint8))
    picture = Image.new("P", occluded.shape[::-1])
    picture.putpalette([0, 0, 0, *_COLOR, *_COLOR])
    picture.frombytes((2 * occluded - inner).tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True, bits=2, transparency=_OPACITY)
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


def strip(images: U8) -> U8:
    """Images ``[k, H, W, ...]`` side by side."""
    return np.concatenate(list(images), axis=1)
