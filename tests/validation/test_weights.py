"""Weights out of the checkpoints that trainers write."""

from __future__ import annotations

import argparse
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from wds_face import PathError, SourceError
from wds_face.validation.weights import load_weights


def network() -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), last=nn.Linear(4, 2)))


@pytest.fixture
def trained() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {name: torch.rand(value.shape).to(value.dtype) for name, value in network().state_dict().items()}


def _with(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


HEAD = {"head.kernel": torch.ones(2, 2)}


@pytest.mark.parametrize(
    ("wrap", "unused"),
    [
        (lambda state: state, []),
        (lambda state: _with("module.", state), []),
        (lambda state: {"state_dict": _with("model.", state) | HEAD, "epoch": 3, "callbacks": {}}, []),
        (lambda state: {"state_dict": state | HEAD}, ["state_dict.head.kernel"]),
        (lambda state: {"state_dict_backbone": state, "state_dict_softmax_fc": HEAD, "global_step": 7}, []),
        (lambda state: {"net": {"backbone": _with("module.", state), "head": HEAD}}, []),
        (lambda state: {name: value for name, value in state.items() if "num_batches" not in name}, []),
    ],
    ids=["arcface_torch", "ddp", "lightning", "with head", "arcface_torch checkpoint", "nested", "old"],
)
def test_checkpoints(wrap: Any, unused: list[str], trained: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(wrap(trained), tmp_path / "w.pt")
    made = network()
    assert load_weights(made, tmp_path / "w.pt") == unused
    for name, value in made.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(value, trained[name])


def test_arguments_next_to_the_weights_are_passed_over(trained: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """As Lightning keeps them: objects of other classes, which would have to be run to be had."""
    arguments = argparse.Namespace(lr=0.1, path=Path("x"))
    torch.save({"state_dict": _with("model.", trained), "hyper_parameters": arguments}, tmp_path / "w.ckpt")
    made = network()
    load_weights(made, tmp_path / "w.ckpt")
    assert torch.equal(made.conv.weight, trained["conv.weight"])


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


class Quieter(Bomb):
    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("kind", [Bomb, Quieter])
def test_nothing_in_a_file_is_run(kind: type[Bomb], trained: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"state_dict": trained, "more": kind(tmp_path / "boom")}, tmp_path / "w.pt")
    try:
        load_weights(network(), tmp_path / "w.pt")
    except SourceError as error:
        assert "save the state_dict() of the network alone" in str(error)  # noqa: PT017
    assert not (tmp_path / "boom").exists()


def test_several_of_them(trained: dict[str, torch.Tensor], tmp_path: Path) -> None:
    mean = {name: value * 0 for name, value in trained.items()}
    torch.save({"state_dict": trained, "ema": mean}, tmp_path / "w.pt")
    with pytest.raises(SourceError, match=r"2 times, after 'state_dict\.', 'ema\.': choose with --weights-prefix"):
        load_weights(network(), tmp_path / "w.pt")
    made = network()
    load_weights(made, tmp_path / "w.pt", "ema.")
    assert not made.conv.weight.any()


def test_what_is_missing_is_named(trained: dict[str, torch.Tensor], tmp_path: Path) -> None:
    trained["fc.weight"] = trained.pop("last.weight")
    torch.save({"state_dict": _with("model.", trained)}, tmp_path / "w.pt")
    with pytest.raises(SourceError) as error:
        load_weights(network(), tmp_path / "w.pt")
    said = str(error.value)
    assert "what the network needs after 'state_dict.model.': last.weight (1 of 8 missing)" in said
    assert "state_dict.model.fc.weight (1 name not of the network)" in said
    assert "--weights-prefix" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, "holds no tensors"),
        ([1, 2], "holds no tensors"),
        (torch.ones(3), "holds no tensors"),
        ({"conv.weight": torch.ones(3)}, "7 of 8 missing"),
    ],
)
def test_other_files(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(SourceError, match=message):
        load_weights(network(), tmp_path / "w.pt")


def test_no_checkpoint_at_all(tmp_path: Path, trained: dict[str, torch.Tensor]) -> None:
    (tmp_path / "w.pt").write_bytes(b"hello")
    with pytest.raises(SourceError, match="is no state dict"):
        load_weights(network(), tmp_path / "w.pt")
    torch.save(trained, tmp_path / "cut.pt")
    os.truncate(tmp_path / "cut.pt", 300)
    with pytest.raises(SourceError, match="is no state dict"):
        load_weights(network(), tmp_path / "cut.pt")
    torch.save(network(), tmp_path / "whole.pt")
    with pytest.raises(SourceError, match=r"state_dict\(\)"):
        load_weights(network(), tmp_path / "whole.pt")
    with pytest.raises(PathError, match="is a URL"):
        load_weights(network(), "s3://bucket/w.pt")


def test_other_shapes(trained: dict[str, torch.Tensor], tmp_path: Path) -> None:
    trained["conv.weight"] = torch.ones(4, 3, 5, 5)
    torch.save(trained, tmp_path / "w.pt")
    with pytest.raises(SourceError, match=r"size mismatch for conv\.weight"):
        load_weights(network(), tmp_path / "w.pt")


def test_half(trained: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(trained, tmp_path / "w.pt")
    made = network().to(torch.bfloat16)
    load_weights(made, tmp_path / "w.pt")
    assert made.conv.weight.dtype == torch.bfloat16
    assert torch.equal(made.conv.weight, trained["conv.weight"].to(torch.bfloat16))
