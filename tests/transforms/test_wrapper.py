"""Other people's transforms on pairs: the mask goes where the image goes, and stays where the image stays.

Images here are white where the mask is 0 and black elsewhere, so that after any transform they say themselves what
their mask has to be. What is padded or rotated in is black, as it is visible.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms as v1
from torchvision import tv_tensors
from torchvision.transforms import v2

from tests.transforms.pictures import FORMS, colored, kind, pixels_of, size_of
from wds_face.transforms import (
    Augmenter,
    OcclusionMaskWrapper,
    RandomErasing,
    RandomSizedRectCrop,
    RectScale,
    ToTensorWithMask,
)
from wds_face.transforms.forms import mask_array

U8 = npt.NDArray[np.uint8]

Wrapper = OcclusionMaskWrapper
Make = Callable[[Any], Any]

#: Of torchvision's v1 and v2 alike: takes the module.
GEOMETRIC: dict[str, Make] = {
    "horizontal flip": lambda v: v.RandomHorizontalFlip(1),
    "horizontal flip at times": lambda v: v.RandomHorizontalFlip(0.5),
    "vertical flip": lambda v: v.RandomVerticalFlip(1),
    "crop": lambda v: v.RandomCrop(70),
    "crop of a padded image": lambda v: v.RandomCrop((100, 90), padding=12),
    "crop that pads": lambda v: v.RandomCrop(140, pad_if_needed=True),
    "centre crop": lambda v: v.CenterCrop((60, 90)),
    "centre crop that pads": lambda v: v.CenterCrop(150),
    "resized crop": lambda v: v.RandomResizedCrop(80, scale=(0.3, 1)),
    "rotation": lambda v: v.RandomRotation(40),
    "rotation that expands": lambda v: v.RandomRotation((20, 30), expand=True),
    "rotation of 90": lambda v: v.RandomRotation((90, 90)),
    "affine": lambda v: v.RandomAffine(20, translate=(0.2, 0.1), scale=(0.7, 1.3), shear=10),
    "affine with bounds of shear": lambda v: v.RandomAffine((5, 10), shear=(-5, 5, -8, 8)),
    "perspective": lambda v: v.RandomPerspective(0.4, p=1),
    "pad": lambda v: v.Pad((3, 5, 7, 9)),
    "pad by reflection": lambda v: v.Pad(20, padding_mode="reflect"),
    "resize": lambda v: v.Resize((80, 60)),
    "resize of the shorter side": lambda v: v.Resize(50),
    "resize to nearest": lambda v: v.Resize((200, 220), interpolation=v1.InterpolationMode.NEAREST),
    "elastic": lambda v: v.ElasticTransform(alpha=40.0, sigma=6.0),
}

PHOTOMETRIC: dict[str, Make] = {
    "color jitter": lambda v: v.ColorJitter(0.4, 0.4, 0.4, 0.1),
    "grey": lambda v: v.Grayscale(3),
    "random grey": lambda v: v.RandomGrayscale(1),
    "blur": lambda v: v.GaussianBlur(5),
    "invert": lambda v: v.RandomInvert(1),
    "posterize": lambda v: v.RandomPosterize(2, p=1),
    "solarize": lambda v: v.RandomSolarize(100, p=1),
    "sharpness": lambda v: v.RandomAdjustSharpness(3, p=1),
    "autocontrast": lambda v: v.RandomAutocontrast(1),
    "equalize": lambda v: v.RandomEqualize(1),
}


def occluded_field(height: int = 112, width: int = 112) -> U8:
    """A mask of no symmetry: 255 visible, 0 occluded."""
    mask = np.full((height, width), 255, np.uint8)
    mask[int(0.3 * height) : int(0.7 * height), int(0.2 * width) : int(0.5 * width)] = 0
    mask[int(0.55 * height) : int(0.9 * height), int(0.4 * width) : int(0.75 * width)] = 0
    return mask


def painted(mask: U8) -> U8:
    return np.repeat(255 - mask[..., None], 3, 2)


def to_tensor(pixels: U8) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


IMAGES: dict[str, Callable[[U8], Any]] = {
    "PIL": Image.fromarray,
    "array": np.copy,
    "tensor": to_tensor,
    "float tensor": lambda pixels: to_tensor(pixels).float() / 255,
    "tv_tensor": lambda pixels: tv_tensors.Image(to_tensor(pixels)),
}


def level(image: Any) -> npt.NDArray[np.float64]:
    """The first channel from 0 to 255."""
    if isinstance(image, torch.Tensor) and image.is_floating_point():
        return image[0].as_subclass(torch.Tensor).numpy() * 255.0
    pixels = pixels_of(image)
    return pixels[..., 0].astype(float)


def assert_aligned(image: Any, mask: Any) -> None:
    """The mask is 0 where the image is white, up to the pixels along an edge."""
    seen = level(image)
    visible, _ = mask_array(mask)
    assert visible.shape == seen.shape
    assert set(np.unique(visible)) <= {0, 1}
    white = (seen > 127).astype(np.uint8)
    edge = cv2.dilate(white, np.ones((3, 3))) != cv2.erode(white, np.ones((3, 3)))
    assert np.array_equal(white[~edge] == 0, visible[~edge] == 1)
    assert (white != (visible == 0)).mean() < 0.03


# Geometric


@pytest.mark.parametrize("form", IMAGES)
@pytest.mark.parametrize("module", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", GEOMETRIC)
def test_the_mask_moves_with_the_image(name: str, module: Any, form: str) -> None:
    mask = occluded_field()
    wrapped = Wrapper(GEOMETRIC[name](module))
    for seed in range(4):
        torch.manual_seed(seed)
        image = IMAGES[form](painted(mask))
        out, moved = wrapped((image, mask))
        assert type(out) is type(image)
        assert moved.dtype == np.uint8
        assert_aligned(out, moved)
    assert np.array_equal(mask, occluded_field())


@pytest.mark.parametrize("form", ["PIL", "uint8", "float", "bool", "tensor", "tv_tensor"])
@pytest.mark.parametrize("module", [v1, v2], ids=["v1", "v2"])
def test_the_mask_keeps_its_form(module: Any, form: str) -> None:
    plain = occluded_field()
    mask: Any = {
        "PIL": Image.fromarray(plain),
        "uint8": plain,
        "float": (plain / 255).astype(np.float32),
        "bool": plain > 0,
        "tensor": torch.from_numpy(plain)[None],
        "tv_tensor": tv_tensors.Mask(torch.from_numpy(plain)[None]),
    }[form]
    for name in ("rotation", "pad", "resized crop"):
        out, moved = Wrapper(GEOMETRIC[name](module))((Image.fromarray(painted(plain)), mask))
        assert type(moved) is type(mask)
        assert_aligned(out, moved)


@pytest.mark.parametrize("module", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("fill", [0, 127, 255, (1, 2, 3), [250, 250, 250]], ids=str)
@pytest.mark.parametrize("name", ["rotation", "pad", "crop", "affine", "perspective"])
def test_what_is_filled_in_is_visible_whatever_its_color(name: str, fill: Any, module: Any) -> None:
    make: dict[str, Any] = {
        "rotation": lambda: module.RandomRotation((30, 30), fill=fill),
        "pad": lambda: module.Pad(9, fill=tuple(fill) if isinstance(fill, list) else fill),
        "crop": lambda: module.RandomCrop(112, padding=9, fill=tuple(fill) if isinstance(fill, list) else fill),
        "affine": lambda: module.RandomAffine(20, scale=(0.5, 0.5), fill=fill),
        "perspective": lambda: module.RandomPerspective(0.5, p=1, fill=fill),
    }
    torch.manual_seed(0)
    field = np.full((112, 112), 255, np.uint8)
    field[40:60, 40:60] = 0
    for mask in (field, (field / 255).astype(np.float32)):
        _, moved = Wrapper(make[name]())((Image.fromarray(colored()), mask))
        assert set(np.unique(moved)) == set(np.unique(mask)), "0 and 1, or 0 and 255"
        edges = np.concatenate([moved[0], moved[-1], moved[:, 0], moved[:, -1]])
        assert edges.min() == mask.max()


@pytest.mark.parametrize("name", ["horizontal flip", "vertical flip"])
@pytest.mark.parametrize("module", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("size", [112, 100])
def test_flips_at_feature_map_size_are_exact(name: str, module: Any, size: int) -> None:
    cells = (np.arange(49) % 3 > 0).astype(np.float32).reshape(7, 7)
    _, moved = Wrapper(GEOMETRIC[name](module))((Image.fromarray(colored(size, size)), cells))
    wanted = cells[:, ::-1] if name.startswith("horizontal") else cells[::-1]
    # cells of 14.3 pixels share pixels with their neighbours
    assert np.abs(moved - wanted).max() <= (0 if size == 112 else 0.1)


@pytest.mark.parametrize("module", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", GEOMETRIC)
def test_masks_at_feature_map_size_stay_there_and_say_the_visible_share(name: str, module: Any) -> None:
    cells = np.ones((7, 7), np.float32)
    cells[2:5, 1:4], cells[4:6, 3:6] = 0, 0
    image = painted(np.repeat(np.repeat(cells * 255, 16, 0), 16, 1).astype(np.uint8))
    wrapped = Wrapper(GEOMETRIC[name](module))
    for seed in range(3):
        torch.manual_seed(seed)
        out, moved = wrapped((Image.fromarray(image), cells))
        assert (moved.dtype, moved.shape) == (np.float32, (7, 7))
        high, wide = size_of(out)
        fine = cv2.resize(level(out), (wide * 7, high * 7), interpolation=cv2.INTER_NEAREST)
        share = 1 - fine.reshape(7, high, 7, wide).mean((1, 3)) / 255
        assert np.abs(moved - share).max() < 0.2, "a row of pixels is a seventh of a cell of the smallest"
        assert np.abs(moved - share).mean() < 0.03


def test_only_a_wrapped_image_without_a_mask_is_handed_on() -> None:
    image = Image.fromarray(colored())
    out = Wrapper(v1.RandomHorizontalFlip(1))(image)
    assert isinstance(out, Image.Image)
    assert np.array_equal(np.array(out), colored()[:, ::-1])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("module", [v1, v2], ids=["v1", "v2"])
def test_flips_of_every_form(module: Any, form: str) -> None:
    mask = occluded_field(30, 40)
    image = FORMS[form](colored(30, 40))
    out, moved = Wrapper(module.RandomHorizontalFlip(1))((image, mask))
    assert kind(out) == kind(image)
    assert np.array_equal(moved, mask[:, ::-1])


# Photometric


@pytest.mark.parametrize("size", [112, 100])
@pytest.mark.parametrize("module", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_photometric_ones_leave_the_mask_alone(name: str, module: Any, size: int) -> None:
    torch.manual_seed(0)
    shares = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    masks: list[Any] = [occluded_field(size, size), Image.fromarray(occluded_field(size, size)), shares, shares > 0.5]
    for mask in masks:
        image = Image.fromarray(colored(size, size))
        out, same = Wrapper(PHOTOMETRIC[name](module))((image, mask))
        assert out.size == image.size
        assert type(same) is type(mask)
        assert np.abs(np.asarray(same, float) - np.asarray(mask, float)).max() < 1e-6


@pytest.mark.parametrize("module", [v1, v2], ids=["v1", "v2"])
def test_normalize_and_erasing_leave_the_mask_alone(module: Any) -> None:
    image, mask = torch.rand(3, 112, 112), torch.ones(1, 112, 112)
    mask[:, 20:40, 50:80] = 0
    out, same = Wrapper(module.Normalize([0.5] * 3, [0.5] * 3))((image, mask))
    assert torch.equal(out, (image - 0.5) / 0.5)
    assert torch.equal(same, mask)


@pytest.mark.parametrize("module", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("name", ["RandomErasing", "RandAugment", "AutoAugment", "TrivialAugmentWide", "AugMix"])
def test_what_no_mask_can_follow_is_refused_at_once(module: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"a mask cannot follow {name}"):
        Wrapper(module.Compose([module.RandomHorizontalFlip(), getattr(module, name)()]))


def test_a_pair_is_padded_as_a_lone_image_is() -> None:
    image, mask = Image.fromarray(colored()), np.full((112, 112), 255, np.uint8)
    for module in (v1, v2):
        for padding in ((0, 0, 8, 0), (4, 20), 3):
            crop = module.RandomCrop((112, 112 if padding == (4, 20) else 116), padding=padding)
            torch.manual_seed(3)
            alone = np.asarray(crop(image))
            torch.manual_seed(3)
            out, _ = Wrapper(crop)((image, mask))
            black = (alone == 0).all(2).all(0).sum(), (np.asarray(out) == 0).all(2).all(0).sum()
            assert np.asarray(out).shape == alone.shape
            assert abs(int(black[0]) - int(black[1])) <= 8


class Derived(v2.RandomRotation):
    """Somebody's own."""


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomRotation(30, fill={"others": 255}),
        v2.RandomRotation(30, fill={Image.Image: (255, 255, 255), tv_tensors.Mask: 1}),
        Derived(30, fill=255),
    ],
    ids=["dict", "dict with mask", "derived"],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_fills_of_any_form_are_visible(transform: Any, dtype: Any) -> None:
    mask = np.full((112, 112), 255 if dtype == np.uint8 else 1, dtype)
    mask[50:60] = 0
    torch.manual_seed(1)
    _, moved = Wrapper(transform)((Image.fromarray(colored()), mask))
    assert set(np.unique(moved)) == {0, mask.max()}
    assert moved[[0, 0, -1, -1], [0, -1, 0, -1]].min() == mask.max(), "corners are rotated in"


