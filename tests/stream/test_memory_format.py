"""Batches are contiguous unless channels last is asked for, so that the Flatten of face networks works on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from wds_face import (
    Augmenter,
    ImageFolder,
    MedicalMaskOcclusion,
    Options,
    PKStream,
    ToTensorWithMask,
    convert,
)
from wds_face.transforms.tensors import planar, scaled


class Flatten(torch.nn.Module):
    """As the networks of AdaFace and OAML have it."""

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.view(tensor.size(0), -1)


@pytest.fixture
def shards(faces: Path, tmp_path: Path) -> Path:
    convert(ImageFolder(faces), tmp_path / "out", Options(shard_size=60_000), workers=1)
    return tmp_path / "out"


def with_mask(image: Any) -> Any:
    return ToTensorWithMask()((image, np.full((24, 24), 255, np.uint8)))


def strided(image: Any) -> torch.Tensor:
    """A view whose channels lie last, as it comes from an array without a copy."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all": {"augmenter": Augmenter(0.5, 0.5, 0.5), "occlusion": MedicalMaskOcclusion(prob=0.5), "flip": 0.5},
    "small masks": {"occlusion": MedicalMaskOcclusion(prob=0.5, mask_size=7)},
    "transform": {"transform": with_mask},
    "strided transform": {"transform": strided},
    "torchvision": {"transform": v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])},
}


def batches(shards: Path, workers: int, **options: Any) -> list[list[torch.Tensor]]:
    """All of an epoch, kept: the first in slots, those that find none in memory of torch's."""
    return list(PKStream(shards, p=4, k=2, image_size=24, **options).loader(workers))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("output", ["float", "uint8"])
@pytest.mark.parametrize("workers", [0, 1])
def test_view_works_on_every_output(shards: Path, workers: int, output: str, way: str) -> None:
    found = batches(shards, workers, output=output, **WAYS[way])
    assert len(found) > 6, "more than there are slots"
    for batch in found:
        for tensor in batch:
            assert tensor.is_contiguous()
            assert Flatten()(tensor).shape == (8, tensor.numel() // 8)
        assert batch[0].shape == (8, 3, 24, 24)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("output", ["float", "uint8"])
@pytest.mark.parametrize("workers", [0, 1])
def test_channels_last_is_the_same_batches_in_another_order_of_memory(
    shards: Path, workers: int, output: str, way: str
) -> None:
    options = {"output": output, **WAYS[way]}
    for channels in ("rgb", "bgr"):
        plain = batches(shards, workers, channels=channels, **options)
        last = batches(shards, workers, channels=channels, memory_format="channels_last", **options)
        for batch, same in zip(plain, last, strict=True):
            assert same[0].is_contiguous(memory_format=torch.channels_last)
            assert not same[0].is_contiguous()
            assert all(tensor.is_contiguous() for tensor in same[1:])
            assert all(one.equal(other) for one, other in zip(batch, same, strict=True))


@pytest.mark.parametrize("memory_format", ["contiguous", torch.contiguous_format, "channels_last", torch.channels_last])
def test_memory_formats_by_name_and_as_torch_has_them(shards: Path, memory_format: Any) -> None:
    images, _ = batches(shards, 0, memory_format=memory_format)[0]
    assert images.is_contiguous() == ("contiguous" in str(memory_format))


@pytest.mark.parametrize("memory_format", ["nchw", torch.preserve_format, None, ["contiguous"]])
def test_other_memory_formats_are_refused(shards: Path, memory_format: Any) -> None:
    with pytest.raises(ValueError, match=r'^memory_format is "contiguous" or "channels_last", not '):
        PKStream(shards, p=4, k=2, memory_format=memory_format)


def test_a_state_goes_on_in_the_other_format(shards: Path) -> None:
    options: dict[str, Any] = {"p": 4, "k": 2, "image_size": 24}
    whole = [labels.tolist() for _, labels in PKStream(shards, **options)]
    first = PKStream(shards, **options).loader()
    next(iter(first))
    again = PKStream(shards, **options, memory_format="channels_last").loader()
    again.load_state_dict(first.state_dict())
    assert [labels.tolist() for _, labels in again] == whole[1:]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 1000))
def test_planes_are_made_where_the_pixels_are(count: int, height: int, width: int, bgr: bool, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(256, size=(count, height, width, 3), dtype=np.uint8)
    planes = np.ascontiguousarray((pixels[..., ::-1] if bgr else pixels).transpose(0, 3, 1, 2))
    for wanted in (planes, scaled(planes)):
        out = np.empty_like(wanted)
        work = out.reshape(-1).view(np.uint8)[-pixels.size :].reshape(pixels.shape)
        work[...] = pixels
        planar(work, out, bgr=bgr)
        assert out.tobytes() == wanted.tobytes()
        elsewhere = np.empty_like(wanted)
        planar(pixels, elsewhere, bgr=bgr)
        assert elsewhere.tobytes() == wanted.tobytes()
