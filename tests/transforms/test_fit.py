"""Stretched, cropped and padded images against the geometry of each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wds_face.transforms.fit import FITS, PAD_COLOUR, Fit, fit_to_square


def ramp(height: int, width: int) -> np.ndarray:  # type: ignore[type-arg]
    """Red grows to the right, green downwards, and blue is full everywhere."""
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    image[..., 1] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
    image[..., 2] = 255
    return image


def fitted(image: np.ndarray, side: int, fit: Fit) -> np.ndarray:  # type: ignore[type-arg]
    before = image.copy()
    room = np.full((side + 2, side, 3), 77, np.uint8)
    fit_to_square(image, room[1:-1], fit)
    assert (room[[0, -1]] == 77).all(), "nothing is written beside it"
    assert np.array_equal(image, before)
    return room[1:-1]


@pytest.mark.parametrize("shape", [(60, 120), (120, 60), (31, 250)])
def test_stretching_shows_everything(shape: tuple[int, int]) -> None:
    out = fitted(ramp(*shape), 40, "stretch").astype(int)
    assert out[:, 0, 0].max() < 8
    assert out[:, -1, 0].min() > 247
    assert out[0, :, 1].max() < 12
    assert out[-1, :, 1].min() > 243


def test_cropping_shows_the_middle_of_the_longer_side() -> None:
    wide = fitted(ramp(60, 120), 30, "crop").astype(int)
    assert wide[:, 0, 0].mean() == pytest.approx(0.25 * 255, abs=4)
    assert wide[:, -1, 0].mean() == pytest.approx(0.75 * 255, abs=4)
    assert wide[0, :, 1].max() < 8
    high = fitted(ramp(120, 60), 30, "crop").astype(int)
    assert high[0, :, 1].mean() == pytest.approx(0.25 * 255, abs=4)
    assert high[-1, :, 1].mean() == pytest.approx(0.75 * 255, abs=4)


def test_padding_shows_everything_in_the_middle_of_black() -> None:
    out = fitted(ramp(60, 120), 40, "pad")
    assert (out[:10] == PAD_COLOUR).all()
    assert (out[30:] == PAD_COLOUR).all()
    assert (out[10:30, :, 2] == 255).all()
    assert out[15, 0, 0] < 8
    assert out[15, -1, 0] > 247
    turned = fitted(ramp(60, 120).transpose(1, 0, 2).copy(), 40, "pad")
    assert np.array_equal(turned, out.transpose(1, 0, 2))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("side", [24, 112])
def test_square_images_are_only_resized(fit: Fit, side: int) -> None:
    image = ramp(50, 50)
    assert np.array_equal(fitted(image, side, fit), fitted(image, side, "stretch"))


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 130), st.sampled_from(FITS))
def test_every_shape_fits(height: int, width: int, side: int, fit: Fit) -> None:
    out = fitted(ramp(height, width), side, fit)
    filled = (out[..., 2] == 255).sum()
    if fit == "pad":
        shorter = max(1, round(side * min(height, width) / max(height, width)))
        assert filled == side * shorter
    else:
        assert filled == side * side
