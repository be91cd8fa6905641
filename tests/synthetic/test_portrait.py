"""Faces are always the same, on the template, and told apart by who they are."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from wds_face.synthetic import ARCFACE_112, face, faces


def grey(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float64).mean(2)


def mean_around(picture: np.ndarray, x: float, y: float, reach: int = 1) -> np.ndarray:
    """The mean colour of the square around a point."""
    cx, cy = round(x), round(y)
    patch = picture[cy - reach : cy + reach + 1, cx - reach : cx + reach + 1]
    return patch.reshape(-1, 3).astype(np.float64).mean(0)


def signature(picture: np.ndarray) -> np.ndarray:
    """The inner face in 8x8 px blocks, brightness and contrast taken out."""
    inner = picture[:, 24:88].reshape(14, 8, 8, 8, 3).mean((1, 3)).ravel()
    return (inner - inner.mean()) / inner.std()


def test_a_face_is_uint8_rgb_112() -> None:
    picture = face(5, 2, seed=3)
    assert picture.shape == (112, 112, 3)
    assert picture.dtype == np.uint8
    assert picture.max() - picture.min() > 100


def test_faces_are_the_single_faces_in_order() -> None:
    batch = faces(4, 3, seed=2)
    assert batch.shape == (3, 112, 112, 3)
    assert batch.dtype == np.uint8
    for image in range(3):
        np.testing.assert_array_equal(batch[image], face(4, image, seed=2))


def test_a_face_does_not_depend_on_what_was_drawn_before() -> None:
    wanted = [(identity, image) for identity in range(12) for image in range(2)]
    first = {key: face(*key) for key in wanted}
    np.random.seed(1)  # noqa: NPY002 - global state must not matter, nor change
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for key in reversed(wanted):  # more identities than anything cached per identity
        np.testing.assert_array_equal(face(*key), first[key])
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("threads", [1, 4])
def test_a_face_is_the_same_in_another_process(threads: int) -> None:
    program = (
        f"import sys, cv2; cv2.setNumThreads({threads}); from wds_face.synthetic import face;"
        "[sys.stdout.buffer.write(face(identity, 2, seed=5).tobytes()) for identity in range(300, 308)]"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    there = np.frombuffer(ran.stdout, np.uint8).reshape(8, 112, 112, 3)
    for identity, picture in enumerate(there, start=300):
        np.testing.assert_array_equal(picture, face(identity, 2, seed=5))


def test_another_seed_is_another_population() -> None:
    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return float(((signature(a) - signature(b)) ** 2).mean())

    people = range(12)
    itself = [apart(face(person, 0), face(person, 1)) for person in people]
    namesake = [apart(face(person, 0), face(person, 1, seed=1)) for person in people]
    assert np.mean(namesake) > 2 * np.mean(itself)


def test_a_caller_may_write_on_a_face() -> None:
    picture = face(1)
    expected = picture.copy()
    picture[:] = 0
    np.testing.assert_array_equal(face(1), expected)


@pytest.mark.parametrize("other", [(7, 1, 0), (8, 0, 0), (7, 0, 1)], ids=["image", "identity", "seed"])
def test_every_number_matters(other: tuple[int, int, int]) -> None:
    identity, image, seed = other
    difference = np.abs(face(7, 0, seed=0).astype(int) - face(identity, image, seed=seed))
    assert difference.mean() > 3


@pytest.mark.parametrize("numbers", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_negative_numbers_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        face(numbers[0], numbers[1], seed=numbers[2])


def test_faces_are_in_colour_and_rgb() -> None:
    for identity in range(40):
        red, _, blue = mean_around(face(identity), 56, 66, 3)  # the bridge of the nose
        assert red > blue + 8, f"identity {identity}: skin of R {red:.0f}, B {blue:.0f}"


def test_pupils_are_where_the_template_says() -> None:
    for identity in range(120):
        picture = grey(face(identity, identity % 3))
        for x, y in np.rint(ARCFACE_112[:2]).astype(int):
            rows = slice(y - 2, y + 3)
            pupil = picture[rows, x - 2 : x + 3].min()
            white = max(picture[rows, x - 8 : x - 3].max(), picture[rows, x + 4 : x + 9].max())
            assert pupil + 60 < white, f"identity {identity}: pupil {pupil:.0f}, white of the eye {white:.0f}"
            # nothing like it on the cheek below, where an eye half a face too low would be
            assert np.ptp(picture[y + 16 : y + 21, x - 2 : x + 3]) < 60


def test_nose_and_mouth_are_where_the_template_says() -> None:
    nose, left, right = ARCFACE_112[2:]
    nostrils, mouths = [], []
    for identity in range(60):
        picture = face(identity)
        dark = min(grey(picture)[75:79, x - 2 : x + 3].min() for x in (53, 59))
        nostrils.append(mean_around(picture, *nose).mean() - dark)
        column = [mean_around(picture, (left[0] + right[0]) / 2, y) for y in range(80, 105)]
        green = [color[1] / color.sum() for color in column]  # lips have less than skin
        mouths.append(80 + int(np.argmin(green)))
    assert np.percentile(nostrils, 5) > 15
    assert abs(np.median(mouths) - left[1]) < 4
    assert np.percentile(np.abs(np.array(mouths) - left[1]), 90) < 8


def test_an_identity_looks_like_itself() -> None:
    people, images = 30, 4
    marks = np.stack([signature(picture) for identity in range(people) for picture in faces(identity, images)])
    whose = np.repeat(np.arange(people), images)
    distance = ((marks[:, None] - marks[None]) ** 2).mean(2)
    itself = np.eye(len(marks), dtype=bool)
    same = (whose[:, None] == whose) & ~itself
    assert distance[same].mean() < 0.5 * distance[whose[:, None] != whose].mean()
    nearest = np.where(itself, np.inf, distance).argmin(1)
    assert (whose[nearest] == whose).mean() > 0.75  # chance is 3 in 119
