"""Rectangles: as often, as large, as many, of the colours and at the places that are documented."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors

from tests.transforms.levels import assert_equally_often, assert_share, assert_uniform
from tests.transforms.pictures import colored, noisy
from wds_face.transforms import RandomErasing, RandomOcclusion, SyntheticOcclusionMask

Floats = npt.NDArray[np.float64]

COUNT = 800


def boxes(masks: list[Any]) -> Floats:
    """Of masks with one rectangle each: top, left, height, width."""
    found = []
    for mask in masks:
        rows, columns = np.flatnonzero((mask == 0).any(1)), np.flatnonzero((mask == 0).any(0))
        high, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        assert (mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == 0).all(), "no rectangle"
        found.append((rows[0], columns[0], high, wide))
    return np.array(found, np.float64)


def smooth(whole: Floats, seed: int = 0) -> Floats:
    """Rounded numbers, spread over what was rounded to them."""
    return whole + np.random.default_rng(seed).random(whole.shape) - 0.5


def assert_uniform_places(found: Floats, height: int, width: int) -> None:
    rng = np.random.default_rng(1)
    assert_uniform((found[:, 0] + rng.random(len(found))) / (height - found[:, 2] + 1), 0, 1)
    assert_uniform((found[:, 1] + rng.random(len(found))) / (width - found[:, 3] + 1), 0, 1)


def one_patch(**arguments: Any) -> SyntheticOcclusionMask:
    return SyntheticOcclusionMask(1, max_patches=1, feature_map_size=None, rng=np.random.default_rng(2), **arguments)


# SyntheticOcclusionMask


@pytest.fixture(scope="module")
def patches() -> Floats:
    image = np.zeros((400, 300, 3), np.uint8)
    transform = one_patch()
    return boxes([transform(image)[1] for _ in range(COUNT)])


def test_synthetic_sizes_are_a_tenth_to_four_tenths_of_the_shorter_side(patches: Floats) -> None:
    sides = smooth(patches[:, 2:])
    assert_uniform(np.sqrt(sides.prod(1)) / 300, 0.1, 0.4)


def test_synthetic_aspects_are_0_7_to_1_4(patches: Floats) -> None:
    large = smooth(patches[patches[:, 2] * patches[:, 3] > 3600])
    # rows rounded by one change the aspect of a patch of 60 by 2 %, so the ends are a bit blurred
    aspects = (large[:, 3] / large[:, 2]).clip(0.7, 1.4)
    assert len(large) > 300
    assert_uniform(aspects, 0.7, 1.4)


def test_synthetic_places_are_uniform_within_the_image(patches: Floats) -> None:
    assert_uniform_places(patches, 400, 300)


@pytest.mark.parametrize("most", [1, 3, 5])
def test_synthetic_numbers_of_patches_are_equally_often(most: int) -> None:
    transform = SyntheticOcclusionMask(1, 0.01, 0.01, most, None, rng=np.random.default_rng(3))
    image = np.full((700, 700, 3), 128, np.uint8)
    # of 7 pixels in 700, so that hardly any two touch
    counts = Counter(cv2.connectedComponents(255 - transform(image)[1])[0] - 1 for _ in range(300))
    assert set(counts) == set(range(1, most + 1))
    if most > 1:
        assert_equally_often([counts[number] for number in range(1, most + 1)])


def test_synthetic_patches_are_black_half_the_time_and_else_of_any_color() -> None:
    transform, image = one_patch(), np.full((30, 30, 3), 77, np.uint8)
    colors = []
    for _ in range(COUNT):
        out, mask = transform(image)
        inside = out[mask == 0]
        assert (inside == inside[0]).all(), "one colour"
        assert (out[mask == 255] == 77).all()
        colors.append(inside[0])
    black = [not color.any() for color in colors]
    assert_share(sum(black), COUNT, 0.5)
    chosen = np.array([color for color, is_black in zip(colors, black, strict=True) if not is_black], float)
    for channel in range(3):
        assert_uniform(chosen[:, channel] + np.random.default_rng(4).random(len(chosen)), 0, 256)
    assert np.abs(np.corrcoef(chosen.T) - np.eye(3)).max() < 0.2


@pytest.mark.parametrize("prob", [0.0, 0.3, 0.5, 1.0])
def test_synthetic_prob(prob: float) -> None:
    transform = SyntheticOcclusionMask(prob, rng=np.random.default_rng(5))
    image = np.full((20, 20, 3), 99, np.uint8)
    hits = 0
    for _ in range(2000):
        out, mask = transform(image)
        assert bool(mask.min() == 0) or np.array_equal(out, image), "what has changed is in the mask"
        hits += int(mask.min() == 0)
    if prob in {0, 1}:
        assert hits == 2000 * prob
    else:
        assert_share(hits, 2000, prob)


def test_synthetic_masks_are_7_x_7_of_zeros_and_ones() -> None:
    for image in (colored(), Image.fromarray(colored())):
        _, mask = SyntheticOcclusionMask(1, rng=np.random.default_rng(6))(image)
        assert (type(mask), mask.dtype, mask.shape) == (np.ndarray, np.float32, (7, 7))
        assert set(np.unique(mask)) == {0, 1}
    tensor = torch.from_numpy(colored()).permute(2, 0, 1)
    _, mask = SyntheticOcclusionMask(1)(tv_tensors.Image(tensor))
    assert (type(mask), mask.dtype, mask.shape) == (tv_tensors.Mask, torch.float32, (1, 7, 7))


@settings(deadline=None, max_examples=150)
@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    size=st.integers(1, 20),
    patches=st.integers(1, 4),
    seed=st.integers(0, 10_000),
)
def test_a_cell_is_occluded_if_a_patch_lies_over_its_centre(
    height: int, width: int, size: int, patches: int, seed: int
) -> None:
    full, small = (
        SyntheticOcclusionMask(1, max_patches=patches, feature_map_size=cells, rng=np.random.default_rng(seed))
        for cells in (None, size)
    )
    _, pixels = full(np.zeros((height, width, 3), np.uint8))
    _, cells = small(np.zeros((height, width, 3), np.uint8))
    rows = [math.floor((i + 0.5) * height / size) for i in range(size)]
    columns = [math.floor((i + 0.5) * width / size) for i in range(size)]
    occluded = pixels[np.ix_(rows, columns)] == 0
    assert (cells[occluded] == 0).all()
    if patches == 1:
        extra = (cells == 0) & ~occluded
        # a patch over no centre marks its own cell, or along the axis on which it is too thin
        assert extra.sum() == 0 or not occluded.any()
        assert (cells == 0).any()


def test_synthetic_max_size_of_1_fits_the_image() -> None:
    transform = one_patch(min_size=1.0, max_size=1.0)
    for shape in ((50, 90), (90, 50), (1, 1), (1, 300)):
        for _ in range(20):
            out, mask = transform(np.full((*shape, 3), 50, np.uint8))
            assert out.shape[:2] == mask.shape == shape
            assert (mask == 0).sum() >= 0.7 * min(shape) ** 2


# RandomOcclusion


def test_random_occlusion_sides_are_uniform_and_squares_lie_anywhere() -> None:
    transform, image = RandomOcclusion(rng=np.random.default_rng(7)), np.zeros((200, 260, 3), np.uint8)
    visible = np.full((200, 260), 255, np.uint8)
    pairs = [transform((image, visible)) for _ in range(COUNT)]
    found = boxes([mask for _, mask in pairs])
    assert np.array_equal(found[:, 2], found[:, 3])
    assert_uniform(smooth(found[:, 2]).clip(40, 200), 40, 200)
    assert_uniform_places(found, 200, 260)
    for out, mask in pairs:
        assert (out[mask == 0] == 255).all()
        assert not out[mask == 255].any()


def test_random_occlusion_gives_a_lone_image_back_alone() -> None:
    out = RandomOcclusion(0.5, 0.5, rng=np.random.default_rng(8))(Image.new("RGB", (112, 112)))
    assert isinstance(out, Image.Image)
    assert (np.asarray(out) == 255).all(2).sum() == 56 * 56


def test_random_occlusion_of_nothing_does_nothing() -> None:
    image = noisy()
    assert np.array_equal(RandomOcclusion(0, 0)(image), image)


# RandomErasing


@pytest.fixture(scope="module")
def erased() -> Floats:
    transform = RandomErasing(1, rng=np.random.default_rng(9))
    image, visible = np.zeros((500, 400, 3), np.uint8), np.full((500, 400), 255, np.uint8)
    return boxes([transform((image, visible))[1] for _ in range(COUNT)])


def test_erased_areas_are_2_to_20_percent(erased: Floats) -> None:
    assert_uniform((smooth(erased[:, 2:]).prod(1) / 200_000).clip(0.02, 0.2), 0.02, 0.2)


def test_erased_aspects_are_log_uniform_from_0_3(erased: Floats) -> None:
    sides = smooth(erased[:, 2:]) / [500, 400]
    assert_uniform(np.log(sides[:, 0] / sides[:, 1]).clip(math.log(0.3), -math.log(0.3)), math.log(0.3), -math.log(0.3))


def test_erased_places_are_uniform(erased: Floats) -> None:
    assert_uniform_places(erased, 500, 400)


@pytest.mark.parametrize("epsilon", [0.0, 0.2, 0.5, 1.0])
def test_erasing_prob(epsilon: float) -> None:
    transform, image = RandomErasing(epsilon, rng=np.random.default_rng(10)), np.zeros((12, 12, 3), np.uint8)
    hits = sum(bool(transform(image).any()) for _ in range(2000))
    if epsilon in {0, 1}:
        assert hits == 2000 * epsilon
    else:
        assert_share(hits, 2000, epsilon)


def test_erased_pixels_are_the_mean_color() -> None:
    visible = np.full((60, 60), 255, np.uint8)
    out, mask = RandomErasing(1, rng=np.random.default_rng(11))((colored(60, 60), visible))
    assert (out[mask == 0] == [124, 116, 104]).all()
    assert np.array_equal(out[mask == 255], colored(60, 60)[mask == 255])
    assert visible.min() == 255


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("channels", [1, 3])
def test_float_tensors_are_erased_with_the_mean_as_it_is(dtype: torch.dtype, channels: int) -> None:
    image = torch.full((channels, 40, 30), 2.0, dtype=dtype)
    erase = RandomErasing(1, mean=[-0.5, 0.25, 1.0], rng=np.random.default_rng(12))
    out = erase(image)
    assert (image == 2).all(), "not in place"
    assert (out.dtype, out.shape) == (dtype, image.shape)
    hit = (out != 2).all(0)
    assert 0.01 < hit.float().mean() < 0.3
    wanted = [-0.5, 0.25, 1.0] if channels == 3 else [0.25]
    assert out[:, hit].T.unique(dim=0).squeeze(0).tolist() == wanted


def test_float_pairs_are_erased_in_image_and_mask() -> None:
    image, mask = tv_tensors.Image(torch.zeros(3, 56, 56)), tv_tensors.Mask(torch.ones(1, 56, 56))
    out, moved = RandomErasing(1, mean=(1.0, 1.0, 1.0), rng=np.random.default_rng(13))((image, mask))
    assert type(out) is tv_tensors.Image
    assert type(moved) is tv_tensors.Mask
    assert torch.equal(out[0] == 1, moved[0] == 0)
    assert (moved == 0).any()


def test_the_same_numbers_erase_the_same_of_float_and_uint8() -> None:
    ones = torch.ones(3, 33, 44)
    floats = RandomErasing(1, rng=np.random.default_rng(14))(ones)
    whole = RandomErasing(1, rng=np.random.default_rng(14))((ones * 255).to(torch.uint8))
    assert torch.equal(floats != 1, whole != 255)


# Arguments


NO_PROBABILITY = [-0.1, 1.1, float("nan"), "0.5", None, 1j]


@pytest.mark.parametrize("value", NO_PROBABILITY)
def test_what_is_no_probability_is_one_clear_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^prob must be a probability"):
        SyntheticOcclusionMask(value)
    with pytest.raises(ValueError, match=r"^EPSILON must be a probability"):
        RandomErasing(value)


@pytest.mark.parametrize(
    "ends", [(0.5, 0.4), (-0.1, 0.4), (0.1, 1.1), (float("nan"), 0.4), (0.1, float("nan")), ("a", 1)]
)
def test_sizes_that_do_not_rise_are_one_clear_error(ends: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match=r"^min_size, max_size must rise"):
        SyntheticOcclusionMask(0.5, *ends)
    with pytest.raises(ValueError, match=r"^min_size, max_size must rise"):
        RandomOcclusion(*ends)


@pytest.mark.parametrize("number", [0, -1, 1.5, "3", True])
def test_numbers_of_patches_and_cells_that_are_none_are_one_clear_error(number: Any) -> None:
    with pytest.raises(ValueError, match="max_patches must be"):
        SyntheticOcclusionMask(max_patches=number)
    with pytest.raises(ValueError, match="feature_map_size must be"):
        SyntheticOcclusionMask(feature_map_size=number)


@pytest.mark.parametrize("mean", [(0.5, 0.5), (0.5, 0.5, float("nan")), (), 0.5, "abc", (0.1, 0.2, "x"), None])
def test_a_mean_that_is_no_color_is_one_clear_error(mean: Any) -> None:
    with pytest.raises(ValueError, match="mean must be three numbers"):
        RandomErasing(mean=mean)


def test_other_generators_are_one_clear_error() -> None:
    makes: list[Any] = [SyntheticOcclusionMask, RandomOcclusion, RandomErasing]
    for make in makes:
        with pytest.raises(TypeError, match="rng must be a numpy Generator"):
            make(rng=42)
