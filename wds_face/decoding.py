"""Encoded images to pixels. Every part of the package decodes here, so that all of them see the same pixels.

The result is 8-bit RGB, whatever the file holds:

- Colours of 8 bits are kept; of 16 bits, the 8 highest are. Palettes, CMYK and YCbCr are converted by Pillow.
- Grey is repeated in the three channels. Of 12 or 16 bits, the 8 highest are kept.
- An alpha channel is ignored: a transparent pixel has the colour that is stored for it.
- 32-bit integers, signed 16-bit integers and floats are refused. Files of this kind hold 0 to 1, 0 to 255 or anything
  else, without saying which, and a guess would turn faces black or white.
- Exif's orientation is ignored: faces were aligned by their pixels. Of several frames, the first is taken.
"""

from __future__ import annotations

import io
import warnings
from typing import cast

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from wds_face.images import MAX_PIXELS, Buffer, ImageError, kind

U8 = NDArray[np.uint8]

#: Pillow's names of the formats that :func:`wds_face.images.kind` knows. Pillow reads others too, and runs Ghostscript
#: for some.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM")

# Files in which Pillow's mode "I" holds 0 to 65535: 16-bit PNG before Pillow 11.3, and PGM of more than 8 bits.
_SIXTEEN_BITS = frozenset({"PNG", "PPM"})

# Colour spaces of JPEG that libjpeg-turbo converts in its own way. Pillow's is taken, as users see it there.
_FOUR_COLOURS = frozenset({"CMYK", "YCCK"})

# JPEG markers, without their 0xff.
_APP0 = 0xE0
_DQT = 0xDB

# TIFF tags.
_BITS_PER_SAMPLE = 258
_PHOTOMETRIC_INTERPRETATION = 262
_WHITE_IS_ZERO = 0

#: Modes of PIL images whose pixels are grey.
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})


def decode(data: Buffer, out: U8 | None = None) -> U8 | None:
    """Decode an image, or return None where :func:`decode_or_raise` raises.

    Args:
        data: The encoded image.
        out: Where the pixels of a JPEG of this shape go, uint8 RGB [H, W, 3], contiguous; it is returned then. It may
            be overwritten in any case.

    Returns:
        uint8 RGB [H, W, 3].
    """
    if out is not None and _is_plain_jfif(data):
        try:  # most are of this shape, and asking for it first takes time
            image: U8 = simplejpeg.decode_jpeg(data, buffer=out)
        except ValueError:
            pass
        else:
            return out if image.shape == out.shape else image.copy()
    try:
        return decode_or_raise(data)
    except ImageError:
        return None


def decode_or_raise(data: Buffer, formats: tuple[str, ...] = FORMATS) -> U8:
    """Decode an image: JPEG of one or three colours by libjpeg-turbo, everything else by Pillow.

    Args:
        data: The encoded image.
        formats: Pillow's names of the formats to accept.

    Returns:
        uint8 RGB [H, W, 3].

    Raises:
        ImageError: It is not an image, is damaged or cut short, has more than
            :data:`~wds_face.images.MAX_PIXELS` pixels, or values of an unknown range.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        _check_size(width, height)
        if colours not in _FOUR_COLOURS:
            return cast(U8, simplejpeg.decode_jpeg(data))
    except ImageError:
        raise
    except ValueError:  # not a JPEG, or one with pixels missing, which Pillow may still complete
        pass
    return _decode_by_pillow(data, formats)


def eight_bits(image: Image.Image) -> U8:
    """Return the pixels of a PIL image by the rules of this module.

    Args:
        image: Of any mode. Its format and tags, which it has until it is copied, say what a mode leaves open.

    Returns:
        uint8, of its own memory: [H, W] for the modes in :data:`GREY_MODES`, otherwise RGB [H, W, 3].

    Raises:
        ImageError: Its values have an unknown range.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _SIXTEEN_BITS):
        return _highest_bits(image)
    if image.mode in {"I", "F"}:
        raise ImageError(f"32-bit {_number_kind(image)} have no known range: save it with 8 or 16 bits")
    if image.mode in {"P", "PA"}:  # straight to RGB warns where the palette has transparency
        image = image.convert("RGBA")
    elif image.mode == "La":  # Pillow converts it to nothing else
        image = image.convert("LA")
    wanted = "L" if image.mode in GREY_MODES else "RGB"
    if image.mode != wanted:
        image = image.convert(wanted)
    return np.array(image, np.uint8)


def _is_plain_jfif(data: Buffer) -> bool:
    """Return whether a JPEG begins as libjpeg's do for one or three colours: JFIF's header, then a table."""
    return len(data) > 21 and data[3] == _APP0 and data[21] == _DQT


def _decode_by_pillow(data: Buffer, formats: tuple[str, ...]) -> U8:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no defect of the pixels
            with Image.open(io.BytesIO(data), formats=formats) as image:
                _check_size(image.width, image.height)
                pixels = eight_bits(image)
    except ImageError:
        raise
    except UnidentifiedImageError:  # its message has the address of an object in memory
        raise ImageError("it is not an image" if kind(data) is None else "its header is damaged") from None
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError) as error:
        raise ImageError(" ".join(str(error).split())[:80]) from error
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    return pixels


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"it has {width} x {height} pixels, more than {MAX_PIXELS:,}")


def _highest_bits(image: Image.Image) -> U8:
    values = np.asarray(image).clip(0, 65535).astype(np.uint16)
    bits = 16
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        (bits, *_) = image.tag_v2.get(_BITS_PER_SAMPLE, (16,))
        if image.tag_v2.get(_PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO:
            values = (1 << bits) - 1 - values
    return (values >> (bits - 8)).astype(np.uint8)


def _number_kind(image: Image.Image) -> str:
    return "floats" if image.mode == "F" else "integers"
