"""Where medical masks lie: every number is uniform in its documented range, and nothing fails at any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.levels import assert_uniform
from wds_face.transforms import ARCFACE_112, CASIA_WEBFACE, MedicalMaskOcclusion
from wds_face.transforms.placement import Placement, checked_points

Floats = npt.NDArray[np.float64]

COUNT = 1000
BIG = 112 * 1000  # at which whole pixels are a thousandth of those that ranges are given in


def drawn(free: list[int], seed: int = 0, count: int = COUNT) -> Floats:
    """Rows of draws of which some are random and the others do nothing."""
    rows = np.full((count, Placement.DRAWS), 0.5)
    rows[:, free] = np.random.default_rng(seed).random((count, len(free)))
    return rows


def places(free: list[int], points: Any = ARCFACE_112) -> Placement:
    return Placement(points, BIG, BIG, drawn(free))


def centres(place: Placement) -> Floats:
    """Where the middle of the picture comes to lie, [M, 2], in pixels of a 112 x 112 image: from the affine map."""
    xx, xy, x0, yx, yy, y0 = place.affine(np.stack([place.height, place.width], 1).astype(np.int64)).T
    matrix = np.stack([np.stack([xx, xy], 1), np.stack([yx, yy], 1)], 1)
    middle = np.stack([place.width / 2 - x0, place.height / 2 - y0], 1)
    return (np.linalg.solve(matrix, middle[..., None])[..., 0] + 0.5) * 112 / BIG


def test_presets_are_those_of_the_mission() -> None:
    assert CASIA_WEBFACE == ((48.0252, 71.7366), (33.5493, 92.3655), (62.7299, 92.2041))
    assert ARCFACE_112 == ((56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))


def test_the_nose_moves_by_up_to_3_pixels_each_way() -> None:
    place = places([0, 1])
    moved = np.stack([place.nose_x, place.nose_y], 1) * 112 / BIG - np.array(ARCFACE_112[0])
    assert_uniform(moved[:, 0], -3, 3)
    assert_uniform(moved[:, 1], -3, 3)
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.1


@pytest.mark.parametrize(("number", "sign"), [(2, -1), (4, 1)])
def test_the_mouth_corners_move_by_up_to_3_pixels_to_the_sides(number: int, sign: int) -> None:
    points = (56.0, 70.0), (40.0, 90.0), (72.0, 90.0)
    assert_uniform(sign * (places([number], points).mouth * 112 / BIG - 32), -3, 3)


def test_the_right_corner_moves_by_up_to_3_pixels_up_and_down() -> None:
    points = (56.0, 70.0), (40.0, 90.0), (72.0, 90.0)
    assert_uniform(places([5], points).height * 112 / BIG / (4 * 1.025) - 20, -3, 3)


def test_the_left_corner_moves_by_up_to_3_pixels_up_and_down() -> None:
    points = (56.0, 70.0), (40.0, 90.0), (72.0, 90.0)
    away = np.sqrt(np.maximum((places([3], points).mouth * 112 / BIG) ** 2 - 32**2, 0))
    assert_uniform(away, 0, 3)


def test_the_scale_is_0_95_to_1_10_of_four_mouth_widths_and_four_nose_heights() -> None:
    place = places([8])
    (_, nose_y), left, right = ARCFACE_112
    assert_uniform(place.width * 112 / BIG / (4 * np.hypot(right[0] - left[0], right[1] - left[1])), 0.95, 1.10)
    assert_uniform(place.height * 112 / BIG / (4 * (right[1] - nose_y)), 0.95, 1.10)


def test_the_angle_is_up_to_7_degrees_each_way() -> None:
    place = places([9])
    xx, xy, *_ = place.affine(np.stack([place.height, place.width], 1).astype(np.int64)).T
    assert_uniform(np.degrees(np.arctan2(-xy, xx)), -7, 7)


def test_the_shift_is_up_to_5_pixels_each_way_of_the_nose_and_25_above_it() -> None:
    place = places([6, 7])
    shift = centres(place) - np.stack([place.nose_x, place.nose_y], 1) * 112 / BIG
    assert_uniform(shift[:, 0], -5, 5)
    assert_uniform(shift[:, 1] - place.height * 112 / BIG / 2 + 25, -5, 5)


def test_a_nose_beside_the_middle_of_the_mouth_has_turned() -> None:
    def turn(x: float) -> int:
        points = (56.0 + x, 70.0), (40.0, 90.0), (72.0, 90.0)
        return int(Placement(points, 112, 112, np.full((1, 10), 0.5)).turn[0])

    assert [turn(x) for x in (-4, -2.6, -2.5, 0, 2.5, 2.6, 4)] == [1, 1, 0, 0, 0, 2, 2]


def test_a_row_of_draws_has_the_same_place_alone_and_among_others() -> None:
    rows = np.random.default_rng(0).random((20, 10))
    together = Placement(CASIA_WEBFACE, 112, 100, rows)
    for i, row in enumerate(rows):
        alone = Placement(CASIA_WEBFACE, 112, 100, row[None])
        sizes = np.array([[300, 400]])
        assert np.array_equal(alone.affine(sizes)[0], together.affine(np.repeat(sizes, 20, 0))[i])
        assert (alone.rows[0].tolist(), alone.turn[0]) == (together.rows[i].tolist(), together.turn[i])


@settings(deadline=None, max_examples=200)
@given(
    wide=st.integers(1, 300),
    high=st.integers(1, 300),
    draws=st.lists(st.floats(0, 1, exclude_max=True), min_size=10, max_size=10),
    points=st.tuples(
        st.tuples(st.floats(-200, 300), st.floats(-200, 80)),
        st.tuples(st.floats(-200, 100), st.floats(87, 300)),
        st.tuples(st.floats(107, 300), st.floats(87, 300)),
    ),
)
def test_no_image_is_too_small_and_no_point_too_far_out(wide: int, high: int, draws: Any, points: Any) -> None:
    place = Placement(checked_points(points), wide, high, np.array([draws]))
    assert np.isfinite(place.affine(np.array([[50, 70]]))).all()
    assert (place.width >= 1).all()
    assert (place.height >= 1).all()
    (first, last), (top, bottom, left, right) = place.rows[0], place.faces()[0]
    assert 0 <= first <= last <= high
    assert 0 <= top < bottom <= high
    assert 0 <= left < right <= wide


@pytest.mark.parametrize(
    "points",
    [
        (),
        "nose",
        3,
        ((48, 72), (34, 92)),
        ((48, 72), (34, 92), (63, 92), (1, 1)),
        ((48, 72), (34, 92), (63, 92, 1)),
        (48, 72, 34, 92, 63, 92),
        ((48, 72), (34, 92), ("63", "?")),
        ((48, 72), (34, 92), (63, None)),
        ((48, 72), (34, 92), (float("nan"), 92)),
        ((48, 72), (34, 92), (float("inf"), 92)),
        ((48, 92), (34, 72), (63, 72)),  # the nose below the mouth
        ((48, 72), (63, 92), (34, 92)),  # left and right exchanged
        ((48, 72), (34, 92), (40, 92)),  # corners that could meet
        ((0.43, 0.64), (0.3, 0.82), (0.56, 0.82)),  # shares instead of pixels
    ],
)
def test_wrong_points_are_one_clear_error(points: Any) -> None:
    with pytest.raises(ValueError, match=r"^ref_points must "):
        MedicalMaskOcclusion(ref_points=points)


def test_points_may_be_lists_and_arrays() -> None:
    wanted = ((48.0, 72.0), (34.0, 92.0), (63.0, 92.0))
    assert checked_points([[48, 72], [34, 92], [63, 92]]) == wanted
    assert checked_points(np.array(wanted)) == wanted
