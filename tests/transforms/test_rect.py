"""Scaling and cropping: how large, where, and the mask at the same place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode

from tests.transforms.levels import assert_uniform
from tests.transforms.pictures import colored
from wds_face.transforms import RandomSizedRectCrop, RectScale
from wds_face.transforms.rect import cut, place

Floats = npt.NDArray[np.float64]


def ramp(size: int = 256) -> npt.NDArray[np.uint8]:
    """An image that says of every pixel where it was: row in red, column in green."""
    rows, columns = np.mgrid[:size, :size].astype(np.uint8)
    return np.dstack([rows, columns, np.zeros_like(rows)])


def crops(transform: Any, count: int) -> Floats:
    """Top, left, height and width of what is cut out of a ramp."""
    found = []
    for _ in range(count):
        out = transform(ramp())
        (top, left, _), (bottom, right, _) = out[0, 0].astype(float), out[-1, -1].astype(float)
        found.append((top, left, bottom - top + 1, right - left + 1))
    return np.array(found)


@pytest.fixture(scope="module")
def cropped() -> Floats:
    return crops(RandomSizedRectCrop(256, 256, 0.7, Image.Resampling.NEAREST, rng=np.random.default_rng(0)), 1000)


def smooth(sides: Floats) -> Floats:
    return sides + np.random.default_rng(1).random(sides.shape) - 0.5


def test_crop_areas_are_uniform_from_the_square_of_crop_factor(cropped: Floats) -> None:
    assert_uniform((smooth(cropped[:, 2:]).prod(1) / 256**2).clip(0.49, 1), 0.49, 1)


def test_crop_aspects_are_log_uniform_where_they_fit(cropped: Floats) -> None:
    sides = smooth(cropped[:, 2:]) / 256
    area, aspect = sides.prod(1), sides[:, 0] / sides[:, 1]
    fits = area < 0.74  # 3/4: everything from 3/4 to 4/3 fits
    widest = math.log(4 / 3)
    assert fits.sum() > 300
    assert_uniform(np.log(aspect[fits]).clip(-widest, widest), -widest, widest)
    assert (np.log(aspect) <= np.minimum(widest, -np.log(area)) + 0.02).all()


def test_crop_places_are_uniform(cropped: Floats) -> None:
    rng = np.random.default_rng(2)
    for axis in (0, 1):
        room = 256 - cropped[:, 2 + axis] + 1
        some = room > 10
        assert_uniform(((cropped[:, axis] + rng.random(len(room))) / room)[some], 0, 1)


def test_a_crop_factor_of_1_crops_nothing() -> None:
    image = colored(60, 60)
    assert np.array_equal(RandomSizedRectCrop(60, 60, 1.0)(image), image)


@pytest.mark.parametrize("shape", [(112, 112), (250, 90), (30, 20), (1, 1), (1, 300)])
def test_crops_have_the_size_asked_for_whatever_the_image_has(shape: tuple[int, int]) -> None:
    for factor in (0.01, 0.5, 1.0):
        out, mask = RandomSizedRectCrop(40, 70, factor)((colored(*shape), np.full(shape, 255, np.uint8)))
        assert out.shape == (40, 70, 3)
        assert mask.shape == (40, 70)


@settings(deadline=None, max_examples=200)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    low=st.floats(1e-6, 1),
    aspect=st.floats(1, 10),
    draws=st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4),
)
def test_what_is_cut_lies_within_the_image(height: int, width: int, low: float, aspect: float, draws: Any) -> None:
    rows, columns = cut((height, width, 3), (low, 1.0), aspect, draws)
    assert 0 <= rows.start < rows.stop <= height
    assert 0 <= columns.start < columns.stop <= width


@settings(deadline=None)
@given(
    high=st.floats(0, 400),
    wide=st.floats(0, 400),
    top=st.floats(0, 1, exclude_max=True),
    left=st.floats(0, 1, exclude_max=True),
    size=st.integers(1, 300),
)
def test_what_is_placed_lies_within_the_image(high: float, wide: float, top: float, left: float, size: int) -> None:
    rows, columns = place((size, size), high, wide, top, left)
    assert 0 <= rows.start < rows.stop <= size
    assert 0 <= columns.start < columns.stop <= size


def test_all_places_where_a_rectangle_fits_are_used() -> None:
    seen = {
        (rows.start, columns.start)
        for top in range(100)
        for left in range(100)
        for rows, columns in [place((5, 5), 3, 2, top / 100, left / 100)]
    }
    assert seen == {(row, column) for row in range(3) for column in range(4)}


# The mask goes with the image


@pytest.mark.parametrize("source", [(112, 112), (250, 250), (90, 250), (37, 53)])
@pytest.mark.parametrize("target", [(112, 112), (56, 60), (200, 170)])
@pytest.mark.parametrize("crop", [False, True])
def test_mask_and_image_move_alike(source: tuple[int, int], target: tuple[int, int], crop: bool) -> None:
    mask = np.full(source, 255, np.uint8)
    mask[source[0] // 4 : source[0] // 2, source[1] // 3 : source[1] // 3 * 2] = 0
    image = np.repeat(mask[..., None], 3, 2)
    for seed in range(10):
        transform: Any = (
            RandomSizedRectCrop(*target, 0.7, rng=np.random.default_rng(seed)) if crop else RectScale(*target)
        )
        out, moved = transform((image, mask))
        assert set(np.unique(moved)) <= {0, 255}
        seen, wanted = np.argwhere(out[..., 0] < 128), np.argwhere(moved == 0)
        # nearest pixels and interpolated ones differ by half a pixel of the coarser grid
        grain = 0.6 * np.maximum(1, np.array(target) / source) + 0.6
        for end in (np.min, np.max):
            assert (np.abs(end(seen, 0) - end(wanted, 0)) <= grain + 0.5).all()


@pytest.mark.parametrize("source", [(112, 112), (250, 250), (64, 64)])
def test_the_mask_is_not_shifted_against_the_image(source: tuple[int, int]) -> None:
    # the middle of what is occluded, over many places, where single pixels average out
    rng, off = np.random.default_rng(3), []
    for _ in range(60):
        mask = np.full(source, 255, np.uint8)
        top, left = rng.integers(5, source[0] // 2, 2)
        high, wide = rng.integers(10, source[0] // 2 - 8, 2)
        mask[top : top + high, left : left + wide] = 0
        out, moved = RectScale(100, 100)((np.repeat(mask[..., None], 3, 2), mask))
        weights = 255 - out[..., 0].astype(float)
        rows, columns = np.mgrid[:100, :100]
        wanted = np.array([(rows * weights).sum(), (columns * weights).sum()]) / weights.sum()
        off.append(np.argwhere(moved == 0).mean(0) - wanted)
    assert np.abs(np.mean(off, 0)).max() < 0.1


def test_a_mask_at_feature_map_size_stays_at_that_size() -> None:
    mask = np.ones((7, 7), np.float32)
    mask[4:] = 0
    _, moved = RectScale(112, 112)((colored(224, 224), mask))
    assert np.array_equal(moved, mask)
    _, moved = RandomSizedRectCrop(112, 112, rng=np.random.default_rng(4))((colored(), mask))
    assert moved.shape == (7, 7)
    assert moved[0].min() == 1
    assert moved[-1].max() == 0


# Arguments


@pytest.mark.parametrize("size", [0, -5, 1.5, "112", None, True])
def test_sizes_that_are_none_are_one_clear_error(size: Any) -> None:
    makes: list[Any] = [RectScale, RandomSizedRectCrop]
    for make in makes:
        with pytest.raises(ValueError, match=r"^height must be"):
            make(size, 112)
        with pytest.raises(ValueError, match=r"^width must be"):
            make(112, size)


@pytest.mark.parametrize("factor", [0, -1, 1.01, float("nan"), "0.8", None])
def test_crop_factors_that_are_none_are_one_clear_error(factor: Any) -> None:
    with pytest.raises(ValueError, match=r"^crop_factor must"):
        RandomSizedRectCrop(112, 112, factor)


@pytest.mark.parametrize("interpolation", [17, -1, "sharp", None, 2.5])
def test_unknown_interpolations_are_one_clear_error(interpolation: Any) -> None:
    makes: list[Any] = [RectScale, RandomSizedRectCrop]
    for make in makes:
        with pytest.raises(ValueError, match=r"^interpolation must be one of PIL's"):
            make(112, 112, interpolation=interpolation)


def test_every_interpolation_of_pil_and_torchvision_is_known() -> None:
    for interpolation in [*Image.Resampling, *map(int, Image.Resampling), *InterpolationMode]:
        assert RectScale(20, 30, interpolation)(colored(50, 50)).shape == (20, 30, 3)


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    assert RectScale(np.int64(20), np.int32(30))(colored(50, 50)).shape == (20, 30, 3)  # type: ignore[arg-type]
