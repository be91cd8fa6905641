"""Medical masks: where a slow literal reference has them, as often as asked, and never in the way of anything else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.transforms import literal
from tests.transforms.levels import assert_equally_often, assert_share, assert_uniform
from tests.transforms.pictures import colored, noisy, small_mask
from wds_face.transforms import (
    ARCFACE_112,
    CASIA_WEBFACE,
    MedicalMaskOcclusion,
    OcclusionMaskWrapper,
    SyntheticOcclusionMask,
)
from wds_face.transforms.textures import BUILT_IN

Bool = npt.NDArray[np.bool_]
PRESETS = {"casia": CASIA_WEBFACE, "arcface": ARCFACE_112}
KINDS = sorted({path.stem.rpartition("-")[0] for path in BUILT_IN.glob("*.png")})


@pytest.fixture(scope="module")
def built_in() -> MedicalMaskOcclusion:
    """The masks of wds_face, always put on; read once."""
    return MedicalMaskOcclusion(prob=1, rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def pictures() -> dict[str, Image.Image]:
    return {path.stem: Image.open(path).convert("RGBA") for path in BUILT_IN.glob("*.png")}


def write(path: Path, picture: npt.NDArray[np.uint8]) -> Path:
    Image.fromarray(picture).save(path)
    return path


def box(occluded: Bool) -> npt.NDArray[np.int64]:
    """First and last row and column."""
    rows, columns = np.flatnonzero(occluded.any(1)), np.flatnonzero(occluded.any(0))
    return np.array([rows[0], rows[-1], columns[0], columns[-1]])


def assert_same_place(ours: Bool, wanted: Bool) -> None:
    assert np.abs(box(ours) - box(wanted)).max() <= 1
    assert ours.sum() == pytest.approx(wanted.sum(), rel=0.02)
    assert (ours & wanted).sum() / (ours | wanted).sum() > 0.95, "turned or mirrored"


# Where


@pytest.mark.parametrize("preset", PRESETS)
def test_built_in_masks_lie_where_the_reference_has_them(preset: str, pictures: dict[str, Image.Image]) -> None:
    points = PRESETS[preset]
    transform = MedicalMaskOcclusion(prob=1, ref_points=points, rng=np.random.default_rng(11))
    rng = np.random.default_rng(11)
    for _ in range(150):
        occluded = transform(colored())[1] == 0
        row = rng.random(transform.draws)
        picture = pictures[f"{KINDS[int(row[1] * len(KINDS))]}-{literal.turn(row[2:], points)}"]
        assert_same_place(occluded, literal.medical_mask(picture, row[2:12], points))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("size", "seed"), [((112, 112), 12), ((112, 112), 77), ((250, 250), 12), ((224, 180), 12)])
def test_a_picture_of_ones_own_lies_where_the_reference_has_it(
    preset: str, size: tuple[int, int], seed: int, tmp_path: Path
) -> None:
    points, picture = PRESETS[preset], np.zeros((200, 300, 4), np.uint8)
    picture[20:170, 30:280] = 200, 30, 40, 255
    path = write(tmp_path / "own.png", picture)
    transform = MedicalMaskOcclusion(path, 1, points, rng=np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    for _ in range(300):
        occluded = transform(colored(size[1], size[0]))[1] == 0
        # PIL's nearest rotation is off by up to a row and a column itself: 3 % of this rectangle's area
        wanted = literal.medical_mask(
            Image.open(path), rng.random(16)[2:12], points, size, rotation=Image.Resampling.BILINEAR
        )
        assert_same_place(occluded, wanted)


def test_a_picture_that_is_opaque_to_its_edges(tmp_path: Path) -> None:
    path = write(tmp_path / "own.png", np.full((90, 160, 4), 255, np.uint8))
    transform = MedicalMaskOcclusion(path, 1, ARCFACE_112, rng=np.random.default_rng(13))
    rng = np.random.default_rng(13)
    for _ in range(100):
        occluded = transform(colored())[1] == 0
        wanted = literal.medical_mask(
            Image.open(path), rng.random(16)[2:12], ARCFACE_112, rotation=Image.Resampling.BICUBIC
        )
        assert_same_place(occluded, wanted)


@pytest.mark.parametrize("shape", [(40, 1600), (1600, 60), (8, 12)])
def test_pictures_of_any_aspect_and_size(shape: tuple[int, int], tmp_path: Path) -> None:
    path = write(tmp_path / "own.png", np.full((*shape, 4), 255, np.uint8))
    transform = MedicalMaskOcclusion(path, 1, ARCFACE_112, rng=np.random.default_rng(14))
    rng = np.random.default_rng(14)
    for _ in range(30):
        occluded = transform(colored())[1] == 0
        wanted = literal.medical_mask(
            Image.open(path), rng.random(16)[2:12], ARCFACE_112, rotation=Image.Resampling.BICUBIC
        )
        assert_same_place(occluded, wanted)


@pytest.mark.parametrize("preset", PRESETS)
def test_nose_and_mouth_are_covered_and_eyes_are_not(preset: str) -> None:
    points = PRESETS[preset]
    transform = MedicalMaskOcclusion(prob=1, ref_points=points, rng=np.random.default_rng(15))
    noses = 0
    for _ in range(100):
        _, mask = transform(colored())
        for x, y in points[1:]:
            assert mask[round(y), round(x)] == 0
        noses += int(mask[round(points[0][1]), round(points[0][0])] == 0)
        assert mask[:48].min() == 255
    assert noses >= 97, "of the reference 99 in 100 are: shift and jitter may go the same way"


def test_the_mask_says_where_the_image_has_changed(tmp_path: Path) -> None:
    picture = np.zeros((100, 150, 4), np.uint8)
    picture[5:95, 5:145] = 250, 0, 250, 255  # at whatever light, unlike the image
    transform = MedicalMaskOcclusion(write(tmp_path / "own.png", picture), 1, rng=np.random.default_rng(16))
    image = colored()
    for _ in range(50):
        out, mask = transform(image)
        assert set(np.unique(mask)) == {0, 255}
        changed = np.abs(out.astype(int) - image).max(2) > 8
        edge = cv2.dilate(mask, np.ones((5, 5))) != cv2.erode(mask, np.ones((5, 5)))
        assert np.array_equal(changed[~edge], (mask == 0)[~edge])


def test_what_is_transparent_shows_the_face(tmp_path: Path) -> None:
    picture = np.full((100, 150, 4), 255, np.uint8)
    picture[..., 3] = 100
    picture[45:55, 70:80, 3] = 255  # else it would be refused
    transform = MedicalMaskOcclusion(write(tmp_path / "own.png", picture), 1, rng=np.random.default_rng(17))
    out, mask = transform(np.zeros((112, 112, 3), np.uint8))
    assert 0 < (mask == 0).mean() < 0.02, "alpha of 100 is no occlusion"
    assert (out > 0).any(2).mean() > 0.2, "but it is seen"


# How often


@pytest.mark.parametrize("prob", [0.0, 0.25, 0.5, 1.0])
def test_as_many_images_are_masked_as_asked(prob: float) -> None:
    transform = MedicalMaskOcclusion(small_mask(), prob, mask_size=1, rng=np.random.default_rng(18))
    image = colored(24, 24)
    masked = sum(bool(transform(image)[1].min() < 1) for _ in range(1500))
    if prob in {0, 1}:
        assert masked == 1500 * prob
    else:
        assert_share(masked, 1500, prob)


def test_without_a_mask_the_image_is_unchanged_and_all_visible() -> None:
    image = noisy()
    out, mask = MedicalMaskOcclusion(small_mask(), 0)(image)
    assert np.array_equal(out, image)
    assert (mask.dtype, mask.shape, mask.min()) == (np.uint8, (112, 112), 255)
    out, mask = MedicalMaskOcclusion(small_mask(), 0, mask_size=7)(Image.fromarray(image))
    assert np.array_equal(np.array(out), image)
    assert (mask.dtype, mask.shape, mask.min()) == (np.float32, (7, 7), 1)


def test_kinds_are_equally_often(tmp_path: Path) -> None:
    colors = {"a": (255, 0, 0), "b": (0, 255, 0), "c": (0, 0, 255), "d": (255, 255, 0), "e": (255, 0, 255)}
    for name, color in colors.items():
        write(tmp_path / f"{name}.png", np.full((20, 30, 4), (*color, 255), np.uint8))
    transform = MedicalMaskOcclusion(tmp_path, 1, rng=np.random.default_rng(19))
    counts = dict.fromkeys(colors.values(), 0)
    for _ in range(600):
        out, _ = transform(colored(28, 28))
        counts[tuple(np.where(out[20, 12] > 80, 255, 0).tolist())] += 1  # type: ignore[index]
    assert_equally_often(list(counts.values()))


@pytest.mark.parametrize("names", [("mask-front", "mask-left", "mask-right"), ("N95", "N95_left", "N95_right")])
def test_turned_and_front_pictures_are_both_used(names: tuple[str, ...], tmp_path: Path) -> None:
    colors = {"front": (255, 0, 0), "left": (0, 255, 0), "right": (0, 0, 255)}
    for name, color in zip(names, colors.values(), strict=True):
        write(tmp_path / f"{name}.png", np.full((20, 30, 4), (*color, 255), np.uint8))
    transform = MedicalMaskOcclusion(tmp_path, 1, ARCFACE_112, rng=np.random.default_rng(20))
    rng = np.random.default_rng(20)
    seen = dict.fromkeys(colors, 0)
    for _ in range(300):
        out, _ = transform(colored())
        turn = list(colors)[int(out[80, 56].argmax())]
        assert turn == literal.turn(rng.random(16)[2:], ARCFACE_112)
        seen[turn] += 1
    assert min(seen.values()) > 30


# Colours


def test_brightness_follows_the_face() -> None:
    transform = MedicalMaskOcclusion(small_mask(), 1)
    row = np.full((1, transform.draws), 0.5)

    def light(level: int) -> float:
        images, masks = np.full((1, 112, 112, 3), level, np.uint8), np.full((1, 112, 112), 255, np.uint8)
        transform.occlude(images, masks, row)
        return float(images[0][masks[0] == 0].mean())

    assert light(40) < light(90) < light(150) < light(190)
    assert light(40) < 0.6 * light(150)


def test_brightness_varies_by_15_and_colours_by_5_percent(tmp_path: Path) -> None:
    path = write(tmp_path / "own.png", np.full((40, 60, 4), (160, 160, 160, 255), np.uint8))
    transform = MedicalMaskOcclusion(path, 1)
    images, masks = np.full((800, 28, 28, 3), 150, np.uint8), np.full((800, 28, 28), 255, np.uint8)
    images[..., 0] += 12  # a face in colour, or masks would be grey
    images[..., 2] -= 12
    rows = np.full((800, transform.draws), 0.5)
    rows[:, 12:] = np.random.default_rng(21).random((800, 4))
    transform.occlude(images, masks, rows)
    seen = images[:, 20, 12].astype(float) + np.random.default_rng(0).random((800, 3))
    assert_uniform((rows[:, 12] * 2 - 1) * 0.15, -0.15, 0.15)
    light = 1 + (rows[:, 12] * 2 - 1) * 0.15
    # int() on the way down loses up to a level; what is random of the rest has to be +-5 % in every channel
    for channel in range(3):
        tint = seen[:, channel] / light
        assert tint.min() / 160 == pytest.approx(0.95, abs=0.015)
        assert tint.max() / 160 == pytest.approx(1.05, abs=0.015)
        assert_uniform(tint, tint.min(), tint.max())
    spread = seen.mean(1) / seen.mean()
    assert 0.12 < np.ptp(spread) / 2 < 0.2


def test_a_grey_photograph_gets_a_grey_mask(built_in: MedicalMaskOcclusion) -> None:
    grey = np.repeat(colored()[..., :1], 3, 2)
    for _ in range(20):
        out, _ = built_in(grey)
        assert np.ptp(out.astype(int), 2).max() == 0


def test_bgr_images_look_like_rgb_ones_with_their_channels_exchanged() -> None:
    image = colored()
    rgb = MedicalMaskOcclusion(small_mask(), 1, rng=np.random.default_rng(22))(image)
    bgr = MedicalMaskOcclusion(small_mask(), 1, channels="bgr", rng=np.random.default_rng(22))(image[..., ::-1])
    assert np.array_equal(rgb[1], bgr[1])
    assert np.array_equal(rgb[0], bgr[0][..., ::-1])


# Alignment


def test_flipping_image_and_mask_is_masking_the_flipped_image(tmp_path: Path) -> None:
    points = (56.0, 72.0), (41.0, 92.0), (71.0, 92.0)
    picture = np.zeros((101, 151, 4), np.uint8)
    cv2.ellipse(picture, (75, 50), (70, 45), 0, 0, 360, (90, 150, 200, 255), -1)
    picture = np.maximum(picture, picture[:, ::-1])
    transform = MedicalMaskOcclusion(write(tmp_path / "own.png", picture), 1, points)
    image = colored()
    rows = np.random.default_rng(23).random((100, transform.draws))
    rows[:, 5] = rows[:, 7]  # heights are measured at the right corner, which then is the left one
    mirrored = rows.copy()
    mirrored[:, 2] = 1 - rows[:, 2]
    mirrored[:, 4], mirrored[:, 6] = 1 - rows[:, 6], 1 - rows[:, 4]
    mirrored[:, 8], mirrored[:, 11] = 1 - rows[:, 8], 1 - rows[:, 11]
    images, others = np.repeat(image[None], 100, 0), np.repeat(image[None, :, ::-1], 100, 0).copy()
    masks, flipped = np.full((100, 112, 112), 255, np.uint8), np.full((100, 112, 112), 255, np.uint8)
    transform.occlude(images, masks, rows)
    transform.occlude(others, flipped, mirrored)
    for mask, other in zip(masks[:, :, ::-1], flipped, strict=True):
        # whole pixels are cut off towards the left on both sides: up to a pixel and a half in all
        assert np.abs(box(mask == 0) - box(other == 0)).max() <= 2
        assert ((mask == 0) & (other == 0)).sum() / ((mask == 0) | (other == 0)).sum() > 0.95


def test_a_flip_after_it_moves_the_mask_with_the_image() -> None:
    out, mask = MedicalMaskOcclusion(small_mask(), 1, rng=np.random.default_rng(24))(Image.fromarray(colored()))
    from torchvision.transforms import v2

    flipped, moved = OcclusionMaskWrapper(v2.RandomHorizontalFlip(1))((out, mask))
    assert np.array_equal(np.array(flipped), np.array(out)[:, ::-1])
    assert np.array_equal(np.array(moved), np.array(mask)[:, ::-1])


# Pairs


@pytest.mark.parametrize("size", [112, 7])
@pytest.mark.parametrize("medical_first", [True, False])
def test_a_second_occlusion_adds_to_the_first(size: int, medical_first: bool) -> None:
    full = size == 112
    both = [
        MedicalMaskOcclusion(small_mask(), 1, mask_size=None if full else 7, rng=np.random.default_rng(25)),
        SyntheticOcclusionMask(1, feature_map_size=None if full else 7, rng=np.random.default_rng(26)),
    ]
    first, second = both if medical_first else both[::-1]
    for _ in range(50):
        image, mask = first(colored())
        before = mask.copy()
        out, joined = second((image, mask))
        assert np.array_equal(mask, before), "the first mask is left as it was"
        assert joined.dtype == mask.dtype
        assert joined.shape == (size, size)
        assert (joined <= mask).all()
        added = (np.abs(out.astype(int) - image).max(2) > 30) if full else None
        if added is not None:
            assert (joined[added] == 0).mean() > 0.95
    assert (joined == 0).any()


def test_a_second_occlusion_is_what_it_would_be_alone() -> None:
    # min of both: a patch is in the joined mask exactly where it is in its own
    image = colored()
    alone = MedicalMaskOcclusion(small_mask(), 1, rng=np.random.default_rng(27))(image)[1]
    first = SyntheticOcclusionMask(1, feature_map_size=None, rng=np.random.default_rng(28))(image)
    joined = MedicalMaskOcclusion(small_mask(), 1, rng=np.random.default_rng(27))(first)[1]
    assert np.array_equal(joined, np.minimum(first[1], alone))


def test_masks_at_feature_map_size_are_the_visible_share() -> None:
    full = MedicalMaskOcclusion(small_mask(), 1, rng=np.random.default_rng(29))
    small = MedicalMaskOcclusion(small_mask(), 1, mask_size=7, rng=np.random.default_rng(29))
    for _ in range(20):
        wanted = (full(colored())[1] / 255).reshape(7, 16, 7, 16).mean((1, 3))
        assert small(colored())[1] == pytest.approx(wanted, abs=1e-5)


# Arguments


def test_pictures_that_cannot_be_masks_are_one_clear_error(tmp_path: Path) -> None:
    solid = np.full((10, 10, 3), 9, np.uint8)
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "read me.txt").write_text("nothing")
    whole = write(tmp_path / "whole.png", noisy(50, 50)).read_bytes()
    Image.fromarray(np.dstack([noisy(50, 50), np.full((50, 50), 255, np.uint8)])).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut off.png").write_bytes(whole[: len(whole) // 2])
    cases: list[tuple[Any, type[Exception], str]] = [
        (tmp_path / "missing.png", FileNotFoundError, "missing.png"),
        (str(tmp_path / "missing.png"), FileNotFoundError, "missing.png"),
        (write(tmp_path / "rgb.png", solid), ValueError, "rgb.png has no transparency"),
        (write(tmp_path / "face.jpg", solid), ValueError, "face.jpg has no transparency"),
        (write(tmp_path / "clear.png", np.zeros((10, 10, 4), np.uint8)), ValueError, "clear.png is transparent"),
        (tmp_path / "text.png", ValueError, "text.png cannot be read"),
        (tmp_path / "cut off.png", ValueError, "cut off.png cannot be read"),
        (tmp_path / "empty", FileNotFoundError, "empty"),
        ([tmp_path / "empty"], ValueError, "empty"),
        ([], ValueError, "mask_path is an empty list"),
    ]
    for path, error, message in cases:
        with pytest.raises(error, match=message):
            MedicalMaskOcclusion(path)


@pytest.mark.parametrize("path", [3, 0.5, [None], [3]], ids=repr)
def test_paths_of_another_kind_are_an_error_that_names_them(path: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"mask_path|path|str"):
        MedicalMaskOcclusion(path)


@pytest.mark.parametrize("prob", [-0.1, 1.1, float("nan"), float("inf"), "0.5", None])
def test_what_is_no_probability_is_one_clear_error(prob: Any) -> None:
    with pytest.raises(ValueError, match=r"^prob must be a probability"):
        MedicalMaskOcclusion(small_mask(), prob)


@pytest.mark.parametrize("size", [0, -1, 7.0, "7", True])
def test_mask_sizes_that_are_none_are_one_clear_error(size: Any) -> None:
    with pytest.raises(ValueError, match=r"^mask_size must be"):
        MedicalMaskOcclusion(small_mask(), mask_size=size)


def test_other_channels_and_generators_are_one_clear_error() -> None:
    with pytest.raises(ValueError, match=r"channels must be"):
        MedicalMaskOcclusion(small_mask(), channels="rgba")
    for rng in (0, np.random, np.random.RandomState(0), "seed"):
        with pytest.raises(TypeError, match=r"rng must be a numpy Generator"):
            MedicalMaskOcclusion(small_mask(), rng=rng)  # type: ignore[arg-type]


# Any size


@settings(deadline=None, max_examples=80)
@given(height=st.integers(1, 300), width=st.integers(1, 300), seed=st.integers(0, 10_000))
def test_no_size_and_no_row_of_draws_fails(height: int, width: int, seed: int) -> None:
    out, mask = MedicalMaskOcclusion(small_mask(), 1, rng=np.random.default_rng(seed))(colored(height, width))
    assert out.shape == (height, width, 3)
    assert mask.shape == (height, width)
    assert set(np.unique(mask)) <= {0, 255}


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    row=st.lists(st.sampled_from([0.0, 0.5, float(np.nextafter(1, 0))]), min_size=16, max_size=16),
)
def test_the_ends_of_all_ranges_are_fine(height: int, width: int, row: list[float]) -> None:
    transform = MedicalMaskOcclusion(small_mask(), 1)
    images, masks = colored(height, width)[None].copy(), np.full((1, height, width), 255, np.uint8)
    transform.occlude(images, masks, np.array([row]))
    assert set(np.unique(masks)) <= {0, 255}


def test_a_picture_of_which_little_is_opaque_warns_of_nothing(tmp_path: Path) -> None:
    picture = np.zeros((600, 600, 4), np.uint8)
    picture[300:302, 300:302] = 255
    transform = MedicalMaskOcclusion(write(tmp_path / "dot.png", picture), 1, rng=np.random.default_rng(30))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for size in (1, 3, 20, 112, 300):
            image, mask = transform(colored(size, size))
            assert image.shape == (size, size, 3)
            assert mask.mean() > 0.99 * 255, "a dot of a three hundredth of the picture hides next to nothing"


def test_other_images_of_a_batch_are_untouched() -> None:
    transform = MedicalMaskOcclusion(small_mask(), 0.5)
    rows = np.random.default_rng(31).random((30, transform.draws))
    images, masks = np.repeat(noisy()[None], 30, 0), np.full((30, 112, 112), 255, np.uint8)
    transform.occlude(images, masks, rows)
    for image, mask, row in zip(images, masks, rows, strict=True):
        if row[0] >= 0.5:
            assert np.array_equal(image, noisy())
            assert mask.min() == 255
        else:
            alone, its = noisy()[None].copy(), np.full((1, 112, 112), 255, np.uint8)
            transform.occlude(alone, its, row[None])
            assert np.array_equal(alone[0], image)
            assert np.array_equal(its[0], mask)


@pytest.mark.parametrize("damage", ["empty", "unwritable"])
def test_a_damaged_or_missing_cache_of_compiled_code_is_no_obstacle(tmp_path: Path, damage: str) -> None:
    package = Path(__file__).parents[2] / "wds_face/transforms"
    shutil.copy(package / "paste.py", tmp_path / "own_paste.py")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import own_paste; print(own_paste.paste)"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    if damage == "empty":
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
        for file in (tmp_path / "cache").rglob("*.nb?"):
            file.write_bytes(b"")
        assert list((tmp_path / "cache").rglob("*.nbi"))
    else:
        (tmp_path / "cache").write_bytes(b"a file, where a folder should be")
    run = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert "paste" in run.stdout
