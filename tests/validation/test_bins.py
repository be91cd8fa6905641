"""InsightFace's .bin files, in all the forms that there are."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.support import SHARED
from tests.validation.sets import decoded, jpeg, write_bin
from wds_face import load_bin
from wds_face.errors import SourceError


def arrays(bins: list[bytes], column: bool) -> list[Any]:
    """As ``cv2.imencode`` gives them: ``[n]`` of today's OpenCV, ``[n, 1]`` of older ones."""
    flat = [np.frombuffer(data, np.uint8) for data in bins]
    return [array[:, None] for array in flat] if column else flat


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("form", ["bytes", "arrays", "columns"])
@pytest.mark.parametrize(
    "listed", [list, np.array, lambda same: np.array(same)[:, None], lambda same: [*map(int, same)]]
)
def test_every_form(protocol: int, form: str, listed: Any, tmp_path: Path) -> None:
    bins, issame = write_bin(tmp_path / "a.bin")
    given: Any = bins if form == "bytes" else arrays(bins, form == "columns")
    (tmp_path / "a.bin").write_bytes(pickle.dumps((given, listed(issame)), protocol))
    images, same = load_bin(tmp_path / "a.bin")
    assert (images.dtype, images.shape, same.dtype) == (np.uint8, (12, 3, 112, 112), np.bool_)
    assert np.array_equal(images, decoded(bins)), "to the bit what OpenCV decodes"
    assert same.tolist() == issame


def test_channels(tmp_path: Path) -> None:
    bins, _ = write_bin(tmp_path / "a.bin")
    assert np.array_equal(load_bin(tmp_path / "a.bin", channels="bgr")[0], decoded(bins, "bgr"))
    with pytest.raises(ValueError, match="channels"):
        load_bin(tmp_path / "a.bin", channels="grey")  # type: ignore[arg-type]


def test_other_sizes_are_resized(tmp_path: Path) -> None:
    bins = [jpeg(1, 96), jpeg(2, 112), jpeg(3, 224), jpeg(4, 112)]
    (tmp_path / "a.bin").write_bytes(pickle.dumps((bins, [True, False])))
    images, _ = load_bin(tmp_path / "a.bin")
    assert images.shape == (4, 3, 112, 112)
    assert np.array_equal(images[1::2], decoded(bins[1::2]))
    for row, data in ((0, bins[0]), (2, bins[2])):
        by_pil = np.asarray(Image.open(io.BytesIO(data)).resize((112, 112), Image.Resampling.BILINEAR), np.int16)
        assert np.abs(images[row].transpose(1, 2, 0) - by_pil).mean() < 2
    assert load_bin(tmp_path / "a.bin", image_size=64)[0].shape == (4, 3, 64, 64)


def test_png_and_grey(tmp_path: Path) -> None:
    colour = cv2.imdecode(np.frombuffer(jpeg(5), np.uint8), cv2.IMREAD_COLOR)
    png = cv2.imencode(".png", colour)[1]
    grey = cv2.imencode(".jpg", colour[..., 0])[1]
    (tmp_path / "a.bin").write_bytes(pickle.dumps(([png, grey], [False])))
    images, _ = load_bin(tmp_path / "a.bin")
    assert np.array_equal(images[0].transpose(1, 2, 0)[..., ::-1], colour)
    assert np.array_equal(images[1][0], images[1][2])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([jpeg(0)] * 3, [True]), "a.bin has 3 images for 1 pairs: it is damaged"),
        (([jpeg(0)] * 4, [True]), "a.bin has 4 images for 1 pairs"),
        (([jpeg(0), jpeg(1)[:200]], [True]), r"a.bin: image 1 \(of pair 0\) cannot be decoded"),
        (([jpeg(0), b""], [True]), r"a.bin: image 1 \(of pair 0\) cannot be decoded"),
        (([jpeg(0), 7], [True]), "a.bin: image 1 is int, not the bytes of a file"),
        (([jpeg(0), np.zeros(4, np.float32)], [True]), "a.bin: image 1 is ndarray, not the bytes"),
        (([jpeg(0), jpeg(1)], [2]), "a.bin does not say of each pair whether it is of one person"),
        (([jpeg(0), jpeg(1)], ["yes"]), "a.bin does not say of each pair"),
        (([], []), "a.bin does not say of each pair"),
        (([jpeg(0)] * 4, [[1], [1, 0]]), "a.bin does not say of each pair"),
        (([jpeg(0)] * 4, [True, [[1]]]), "a.bin does not say of each pair"),
        (([jpeg(0)] * 4, [True, 2**80]), "a.bin does not say of each pair"),
        (([jpeg(0)] * 4, None), "a.bin does not say of each pair"),
        (([jpeg(0), jpeg(1)], [True], 3), "a.bin is not a list of images and which pairs are the same"),
        ([jpeg(0), jpeg(1)], "a.bin is not a list of images"),
        (7, "a.bin is not a list of images"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(given: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(pickle.dumps(given))
    with pytest.raises(SourceError, match=message) as caught:
        load_bin(tmp_path / "a.bin")
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no file .*none\.bin"):
        load_bin(tmp_path / "none.bin")


def test_a_real_one() -> None:
    """InsightFace's own fixture, whose images are arrays of ``cv2.imencode``."""
    path = SHARED / "fixtures" / "small_lfw.bin"
    if not path.is_file():
        pytest.skip("the shared fixtures are not here")
    with path.open("rb") as file:
        bins, issame = pickle.load(file, encoding="bytes")
    images, same = load_bin(path)
    assert np.array_equal(images, decoded([array.tobytes() for array in bins]))
    assert same.tolist() == list(issame) == [True] * 10
