"""Embeddings of a validation set, by networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from wds_face.validation.embedding import embed
from wds_face.validation.scores import evaluate_benchmarks


class Rows(Dataset[Any]):
    """Rows as FiveValidationDataset has them: the two of a genuine pair are the same picture with noise."""

    def __init__(self, n: int = 12) -> None:
        generator = torch.Generator().manual_seed(0)
        self.issame = np.arange(n) % 2 == 0
        self.images = torch.randn((2 * n, 3, 112, 112), generator=generator)
        self.images[1::2][self.issame] = self.images[::2][self.issame] + 0.01

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, bool, int, int]:
        return self.images[index], bool(self.issame[index // 2]), 2, index


class Net(nn.Module):
    """Small, with parts that eval changes; one of them stays in eval mode in training."""

    def __init__(self, returns: Callable[[torch.Tensor], Any] = lambda found: found) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 16, 16), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5))
        self.head = nn.Linear(196, 8)
        self.frozen = nn.BatchNorm1d(8)
        self.returns = returns
        self.train().frozen.eval()

    def forward(self, images: torch.Tensor) -> Any:
        assert torch.is_inference_mode_enabled()
        return self.returns(self.frozen(self.head(self.body(images))))

    def modes(self) -> list[bool]:
        return [part.training for part in self.modules()]


def test_embed() -> None:
    rows, model = Rows(), Net()
    before, weights = model.modes(), {name: value.clone() for name, value in model.state_dict().items()}
    found = embed(model, DataLoader(rows, 5, shuffle=True), flip=False)
    assert model.modes() == before
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert [column.dtype for column in found] == [np.float32, np.bool_, np.int64, np.int64]
    assert found.embeddings.shape == (24, 8)
    np.testing.assert_array_equal(found.issame, rows.issame[found.index // 2])
    assert sorted(found.index.tolist()) == list(range(24))
    with torch.inference_mode():
        expected = model.eval()(rows.images).numpy()
    np.testing.assert_allclose(found.embeddings, expected[found.index], atol=1e-5)
    assert evaluate_benchmarks(*found, folds=3)["lfw"].pairs == 12


def test_embed_adds_the_mirrored_image() -> None:
    rows, model = Rows(), Net().eval()
    with torch.inference_mode():
        expected = model(rows.images) + model(rows.images.flip(-1))
    found = embed(model, DataLoader(rows, 7))
    np.testing.assert_allclose(found.embeddings, expected.numpy(), atol=1e-5)
    assert not any(model.modes())


def test_embed_takes_what_models_return() -> None:
    rows = Rows(4)
    model = Net(lambda found: (found, found.norm(dim=1, keepdim=True)))
    expected = embed(model, DataLoader(rows, 4)).embeddings
    model.returns = lambda found: found.bfloat16()
    half = embed(model, DataLoader(rows, 4)).embeddings
    np.testing.assert_allclose(half, expected, atol=0.05)
    held = torch.empty((4, 2))

    def function(images: torch.Tensor) -> torch.Tensor:
        """Not a module, and it writes into the same memory each time, as CUDA graphs do."""
        return held.copy_(images[:, 0, :2, 0])

    embedded = embed(function, DataLoader(rows, 4), device="cpu").embeddings
    images = rows.images.numpy()
    np.testing.assert_array_equal(embedded, images[:, 0, :2, 0] + images[:, 0, :2, 111])


class Elsewhere(nn.Module):
    """On a device that every machine has."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, device="meta"))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.device == self.weight.device
        return torch.zeros((len(images), 8))


def test_embed_puts_images_where_the_model_is() -> None:
    assert embed(Elsewhere(), DataLoader(Rows(4), 4), flip=False).embeddings.shape == (8, 8)


@pytest.mark.parametrize(
    ("returns", "error", "message"),
    [
        (lambda found: {"embedding": found}, TypeError, "not dict"),
        (lambda found: (), TypeError, "not tuple"),
        (lambda found: found.numpy(), TypeError, "not ndarray"),
        (lambda found: found[:-1], ValueError, r"must return \(8, d\) for 8 images, not \(7, 8\)"),
        (lambda found: found[:, 0], ValueError, r"not \(8,\)"),
        (lambda found: 1 / 0, ZeroDivisionError, "division"),
    ],
)
def test_embed_refuses(returns: Callable[[torch.Tensor], Any], error: type[Exception], message: str) -> None:
    model = Net(returns)
    before = model.modes()
    with pytest.raises(error, match=message):
        embed(model, DataLoader(Rows(4), 8))
    assert model.modes() == before


def test_embed_keeps_nothing_of_the_loader() -> None:
    """Its tensors may be shared memory, of which a process can have only so many open."""

    def loader() -> Iterator[list[torch.Tensor]]:
        index = torch.zeros(2, dtype=torch.int64)
        for first in (0, 2):
            index.copy_(torch.tensor([first, first + 1]))
            yield [torch.zeros((2, 3, 112, 112)), torch.ones(2), torch.zeros(2), index]

    assert embed(Net(), loader()).index.tolist() == [0, 1, 2, 3]


def test_embed_refuses_other_loaders() -> None:
    with pytest.raises(ValueError, match="the loader yields no batches"):
        embed(Net(), [])
    with pytest.raises(ValueError, match=r"a batch must be .*, not 2 parts"):
        embed(Net(), [(torch.zeros((1, 3, 112, 112)), torch.zeros(1))])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_other_types(dtype: torch.dtype) -> None:
    """Images are cast to the network's type, and embeddings come as float32."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 16, 16), torch.nn.Flatten())
    images = torch.rand(6, 3, 112, 112) * 2 - 1
    batch = [images, torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.int64), torch.arange(6)]
    wanted = embed(network, [batch]).embeddings
    found = embed(network.to(dtype), [batch]).embeddings
    assert found.dtype == np.float32
    assert np.allclose(found, wanted, atol=0.05)
