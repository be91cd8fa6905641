"""The mission's blocks of code, with nothing changed but the line that imports, and their like for v2."""

from __future__ import annotations

from pathlib import Path
from random import random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import Compose, Normalize, v2

from tests.transforms.pictures import colored
from wds_face import (
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


def assert_ready(result: Any, mask_size: int = 112) -> None:
    assert isinstance(result, tuple), "Expected (image, mask)"
    image, mask = result
    assert (image.shape, image.dtype) == ((3, 112, 112), torch.float32)
    assert -1 <= image.min() < 0 < image.max() <= 1
    assert (mask.shape, mask.dtype) == ((1, mask_size, mask_size), torch.float32)
    assert set(mask.unique().tolist()) <= {0, 1}


def test_standard_training() -> None:
    train_transform = Compose([
        lambda img: img.transpose(Image.FLIP_LEFT_RIGHT)
                    if random() > 0.5 else img,
        MedicalMaskOcclusion(prob=0.5),
        ToTensorWithMask(),
        lambda x: (Normalize(mean=[0.5]*3, std=[0.5]*3)(x[0]), x[1])
    ])  # fmt: skip
    torch.manual_seed(0)
    results = [train_transform(Image.fromarray(colored(seed=seed))) for seed in range(20)]
    for result in results:
        assert_ready(result)
    assert 0 < sum(bool(mask.min() == 0) for _, mask in results) < 20


def test_custom_occlusion_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.zeros((60, 90, 4), np.uint8)
    picture[5:55, 5:85] = 80, 160, 90, 255
    Image.fromarray(picture).save(tmp_path / "custom_mask.png")
    monkeypatch.chdir(tmp_path)
    mask_occlusion = MedicalMaskOcclusion(
        mask_path='custom_mask.png',
        prob=0.5,
        ref_points=[(48, 72), (34, 92), (63, 92)]  # Custom landmarks
    )  # fmt: skip
    torch.manual_seed(1)
    masks = [mask_occlusion(Image.fromarray(colored()))[1] for _ in range(20)]
    assert all(isinstance(mask, Image.Image) and mask.mode == "L" for mask in masks)
    assert 0 < sum(mask.getextrema()[0] == 0 for mask in masks) < 20


def test_issue_3_results_are_pairs_of_an_image_and_a_mask() -> None:
    transform = MedicalMaskOcclusion(prob=0.0)
    result = transform(Image.fromarray(colored()))
    assert isinstance(result, tuple), "Expected (image, mask)"
    _, binary_mask = result
    assert (binary_mask.mode, binary_mask.size) == ("L", (112, 112))
    assert binary_mask.getextrema() == (255, 255)


def test_augmenter_of_the_mission() -> None:
    augmenter = Augmenter(crop_prob=0.1, photometric_prob=0.3, low_res_prob=0.2)
    assert augmenter.augment(Image.fromarray(colored())).size == (112, 112)


@pytest.mark.parametrize("compose", [Compose, v2.Compose], ids=["v1", "v2"])
@pytest.mark.parametrize("form", ["PIL", "tv_tensor", "array"])
@pytest.mark.parametrize("mask_size", [112, 7])
def test_all_of_it_in_one_compose(compose: Any, form: str, mask_size: int) -> None:
    pixels = colored(130, 120)
    image: Any = {
        "PIL": Image.fromarray(pixels),
        "tv_tensor": tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1).contiguous()),
        "array": pixels,
    }[form]
    module: Any = v2 if compose is v2.Compose else __import__("torchvision.transforms").transforms
    transform = compose(
        [
            RectScale(height=112, width=112),
            Augmenter(1, 1, 1),
            SyntheticOcclusionMask(1, feature_map_size=None if mask_size == 112 else mask_size),
            OcclusionMaskWrapper(module.RandomHorizontalFlip()),
            RandomErasing(1),
            RandomOcclusion(0.1, 0.3),
            ToTensorWithMask(),
            OcclusionMaskWrapper(module.Normalize(mean=[0.5] * 3, std=[0.5] * 3)),
        ]
    )
    for seed in range(5):
        torch.manual_seed(seed)
        result = transform(image)
        if mask_size == 112:
            assert_ready(result)
        else:
            assert result[1].shape == (1, 7, 7)
            assert 0 <= result[1].min() <= result[1].max() <= 1


def test_v2_takes_pairs_of_tv_tensors_without_a_wrapper() -> None:
    image = tv_tensors.Image(torch.from_numpy(colored()).permute(2, 0, 1).contiguous())
    occlude = RandomSizedRectCrop(112, 112), SyntheticOcclusionMask(1, feature_map_size=None)
    transform = v2.Compose([*occlude, v2.RandomHorizontalFlip(1), v2.ToDtype(torch.float32, scale=True)])
    out, mask = transform(image)
    assert type(out) is tv_tensors.Image
    assert type(mask) is tv_tensors.Mask
    assert (out.shape, mask.shape) == ((3, 112, 112), (1, 112, 112))


def test_pil_masks_of_v2_pipelines() -> None:
    transform = v2.Compose(
        [MedicalMaskOcclusion(prob=1.0), OcclusionMaskWrapper(v2.RandomRotation(10, fill=128)), ToTensorWithMask()]
    )
    torch.manual_seed(0)
    _, mask = transform(Image.fromarray(colored()))
    assert set(mask.unique().tolist()) == {0, 1}
