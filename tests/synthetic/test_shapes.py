"""Curves go through their points; resampled ones are even."""

from __future__ import annotations

import numpy as np

from wds_face.synthetic.shapes import curve, ellipse, resample, ring


def test_a_curve_goes_through_its_points_and_keeps_straight_lines() -> None:
    points = [(0, 0), (10, 4), (20, -3), (25, 30)]
    np.testing.assert_allclose(curve(points)[::5], points, atol=1e-9)
    line = curve([(0, 0), (5, 10), (10, 20)])
    np.testing.assert_allclose(line[:, 1], 2 * line[:, 0], atol=1e-9)


def test_an_ellipse_is_around_its_middle() -> None:
    points = ellipse(30, 40, 6, 3)
    np.testing.assert_allclose(np.hypot(*((points - (30, 40)) / (6, 3)).T), 1)


def test_a_ring_goes_there_and_back() -> None:
    upper, lower = np.array([(0, 0), (9, 0)]), np.array([(0, 5), (9, 5)])
    assert ring(upper, lower).tolist() == [[0, 0], [9, 0], [9, 5], [0, 5]]


def test_resampled_points_are_even_and_keep_the_ends() -> None:
    points = resample(np.array([(0.0, 0.0), (1.0, 0.0), (10.0, 0.0), (10.0, 9.0)]), 20)
    np.testing.assert_allclose(np.hypot(*np.diff(points, axis=0).T), 1)
    assert points[[0, -1]].tolist() == [[0, 0], [10, 9]]