def test_conversion_within_a_compose_takes_the_mask_too() -> None:
    image, mask = Image.fromarray(colored()), Image.new("L", (112, 112), 255)
    for module in (v1, v2):
        out, moved = Wrapper(module.Compose([module.RandomHorizontalFlip(), ToTensorWithMask()]))((image, mask))
        assert isinstance(out, torch.Tensor)
        assert isinstance(moved, torch.Tensor)
        assert moved.shape == (1, 112, 112)


@pytest.mark.parametrize("side", [90, 96, 100, 112])
def test_a_small_mask_survives_any_number_of_flips(side: int) -> None:
    mask = (np.random.default_rng(0).random((7, 7)) < 0.5).astype(np.float32)
    pair: Any = Image.fromarray(colored(side, side)), mask
    for _ in range(6):
        pair = Wrapper(v2.RandomHorizontalFlip(1))(pair)
    assert np.array_equal(pair[1], mask)


def test_a_v2_lambda_is_a_function_of_the_image() -> None:
    mask = occluded_field()
    out, same = Wrapper(v2.Lambda(lambda image: image.convert("L")))((Image.fromarray(colored()), mask))
    assert out.mode == "L"
    assert np.array_equal(same, mask)
    tensor = to_tensor(colored())
    out, same = Wrapper(v2.Lambda(lambda image: 255 - image))((tensor, mask))
    assert torch.equal(out, 255 - tensor)
    assert np.array_equal(same, mask)


