"""From images and masks to tensors, and to what a model takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms as v1
from torchvision import tv_tensors
from torchvision.transforms.functional import to_tensor

from tests.transforms.pictures import COLORED, CONVERTED, FORMS, GREY, colored, noisy
from wds_face.transforms import SyntheticOcclusionMask, ToTensorWithMask, normalize
from wds_face.transforms.tensors import scaled, shares

VISIBLE = np.ones((10, 14), np.uint8)
VISIBLE[2:5, 3:9] = 0


@pytest.mark.parametrize("form", COLORED)
def test_colors_become_what_to_tensor_makes(form: str) -> None:
    pixels = noisy(10, 14)
    out = ToTensorWithMask()(COLORED[form](pixels))
    assert type(out) is torch.Tensor
    assert torch.equal(out, to_tensor(pixels))


@pytest.mark.parametrize("form", GREY)
def test_grey_becomes_one_channel(form: str) -> None:
    pixels = noisy(10, 14)
    out = ToTensorWithMask()(GREY[form](pixels))
    assert torch.equal(out, to_tensor(Image.fromarray(pixels).convert("L")))


@pytest.mark.parametrize("form", CONVERTED)
def test_other_modes_become_one_or_three_channels(form: str) -> None:
    out = ToTensorWithMask()(CONVERTED[form](noisy(10, 14)))
    assert out.shape == ((1 if form == "PIL 1" else 3), 10, 14)
    assert (out.dtype, bool(out.min() >= 0), bool(out.max() <= 1)) == (torch.float32, True, True)


@pytest.mark.parametrize(
    "mask",
    [
        Image.fromarray(VISIBLE * 255),
        Image.fromarray(VISIBLE * 255).convert("1"),
        VISIBLE * 255,
        VISIBLE,
        VISIBLE.astype(bool),
        VISIBLE.astype(np.int64),
        VISIBLE.astype(np.int64) * 255,
        VISIBLE.astype(np.float32),
        VISIBLE.astype(np.float64),
        VISIBLE[None] * 255,
        VISIBLE[..., None] * 255,
        torch.from_numpy(VISIBLE),
        torch.from_numpy(VISIBLE * 255)[None],
        torch.from_numpy(VISIBLE).float(),
        torch.from_numpy(VISIBLE).half(),
        torch.from_numpy(VISIBLE).bool(),
        tv_tensors.Mask(torch.from_numpy(VISIBLE * 255)),
    ],
    ids=lambda mask: f"{type(mask).__name__} {getattr(mask, 'dtype', getattr(mask, 'mode', ''))} {np.shape(mask)}",
)
def test_masks_of_every_range_become_0_and_1(mask: Any) -> None:
    image, out = ToTensorWithMask()((noisy(10, 14), mask))
    assert image.shape == (3, 10, 14)
    assert type(out) is torch.Tensor
    assert (out.dtype, out.shape) == (torch.float32, (1, 10, 14))
    assert np.array_equal(out[0].numpy(), VISIBLE)


def test_a_mask_in_shares_is_not_divided_again() -> None:
    shares = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    assert torch.equal(ToTensorWithMask()((colored(), shares))[1], torch.from_numpy(shares)[None])
    _, mask = ToTensorWithMask()(SyntheticOcclusionMask(1, rng=np.random.default_rng(1))(colored()))
    assert mask.shape == (1, 7, 7)
    assert set(mask.unique().tolist()) == {0, 1}


def test_masks_all_of_one_value() -> None:
    for value, wanted in ((0, 0), (1, 1), (255, 1)):
        _, mask = ToTensorWithMask()((colored(4, 4), np.full((4, 4), value, np.uint8)))
        assert set(mask.unique().tolist()) == {wanted}
    for value in (0, 255):
        _, mask = ToTensorWithMask()((colored(4, 4), Image.new("L", (4, 4), value)))
        assert set(mask.unique().tolist()) == {value / 255}


def test_a_list_of_two_is_a_pair_as_loaders_make_them() -> None:
    image, mask = ToTensorWithMask()([noisy(10, 14), VISIBLE])
    assert (image.shape, mask.shape) == ((3, 10, 14), (1, 10, 14))


def test_tensors_of_shares_are_handed_on() -> None:
    image = torch.rand(3, 4, 5)
    assert torch.equal(ToTensorWithMask()(image), image)


def test_what_comes_out_can_be_changed_without_harm() -> None:
    for form, make in FORMS.items():
        image, mask = make(colored(6, 7)), np.full((6, 7), 255, np.uint8)
        tensor, visible = ToTensorWithMask()((image, mask))
        again = tensor.clone()
        visible.zero_()
        tensor.zero_()
        assert mask.min() == 255
        assert torch.equal(ToTensorWithMask()(image), again), form


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3)), np.zeros((4, 4, 3), np.float32), "face", None])
def test_what_is_no_image_is_one_clear_error(image: Any) -> None:
    with pytest.raises(TypeError, match=r"^an image is a PIL image"):
        ToTensorWithMask()(image)


# normalize


@pytest.mark.parametrize("shape", [(3, 112, 112), (5, 3, 8, 8), (1, 1), (7,), (0, 3, 4, 4), (9, 2, 3, 4, 5)])
def test_normalize_is_to_tensor_and_normalize(shape: tuple[int, ...]) -> None:
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    before = images.clone()
    out = normalize(images)
    assert (out.dtype, out.shape) == (torch.float32, images.shape)
    assert torch.equal(images, before)
    assert torch.equal(out, (images.float() / 255 - 0.5) / 0.5)


def test_normalize_of_every_value_is_torchvisions_to_the_bit() -> None:
    values = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16).repeat(3, 1, 1)
    wanted = v1.Normalize([0.5] * 3, [0.5] * 3)(to_tensor(values.permute(1, 2, 0).numpy()))
    assert torch.equal(normalize(values), wanted)
    assert (wanted.min(), wanted.max()) == (-1, 1)


def test_normalize_keeps_the_order_in_memory() -> None:
    images = torch.randint(0, 256, (6, 10, 12, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    out = normalize(images)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(out, normalize(images.contiguous()))
    odd = torch.randint(0, 256, (8, 9, 10), dtype=torch.uint8)[::2, 1::3]
    assert torch.equal(normalize(odd), normalize(odd.contiguous()))


def test_normalize_takes_a_single_number() -> None:
    assert normalize(torch.tensor(255, dtype=torch.uint8)) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_normalize_refuses_what_is_not_uint8(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match="images must be uint8"):
        normalize(torch.zeros(3, 4, 4, dtype=dtype))


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:1].expand(4, -1, -1, -1),
        lambda x: x[:, :1].expand(-1, 3, -1, -1),
        lambda x: x.to(memory_format=torch.channels_last)[::2],
        lambda x: x[..., ::3],
        lambda x: x.transpose(0, 3),
        lambda x: x[0, 0, 0, 0],
    ],
)
def test_normalize_takes_any_view(view: Callable[[torch.Tensor], torch.Tensor]) -> None:
    images = torch.randint(0, 256, (4, 3, 6, 5), dtype=torch.uint8)
    assert normalize(view(images)).equal(normalize(view(images).contiguous()))


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(0, 1000))
def test_floats_are_made_where_the_pixels_are(count: int, seed: int) -> None:
    """In the last quarter of the memory that they go to, in which they are written over."""
    rng = np.random.default_rng(seed)
    pixels, visible = rng.integers(256, size=count, dtype=np.uint8), 255 * rng.integers(2, size=count, dtype=np.uint8)
    for convert, given_, wanted in (
        (scaled, pixels, normalize(torch.from_numpy(pixels)).numpy()),
        (shares, visible, (visible // 255).astype(np.float32)),
    ):
        out = np.empty(count, np.float32)
        narrow = out.view(np.uint8)[-count:]
        narrow[...] = given_
        assert convert(narrow, out) is out
        assert out.tobytes() == wanted.tobytes()
