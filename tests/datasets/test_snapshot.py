"""The saved sample: one, whole, the first after augmentation, in true colours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torchvision.transforms import ToTensor

from tests.datasets.support import Make
from wds_face.datasets.snapshot import Snapshot
from wds_face.transforms import Augmenter


class Paint(Augmenter):
    """Gives every image one colour, in the order of the channels that it gets."""

    def __init__(self, *colors: tuple[int, int, int]) -> None:
        super().__init__()
        self.colors = list(colors)

    def augment(self, img: Any) -> Any:
        return Image.new("RGB", img.size, self.colors.pop(0))


RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def saved(folder: Path) -> Path:
    assert os.listdir(folder) == ["training_samples"]
    assert os.listdir(folder / "training_samples") == ["sample.jpg"]
    return folder / "training_samples" / "sample.jpg"


def color(folder: Path) -> tuple[int, ...]:
    with Image.open(saved(folder)) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (24, 24))
        return tuple(np.asarray(image).mean((0, 1)).round(-1).astype(int).clip(0, 255).tolist())


def near(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(a - b) < 8 for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("swap", [False, True])
def test_the_first_sample_after_augmentation(make: Make, tmp_path: Path, swap: bool) -> None:
    dataset = make(ToTensor(), augmenter=Paint(RED, GREEN), swap_color_channel=swap, output_dir=tmp_path / "run" / "1")
    assert not os.listdir(tmp_path / "run" / "1" / "training_samples")
    dataset[3], dataset[4]
    assert near(color(tmp_path / "run" / "1"), BLUE if swap else RED)


@pytest.mark.parametrize("swap", [False, True])
def test_colours_are_those_of_the_image(make: Make, tmp_path: Path, swap: bool) -> None:
    make(swap_color_channel=swap, output_dir=tmp_path / "out")[2]
    with Image.open(saved(tmp_path / "out")) as image:
        difference = np.asarray(image).astype(int) - np.asarray(make()[2][0]).astype(int)
    assert abs(difference).mean() < 4


def test_it_replaces_that_of_an_earlier_run(make: Make, tmp_path: Path) -> None:
    for augmenter, expected in ((Paint(RED), RED), (Paint(BLUE), BLUE)):
        make(augmenter=augmenter, output_dir=tmp_path / "out")[0]
        assert near(color(tmp_path / "out"), expected)
    saved(tmp_path / "out").write_bytes(b"no image at all")
    make(augmenter=Paint(GREEN), output_dir=tmp_path / "out")[0]
    assert near(color(tmp_path / "out"), GREEN)


def test_worker_0_saves_one_for_all_epochs(make: Make, tmp_path: Path) -> None:
    dataset = make(ToTensor(), output_dir=tmp_path / "out")
    loader = DataLoader(dataset, 2, shuffle=True, num_workers=2)  # other processes in every epoch
    stamps = set()
    for _ in range(2):
        list(loader)
        stamps.add((saved(tmp_path / "out").stat().st_mtime_ns, saved(tmp_path / "out").stat().st_ino))
    dataset[0]
    stamps.add((saved(tmp_path / "out").stat().st_mtime_ns, saved(tmp_path / "out").stat().st_ino))
    assert len(stamps) == 1


class Shown(Dataset[Any]):
    """Shows its worker's number to a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        worker = get_worker_info()
        assert worker is not None
        if worker.id or index > 1:  # worker 0 shows its second image only, after the others theirs
            self.snapshot.take(np.full((8, 8, 3), 200 * (worker.id > 0), np.uint8))
        return index


def test_other_workers_save_none(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path)
    for _ in DataLoader(Shown(snapshot), 1, num_workers=2):
        pass
    with Image.open(snapshot.path) as image:
        assert np.asarray(image).max() < 10


def test_forms_of_samples(tmp_path: Path) -> None:
    for i, sample in enumerate(
        (
            np.full((8, 8, 3), 255, np.uint8),
            Image.new("L", (8, 8), 255),
            Image.new("RGBA", (8, 8), (255,) * 4),
            torch.full((3, 8, 8), 255, dtype=torch.uint8),
        )
    ):
        snapshot = Snapshot(tmp_path / str(i))
        snapshot.take(sample)
        with Image.open(saved(tmp_path / str(i))) as image:
            assert (image.mode, image.getpixel((4, 4))) == ("RGB", (255, 255, 255))


def test_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    snapshot = Snapshot(tmp_path)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        snapshot.take(np.zeros((8, 8, 3), np.uint8))
    assert os.listdir(tmp_path / "training_samples") == []


def test_a_folder_that_cannot_be_made_is_seen_at_once(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        make(output_dir=tmp_path / "file" / "out")