@pytest.mark.parametrize(
    "transform",
    [
        v2.ToImage(),
        v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]),
        v1.ToTensor(),
        v1.Compose([v1.ToTensor(), v1.Normalize([0.5] * 3, [0.5] * 3)]),
    ],
    ids=["ToImage", "v2 Compose", "ToTensor", "v1 Compose"],
)
@pytest.mark.parametrize("form", ["PIL", "array"])
def test_conversions_give_a_pair_what_they_give_an_image(transform: Any, form: str) -> None:
    mask, image = occluded_field(), IMAGES[form](colored())
    out, same = Wrapper(transform)((image, mask))
    alone = transform(image)
    assert type(out) is type(alone)
    assert torch.equal(out, alone)
    assert np.array_equal(same, mask)


# Containers


def nested(module: Any, seed: int) -> Any:
    flip, rotate, color = module.RandomHorizontalFlip(0.5), module.RandomRotation(30), module.ColorJitter(0.0, 0.0)
    crop, vertical = module.RandomCrop(100, padding=3), module.RandomVerticalFlip(0.5)
    return [
        module.Compose([flip, rotate, color, crop]),
        module.Compose([flip, module.Compose([rotate, module.Compose([crop])])]),
        module.RandomApply([flip, rotate], p=0.5),
        module.RandomChoice([module.RandomHorizontalFlip(1), module.RandomVerticalFlip(1), rotate, color]),
        module.RandomChoice([module.RandomHorizontalFlip(1), rotate], p=[0.2, 0.8]),
        module.RandomOrder([flip, rotate, vertical]),
        module.Compose([module.RandomApply([module.RandomChoice([crop, rotate])], 0.7), module.RandomOrder([flip])]),
        nn.Sequential(flip, rotate, crop),
    ][seed]


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("module", [v1, v2], ids=["v1", "v2"])
def test_containers_of_any_depth(module: Any, number: int) -> None:
    mask, sizes = occluded_field(), set()
    wrapped = Wrapper(nested(module, number))
    for seed in range(12):
        torch.manual_seed(seed)
        random.seed(seed)
        out, moved = wrapped((Image.fromarray(painted(mask)), mask))
        assert_aligned(out, moved)
        sizes.add(moved.tobytes())
    assert len(sizes) > 1, "something happened"


