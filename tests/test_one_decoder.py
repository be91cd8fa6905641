"""Every part of the package sees the same pixels in a file, whatever its depth and colours, or refuses it."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wds_face import CustomImageFolderDataset, PKStream, RandomIdentitySampler
from wds_face.conversion.convert import convert
from wds_face.datasets.records import BaseMXDataset
from wds_face.decoding import decode
from wds_face.errors import RecordError, SourceError
from wds_face.images import defect
from wds_face.recordio import RecordWriter, pack
from wds_face.sources import ImageFolder
from wds_face.transforms.batch import BatchTransform
from wds_face.transforms.forms import image_array
from wds_face.validation.bins import load_bin

U8 = NDArray[np.uint8]
SIDE = 24

RAMP = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 113
COLOUR = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
ALPHA = RAMP.astype(np.uint8)


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def grey(plane: NDArray[Any]) -> U8:
    return np.repeat(plane.astype(np.uint8)[..., None], 3, axis=2)


def palette_with_transparency() -> bytes:
    return encoded(Image.fromarray(COLOUR).quantize(32), "PNG", transparency=3)


def by_pil(data: bytes) -> U8:
    """Colours without their alpha."""
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGBA").convert("RGB") if image.mode == "P" else image.convert("RGB"))


def twelve_bits() -> bytes:
    """A TIFF of 12 bits of grey, two pixels in three bytes."""
    values = (RAMP >> 4).reshape(-1, 2).astype(np.uint32)
    packed = (values[:, 0] << 12 | values[:, 1])[:, None] >> np.array([16, 8, 0]) & 255
    strip = packed.astype(np.uint8).tobytes()
    entries = {256: SIDE, 257: SIDE, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: SIDE, 279: len(strip)}
    table = b"".join(
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little") for tag, value in entries.items()
    )
    head = b"II*\0" + (8 + len(strip)).to_bytes(4, "little")
    return head + strip + len(entries).to_bytes(2, "little") + table + bytes(4)


#: Files, and the pixels that they hold.
FILES: dict[str, tuple[bytes, U8]] = {
    "grey 16 bit PNG": (encoded(Image.fromarray(RAMP), "PNG"), grey(RAMP >> 8)),
    "grey 16 bit PGM": (encoded(Image.fromarray(RAMP), "PPM"), grey(RAMP >> 8)),
    "grey 16 bit TIFF": (encoded(Image.fromarray(RAMP), "TIFF"), grey(RAMP >> 8)),
    "grey 16 bit TIFF, big endian": (encoded(Image.fromarray(RAMP.astype(">u2")), "TIFF"), grey(RAMP >> 8)),
    "grey 16 bit TIFF, 0 is white": (
        encoded(Image.fromarray(RAMP), "TIFF", tiffinfo={262: 0}),
        grey((65535 - RAMP) >> 8),
    ),
    "grey 12 bit TIFF": (twelve_bits(), grey(RAMP >> 8)),
    "palette": (encoded(Image.fromarray(COLOUR).quantize(32), "PNG"), by_pil(palette_with_transparency())),
    "palette with transparency": (palette_with_transparency(), by_pil(palette_with_transparency())),
    "RGBA": (encoded(Image.fromarray(np.dstack([COLOUR, ALPHA])), "PNG"), COLOUR),
    "LA": (
        encoded(Image.merge("LA", [Image.fromarray(COLOUR[..., 0]), Image.fromarray(ALPHA)]), "PNG"),
        grey(COLOUR[..., 0]),
    ),
    "1 bit": (encoded(Image.fromarray(RAMP > 30000), "PNG"), grey(255 * (RAMP > 30000))),
    "CMYK TIFF": (
        encoded(Image.fromarray(COLOUR).convert("CMYK"), "TIFF"),
        np.asarray(Image.fromarray(COLOUR).convert("CMYK").convert("RGB")),
    ),
}
for _name, _image, _options in (
    ("JPEG", Image.fromarray(COLOUR), {"quality": 80}),
    ("grey JPEG", Image.fromarray(COLOUR).convert("L"), {}),
    ("CMYK JPEG", Image.fromarray(COLOUR).convert("CMYK"), {"quality": 95}),
):
    _data = encoded(_image, "JPEG", **_options)
    FILES[_name] = _data, by_pil(_data)

#: Files whose range of values nobody knows.
REFUSED: dict[str, bytes] = {
    "int 32 TIFF": encoded(Image.fromarray(RAMP.astype(np.int32)), "TIFF"),
    "int 32 TIFF up to 255": encoded(Image.fromarray((RAMP >> 8).astype(np.int32)), "TIFF"),
    "float TIFF up to 1": encoded(Image.fromarray((RAMP / 65535).astype(np.float32)), "TIFF"),
    "float TIFF up to 255": encoded(Image.fromarray((RAMP >> 8).astype(np.float32)), "TIFF"),
}


def folder_of(data: bytes, path: Path) -> Path:
    """Two identities, two files each, all of these bytes, named as what they are."""
    suffix = {b"\x89P": "png", b"\xff\xd8": "jpg", b"P5": "pgm"}.get(data[:2], "tif")
    for name in ("anna", "bob"):
        (path / name).mkdir(parents=True)
        for number in range(2):
            (path / name / f"{number}.{suffix}").write_bytes(data)
    return path


def record_of(data: bytes, path: Path) -> Path:
    path.mkdir()
    with RecordWriter(path / "train.rec") as writer:
        for key in range(2):
            writer.write(key, pack((0, 0.0, key, 0), data))
    return path


def by_stream(data: bytes, path: Path, **options: Any) -> U8:
    convert(ImageFolder(folder_of(data, path / "faces")), path / "shards", workers=1)
    stream = PKStream(path / "shards", 2, 2, image_size=SIDE, output="uint8", **options)
    images = next(iter(stream))[0]
    return np.ascontiguousarray(images[0].permute(1, 2, 0).numpy())


def by_transform(data: bytes, path: Path) -> U8:
    from torchvision.transforms import PILToTensor

    return by_stream(data, path, transform=PILToTensor())


def by_bin(data: bytes, path: Path) -> U8:
    (path / "set.bin").write_bytes(pickle.dumps(([data, data], [True])))
    images, _ = load_bin(path / "set.bin", SIDE)
    return np.ascontiguousarray(images[0].transpose(1, 2, 0))


def by_batch(data: bytes, path: Path) -> U8:
    del path
    images, _ = BatchTransform(image_size=SIDE)([data], np.random.default_rng(0))
    return images[0]


def opened(data: bytes, path: Path) -> U8:
    del path
    with Image.open(io.BytesIO(data)) as image:
        return image_array(image)[0]


def decoded(data: bytes, path: Path) -> U8:
    del path
    image = decode(data)
    if image is None:
        raise ValueError("refused")
    return image


DECODERS: dict[str, Callable[[bytes, Path], U8]] = {
    "decode": decoded,
    "batch": by_batch,
    "stream": by_stream,
    "stream with a transform": by_transform,
    "image folder data set": lambda data, path: np.asarray(CustomImageFolderDataset(folder_of(data, path / "f"))[0][0]),
    "record data set": lambda data, path: np.asarray(BaseMXDataset(record_of(data, path / "r"))[0][0]),
    "validation": by_bin,
    "transforms of PIL images": opened,
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_sees_the_same_pixels(decoder: str, file: str, tmp_path: Path) -> None:
    data, wanted = FILES[file]
    found = DECODERS[decoder](data, tmp_path)
    assert found.dtype == np.uint8
    assert np.array_equal(found, wanted)
    assert defect(data, deep=True) is None


@pytest.mark.parametrize("file", REFUSED)
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_refuses_values_of_unknown_range(decoder: str, file: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, SourceError, RecordError)):
        DECODERS[decoder](REFUSED[file], tmp_path)


@pytest.mark.parametrize("file", REFUSED)
def test_the_refusal_names_the_reason_and_the_remedy(file: str, tmp_path: Path) -> None:
    data = REFUSED[file]
    remedy = "save it with 8 or 16 bits"
    assert remedy in str(defect(data))
    with pytest.raises(ValueError, match=remedy):
        opened(data, tmp_path)
    with pytest.raises(SourceError, match=remedy):
        CustomImageFolderDataset(folder_of(data, tmp_path / "f"))[0]
    with pytest.raises(RecordError, match=remedy):
        BaseMXDataset(record_of(data, tmp_path / "r")).read_sample(0)


def test_convert_lists_such_an_image_with_its_reason(tmp_path: Path) -> None:
    folder = folder_of(FILES["grey 16 bit TIFF"][0], tmp_path / "faces")
    (folder / "anna" / "1.tif").write_bytes(REFUSED["float TIFF up to 1"])
    report = convert(ImageFolder(folder), tmp_path / "shards", workers=1, max_skipped=1.0)
    assert [item.item for item in report.skipped] == ["anna/1.tif"]
    assert "32-bit" in report.skipped[0].reason
    assert report.index.images == 3


def test_the_reason_is_the_same_in_every_process() -> None:
    """It goes into ``skipped.tsv``, whose bytes must not differ from run to run."""
    broken = encoded(Image.fromarray(COLOUR), "WEBP")[:20]
    assert "0x" not in str(defect(broken))
    assert defect(broken) == defect(bytes(bytearray(broken)))


def test_a_data_set_of_16_bit_images_can_be_sampled(tmp_path: Path) -> None:
    dataset = CustomImageFolderDataset(folder_of(FILES["grey 16 bit PNG"][0], tmp_path / "faces"))
    for index in RandomIdentitySampler(dataset, 2):
        assert np.array_equal(np.asarray(dataset[index][0]), grey(RAMP >> 8))
