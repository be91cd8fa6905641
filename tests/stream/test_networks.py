"""Networks as they are published, on batches as they come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support import MakeFolder
from wds_face import ImageFolder, MedicalMaskOcclusion, Options, PKStream, convert


class Flatten(nn.Module):
    """The one of https://github.com/mk-minchul/AdaFace/blob/c60eaa786a42c03444f3df7096dbaf9d57ae010d/net.py."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- as it is published
        return input.view(input.size(0), -1)


class Unit(nn.Module):
    """A residual unit of an improved ResNet, at half the size."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(nn.Conv2d(channels, depth, 1, 2, bias=False), nn.BatchNorm2d(depth))
        self.residual = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, depth, 3, 1, 1, bias=False),
            nn.BatchNorm2d(depth),
            nn.PReLU(depth),
            nn.Conv2d(depth, depth, 3, 2, 1, bias=False),
            nn.BatchNorm2d(depth),
        )

    def forward(self, images: Tensor) -> Tensor:
        total: Tensor = self.residual(images) + self.shortcut(images)
        return total


class Backbone(nn.Module):
    """Input layer, body and output layer as AdaFace has them, with few channels."""

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.PReLU(4))
        self.body = nn.Sequential(*(Unit(4, 4) for _ in range(4)))
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(4), nn.Dropout(0.4), Flatten(), nn.Linear(4 * 7 * 7, 32), nn.BatchNorm1d(32, affine=False)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.output_layer(self.body(self.input_layer(images)))
        norm = torch.norm(features, 2, 1, True)
        return torch.div(features, norm), norm


@pytest.fixture
def shards(make_folder: MakeFolder, tmp_path: Path) -> Path:
    folder = make_folder({f"{i:02d}": 2 + i % 4 for i in range(13)})
    convert(ImageFolder(folder), tmp_path / "out", Options(shard_size=20_000), workers=1)
    return tmp_path / "out"


def loaders(shards: Path, output: str, workers: int) -> list[Any]:
    occlusion = MedicalMaskOcclusion(prob=0.5)
    stream = PKStream(shards, p=4, k=2, occlusion=occlusion, flip=0.5, output=output)  # type: ignore[arg-type]
    found: list[Any] = [stream.loader(workers)]
    if pytest.importorskip("lightning"):
        from wds_face import DataModule

        data = DataModule(shards, batch_size=8, num_instances=2, num_workers=workers, output=output)
        found.append(data.train_dataloader())
        found.append(DataModule.adaface(shards, batch_size=8, num_workers=workers, output=output).train_dataloader())
    return found


@pytest.mark.parametrize(("output", "workers"), [("float", 0), ("float", 1), ("uint8", 1)])
def test_a_network_that_views_its_input(shards: Path, output: str, workers: int) -> None:
    """Each step, forward and backward, and a view of everything that is in a batch."""
    model = Backbone().train()
    for loader in loaders(shards, output, workers):
        images, _, *masks = next(iter(loader))
        flat = Flatten()(images)
        assert flat.shape == (8, 3 * 112 * 112)
        assert [Flatten()(mask).shape for mask in masks] == [(8, 112 * 112)] * len(masks)
        features, norm = model(images if output == "float" else images.float() / 127.5 - 1)
        features.sum().backward()
        assert (features.shape, norm.shape) == ((8, 32), (8, 1))