@pytest.mark.parametrize("module", [v1, v2], ids=["v1", "v2"])
def test_random_apply_and_choice_are_as_likely_as_asked(module: Any) -> None:
    mask, image = occluded_field(8, 8), Image.fromarray(colored(8, 8))
    flip, upside = module.RandomHorizontalFlip(1), module.RandomVerticalFlip(1)
    torch.manual_seed(0)
    random.seed(0)
    applied = Wrapper(module.RandomApply([flip], p=0.3))
    hits = sum(np.array_equal(applied((image, mask))[1], mask[:, ::-1]) for _ in range(500))
    assert 110 < hits < 190
    chosen = Wrapper(module.RandomChoice([flip, upside], p=[0.8, 0.2]))
    hits = sum(np.array_equal(chosen((image, mask))[1], mask[:, ::-1]) for _ in range(500))
    assert 360 < hits < 440


@pytest.mark.parametrize("module", [v1, v2], ids=["v1", "v2"])
def test_containers_of_wds_face_transforms_and_functions(module: Any) -> None:
    mask = occluded_field()
    transform = module.Compose(
        [
            RandomSizedRectCrop(90, 80),
            lambda image: image,
            module.RandomApply([Augmenter(1, 0, 0)], p=0.5),
            module.RandomHorizontalFlip(0.5),
        ]
    )
    for seed in range(6):
        torch.manual_seed(seed)
        out, moved = Wrapper(transform)((Image.fromarray(painted(mask)), mask))
        assert_aligned(out, moved)


