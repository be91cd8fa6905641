"""Resizing: nearly PIL's, which looks at every pixel."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.transforms.pictures import colored, noisy
from wds_face.synthetic import face
from wds_face.transforms.resize import cv2_filter, resize

SHAPES = [(112, 112), (56, 56), (28, 28), (50, 60), (84, 70), (100, 33), (30, 112), (8, 8), (112, 60)]


def pil(image: np.ndarray, height: int, width: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)).astype(int)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("number", range(3))
def test_faces_shrink_nearly_as_pil_shrinks_them(shape: tuple[int, int], number: int) -> None:
    image = np.ascontiguousarray(face(number))
    difference = np.abs(resize(image, *shape).astype(int) - pil(image, *shape))
    assert difference.mean() < 6  # 1 to 3, and more at 8 x 8 where a triangle's ends matter
    assert resize(image, *shape).mean() == pytest.approx(pil(image, *shape).mean(), abs=1)


@pytest.mark.parametrize("source", [(112, 112), (250, 250), (250, 90), (90, 250), (600, 400), (1000, 112)])
def test_photographs_of_any_size_become_112_nearly_as_in_pil(source: tuple[int, int]) -> None:
    image = np.array(Image.fromarray(face(1)).resize(source[::-1], Image.Resampling.BICUBIC))
    assert np.abs(resize(image, 112, 112).astype(int) - pil(image, 112, 112)).mean() < 2


@pytest.mark.parametrize("source", [(448, 448), (448, 112), (112, 448), (333, 200), (1000, 130)])
def test_all_pixels_are_seen_of_what_shrinks(source: tuple[int, int]) -> None:
    # Noise averages out if every pixel is looked at. Averages of boxes, as fine as PIL's triangles, have 1.5 times
    # the spread.
    image = noisy(*source)
    ours, wanted = resize(image, 112, 112).astype(float), pil(image, 112, 112)
    assert ours.std() < 1.6 * wanted.std()


@pytest.mark.parametrize("shape", [(112, 112), (200, 300), (113, 112)])
def test_enlarging_is_pils(shape: tuple[int, int]) -> None:
    image = colored(60, 50)
    assert np.abs(resize(image, *shape).astype(int) - pil(image, *shape)).max() <= 2


def test_the_same_size_is_the_image_itself() -> None:
    image = noisy(30, 40)
    assert np.array_equal(resize(image, 30, 40), image)


@pytest.mark.parametrize("source", [(1, 1), (1, 300), (300, 1), (2, 3)])
@pytest.mark.parametrize("target", [(1, 1), (112, 112), (1, 50)])
def test_the_smallest_sizes(source: tuple[int, int], target: tuple[int, int]) -> None:
    for interpolation in (Image.NEAREST, Image.BILINEAR, Image.BICUBIC, Image.LANCZOS, Image.BOX, Image.HAMMING):
        assert resize(noisy(*source), *target, cv2_filter(interpolation)).shape == (*target, 3)


def test_planes_of_floats_too() -> None:
    plane = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    assert resize(plane, 4, 4).shape == (4, 4)
    assert resize(plane, 4, 4).mean() == pytest.approx(0.5, abs=1e-5)
