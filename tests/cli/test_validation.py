"""``wds-face convert validation`` and ``wds-face evaluate``, as they are typed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.support import MakeFolder
from tests.validation.sets import decoded, normalized, write_adaface, write_bin
from wds_face import ImageFolder, convert, evaluate_verification
from wds_face.cli import main

NET = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 16, 16)
    def forward(self, images):
        assert not self.training
        return self.layer(images).flatten(1), torch.ones(1)

class Wide(nn.Module):
    def forward(self, images):
        return images

def demanding(size):
    return nn.Flatten()

ready = nn.Flatten()
failing = nn.Linear(3, 3)
number = 3
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    """``run("convert", ...)``: exit code, output, errors; in a folder with net.py."""
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(__import__("sys").modules, "net", raising=False)
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return command


def test_convert_and_evaluate(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for seed, name in enumerate(["lfw", "own"]):
        write_bin(tmp_path / "src" / f"{name}.bin", pairs=20, seed=seed)
    code, out, _ = run("convert", "validation", "src", "val", "--channels", "bgr")
    assert (code, out) == (
        0,
        "lfw: 20 pairs, uint8 bgr, 1.5 MB, from a .bin\nown: 20 pairs, uint8 bgr, 1.5 MB, from a .bin\n",
    )
    assert run("convert", "validation", "src", "val", "--channels", "bgr", "--names", "own")[1].endswith(
        "was there already\n"
    )
    assert run("convert", "validation", "src", "val", "-q", "--channels", "bgr")[:2] == (0, "")

    code, out, err = run(
        "evaluate", "val", "--model", "net:Small", "--save", "e.npy", "--roc", "roc.png", "--workers", "0"
    )
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["lfw", "own", "mean"]
    assert np.load("e.npy").shape == (80, 4 * 49)
    with Image.open("roc.png") as picture:
        assert picture.format == "PNG"
    _, again, _ = run("evaluate", "val", "--embeddings", "e.npy")
    assert again == out
    _, only, _ = run(
        "evaluate", "val", "--model", "net:ready", "--names", "own", "--no-flip", "--json", "--workers", "0"
    )
    bins, issame = write_bin(tmp_path / "again" / "own.bin", pairs=20, seed=1)
    wanted = evaluate_verification(normalized(decoded(bins, "bgr")).reshape(40, -1), np.array(issame))
    assert json.loads(only)["own"]["accuracy"] == pytest.approx(wanted.accuracy)
    assert json.loads(only)["own"]["tar"]["0.001"] == pytest.approx(wanted.tar[1e-3])


@pytest.mark.parametrize("prefix", ["", "module.", "model.backbone."])
@pytest.mark.parametrize("inner", [None, "state_dict"])
def test_weights(prefix: str, inner: str | None, run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write_bin(tmp_path / "src" / "lfw.bin", pairs=20)
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 16, 16)
    state = {f"{prefix}layer.{name}": value for name, value in layer.state_dict().items()} | {
        "head.kernel": torch.ones(2)
    }
    torch.save(state if inner is None else {"epoch": 3, inner: state}, "weights.pt")
    found = run(
        "evaluate", "src", "--model", "net:Small", "--weights", "weights.pt", "--save", "e.npy", "--workers", "0"
    )
    assert found[0] == 0
    bins, _ = write_bin(tmp_path / "again" / "lfw.bin", pairs=20)
    images = torch.from_numpy(normalized(decoded(bins)))
    with torch.inference_mode():
        wanted = layer(images).flatten(1) + layer(images.flip(3)).flatten(1)
    assert np.allclose(np.load("e.npy"), wanted.numpy(), atol=1e-4)


def test_pairs_from_shards(run, make_folder: MakeFolder, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    convert(ImageFolder(make_folder({f"{i:02d}": 1 + i % 5 for i in range(30)})), tmp_path / "shards", workers=1)
    code, out, _ = run(
        "convert", "validation", "shards", "val", "--pairs", "40", "--max-images", "4", "--image-size", "24"
    )
    assert (code, out) == (0, "pairs: 40 pairs, uint8 rgb, 138.2 kB, from shards\n")
    code, _, err = run("convert", "validation", "shards", "val")
    assert code == 2
    assert "say with --pairs how many pairs to draw from it" in err


def test_a_foreign_file_costs_nothing_and_a_damaged_set_the_exit_code(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in ("lfw", "agedb_30", "ijbc"):
        write_bin(tmp_path / "src" / f"{name}.bin")
    (tmp_path / "src" / "mean.bin").write_bytes(bytes(300))
    code, out, err = run("convert", "validation", "src", "val")
    assert (code, err) == (0, "")
    assert out.splitlines()[3:] == ["passed over: src/mean.bin is not a validation set, a pickle of images and pairs"]
    (tmp_path / "src" / "lfw.bin").write_bytes(b"\x80\4](")
    code, out, err = run("convert", "validation", "src", "val2")
    assert code == 1
    assert [line.partition(":")[0] for line in out.splitlines()] == ["agedb_30", "ijbc", "passed over"]
    assert err == "wds-face: src/lfw.bin is no pickle of images, or not a whole one: copy it again\n"
    code, out, err = run("convert", "validation", "src", "val3", "--quiet")
    assert (code, out) == (1, "")
    assert "lfw.bin" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("convert", "validation", "none", "val"), 1, "wds-face: none is not there: give a folder of validation sets"),
        (("convert", "validation", "ada", "val", "--pairs", "3", "--names", "lfw"), 2, "with --pairs give --name"),
        (("convert", "validation", "ada", "val", "--pairs", "3"), 1, "ada"),
        (("evaluate", "none", "--model", "net:Small"), 2, "'none' does not exist"),
        (("evaluate", "ada"), 2, "give either --model or --embeddings"),
        (("evaluate", "ada", "--weights", "net.py"), 2, "give either --model or --embeddings"),
        (("evaluate", "ada", "--embeddings", "net.py", "--weights", "net.py"), 2, "--weights are of a --model"),
        (("evaluate", "ada", "--embeddings", "net.py"), 2, "net.py is no .npy of numbers"),
        (("evaluate", "ada", "--embeddings", "short.npy"), 2, "short.npy has the shape [3, 4]: a row for each of 40"),
        (("evaluate", "ada", "--model", "nothing:here"), 2, "No module named 'nothing'. Write it like net:ir_50"),
        (("evaluate", "ada", "--model", "net"), 2, "net: "),
        (("evaluate", "ada", "--model", "net:number"), 2, "net:number is int, and makes no network"),
        (("evaluate", "ada", "--embeddings", "two.npz"), 2, "two.npz is no .npy of numbers"),
        (("evaluate", "ada", "--model", "net:demanding"), 2, "cannot be called without arguments"),
        (("evaluate", "ada", "--model", "broken:net"), 2, "broken:net: "),
        (("evaluate", "ada", "--model", "net:Wide", "--workers", "0"), 1, "the model must return (40, d) for"),
        (("evaluate", "ada", "--model", "net:failing", "--workers", "0"), 1, "the network did not take images [3, 112"),
        (("evaluate", "ada", "--model", "net:ready", "--device", "foo"), 2, "--device"),
        (("evaluate", "ada", "--model", "net:ready", "--weights", "other.pt"), 2, "nothing to load them into"),
        (("convert", "validation", "shards", "val", "--pairs", "4", "--name", "a/b"), 1, "'a/b' cannot be the name"),
        (("convert", "validation", "ragged", "val"), 1, "does not say of each pair whether"),
        (("evaluate", "ada", "--model", "net:Small", "--weights", "net.py"), 2, "net.py is no state dict"),
        (("evaluate", "ada", "--model", "net:Small", "--weights", "other.pt"), 2, "not have what the network needs"),
        (("evaluate", "ada", "--model", "net:Small", "--weights", "shape.pt"), 2, "size mismatch for layer.weight"),
        (("evaluate", "ada", "--model", "net:Small", "--channels", "rgb"), 1, "the images of lfw are bgr, not rgb"),
        (("evaluate", "ada", "--model", "net:Small", "--names", "cfp_fp"), 1, "does not have cfp_fp"),
        (("evaluate", "ada", "--model", "net:Small", "--roc", "roc.txt"), 2, "roc.txt must end in .png, .svg, .pdf"),
        (("evaluate", "few", "--model", "net:Small", "--workers", "0"), 1, "lfw: folds must be from 2 to"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(  # type: ignore[no-untyped-def]
    arguments: tuple[str, ...], code: int, message: str, run, tmp_path: Path
) -> None:
    write_adaface(tmp_path / "ada", "lfw", pairs=20)
    write_adaface(tmp_path / "few", "lfw", pairs=6)
    np.save(tmp_path / "short.npy", np.zeros((3, 4)))
    np.savez(tmp_path / "two.npz", np.zeros((40, 4)))
    (tmp_path / "broken.py").write_text("def net(:\n")
    (tmp_path / "shards").mkdir()
    (tmp_path / "ragged").mkdir()
    (tmp_path / "ragged" / "lfw.bin").write_bytes(pickle.dumps(([b"", b"", b"", b""], [[1], [2, 3]])))
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pt")
    torch.save({"layer.weight": torch.ones(1), "layer.bias": torch.ones(4)}, tmp_path / "shape.pt")
    found, _, err = run(*arguments)
    assert message in err
    assert found == code
    assert err.count("\n") == 1
    assert "Traceback" not in err