def test_wds_face_transforms_are_what_they_are_without_a_wrapper() -> None:
    mask, image = occluded_field(), Image.fromarray(colored())
    makes: list[Callable[[], Any]] = [
        lambda: RectScale(60, 50),
        lambda: RandomSizedRectCrop(60, 50, rng=np.random.default_rng(0)),
        lambda: Augmenter(1, 1, 1, rng=np.random.default_rng(0)),
        lambda: RandomErasing(1, rng=np.random.default_rng(0)),
    ]
    for make in makes:
        out, moved = make()((image, mask))
        wrapped, its = Wrapper(Wrapper(make()))((image, mask))
        assert wrapped.tobytes() == out.tobytes()
        assert np.array_equal(its, moved)


class Turned(v1.RandomHorizontalFlip):  # type: ignore[misc]
    """Somebody's own."""


class Twice(v1.RandomCrop):  # type: ignore[misc]
    """Does something else than what it inherits from."""

    def forward(self, image: Any) -> Any:
        return super().forward(super().forward(image))


def test_transforms_derived_from_torchvisions() -> None:
    mask = occluded_field()
    out, moved = Wrapper(Turned(1))((Image.fromarray(painted(mask)), mask))
    assert_aligned(out, moved)
    assert np.array_equal(moved, mask[:, ::-1])
    for seed in range(5):
        torch.manual_seed(seed)
        out, moved = Wrapper(Twice(80, padding=10))((Image.fromarray(painted(mask)), mask))
        assert_aligned(out, moved)


# Functions


def flip_by_python(image: Any) -> Any:
    return _mirror(image) if random.random() < 0.5 else image


def flip_by_numpy(image: Any) -> Any:
    return _mirror(image) if np.random.random() < 0.5 else image  # noqa: NPY002 (what users write)


def flip_by_torch(image: Any) -> Any:
    return _mirror(image) if torch.rand(1) < 0.5 else image


def _mirror(image: Any) -> Any:
    if isinstance(image, Image.Image):
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.flip(-1) if isinstance(image, torch.Tensor) else image[:, ::-1]


@pytest.mark.parametrize("form", IMAGES)
@pytest.mark.parametrize("function", [flip_by_python, flip_by_numpy, flip_by_torch])
def test_functions_that_are_said_to_be_geometric_move_the_mask(function: Any, form: str) -> None:
    mask, seen = occluded_field(), set()
    for _ in range(20):
        image = IMAGES[form](painted(mask))
        out, moved = Wrapper(function, geometric=True)((image, mask))
        assert_aligned(out, moved)
        seen.add(moved.tobytes())
    assert len(seen) == 2


def test_a_geometric_function_at_feature_map_size() -> None:
    cells = (np.arange(49) % 5 > 0).astype(np.float32).reshape(7, 7)
    _, moved = Wrapper(_mirror, geometric=True)((Image.fromarray(colored()), cells))
    assert np.array_equal(moved, cells[:, ::-1])


