"""What is measured of images, beside the same by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.report.conftest import broken, encoded
from wds_face.report.sample import Drawn
from wds_face.report.survey import KINDS, measure, survey


def drawn(image: np.ndarray, number: int = 0, kind: str = "PNG") -> Drawn:
    return Drawn("train-000000.tar", f"{number:07d}/000000", number, encoded(image, kind))


def test_measures_by_hand() -> None:
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    look = measure(image, b"\xff\xd8\xff" + bytes(97))
    luma = np.rint(image @ np.array([0.299, 0.587, 0.114]))
    assert (look.width, look.height, look.nbytes, look.format, look.grey) == (112, 112, 100, "jpg", False)
    assert look.luma == pytest.approx(luma.mean(), abs=0.05)
    assert look.contrast == pytest.approx(luma.std(), abs=0.05)
    round_ = np.pad(luma, 1, mode="reflect")
    laplacian = round_[:-2, 1:-1] + round_[2:, 1:-1] + round_[1:-1, :-2] + round_[1:-1, 2:] - 4 * luma
    assert look.sharpness == pytest.approx(laplacian.var(), rel=0.01)


def test_one_colour() -> None:
    look = measure(np.full((50, 80, 3), 77, np.uint8), b"")
    assert (look.width, look.height, look.luma, look.contrast, look.sharpness, look.grey) == (80, 50, 77, 0, 0, True)
    assert not measure(np.full((50, 80, 3), (200, 10, 10), np.uint8), b"").grey


def test_those_that_stand_out() -> None:
    rng = np.random.default_rng(0)
    images = [np.full((112, 112, 3), 100 + i, np.uint8) + rng.integers(0, 3 * i + 2, (112, 112, 1), dtype=np.uint8)
              for i in range(20)]  # fmt: skip
    images[11] = np.zeros((300, 20, 3), np.uint8)
    images[7] = np.full((112, 112, 3), 255, np.uint8)
    found = survey([drawn(image, i) for i, image in enumerate(images)], extremes=4)
    assert (found.samples, found.identities, len(found.undecodable)) == (20, 20, 0)
    assert list(found.extremes) == list(KINDS)
    first = {kind: most[0] for kind, most in found.extremes.items()}
    assert (first["darkest"].drawn.label, first["darkest"].value) == (11, 0)
    assert (first["brightest"].drawn.label, first["brightest"].value) == (7, 255)
    assert {one.drawn.label for one in found.extremes["blurriest"][:2]} == {7, 11}
    for most in found.extremes.values():
        assert len(most) == 4
        assert all(max(one.image.shape[:2]) <= 112 for one in most)
    assert first["darkest"].image.shape == (112, 7, 3)
    values = [one.value for one in found.extremes["brightest"]]
    assert values == sorted(values, reverse=True)


def test_what_cannot_be_decoded_is_kept_apart() -> None:
    good = drawn(np.zeros((9, 9, 3), np.uint8), 1)
    found = survey([good, Drawn("a.tar", "0000002/000000", 2, broken()), Drawn("a.tar", "x", 2, b"")])
    assert [one.key for one in found.undecodable] == ["0000002/000000", "x"]
    assert (found.samples, found.identities, len(found.looks)) == (3, 2, 1)
    nothing = survey([])
    assert (nothing.samples, nothing.extremes["darkest"]) == (0, [])
