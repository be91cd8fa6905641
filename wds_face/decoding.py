"""Encoded images to pixels."""

from __future__ import annotations

import io
import warnings

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from wds_face.images import MAX_PIXELS, Buffer

# Those that images.kind knows. PIL reads others, and runs Ghostscript for some.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM")


def decode(data: Buffer, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8] | None:
    """uint8 RGB [H, W, 3]; None for what is no whole image, or has more than :data:`~wds_face.images.MAX_PIXELS`.

    Faces were aligned by their pixels, not by what a camera noted: Exif's orientation is ignored.

    Args:
        data: JPEG (by libjpeg-turbo), or what PIL reads.
        out: contiguous, for a JPEG of just this shape: it is returned then, and may be overwritten in any case.
    """
    if out is not None:
        try:  # most are of this shape, and asking for it first takes time
            image: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, buffer=out)
        except ValueError:
            pass
        else:
            return out if image.shape == out.shape else image.copy()
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        if height * width > MAX_PIXELS:
            return None
        image = simplejpeg.decode_jpeg(data)
    except ValueError:  # no JPEG, one of four colours, or with a byte too many
        return _decode(data)
    return image


def _decode(data: Buffer) -> NDArray[np.uint8] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    return None
                if image.mode.startswith("I"):  # 16 bits of grey, which PIL would cut off at 255
                    grey = (np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)
                    return np.repeat(grey[..., None], 3, axis=2)
                return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError):
        return None
