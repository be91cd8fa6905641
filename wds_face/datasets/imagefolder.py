"""Faces in folders, one per identity."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS, has_file_allowed_extension, make_dataset

from wds_face import git_lfs
from wds_face.datasets.preparation import FORMATS, UNDECODABLE, choose_augmenter, prepare, reverse_channels
from wds_face.datasets.snapshot import Snapshot
from wds_face.decoding import decode_or_raise
from wds_face.errors import SourceError
from wds_face.hidden_files import is_hidden
from wds_face.location import local_text
from wds_face.transforms import Augmenter


def load_image(path: str | os.PathLike[str]) -> Image.Image:
    """Decode an image file by the rules of :mod:`wds_face.decoding`.

    Args:
        path: Path of a JPEG, PNG, WebP, BMP, TIFF, PPM or GIF file.

    Returns:
        A PIL image of mode RGB.

    Raises:
        ImageError: The file cannot be decoded.
        OSError: The file cannot be read.
    """
    return Image.fromarray(decode_or_raise(Path(path).read_bytes(), FORMATS))


class CustomImageFolderDataset(ImageFolder):  # type: ignore[misc]
    """torchvision's ``ImageFolder`` with augmentation and occlusion masks.

    ``dataset[i]`` is (sample, target), or (sample, target, mask) where the transform returns a tuple of image and mask.
    An image is loaded, its channels reversed if that is wanted, augmented, and given to the transform.

    Unlike torchvision, it skips hidden, thumbnail and trash folders (``.ipynb_checkpoints``, ``@eaDir``, ``__MACOSX``,
    …) and files with hidden names (``._0.jpg``), as a conversion does. Without such folders and files,
    ``class_to_idx`` and ``samples`` equal torchvision's.

    Args:
        root: the folder, with a folder of images for each identity.
        transform: of a PIL image.
        target_transform: of the label.
        loader: Loads the image at a path; defaults to :func:`load_image`.
        is_valid_file: Decides which files to take, hidden ones included; by default, files with the extension of an
            image that are not hidden at any depth.
        low_res_augmentation_prob: probability of a lower resolution.
        crop_augmentation_prob: probability of a crop.
        photometric_augmentation_prob: probability of other brightness, contrast and saturation.
        augmenter: in place of these three.
        swap_color_channel: hand the augmenter and the transform images in BGR.
        output_dir: a folder to save the first augmented sample in, as ``training_samples/sample.jpg``.

    Raises:
        FileNotFoundError: there is no such folder, or one without images.
        ValueError: a probability outside [0, 1], or both an augmenter and probabilities.
        SourceError: by ``dataset[i]``: the file is no image that can be decoded.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        loader: Callable[[str], Any] = load_image,
        is_valid_file: Callable[[str], bool] | None = None,
        *,
        low_res_augmentation_prob: float = 0.0,
        crop_augmentation_prob: float = 0.0,
        photometric_augmentation_prob: float = 0.0,
        augmenter: Augmenter | None = None,
        swap_color_channel: bool = False,
        output_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.augmenter = choose_augmenter(
            augmenter,
            crop_prob=crop_augmentation_prob,
            photometric_prob=photometric_augmentation_prob,
            low_res_prob=low_res_augmentation_prob,
        )
        super().__init__(local_text(root, "root"), transform, target_transform, loader, is_valid_file)
        self.swap_color_channel = swap_color_channel
        self._snapshot = None if output_dir is None else Snapshot(output_dir, reverse=swap_color_channel)

    def find_classes(self, directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
        """Return the names of the identity folders, sorted, and the label of each.

        Raises:
            FileNotFoundError: There is no such folder.
        """
        names, _ = super().find_classes(os.fspath(directory))
        classes = [name for name in names if not is_hidden(name)]
        if not classes:
            raise FileNotFoundError(f"{os.fspath(directory)} has no folder of images that is not hidden")
        return classes, {name: label for label, name in enumerate(classes)}

    @staticmethod
    def make_dataset(
        directory: str | os.PathLike[str],
        class_to_idx: dict[str, int],
        extensions: tuple[str, ...] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> list[tuple[str, int]]:
        """Return path and label of each image, in torchvision's order.

        Raises:
            FileNotFoundError: A class has no image.
        """
        root = os.path.expanduser(os.fspath(directory))
        if is_valid_file is None:

            def is_visible_image(path: str) -> bool:
                parts = path[len(root) :].split(os.sep)
                return has_file_allowed_extension(path, extensions or IMG_EXTENSIONS) and not any(map(is_hidden, parts))

            is_valid_file = is_visible_image
        samples: list[tuple[str, int]] = make_dataset(root, class_to_idx, None, is_valid_file, allow_empty)
        return samples

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """(sample, target) or (sample, target, mask) of an image."""
        path, target = self.samples[index]
        try:
            image = self.loader(path)
        except UNDECODABLE as error:
            if getattr(error, "errno", None) is not None:  # the file system's: not the image, and it names the file
                raise
            if git_lfs.is_pointer_file(path):
                raise SourceError(f"{path}: {git_lfs.REASON}") from error
            why = f"{path} cannot be decoded ({error}): remove it, or leave it out with is_valid_file"
            raise SourceError(why) from error
        if self.swap_color_channel:
            image = reverse_channels(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return prepare(image, target, self.augmenter, self.transform, self._snapshot)
