"""The augmenter: as often and as strongly as documented, with torchvision's light and PIL's resizing."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional

from tests.transforms.levels import assert_equally_often, assert_share, assert_uniform
from tests.transforms.pictures import colored, noisy
from tests.transforms.test_rect import crops, ramp
from wds_face.synthetic import face
from wds_face.transforms import Augmenter
from wds_face.transforms.augmenter import photometric
from wds_face.transforms.resize import resize, sketch

Floats = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

# How often


def changes(augmenter: Augmenter, image: U8, count: int) -> int:
    return sum(not np.array_equal(augmenter(image), image) for _ in range(count))


@pytest.mark.parametrize("adaface", [False, True])
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("prob", [0.1, 0.5, 1.0])
def test_each_of_the_three_has_its_probability(adaface: bool, which: int, prob: float) -> None:
    probs = [0.0, 0.0, 0.0]
    probs[which] = prob
    make = Augmenter.adaface if adaface else Augmenter
    # a crop of 99.99 % changes no pixel: of an image this wide these are few
    hits = changes(make(*probs, rng=np.random.default_rng(1)), noisy(8, 2000), 600)
    if prob == 1:
        assert hits >= 595
    else:
        assert_share(hits, 600, prob)


def test_the_three_are_independent() -> None:
    image, rng = noisy(64, 64), np.random.default_rng(2)
    rows = rng.random((1500, Augmenter.draws))
    did = np.array([[row[0] < 0.4, row[5] < 0.5, row[9] < 0.6] for row in rows])
    for number, count in enumerate(did.sum(0)):
        assert_share(int(count), 1500, (0.4, 0.5, 0.6)[number])
    augmenter = Augmenter(0.4, 0.5, 0.6)
    for row, (crop, light, low) in zip(rows[:60].tolist(), did[:60], strict=True):
        steps = Augmenter(float(crop), float(light), float(low))
        assert np.array_equal(augmenter.apply(image, row), steps.apply(image, row))


def test_nothing_to_do_is_the_image_itself() -> None:
    assert changes(Augmenter(0, 0, 0), noisy(), 50) == 0
    assert changes(Augmenter.adaface(0, 0, 0), noisy(), 50) == 0


# Crop


def test_crops_are_0_8_to_1_of_both_sides_and_anywhere() -> None:
    found = crops(Augmenter(1, 0, 0, rng=np.random.default_rng(3)), 600)
    assert np.array_equal(found[:, 2], found[:, 3])
    rng = np.random.default_rng(4)
    assert_uniform(((found[:, 2] + rng.random(600) - 0.5) / 256).clip(0.8, 1), 0.8, 1)
    some = found[found[:, 2] < 246]
    for axis in (0, 1):
        assert_uniform((some[:, axis] + rng.random(len(some))) / (256 - some[:, 2] + 1), 0, 1)


def test_a_crop_is_what_pil_makes_of_it() -> None:
    augmenter, image = Augmenter(1, 0, 0), np.ascontiguousarray(face(3))
    picture, where = Image.fromarray(image), np.dstack([*np.mgrid[:112, :112], np.zeros((112, 112))]).astype(np.uint8)
    for row in np.random.default_rng(5).random((40, 13)).tolist():
        box = augmenter.apply(where, row)
        (top, left, _), (bottom, right, _) = box[0, 0].astype(int), box[-1, -1].astype(int)
        part = picture.crop((left, top, right + 1, bottom + 1))
        wanted = part.resize((112, 112), Image.Resampling.BILINEAR)
        difference = np.abs(augmenter.apply(image, row).astype(int) - np.array(wanted))
        assert difference.max() <= 1


def test_the_mask_is_cropped_with_the_image() -> None:
    mask = np.full((112, 112), 255, np.uint8)
    mask[30:70, 40:90] = 0
    image = np.repeat(mask[..., None], 3, 2)
    augmenter = Augmenter(1, 0, 0, rng=np.random.default_rng(6))
    for _ in range(50):
        out, moved = augmenter((image, mask))
        edge = cv2.dilate(out[..., 0], np.ones((3, 3))) != cv2.erode(out[..., 0], np.ones((3, 3)))
        assert np.array_equal((out[..., 0] > 127)[~edge], (moved > 127)[~edge])


def test_light_and_resolution_leave_the_mask_alone() -> None:
    mask = np.full((112, 112), 255, np.uint8)
    mask[30:70, 40:90] = 0
    _, moved = Augmenter(0, 1, 1, rng=np.random.default_rng(7))((noisy(), mask))
    assert np.array_equal(moved, mask)


@pytest.mark.parametrize("size", [112, 100])
@pytest.mark.parametrize("augmenter", [Augmenter(0, 1, 1), Augmenter.adaface(1, 1, 1)], ids=["default", "adaface"])
def test_a_mask_at_feature_map_size_stays_as_it_is_where_nothing_moves(augmenter: Augmenter, size: int) -> None:
    mask = np.ones((7, 7), np.float32)
    mask[2:4, 3:6] = 0
    _, moved = augmenter((noisy(size, size), mask))
    assert np.array_equal(moved, mask)


# Light


def factors(augmenter: Augmenter, count: int) -> Floats:
    """Brightness, contrast and saturation, from what became of four fields."""
    # grey 90 and 150, and two colours of one grey value around them; nothing clips at a jitter of 0.2
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32, :32], image[32:, :32], image[:32, 32:], image[32:, 32:] = 90, 150, (150, 100, 60), (100, 120, 160)
    mean = float(np.mean(image.reshape(-1, 3) @ [0.299, 0.587, 0.114]))
    found = []
    for _ in range(count):
        out = augmenter(image).astype(float)
        dark, light = out[0, 0, 0], out[63, 0, 0]
        slope = (light - dark) / 60  # brightness x contrast
        brightness = (dark + slope * (mean - 90)) / mean
        first, second = out[0, 63], out[63, 63]
        spread = ((first[0] - first[2]) + (second[2] - second[0])) / (90 + 60)
        found.append((brightness, slope / brightness, spread / slope))
    return np.array(found)


@pytest.mark.parametrize("jitter", [0.2, 0.1])
def test_the_factors_of_light_are_uniform(jitter: float) -> None:
    found = factors(Augmenter(0, 1, 0, jitter=jitter, rng=np.random.default_rng(8)), 400)
    assert np.abs(np.corrcoef(found.T) - np.eye(3)).max() < 0.2
    for factor in found.T:
        assert (np.abs(factor - 1) < jitter + 0.025).all(), "8 bits blur a factor by that"
        assert_uniform(factor.clip(1 - jitter, 1 + jitter), 1 - jitter, 1 + jitter)


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_light_is_that_of_torchvision_in_any_order(order: tuple[int, int, int]) -> None:
    adjust: list[Any] = [functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation]
    image = colored()
    for row in np.random.default_rng(9).random((30, 3)).tolist():
        strengths = [1 + 0.2 * (2 * draw - 1) for draw in row]
        wanted = torch.from_numpy(image).permute(2, 0, 1).double() / 255
        for number in order:
            wanted = adjust[number](wanted, strengths[number])
        wanted = 255 * wanted.permute(1, 2, 0)
        if wanted.min() > 1 and wanted.max() < 254:  # where nothing clips the order makes no difference
            assert np.abs(photometric(image, 0.2, row).astype(float) - wanted.numpy()).max() <= 2


def test_light_is_that_of_pil_images_too() -> None:
    adjust: list[Any] = [functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation]
    image = colored()
    for row in np.random.default_rng(10).random((30, 3)).tolist():
        wanted = Image.fromarray(image)
        for change, draw in zip(adjust, row, strict=True):
            wanted = change(wanted, 1 + 0.2 * (2 * draw - 1))
        plain = np.array(wanted)
        if plain.min() > 1 and plain.max() < 254:
            assert np.abs(photometric(image, 0.2, row).astype(int) - plain).mean() <= 2
            assert np.abs(photometric(image, 0.2, row).astype(int) - plain).max() <= 4, "PIL rounds down, three times"


def test_light_clips_at_0_and_255() -> None:
    image = noisy()
    brightest = photometric(image, 1.0, [0.9999999, 0.9999999, 0.5])
    assert (brightest.min(), brightest.max()) == (0, 255)
    assert photometric(image, 1.0, [0, 0.5, 0.5]).max() == 0


def test_grey_stays_grey() -> None:
    grey = np.repeat(noisy()[..., :1], 3, 2)
    out = Augmenter(1, 1, 1, rng=np.random.default_rng(11))(grey)
    assert np.ptp(out.astype(int), 2).max() <= 1


# Low resolution


def test_low_resolutions_are_a_quarter_to_three_quarters() -> None:
    image = noisy(200, 200)
    sizes = {resize(sketch(image, size, size), 200, 200).tobytes(): size for size in range(40, 161)}
    augmenter = Augmenter(0, 0, 1, rng=np.random.default_rng(12))
    found = np.array([sizes[augmenter(image).tobytes()] for _ in range(500)], float)
    assert_uniform((found + np.random.default_rng(13).random(500)).clip(50, 150), 50, 150)


@pytest.mark.parametrize("number", range(3))
def test_low_resolution_is_nearly_pils(number: int) -> None:
    image = np.ascontiguousarray(face(number))
    picture, augmenter = Image.fromarray(image), Augmenter(0, 0, 1)
    for draw in np.linspace(0, 0.999, 20).tolist():
        size = int(112 * (0.25 + 0.5 * draw))
        wanted = picture.resize((size, size), Image.Resampling.BILINEAR).resize((112, 112), Image.Resampling.BILINEAR)
        out = augmenter.apply(image, [0.0] * 10 + [draw, 0.0, 0.0])
        assert np.abs(out.astype(int) - np.array(wanted)).mean() < 3


def test_height_and_width_shrink_alike_and_the_size_stays() -> None:
    image = noisy(200, 60)
    out = Augmenter(0, 0, 1).apply(image, [0.0] * 13)
    assert out.shape == (200, 60, 3)
    assert np.array_equal(out, resize(sketch(image, 50, 15), 200, 60))


# AdaFace


def test_adaface_crops_stay_where_they_are_in_black() -> None:
    augmenter, image = Augmenter.adaface(1, 0, 0, rng=np.random.default_rng(14)), np.maximum(noisy(300, 300), 1)
    found = []
    for _ in range(600):
        out = augmenter(image)
        seen = out.any(2)
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        assert np.array_equal(out[box], image[box])
        assert not out[~seen].any()
        assert seen[box].all()
        found.append((rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1))
    boxes = np.array(found, float)
    rng = np.random.default_rng(15)
    sides = (boxes[:, 2:] + rng.random((600, 2)) - 0.5) / 300
    area, aspect = sides.prod(1), sides[:, 0] / sides[:, 1]
    assert_uniform(area.clip(0.2, 1), 0.2, 1)
    narrow = area < 0.74
    widest = np.log(4 / 3)
    assert_uniform(np.log(aspect[narrow]).clip(-widest, widest), -widest, widest)
    for axis in (0, 1):
        room = 300 - boxes[:, 2 + axis] + 1
        some = room > 10
        assert_uniform(((boxes[:, axis] + rng.random(600)) / room)[some], 0, 1)


def test_adaface_light_has_a_jitter_of_one_half() -> None:
    image = np.full((8, 8, 3), 100, np.uint8)  # grey, so that only brightness shows
    augmenter = Augmenter.adaface(0, 1, 0, rng=np.random.default_rng(16))
    found = np.array([augmenter(image)[0, 0, 0] for _ in range(600)]) + np.random.default_rng(17).random(600) - 0.5
    assert_uniform(found.clip(50, 150), 50, 150)


FILTERS = [cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]


def test_adaface_resolutions_are_a_fifth_to_all_with_five_filters_each_way() -> None:
    image = noisy(60, 60)
    made: dict[bytes, list[tuple[int, int, int]]] = {}
    for size in range(8, 61):
        for down in range(5):
            small = cv2.resize(image, (size, size), interpolation=FILTERS[down])
            for up in range(5):
                out = cv2.resize(small, (60, 60), interpolation=FILTERS[up])
                made.setdefault(out.tobytes(), []).append((size, down, up))
    augmenter = Augmenter.adaface(0, 0, 1, rng=np.random.default_rng(18))
    found = [made[augmenter(image).tobytes()] for _ in range(1000)]
    sizes = np.array([ways[0][0] for ways in found], float)
    assert_uniform((sizes + np.random.default_rng(19).random(1000)).clip(12, 60), 12, 60)
    # sizes at which two filters do the same say nothing about which it was
    plain = {size for size in range(8, 61) if not any(size == ways[0][0] and len(ways) > 1 for ways in made.values())}
    chosen = [ways[0] for ways in found if ways[0][0] in plain]
    assert len(chosen) > 300
    for which in (1, 2):
        assert_equally_often([sum(way[which] == number for way in chosen) for number in range(5)])


def test_adaface_crops_then_lowers_the_resolution_then_changes_the_light() -> None:
    image = noisy()
    for row in np.random.default_rng(20).random((30, 13)).tolist():
        all_three = Augmenter.adaface(1, 1, 1).apply(image, row)
        one = Augmenter.adaface(1, 0, 0).apply(image, row)
        two = Augmenter.adaface(0, 0, 1).apply(one, row)
        three = Augmenter.adaface(0, 1, 0).apply(two, row)
        assert np.array_equal(all_three, three)


def test_the_default_crops_then_changes_the_light_then_lowers_the_resolution() -> None:
    image = noisy()
    for row in np.random.default_rng(21).random((30, 13)).tolist():
        one = Augmenter(1, 0, 0).apply(image, row)
        two = Augmenter(0, 1, 0).apply(one, row)
        assert np.array_equal(Augmenter(1, 1, 1).apply(image, row), Augmenter(0, 0, 1).apply(two, row))


def test_adaface_defaults() -> None:
    augmenter = Augmenter.adaface()
    assert (augmenter.crop_prob, augmenter.photometric_prob, augmenter.low_res_prob) == (0.2, 0.2, 0.2)
    assert augmenter.jitter == 0.5


# Arguments and calls


def test_augment_is_the_same_as_calling() -> None:
    image = Image.fromarray(noisy())
    first, second = (Augmenter(1, 1, 1, rng=np.random.default_rng(22)) for _ in range(2))
    assert first.augment(image).tobytes() == second(image).tobytes()


def test_what_is_given_to_apply_stays_as_it_was() -> None:
    for augmenter in (Augmenter(1, 1, 1), Augmenter.adaface(1, 1, 1)):
        image = noisy()
        image.flags.writeable = False
        for row in np.random.default_rng(23).random((20, 13)).tolist():
            augmenter.apply(image, row)
        assert np.array_equal(image, noisy())


@pytest.mark.parametrize("name", ["crop_prob", "photometric_prob", "low_res_prob"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "0.5", None])
def test_what_is_no_probability_is_one_clear_error(name: str, value: Any) -> None:
    makes: list[Any] = [Augmenter, Augmenter.adaface]
    for make in makes:
        with pytest.raises(ValueError, match=f"^{name} must be a probability"):
            make(**{name: value})


@pytest.mark.parametrize("jitter", [-0.1, 1.1, float("nan"), "0.2", None])
def test_jitters_out_of_range_are_one_clear_error(jitter: Any) -> None:
    with pytest.raises(ValueError, match=r"^jitter must be from 0 to 1"):
        Augmenter(jitter=jitter)


def test_the_ends_of_all_ranges_are_fine() -> None:
    for draw in (0.0, float(np.nextafter(1, 0))):
        for augmenter in (Augmenter(1, 1, 1, jitter=1), Augmenter.adaface(1, 1, 1)):
            for shape in ((1, 1), (3, 5), (112, 112), (250, 90)):
                # apply takes row[0] for "whether" too, and 0.99... is still below a probability of 1
                assert augmenter.apply(noisy(*shape), [draw] * 13).shape == (*shape, 3)


def test_ramps_are_read_right() -> None:
    assert ramp()[7, 9].tolist() == [7, 9, 0]
