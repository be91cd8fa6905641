"""Painting on a canvas: where, how much, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from wds_face.synthetic.canvas import SCALE, SIDE, Canvas, blank
from wds_face.synthetic.shapes import ellipse

RED = (250, 10, 20)


@pytest.fixture
def canvas() -> Canvas:
    return Canvas(np.full((3, SIDE, SIDE), 100, np.float32))


def at(canvas: Canvas, x: int, y: int) -> list[float]:
    return canvas.pixels[:, y * SCALE, x * SCALE].tolist()


def test_a_shape_is_filled_where_it_is(canvas: Canvas) -> None:
    canvas.paint([ellipse(30, 70, 9, 5), ellipse(80, 20, 4, 4)], RED)
    assert at(canvas, 30, 70) == at(canvas, 80, 20) == pytest.approx(RED)
    assert at(canvas, 30, 78) == at(canvas, 70, 30) == [100, 100, 100]


def test_alpha_is_how_much_of_the_color(canvas: Canvas) -> None:
    canvas.paint([ellipse(56, 56, 9, 9)], RED, 0.5)
    assert at(canvas, 56, 56) == pytest.approx([175, 55, 60])


def test_a_line_leaves_the_inside(canvas: Canvas) -> None:
    canvas.paint([ellipse(56, 56, 20, 20)], RED, line=2)
    assert at(canvas, 56, 56) == [100, 100, 100]
    assert at(canvas, 76, 56) == pytest.approx(RED)


def test_blur_is_the_same_on_either_side(canvas: Canvas) -> None:
    canvas.paint([ellipse(55.5, 55.5, 12, 12)], RED, blur=3)
    np.testing.assert_allclose(canvas.pixels, canvas.pixels[:, :, ::-1], atol=8)
    np.testing.assert_allclose(canvas.pixels, canvas.pixels.transpose(0, 2, 1), atol=8)
    assert 100 < at(canvas, 68, 56)[0] < 250


def test_nothing_is_painted_outside_the_clip(canvas: Canvas) -> None:
    clip = blank()
    clip[:, : 56 * SCALE] = 255
    canvas.paint([ellipse(56, 56, 20, 20)], RED, clip=clip)
    assert at(canvas, 50, 56) == pytest.approx(RED)
    assert (canvas.pixels[:, :, 56 * SCALE :] == 100).all()


@pytest.mark.parametrize(("x", "y"), [(0, 56), (111, 0), (56, 120)])
def test_a_shape_may_stick_out_of_the_canvas(canvas: Canvas, x: int, y: int) -> None:
    canvas.paint([ellipse(x, y, 12, 12)], RED, blur=0.5)
    assert at(canvas, min(x, 110), min(y, 110))[0] > 200


def test_a_shape_beyond_the_canvas_paints_nothing(canvas: Canvas) -> None:
    for x, y in ((-40, 50), (160, 50), (50, -40), (50, 160)):
        canvas.paint([ellipse(x, y, 9, 9)], RED, blur=1)
    assert (canvas.pixels == 100).all()
