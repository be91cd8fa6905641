"""Whole images pass, everything else is named for what it is."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from wds_face.images import MAX_PIXELS, defect, kind


def encode(format_: str, mode: str = "RGB", size: tuple[int, int] = (20, 16), **options: object) -> bytes:
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8)).convert(mode)
    file = io.BytesIO()
    pixels.save(file, format_, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("format_", "expected"),
    [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("BMP", "bmp"), ("TIFF", "tif"), ("PPM", "ppm")],
)
@pytest.mark.parametrize("deep", [False, True])
def test_whole_images_have_no_defect(format_: str, expected: str, deep: bool) -> None:
    data = encode(format_)
    assert kind(data) == expected
    assert defect(data, deep=deep) is None
    assert defect(memoryview(data), deep=deep) is None


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 1}])
def test_every_kind_of_jpeg_passes(mode: str, options: dict[str, object]) -> None:
    assert defect(encode("JPEG", mode, **options)) is None


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_a_file_cut_anywhere_is_found(format_: str) -> None:
    data = encode(format_)
    assert all(defect(data[:length]) for length in range(len(data)))


@pytest.mark.parametrize("format_", ["WEBP", "BMP", "TIFF", "PPM"])
def test_other_formats_are_decoded_to_see(format_: str) -> None:
    data = encode(format_)
    assert "cannot be decoded" in str(defect(data[: len(data) // 2]))


def test_a_thumbnail_is_not_taken_for_the_end() -> None:
    """An embedded JPEG ends like the file does; cut behind it, the file is still truncated."""
    data = encode("JPEG")
    thumbnail = encode("JPEG", size=(8, 8))
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = data[:2] + segment + data[2:]
    assert defect(whole) is None
    assert defect(whole[:-2]) == "truncated JPEG"


def test_bytes_after_the_end_are_no_defect() -> None:
    assert defect(encode("JPEG") + bytes(100)) is None


@pytest.mark.parametrize("data", [b"GIF89a" + bytes(40), b"<html>not found</html>", b"\0" * 600, b"\xff\xd8"])
def test_what_is_no_image_is_called_so(data: bytes) -> None:
    assert defect(data) == "not an image"


def test_empty() -> None:
    assert defect(b"") == "empty"


def test_a_flipped_bit_in_a_png_is_found() -> None:
    data = bytearray(encode("PNG"))
    data[len(data) // 2] ^= 4
    assert defect(bytes(data)) == "damaged PNG"


def test_damage_in_the_middle_of_a_jpeg_needs_deep() -> None:
    """The frame header says 0 x 0 pixels: well-formed markers, but nothing to decode."""
    data = bytearray(encode("JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = bytes(4)
    assert defect(bytes(data)) is None
    assert "cannot be decoded" in str(defect(bytes(data), deep=True))


def test_an_image_too_large_to_be_a_face_is_refused_before_it_is_decoded() -> None:
    side = int(MAX_PIXELS**0.5) + 1
    header = f"P6 {side} {side} 255\n".encode()
    assert "pixels" in str(defect(header + bytes(100)))