def test_what_a_geometric_function_fills_with_black_is_visible() -> None:
    mask = occluded_field()
    out, moved = Wrapper(lambda image: image.rotate(30), geometric=True)((Image.fromarray(painted(mask)), mask))
    assert_aligned(out, moved)


def test_a_geometric_function_takes_its_numbers_once() -> None:
    # the second call, for the mask, repeats the first one's: as many are used as without a mask
    random.seed(3)
    Wrapper(flip_by_python, geometric=True)((Image.fromarray(colored()), occluded_field()))
    after = random.random()
    random.seed(3)
    flip_by_python(Image.fromarray(colored()))
    assert random.random() == after


def test_functions_of_which_nothing_is_said_leave_the_mask_alone() -> None:
    mask = occluded_field()
    out, same = Wrapper(lambda image: image.convert("L"))((Image.fromarray(colored()), mask))
    assert out.mode == "L"
    assert np.array_equal(same, mask)


def test_a_change_of_size_that_no_mask_can_follow_is_one_clear_error() -> None:
    mask = occluded_field()
    images: list[tuple[Any, Any]] = [
        (Image.fromarray(colored()), lambda image: image.resize((50, 60))),
        (colored(), lambda image: image[::2]),
        (to_tensor(colored()), lambda image: image[:, :50]),
    ]
    for image, function in images:
        with pytest.raises(ValueError, match=r"112.*mask cannot follow: wrap it with geometric=True"):
            Wrapper(function)((image, mask))
        out, moved = Wrapper(function, geometric=True)((image, mask))
        assert moved.shape == size_of(out)
        out, same = Wrapper(function, geometric=False)((image, mask))
        assert np.array_equal(same, mask)


def test_geometric_false_keeps_the_mask_still_whatever_comes() -> None:
    mask = occluded_field()
    out, same = Wrapper(v1.RandomHorizontalFlip(1), geometric=False)((Image.fromarray(painted(mask)), mask))
    assert np.array_equal(np.array(out), painted(mask)[:, ::-1])
    assert np.array_equal(same, mask)


@pytest.mark.parametrize("transform", [None, 3, "flip", [v1.RandomHorizontalFlip()]])
def test_what_cannot_be_called_is_one_clear_error(transform: Any) -> None:
    with pytest.raises(TypeError, match="OcclusionMaskWrapper takes a callable"):
        Wrapper(transform)


@pytest.mark.parametrize(
    "transform",
    [
        v1.RandomHorizontalFlip(1),
        v2.RandomHorizontalFlip(1),
        v1.ColorJitter(0.1),
        v1.Compose([v1.RandomApply([v1.RandomRotation(5)])]),
        RectScale(20, 20),
        ToTensorWithMask(),
        _mirror,
    ],
    ids=lambda transform: type(transform).__name__,
)
@pytest.mark.parametrize("geometric", [None, True, False])
def test_wrappers_can_be_sent_to_another_process(transform: Any, geometric: bool | None) -> None:
    # where workers are spawned, or forked by a server as from Python 3.14 on, a data set is pickled
    twin = pickle.loads(pickle.dumps(Wrapper(transform, geometric)))
    image, mask = twin((Image.fromarray(colored()), occluded_field()))
    assert (type(image), type(mask)) != (type(None), type(None))


# The mission's block


def test_the_usage_of_the_mission() -> None:
    from torchvision.transforms import Compose, Normalize, RandomHorizontalFlip

    from wds_face import MedicalMaskOcclusion

    transform = Compose(
        [
            MedicalMaskOcclusion(prob=0.5),
            OcclusionMaskWrapper(RandomHorizontalFlip()),
            ToTensorWithMask(),
            OcclusionMaskWrapper(Normalize(mean=[0.5] * 3, std=[0.5] * 3)),
        ]
    )
    torch.manual_seed(0)
    masked = 0
    for seed in range(20):
        image, mask = transform(Image.fromarray(colored(seed=seed)))
        assert (image.shape, image.dtype) == ((3, 112, 112), torch.float32)
        assert -1 <= image.min() < 0 < image.max() <= 1
        assert (mask.shape, mask.dtype) == ((1, 112, 112), torch.float32)
        assert set(mask.unique().tolist()) <= {0, 1}
        masked += int(mask.min() == 0)
    assert 0 < masked < 20
