"""Is this file an image, and is all of it there? Answered from its bytes, without decoding."""

from __future__ import annotations

import zlib

from wds_face import git_lfs

Buffer = bytes | memoryview

#: Width and height in pixels.
Size = tuple[int, int]

#: File name extensions that count as images (torchvision's list), lower case.
EXTENSIONS = frozenset({"jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp"})

#: A larger file is not even read.
MAX_BYTES = 1 << 28

#: A larger image is refused: it is no face, and decoding it could exhaust the memory.
MAX_PIXELS = 64_000_000

_PNG = b"\x89PNG\r\n\x1a\n"
_SOI = b"\xff\xd8\xff"
_EOI = b"\xff\xd9"

# Markers of JPEG segments that give height and width: SOF0 to SOF15, without DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class ImageError(ValueError):
    """An image is damaged or cannot be decoded; the message says why in a few words."""


def kind(data: Buffer) -> str | None:
    """The extension that the first bytes speak for, None for what no training image starts with."""
    head = bytes(data[:16])
    if head.startswith(_SOI):
        return "jpg"
    if head.startswith(_PNG):
        return "png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith(b"BM"):
        return "bmp"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "tif"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "ppm"
    return None


def defect(data: Buffer, *, deep: bool = False) -> str | None:
    """Return what is wrong with an encoded image, in a few words, or None; see :func:`checked_size`."""
    try:
        checked_size(data, deep=deep)
    except ImageError as error:
        return str(error)
    return None


def checked_size(data: Buffer, *, deep: bool = False) -> Size:
    """Check that an encoded image is whole, and return its width and height in pixels.

    JPEG and PNG are walked marker by marker, so that a file cut anywhere is found in microseconds; other formats are
    decoded.

    Args:
        data: The encoded image.
        deep: Decode every format, so that damage in the middle is found too.

    Raises:
        ImageError: It is not an image, or is damaged, cut short or too large.
    """
    if data[:3] == _SOI:
        size = _jpeg_size(data)
    elif not len(data):
        raise ImageError("empty")
    elif (found := kind(data)) is None:
        raise ImageError(git_lfs.REASON if git_lfs.is_pointer(data) else "not an image")
    elif found == "png":
        size = _png_size(data)
    else:
        return _decoded_size(data)
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageError(f"{size[0]} x {size[1]} pixels, more than {MAX_PIXELS:,}")
    if deep:
        return _decoded_size(data)
    return size


def _jpeg_size(data: Buffer) -> Size:
    """Walk the segments up to the pixels (SOS), then ask for an end-of-image marker behind them.

    Inside the pixels 0xff is always followed by a stuffed 0 or a restart marker, so 0xffd9 there is the end; one that
    stands in an embedded thumbnail lies in a segment before, and does not count.
    """
    at = 2
    frame = 0
    length = len(data)
    try:
        while (marker := data[at + 1]) != 0xDA:
            if data[at] != 0xFF:
                raise ImageError("damaged JPEG")
            if marker in _FRAMES:
                frame = at
            at += 1 if marker == 0xFF else 2 + (data[at + 2] << 8 | data[at + 3])
        if data[at] != 0xFF or not frame:
            raise ImageError("damaged JPEG")
        height = data[frame + 5] << 8 | data[frame + 6]
        width = data[frame + 7] << 8 | data[frame + 8]
    except IndexError:
        raise ImageError("truncated JPEG") from None
    if bytes(data[length - 2 :]) != _EOI and bytes(data).rfind(_EOI, at) < 0:
        raise ImageError("truncated JPEG")
    return width, height


def _png_size(data: Buffer) -> Size:
    """Walk the chunks to IEND, checking each CRC."""
    view = memoryview(data)
    at = len(_PNG)
    while at + 12 <= len(view):
        length = int.from_bytes(view[at : at + 4], "big")
        end = at + 12 + length
        if end > len(view):
            break
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise ImageError("damaged PNG")
        if bytes(view[at + 4 : at + 8]) == b"IEND":
            return int.from_bytes(view[16:20], "big"), int.from_bytes(view[20:24], "big")
        at = end
    raise ImageError("truncated PNG")


def _decoded_size(data: Buffer) -> Size:
    from wds_face.decoding import decode_or_raise  # noqa: PLC0415 (rarely needed, and slow to import)

    try:
        height, width, _ = decode_or_raise(data).shape
    except ImageError as error:
        raise ImageError(f"cannot be decoded ({error})") from None
    return width, height
