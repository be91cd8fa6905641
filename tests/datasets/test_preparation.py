"""What both data sets do with an image: channels, augmenter, transform, mask."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import Compose, Normalize, ToTensor

from tests.datasets.support import Make
from wds_face.datasets import RandomIdentitySampler
from wds_face.transforms import Augmenter, MedicalMaskOcclusion, OcclusionMaskWrapper, ToTensorWithMask


def pixels(image: Any) -> Any:
    return np.asarray(image).astype(int)


def with_mask(image: Any) -> tuple[Any, torch.Tensor]:
    return ToTensor()(image), torch.ones(1, 7, 7)


def decoded(data: bytes) -> Any:
    return pixels(Image.open(io.BytesIO(data)))


def test_the_image_as_it_is(make: Make, jpegs: list[bytes]) -> None:
    dataset = make()
    assert len(dataset) == 12
    assert list(dataset.targets) == [i // 3 for i in range(12)]
    for i in (0, 5, -1):
        image, target = dataset[i]
        assert isinstance(image, Image.Image)
        assert image.mode == "RGB"
        assert type(target) is int
        assert target == dataset.targets[i]
        assert (pixels(image) == decoded(jpegs[i % 12])).all()
    with pytest.raises(IndexError):
        dataset[12]


def test_a_transform_sees_the_image(make: Make, jpegs: list[bytes]) -> None:
    for i, (sample, target) in enumerate(make(ToTensor())):
        assert target == i // 3
        assert (sample.numpy() * 255 == decoded(jpegs[i]).transpose(2, 0, 1)).all()


def test_a_pair_from_the_transform_becomes_three(make: Make) -> None:
    sample, target, mask = make(with_mask)[4]
    assert (sample.shape, target, mask.shape) == ((3, 24, 24), 1, (1, 7, 7))


@pytest.mark.parametrize("result", [(1,), (1, 2, 3), [1, 2], None])
def test_anything_else_is_the_sample(make: Make, result: Any) -> None:
    assert make(lambda image: result)[4] == (result, 1)


def test_channels_are_swapped_before_augmenter_and_transform(make: Make, jpegs: list[bytes]) -> None:
    seen = []

    class Spy(Augmenter):
        def augment(self, img: Any) -> Any:
            seen.append(pixels(img))
            return img

    image, _ = make(augmenter=Spy(), swap_color_channel=True)[7]
    assert image.mode == "RGB"
    assert (pixels(image) == decoded(jpegs[7])[..., ::-1]).all()
    assert (seen[0] == pixels(image)).all()


def test_the_augmenter_comes_before_the_transform(make: Make) -> None:
    class White(Augmenter):
        def augment(self, img: Any) -> Any:
            return Image.new("RGB", img.size, "white")

    assert (make(ToTensor(), augmenter=White())[0][0] == 1).all()


@pytest.mark.parametrize("name", ["crop", "photometric", "low_res"])
def test_each_probability_reaches_its_augmentation(make: Make, name: str) -> None:
    dataset, plain = make(**{f"{name}_augmentation_prob": 1.0}), make()
    chances = {other: getattr(dataset.augmenter, f"{other}_prob") for other in ("crop", "photometric", "low_res")}
    assert chances == {other: float(other == name) for other in chances}
    assert any((pixels(dataset[i][0]) != pixels(plain[i][0])).any() for i in range(3))


def test_augmentation_follows_its_generator(make: Make) -> None:
    one, same, other = (
        pixels(make(augmenter=Augmenter(1, 1, 1, rng=np.random.default_rng(seed)))[0][0]) for seed in (1, 1, 2)
    )
    assert (one == same).all()
    assert (one != other).any()


def test_probabilities_out_of_range(make: Make) -> None:
    for name in ("crop", "photometric", "low_res"):
        for value in (-0.1, 1.1, float("nan")):
            with pytest.raises(ValueError, match=f"{name}_prob"):
                make(**{f"{name}_augmentation_prob": value})
        with pytest.raises(ValueError, match="either an augmenter or augmentation probabilities"):
            make(augmenter=Augmenter(), **{f"{name}_augmentation_prob": 0.5})


def test_workers(make: Make) -> None:
    dataset = make(ToTensor(), photometric_augmentation_prob=0.5, swap_color_channel=True)
    dataset[0]  # what was opened here must not trouble them
    sampler = RandomIdentitySampler(dataset, 2)
    loader = DataLoader(dataset, 4, sampler=sampler, num_workers=2)
    batches = list(loader)
    assert [images.shape for images, _ in batches] == [(4, 3, 24, 24)] * 2
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_workers_augment_differently(make: Make) -> None:
    """Workers are copies of this process, each epoch anew; what they draw must not be."""
    for rng in (None, np.random.default_rng(0)):
        dataset = make(ToTensor(), augmenter=Augmenter(0, 1, 0, rng=rng))
        loader = DataLoader(dataset, 1, sampler=[0] * 4, num_workers=2)
        drawn = {images.numpy().tobytes() for _ in range(2) for images, _ in loader}
        assert len(drawn) == 8


def test_pickle(make: Make) -> None:
    dataset = make()
    before = pixels(dataset[3][0])
    assert (pixels(pickle.loads(pickle.dumps(dataset))[3][0]) == before).all()


def test_the_standard_training_of_the_mission(make: Make) -> None:
    dataset = make(
        Compose(
            [
                MedicalMaskOcclusion(prob=0.5),
                ToTensorWithMask(),
                OcclusionMaskWrapper(Normalize(mean=[0.5] * 3, std=[0.5] * 3)),
            ]
        ),
        low_res_augmentation_prob=0.2,
        crop_augmentation_prob=0.1,
        photometric_augmentation_prob=0.3,
    )
    loader = DataLoader(dataset, batch_size=8, sampler=RandomIdentitySampler(dataset, num_instances=4), num_workers=2)
    for images, labels, masks in loader:
        assert (images.shape, masks.shape) == ((8, 3, 24, 24), (8, 1, 24, 24))
        assert images.min() >= -1
        assert set(masks.unique().tolist()) <= {0.0, 1.0}
        assert (labels.reshape(2, 4) == labels[::4, None]).all()
