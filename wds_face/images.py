"""Is this file an image, and is all of it there? Answered from its bytes, without decoding."""

from __future__ import annotations

import zlib

Buffer = bytes | memoryview

#: File name extensions that count as images (torchvision's list), lower case.
EXTENSIONS = frozenset({"jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp"})

#: A larger file is not even read.
MAX_BYTES = 1 << 28

#: A larger image is refused: it is no face, and decoding it could exhaust the memory.
MAX_PIXELS = 64_000_000

_PNG = b"\x89PNG\r\n\x1a\n"
_SOI = b"\xff\xd8\xff"
_EOI = b"\xff\xd9"


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
    """What is wrong with an encoded image, in a few words; None if nothing is.

    JPEG and PNG are walked marker by marker, so that a file cut anywhere is found in microseconds; other formats are
    decoded. ``deep`` decodes every format and so finds damage in the middle too.
    """
    if data[:3] == _SOI:
        wrong = _jpeg_defect(data)
    elif not len(data):
        return "empty"
    elif (found := kind(data)) is None:
        return "not an image"
    elif found == "png":
        wrong = _png_defect(data)
    else:
        return _decode_defect(data)
    return wrong or (_decode_defect(data) if deep else None)


def _jpeg_defect(data: Buffer) -> str | None:
    """Walk the segments up to the pixels (SOS), then ask for an end-of-image marker behind them.

    Inside the pixels 0xff is always followed by a stuffed 0 or a restart marker, so 0xffd9 there is the end; one that
    stands in an embedded thumbnail lies in a segment before, and does not count.
    """
    at, size = 2, len(data)
    try:
        while (marker := data[at + 1]) != 0xDA:
            if data[at] != 0xFF:
                return "damaged JPEG"
            at += 1 if marker == 0xFF else 2 + (data[at + 2] << 8 | data[at + 3])
    except IndexError:
        return "truncated JPEG"
    if data[at] != 0xFF:
        return "damaged JPEG"
    if bytes(data[size - 2 :]) == _EOI or bytes(data).rfind(_EOI, at) >= 0:
        return None
    return "truncated JPEG"


def _png_defect(data: Buffer) -> str | None:
    """Walk the chunks to IEND, checking each CRC."""
    view = memoryview(data)
    at = len(_PNG)
    while at + 12 <= len(view):
        length = int.from_bytes(view[at : at + 4], "big")
        end = at + 12 + length
        if end > len(view):
            break
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            return "damaged PNG"
        if bytes(view[at + 4 : at + 8]) == b"IEND":
            return None
        at = end
    return "truncated PNG"


def _decode_defect(data: Buffer) -> str | None:
    from wds_face.decoding import ImageError, decode_or_raise  # noqa: PLC0415 (rarely needed, and slow to import)

    try:
        decode_or_raise(data)
    except ImageError as error:
        return f"cannot be decoded ({error})"
    return None
