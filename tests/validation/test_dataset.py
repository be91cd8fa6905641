"""FiveValidationDataset: what the mission's text says of it, without its traps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.validation.sets import normalized
from wds_face import DatasetError, FiveValidationDataset, make_memmap
from wds_face.validation import BENCHMARKS

RNG = np.random.default_rng(0)
SETS = {
    name: (RNG.integers(0, 256, (2 * n, 3, 112, 112), dtype=np.uint8), RNG.random(n) < 0.5)
    for n, name in enumerate(["lfw", "agedb_30", "own", "calfw", "cfp_fp", "cplfw", "another"], start=3)
}
ORDER = ["agedb_30", "cfp_fp", "lfw", "cplfw", "calfw", "own", "another"]
WHOLE = normalized(np.concatenate([SETS[name][0] for name in ORDER]))


@pytest.fixture
def concat(tmp_path: Path) -> str:
    make_memmap(tmp_path / "concat", WHOLE)
    return str(tmp_path / "concat")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("one_file", [False, True])
def test_batches(workers: int, one_file: bool, concat: str) -> None:
    """By number, whatever the order of the dict; others behind them, as they are given."""
    dataset = FiveValidationDataset(SETS, concat if one_file else None)
    assert dataset.dataname_to_idx == BENCHMARKS | {"own": 5, "another": 6}
    assert len(dataset) == len(WHOLE)
    batches = list(DataLoader(dataset, batch_size=16, num_workers=workers))
    images, issame, dataname, index = batches[0]
    assert (images.shape, images.dtype) == ((16, 3, 112, 112), torch.float32)
    assert (issame.shape, issame.dtype) == ((16,), torch.bool)
    assert (dataname.shape, dataname.dtype, index.shape, index.dtype) == ((16,), torch.int64, (16,), torch.int64)
    columns = [torch.cat(column) for column in zip(*batches, strict=True)]
    assert np.array_equal(columns[0].numpy(), WHOLE)
    assert columns[1].tolist() == [bool(same) for name in ORDER for same in SETS[name][1] for _ in range(2)]
    assert columns[2].tolist() == [i for i, name in enumerate(ORDER) for _ in SETS[name][0]]
    assert columns[3].tolist() == list(range(len(WHOLE)))


def test_one_image_and_any_order() -> None:
    dataset = FiveValidationDataset(SETS)
    for number in (0, 7, len(dataset) - 1, -1):
        image, same, name, index = dataset[number]
        assert index == number % len(dataset)
        assert torch.equal(image, torch.from_numpy(WHOLE[number]))
        assert (same, name) == (dataset.all_issame[number], dataset.all_dataname[number])
    with pytest.raises(IndexError):
        dataset[len(dataset)]
    image[:] = 0  # a copy: nothing of it comes back
    assert torch.equal(dataset[-1][0], torch.from_numpy(WHOLE[-1]))
    generator = torch.Generator().manual_seed(0)
    for images, _, _, indices in DataLoader(dataset, batch_size=9, shuffle=True, generator=generator):
        assert np.array_equal(images.numpy(), WHOLE[indices])


def test_some_of_the_five() -> None:
    some = {name: SETS[name] for name in ("calfw", "lfw")}
    dataset = FiveValidationDataset(some)
    assert sorted(set(dataset.all_dataname.tolist())) == [2, 4]
    assert dataset.all_dataname.tolist()[0] == 2


@pytest.mark.parametrize("kind", [list, torch.from_numpy, np.asarray])
def test_lists_and_tensors(kind: Any) -> None:
    dataset = FiveValidationDataset({"lfw": (torch.from_numpy(SETS["lfw"][0]), kind(SETS["lfw"][1]))})
    assert np.array_equal(dataset.all_imgs[:], normalized(SETS["lfw"][0]))


def test_a_file_of_other_sets_is_refused(concat: str, tmp_path: Path) -> None:
    some = {name: SETS[name] for name in ("calfw", "lfw")}
    with pytest.raises(DatasetError, match="concat has 84 images, the sets have 18"):
        FiveValidationDataset(some, concat)
    wrong = np.concatenate([WHOLE[8:], WHOLE[:8]])
    make_memmap(tmp_path / "wrong", wrong)
    with pytest.raises(DatasetError, match="does not have agedb_30 where it should be: make it again"):
        FiveValidationDataset(SETS, tmp_path / "wrong")
    with pytest.raises(DatasetError, match=r"there is no none.conf: make it again"):
        FiveValidationDataset(SETS, tmp_path / "none")


@pytest.mark.parametrize(
    ("sets", "error", "message"),
    [
        ({}, ValueError, "has no set"),
        ({"lfw": (SETS["lfw"][0], SETS["own"][1])}, DatasetError, "lfw has 6 images for 5 pairs"),
        ({"lfw": (SETS["lfw"][0][:, :1], SETS["lfw"][1])}, DatasetError, "images for validation are"),
    ],
)
def test_mistakes_are_told(sets: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        FiveValidationDataset(sets)
