"""What comes out has the form of what came in, whatever that is; and what came in stays as it was."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from tests.transforms.pictures import (
    COLORED,
    CONVERTED,
    FORMS,
    GREY,
    colored,
    contents,
    eight_bits,
    kind,
    noisy,
    pixels_of,
    size_of,
    small_mask,
)
from wds_face.transforms import (
    Augmenter,
    MedicalMaskOcclusion,
    OcclusionMaskWrapper,
    RandomErasing,
    RandomOcclusion,
    RandomSizedRectCrop,
    RectScale,
    SyntheticOcclusionMask,
    ToTensorWithMask,
)
from wds_face.transforms.forms import image_array, mask_array, resize_mask

SIZES = [(1, 1), (3, 5), (250, 90), (112, 112)]

Make = Callable[[np.random.Generator | None], Any]

#: Transforms of the image's own size, and those that give another one.
SAME_SIZE: dict[str, Make] = {
    "medical": lambda rng: MedicalMaskOcclusion(small_mask(), 1, rng=rng),
    "medical 7": lambda rng: MedicalMaskOcclusion(small_mask(), 1, mask_size=7, rng=rng),
    "synthetic": lambda rng: SyntheticOcclusionMask(prob=1, rng=rng),
    "synthetic at full size": lambda rng: SyntheticOcclusionMask(prob=1, feature_map_size=None, rng=rng),
    "occlusion": lambda rng: RandomOcclusion(rng=rng),
    "erasing": lambda rng: RandomErasing(1, rng=rng),
    "augmenter": lambda rng: Augmenter(1, 1, 1, rng=rng),
    "adaface": lambda rng: Augmenter.adaface(1, 1, 1, rng=rng),
    "nothing": lambda rng: Augmenter(0, 0, 0, rng=rng),
}
OTHER_SIZE: dict[str, Make] = {
    "scale": lambda rng: RectScale(40, 30),
    "crop": lambda rng: RandomSizedRectCrop(40, 30, rng=rng),
}
ALL = SAME_SIZE | OTHER_SIZE
LONE_BECOME_PAIRS = {name for name in ALL if name.startswith(("medical", "synthetic"))}


def of_lone(name: str, result: Any) -> Any:
    """The image of a result."""
    if name in LONE_BECOME_PAIRS:
        assert type(result) is tuple
        return result[0]
    return result


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ALL)
def test_the_form_comes_back_and_the_input_stays(name: str, form: str) -> None:
    for height, width in SIZES:
        image = FORMS[form](colored(height, width))
        before = contents(image)
        result = of_lone(name, ALL[name](np.random.default_rng(1))(image))
        assert contents(image) == before, "the input was changed"
        assert kind(result) == kind(image)
        assert eight_bits(result)
        assert size_of(result) == ((height, width) if name in SAME_SIZE else (40, 30))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ALL)
def test_pairs_keep_the_forms_of_both(name: str, form: str) -> None:
    for height, width in SIZES:
        image = FORMS[form](colored(height, width))
        masks = [np.full((height, width), 255, np.uint8), np.ones((7, 7), np.float32)]
        for mask in masks:
            before = contents(image), mask.copy()
            out, moved = ALL[name](np.random.default_rng(1))((image, mask))
            assert contents(image) == before[0]
            assert np.array_equal(mask, before[1])
            assert kind(out) == kind(image)
            assert moved.dtype == mask.dtype
            changes = name in OTHER_SIZE and mask.shape == (height, width)
            assert moved.shape == ((40, 30) if changes else mask.shape)


@pytest.mark.parametrize(("forms", "first"), [(COLORED, "array"), (GREY, "array [H, W]")])
@pytest.mark.parametrize("name", ALL)
def test_the_form_makes_no_difference(name: str, forms: dict[str, Any], first: str) -> None:
    pixels = colored(60, 50)
    wanted = pixels_of(of_lone(name, ALL[name](np.random.default_rng(1))(forms[first](pixels))))
    for form, make in forms.items():
        found = pixels_of(of_lone(name, ALL[name](np.random.default_rng(1))(make(pixels))))
        assert np.array_equal(found, wanted), form


@pytest.mark.parametrize("form", CONVERTED)
def test_other_modes_are_taken_as_pil_converts_them(form: str) -> None:
    image = CONVERTED[form](colored(30, 20))
    wanted = np.array(image.convert("RGBA").convert("RGB"))
    out = np.array(Augmenter(0, 0, 0)(image).convert("RGB"))
    assert np.array_equal(out, wanted)


@pytest.mark.parametrize("form", COLORED | GREY)
def test_nothing_to_do_changes_no_pixel(form: str) -> None:
    image = FORMS[form](noisy(13, 17))
    out = pixels_of(Augmenter(0, 0, 0)(image))
    wanted = noisy(13, 17)
    assert np.array_equal(out, wanted if form in COLORED else np.array(Image.fromarray(wanted).convert("L")))


@pytest.mark.parametrize("form", GREY)
def test_the_visible_pixels_of_a_grey_image_are_unchanged(form: str) -> None:
    image = GREY[form](noisy(50, 40))
    out, mask = SyntheticOcclusionMask(prob=1, feature_map_size=None, rng=np.random.default_rng(0))(image)
    visible = np.asarray(mask_array(mask)[0]) == 1
    wanted = np.array(Image.fromarray(noisy(50, 40)).convert("L"))
    assert np.array_equal(pixels_of(out)[visible], wanted[visible])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.float64),
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 3), np.int64),
        np.zeros((4, 4, 3), bool),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        torch.zeros((4, 4), dtype=torch.uint8),
        torch.zeros((4, 4, 3), dtype=torch.uint8),
        torch.zeros((3, 4, 4), dtype=torch.int32),
        "face.jpg",
        None,
    ],
    ids=lambda image: f"{type(image).__name__} {getattr(image, 'dtype', '')} {list(getattr(image, 'shape', []))}",
)
def test_what_is_no_image_is_one_clear_error(name: str, image: Any) -> None:
    with pytest.raises(TypeError, match=r"^an image is a PIL image, .*, not "):
        ALL[name](None)(image)


@pytest.mark.parametrize("name", sorted(ALL.keys() - {"erasing"}))
def test_float_tensors_are_one_clear_error(name: str) -> None:
    with pytest.raises(TypeError, match=r"uint8.*float32"):
        ALL[name](None)(torch.zeros(3, 4, 4))


@pytest.mark.parametrize("image", [np.zeros((0, 5, 3), np.uint8), np.zeros((5, 0), np.uint8), Image.new("RGB", (0, 5))])
def test_images_without_pixels_are_one_clear_error(image: Any) -> None:
    with pytest.raises(ValueError, match="an image without pixels"):
        RectScale(4, 4)(image)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
@pytest.mark.parametrize("name", ALL)
def test_pil_images_of_unknown_range_are_one_clear_error(name: str, dtype: type) -> None:
    image = Image.fromarray(np.full((8, 8), 200, dtype))
    with pytest.raises(ValueError, match=r"32-bit .* save it with 8 or 16 bits"):
        ALL[name](None)(image)


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(sorted(ALL)),
    form=st.sampled_from(sorted(FORMS)),
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    seed=st.integers(0, 1000),
)
def test_every_size_in_every_form(name: str, form: str, height: int, width: int, seed: int) -> None:
    image = FORMS[form](colored(height, width, seed))
    result = of_lone(name, ALL[name](np.random.default_rng(seed))(image))
    assert kind(result) == kind(image)
    assert size_of(result) == ((height, width) if name in SAME_SIZE else (40, 30))


# Masks


def masks(form: str, visible: np.ndarray) -> Any:  # type: ignore[type-arg]
    """A mask of 0 and 1 in some form."""
    scaled = (visible * 255).astype(np.uint8)
    return {
        "PIL": lambda: Image.fromarray(scaled),
        "uint8": lambda: scaled,
        "uint8 0 and 1": lambda: visible.astype(np.uint8),
        "int64": lambda: scaled.astype(np.int64),
        "bool": lambda: visible.astype(bool),
        "float32": lambda: visible.astype(np.float32),
        "float64": lambda: visible.astype(np.float64),
        "uint8 [1, h, w]": lambda: scaled[None],
        "uint8 [h, w, 1]": lambda: scaled[..., None],
        "tensor": lambda: torch.from_numpy(scaled)[None],
        "bool tensor [h, w]": lambda: torch.from_numpy(visible.astype(bool)),
        "float tensor": lambda: torch.from_numpy(visible.astype(np.float32))[None],
        "half tensor": lambda: torch.from_numpy(visible.astype(np.float16))[None],
        "tv_tensor": lambda: tv_tensors.Mask(torch.from_numpy(scaled)[None]),
    }[form]()


MASKS = [
    "PIL",
    "uint8",
    "uint8 0 and 1",
    "int64",
    "bool",
    "float32",
    "float64",
    "uint8 [1, h, w]",
    "uint8 [h, w, 1]",
    "tensor",
    "bool tensor [h, w]",
    "float tensor",
    "half tensor",
    "tv_tensor",
]


@pytest.mark.parametrize("form", MASKS)
def test_a_mask_comes_back_in_its_form(form: str) -> None:
    visible = np.ones((20, 30))
    visible[3:9, 4:20] = 0
    mask = masks(form, visible)
    share, back = mask_array(mask)
    assert share.dtype == np.float32
    assert np.array_equal(share, visible)
    same = back(share)
    assert type(same) is type(mask)
    if isinstance(mask, Image.Image):
        assert same.tobytes() == mask.tobytes()
    else:
        assert same.dtype == mask.dtype
        assert same.shape == mask.shape
        assert np.array_equal(np.asarray(same), np.asarray(mask))


@pytest.mark.parametrize("form", MASKS)
@pytest.mark.parametrize("name", ALL)
def test_every_transform_takes_every_mask(name: str, form: str) -> None:
    visible = np.ones((20, 30))
    visible[3:9, 4:20] = 0
    mask = masks(form, visible)
    _, out = ALL[name](np.random.default_rng(0))((colored(20, 30), mask))
    assert type(out) is type(mask)
    if not isinstance(mask, Image.Image):
        assert out.dtype == mask.dtype
    moved, _ = mask_array(out)
    assert moved.shape == ((20, 30) if name in SAME_SIZE else (40, 30))
    assert set(np.unique(moved)) <= {0, 1}


def test_a_mask_that_is_all_occluded_keeps_its_range() -> None:
    # 0 and 255 cannot be told from 0 and 1 by a mask of zeros; what new masks have is 255.
    mask = np.zeros((20, 30), np.uint8)
    _, out = OcclusionMaskWrapper(v2.Pad(2))((colored(20, 30), mask))
    assert set(np.unique(out)) == {0, 255}


@pytest.mark.parametrize(
    "mask", [np.zeros((2, 4, 4)), np.zeros(5), np.zeros((0, 4)), np.zeros((1, 1, 4, 4)), None, 3, "mask"]
)
def test_what_is_no_mask_is_one_clear_error(mask: Any) -> None:
    for make in ALL.values():
        with pytest.raises(TypeError, match=r"^a mask "):
            make(None)((colored(4, 4), mask))


@settings(deadline=None)
@given(height=st.integers(1, 60), width=st.integers(1, 60), size=st.integers(1, 14), seed=st.integers(0, 99))
def test_masks_at_feature_map_size_are_area_averages(height: int, width: int, size: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    # the slow and exact way: repeat every pixel and every cell until both fit
    fine = np.repeat(np.repeat(mask.astype(np.float64), size, 0), size, 1)
    wanted = fine.reshape(size, height, size, width).mean((1, 3))
    if min(height, width) >= size:  # exact where pixels are smaller than cells
        assert np.abs(resize_mask(mask, size, size) - wanted).max() < 1e-3
    assert resize_mask(np.ones((height, width), np.float32), size, size) == pytest.approx(1, abs=1e-5)


# Other people's processes


@pytest.mark.parametrize("name", ALL)
def test_transforms_can_be_sent_to_another_process(name: str) -> None:
    # spawned and forked-by-server workers get pickles
    transform = ALL[name](np.random.default_rng(5))
    twin = pickle.loads(pickle.dumps(transform))
    image = colored()
    first, second = (of_lone(name, each(image)) for each in (transform, twin))
    assert np.array_equal(first, second)
    pickle.dumps(ToTensorWithMask())


def test_what_comes_out_shares_no_memory_with_what_went_in() -> None:
    for form in ("array", "array read-only", "array Fortran", "tensor"):
        image = COLORED[form](colored(8, 9))
        out = Augmenter(0, 0, 0)(image)
        assert not np.shares_memory(np.asarray(out), np.asarray(image))


def test_an_array_of_the_image_is_always_contiguous_color() -> None:
    for make in FORMS.values():
        array, _ = image_array(make(colored(9, 6)))
        assert (array.shape, array.dtype, array.flags.c_contiguous) == ((9, 6, 3), np.uint8, True)
