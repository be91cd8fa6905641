"""Pixels are those that PIL sees, whatever the format; what is no whole image is None, never half an image."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.support import jpeg
from wds_face.decoding import decode
from wds_face.images import MAX_PIXELS

U8 = NDArray[np.uint8]


def picture(width: int = 40, height: int = 40, seed: int = 0) -> Image.Image:
    """Something smooth and colourful."""
    pixels = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def by_pil(data: bytes) -> U8:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def assert_close(found: U8 | None, wanted: U8, levels: int = 1) -> None:
    assert found is not None
    assert found.dtype == np.uint8
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).max() <= levels


def claimed_jpeg(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    data = bytearray(jpeg(0))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def claimed_png(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = encoded(picture(), "PNG")
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


@pytest.mark.parametrize("size", [(40, 40), (112, 112), (1, 1), (1, 37), (37, 1), (17, 31), (250, 3)])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}, {"optimize": True}])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg(size: tuple[int, int], options: dict[str, Any], subsampling: int) -> None:
    data = encoded(picture(*size), "JPEG", subsampling=subsampling, **options)
    assert_close(decode(data), by_pil(data))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_of_other_colours(mode: str, progressive: bool) -> None:
    data = encoded(picture(33, 21).convert(mode), "JPEG", progressive=progressive)
    found = decode(data)
    assert_close(found, by_pil(data))
    assert found is not None
    assert found.std() > 10


def test_the_orientation_that_a_camera_noted_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = picture(30, 20)
    for format_, levels in (("JPEG", 12), ("PNG", 0), ("WEBP", 12)):
        data = encoded(image, format_, exif=exif, **({} if format_ == "PNG" else {"quality": 95}))
        with Image.open(io.BytesIO(data)) as noted:
            assert noted.getexif()[0x0112] == 6
        found = decode(data)
        assert_close(found, by_pil(data))
        assert found is not None
        assert np.abs(found.astype(int) - np.asarray(image)).mean() <= levels


@pytest.mark.parametrize("size", [(40, 40), (1, 1), (17, 31)])
@pytest.mark.parametrize(
    ("format_", "mode"),
    [(format_, mode) for format_ in ("PNG", "TIFF", "WEBP") for mode in ("RGB", "RGBA")]
    + [(format_, mode) for format_ in ("PNG", "BMP", "TIFF") for mode in ("L", "P", "1")]
    + [("PNG", "LA"), ("BMP", "RGB"), ("PPM", "RGB"), ("PPM", "L"), ("TIFF", "CMYK")],
)
def test_other_formats(format_: str, mode: str, size: tuple[int, int]) -> None:
    data = encoded(picture(*size).convert(mode), format_)
    found = decode(data)
    assert found is not None
    assert np.array_equal(found, by_pil(data))


def test_transparency_is_left_out() -> None:
    image = picture()
    image.putalpha(Image.fromarray(np.arange(1600, dtype=np.uint8).reshape(40, 40)))
    found = decode(encoded(image, "PNG"))
    assert found is not None
    assert np.array_equal(found, np.asarray(picture()))


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_become_eight(format_: str) -> None:
    grey = np.arange(0, 65536, 101, dtype=np.uint16)[:640].reshape(20, 32)
    found = decode(encoded(Image.fromarray(grey), format_))
    assert found is not None
    assert np.array_equal(found, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_out_is_filled_and_given_back(mode: str) -> None:
    data = encoded(picture(31, 22).convert(mode), "JPEG")
    rows = np.full((3, 22, 31, 3), 7, np.uint8)
    out = rows[1]
    assert decode(data, out) is out
    assert np.array_equal(rows[1], decode(data))  # type: ignore[arg-type]
    assert (rows[[0, 2]] == 7).all(), "and nothing beside it"


@pytest.mark.parametrize("shape", [(31, 22, 3), (22, 31, 4), (22, 32, 3), (1, 1, 3), (22 * 31 * 3,)])
def test_out_of_another_shape_is_not_what_comes_back(shape: tuple[int, ...]) -> None:
    data, out = encoded(picture(31, 22), "JPEG"), np.full(shape, 7, np.uint8)
    found = decode(data, out)
    assert_close(found, by_pil(data))
    out[...] = 7
    assert_close(found, by_pil(data))


@pytest.mark.parametrize("format_", ["PNG", "BMP", "WEBP"])
def test_what_pil_reads_is_right_with_out_too(format_: str) -> None:
    data = encoded(picture(), format_)
    assert_close(decode(data, np.empty((40, 40, 3), np.uint8)), by_pil(data), 0)


def test_what_libjpeg_only_warns_of_is_as_pil_has_it() -> None:
    """Pixels that end before the image does: PIL makes the rest up."""
    data = encoded(picture(), "JPEG")
    data = data[:-30] + b"\xff\xd9" + data[-28:]
    with pytest.raises(ValueError, match="premature end"):
        simplejpeg.decode_jpeg(data)
    assert_close(decode(data, np.zeros((40, 40, 3), np.uint8)), by_pil(data), 0)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "BMP", "WEBP", "PPM"])
def test_a_cut_image_is_none(format_: str) -> None:
    data = encoded(picture(), format_)
    for length in range(0, len(data) - 20, 7):
        out = np.empty((40, 40, 3), np.uint8)
        assert decode(data[:length], out) is None
        assert decode(memoryview(data)[:length]) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"\xff\xd8\xff", b"\xff\xd8\xff\xd9", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF\4\0\0\0WEBP", b"II*\0",
     b"P6\n", bytes(5000), b"hello " * 99],
)  # fmt: skip
def test_garbage_is_none(data: bytes) -> None:
    assert decode(data) is None
    assert decode(memoryview(data), np.empty((4, 4, 3), np.uint8)) is None


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(["JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM"]),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=5),
)
def test_damage_never_crashes(format_: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(encoded(picture(24, 24), format_))
    for place, value in changes:
        data[place % len(data)] = value
    found = decode(bytes(data))
    assert found is None or (found.ndim == 3 and found.shape[2] == 3 and found.dtype == np.uint8)


@given(st.binary(max_size=400))
def test_any_bytes_are_none(data: bytes) -> None:
    assert decode(b"\xff\xd8\xff" + data) is None
    assert decode(b"\xff" + data) is None


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 1000, b"\xff\xd9", b"more", jpeg(1)])
def test_bytes_behind_the_end_do_not_matter(tail: bytes) -> None:
    data = jpeg(0)
    out = np.empty((24, 24, 3), np.uint8)
    assert np.array_equal(decode(data), decode(data + tail, out))  # type: ignore[arg-type]


def test_programs_are_not_run() -> None:
    """PIL gives PostScript to Ghostscript, where there is one."""
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    assert decode(page) is None
    assert decode(encoded(picture(), "GIF")) is None, "nor what is no image elsewhere"


@pytest.mark.parametrize(
    "data", [claimed_jpeg(60_000, 60_000), claimed_png(60_000, 60_000), claimed_jpeg(65_500, 1000)]
)
def test_what_claims_too_many_pixels_is_not_even_tried(data: bytes) -> None:
    before = time.monotonic()
    tracemalloc.start()
    try:
        assert decode(data, np.empty((24, 24, 3), np.uint8)) is None
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert time.monotonic() - before < 5


def test_pixels_up_to_the_limit() -> None:
    side = int(MAX_PIXELS**0.5)
    for format_ in ("JPEG", "PNG"):
        assert decode(encoded(Image.new("L", (side + 1, side)), format_)) is None
    found = decode(encoded(Image.new("L", (side, side), 9), "JPEG"))
    assert found is not None
    assert found.shape == (side, side, 3)
