"""Carrays, which bcolz itself writes here, are read without it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.validation.sets import normalized
from wds_face.errors import SourceError, WdsFaceError
from wds_face.validation.carray import Carray

pytest.importorskip("numcodecs")

PIXELS = np.random.default_rng(0).integers(0, 256, (29, 3, 16, 12), dtype=np.uint8)
FLOATS = normalized(PIXELS)


def written(folder: Path, array: Any, **options: Any) -> Path:
    """As AdaFace's ``load_bin`` makes one: filled, then image by image."""
    bcolz = pytest.importorskip("bcolz", reason="bcolz-zipline has wheels for Python 3.11 and older")
    folder.parent.mkdir(exist_ok=True)
    made = bcolz.fill(list(array.shape), dtype=array.dtype, rootdir=str(folder), mode="w", **options)
    for number in range(len(array)):
        made[number, ...] = array[number]
    made.flush()
    return folder


@pytest.mark.parametrize("chunk", [None, 1, 7, 13, 29, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("codec", ["lz4", "blosclz", "zstd", "zlib"])
def test_what_bcolz_writes_is_read(chunk: int | None, dtype: Any, codec: str, tmp_path: Path) -> None:
    import bcolz

    array = PIXELS if dtype == np.uint8 else FLOATS.astype(dtype)
    options: dict[str, Any] = {"cparams": bcolz.cparams(cname=codec)}
    images = Carray(written(tmp_path / "a", array, **options | ({} if chunk is None else {"chunklen": chunk})))
    assert (images.shape, images.dtype, images.channels) == (FLOATS.shape, np.float32, "bgr")
    assert np.array_equal(images[:], FLOATS)
    assert np.array_equal(images[[28, 3, 4, 5, 0]], FLOATS[[28, 3, 4, 5, 0]])
    assert np.array_equal(images.pixels(5, 20), PIXELS[5:20])


def test_an_array_of_bcolz(tmp_path: Path) -> None:
    """One that was handed over at once."""
    bcolz = pytest.importorskip("bcolz")
    bcolz.carray(FLOATS, rootdir=str(tmp_path / "a"), mode="w").flush()
    assert np.array_equal(Carray(tmp_path / "a")[:], FLOATS)


def test_damage_is_told_in_one_line(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole", FLOATS, chunklen=7)

    def damaged(name: str, change: Any) -> Path:
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        file = folder / name
        data = change(bytearray(file.read_bytes()))
        file.unlink()
        if data is not None:
            file.write_bytes(data)
        return folder

    def swollen(data: bytearray) -> bytearray:
        data[16 + 4 : 16 + 8] = (0x7FFFFFFF).to_bytes(4, "little")  # says that 2 GB come out of it
        return data

    for name, change, message in [
        ("data/__2.blp", lambda data: None, r"__2.blp is missing"),
        ("data/__2.blp", lambda data: data[:40], r"__2.blp is damaged"),
        ("data/__2.blp", lambda data: b"", r"__2.blp is not a chunk"),
        ("data/__2.blp", lambda data: b"nope" + data[4:], r"__2.blp is not a chunk"),
        ("data/__2.blp", swollen, r"__2.blp is not a chunk"),
        ("meta/sizes", lambda data: b"{}", "is not a carray of images"),
        ("meta/sizes", lambda data: None, "is not a carray of images"),
        ("meta/storage", lambda data: json.dumps({"dtype": "object", "chunklen": 7}).encode(), "is not a carray"),
        ("meta/storage", lambda data: json.dumps({"dtype": "float32", "chunklen": 0}).encode(), "is not a carray"),
    ]:
        folder = damaged(name, change)
        with pytest.raises(SourceError, match=message) as caught:
            Carray(folder)[14:21]
        assert "\n" not in str(caught.value)


def test_without_numcodecs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "numcodecs.blosc", None)
    with pytest.raises(WdsFaceError, match=r"pip install 'wds-face\[carray\]'"):
        Carray(tmp_path)
