"""What the folder data set has of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

from tests.datasets.support import complaint
from tests.support import MakeFolder
from wds_face import ImageFolder as Source
from wds_face import SourceError
from wds_face.datasets import CustomImageFolderDataset, RandomIdentitySampler


def test_it_is_an_image_folder(faces: Path) -> None:
    ours, theirs = CustomImageFolderDataset(faces), ImageFolder(str(faces))
    assert isinstance(ours, ImageFolder)
    for name in ("classes", "class_to_idx", "samples", "imgs", "targets", "root"):
        assert getattr(ours, name) == getattr(theirs, name)


def test_arguments_of_image_folder(faces: Path) -> None:
    def loader(path: str) -> Any:
        return np.full((4, 4, 3), (1, 2, 3), np.uint8)

    dataset = CustomImageFolderDataset(
        faces, lambda image: image.tolist()[0][0], str, loader, lambda path: path.endswith("0000.jpg")
    )
    assert len(dataset) == 20
    assert dataset[3] == ([1, 2, 3], "3")
    swapped = CustomImageFolderDataset(faces, loader=loader, swap_color_channel=True)
    assert swapped[0][0].tolist() == [[[3, 2, 1]] * 4] * 4


@pytest.mark.parametrize("name", [".ipynb_checkpoints", "@eaDir", "__MACOSX"])
def test_hidden_folders_and_files_are_left_out_as_in_a_conversion(make_folder: MakeFolder, name: str) -> None:
    folder = make_folder({"anna": 2, "anna/x": 1, "bob": 1})
    wanted = ImageFolder(str(folder))
    for path in (folder / name, folder / "anna" / name, folder / "anna" / "x" / name):
        path.mkdir()
        (path / "0000.jpg").write_bytes(b"thumbnail")
    (folder / "bob" / "._0000.jpg").write_bytes(b"AppleDouble")
    dataset = CustomImageFolderDataset(folder)
    assert dataset.class_to_idx == wanted.class_to_idx
    assert dataset.samples == wanted.samples
    inventory = Source(folder).scan()
    assert dataset.classes == inventory.names
    assert np.bincount(dataset.targets).tolist() == inventory.images.tolist()


def test_only_hidden_folders(make_folder: MakeFolder) -> None:
    with pytest.raises(FileNotFoundError, match="no folder of images that is not hidden"):
        CustomImageFolderDataset(make_folder({".cache": 1}))


def test_a_transform_set_later_counts(faces: Path) -> None:
    dataset = CustomImageFolderDataset(faces)
    dataset.transform = lambda image: ("image", "mask")
    assert dataset[0] == ("image", 0, "mask")


def test_a_damaged_image_is_named(make_folder: MakeFolder) -> None:
    folder = make_folder({"anna": 2, "bob": 2})
    whole = (folder / "anna" / "0001.jpg").read_bytes()
    for content in (b"", b"no image", whole[: len(whole) // 2]):
        (folder / "anna" / "0001.jpg").write_bytes(content)
        with pytest.raises(SourceError, match=r"anna/0001\.jpg cannot be decoded"):
            CustomImageFolderDataset(folder)[1]
    error = complaint(DataLoader(CustomImageFolderDataset(folder, ToTensor()), 2, num_workers=1))
    assert isinstance(error, SourceError)
    assert "0001.jpg cannot be decoded" in str(error)


def test_a_missing_image_stays_a_missing_file(make_folder: MakeFolder) -> None:
    dataset = CustomImageFolderDataset(make_folder({"anna": 2}))
    (Path(dataset.root) / "anna" / "0001.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"0001\.jpg"):
        dataset[1]


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        CustomImageFolderDataset(tmp_path)
    with pytest.raises(FileNotFoundError):
        CustomImageFolderDataset(tmp_path / "missing")


def test_the_sampler_opens_no_image(make_folder: MakeFolder) -> None:
    folder = make_folder({"anna": 3, "bob": 2})
    dataset = CustomImageFolderDataset(folder)
    for path in folder.rglob("*.jpg"):
        path.unlink()
    assert sorted(RandomIdentitySampler(dataset, 3))[:3] == [0, 1, 2]


def test_grey_images_are_colour(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("L", (8, 8), 100).save(tmp_path / "a" / "grey.png")
    for swap in (False, True):
        image, _ = CustomImageFolderDataset(tmp_path, swap_color_channel=swap)[0]
        assert image.getpixel((0, 0)) == (100, 100, 100)
