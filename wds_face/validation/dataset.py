"""Validation sets as one data set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from wds_face.errors import DatasetError
from wds_face.validation.benchmarks import BENCHMARKS
from wds_face.validation.bins import pairs
from wds_face.validation.images import Images, Joined, Memfile, as_images

Sample = tuple[torch.Tensor, np.bool_, int, int]


class FiveValidationDataset(Dataset[Any]):
    """The images of the five benchmarks, or of some of them and of others, two by two.

    ``dataset[i]`` is (image, issame, dataname, i): float32 ``[3, height, width]`` in [-1, 1], whether the pair that it
    belongs to is of one person, and the number of its set. A DataLoader makes batches ``[B, 3, 112, 112], [B], [B],
    [B]`` of them. Images 2 i and 2 i + 1 of a set are a pair.

    What differs from the text it follows: the memfile of all sets is read piece by piece and never mapped, and is not
    needed; it is checked to be of these sets, in the order that it says or else of the benchmarks' numbers, whatever
    that of *val_data_dict*.

    Args:
        val_data_dict: name -> (images, issame), as of :func:`~wds_face.get_val_pair`: images ``[2 n, 3, height,
            width]``, uint8 or floats, and bool ``[n]``.
        concat_mem_file_name: a memfile with the images of all sets, one behind the other.

    Attributes:
        dataname_to_idx: number of each set: those of the benchmarks, then 5, 6, … for others as they are given.
        all_imgs: of all sets; float32 comes out of it.
        all_issame: bool ``[m]``, for each image that of its pair.
        all_dataname: int64 ``[m]``.

    Raises:
        DatasetError: the memfile is not of these sets, or the numbers of images and pairs do not fit.
    """

    def __init__(
        self,
        val_data_dict: Mapping[str, tuple[Any, Any]],
        concat_mem_file_name: str | os.PathLike[str] | None = None,
    ) -> None:
        if not val_data_dict:
            raise ValueError("val_data_dict has no set: give at least one")
        others = [name for name in val_data_dict if name not in BENCHMARKS]
        self.dataname_to_idx = BENCHMARKS | {name: len(BENCHMARKS) + number for number, name in enumerate(others)}
        order = sorted(val_data_dict, key=self.dataname_to_idx.__getitem__)
        concat = None if concat_mem_file_name is None else Memfile(concat_mem_file_name)
        if concat is not None and concat.sets is not None:
            order = [name for name, _ in concat.sets]
            if set(order) != set(val_data_dict):
                raise DatasetError(f"{concat.path} is of {', '.join(order)}, not of {', '.join(val_data_dict)}")
        parts, issame, dataname = [], [], []
        for name in order:
            images, same = as_images(val_data_dict[name][0]), pairs(val_data_dict[name][1], f"the list of {name}")
            if len(images) != 2 * len(same):
                raise DatasetError(f"{name} has {len(images):,} images for {len(same):,} pairs")
            parts.append(images)
            issame.append(np.repeat(same, 2))
            dataname.append(np.full(len(images), self.dataname_to_idx[name]))
        self.all_imgs: Images = (
            Joined(parts) if concat is None else _checked(concat, dict(zip(order, parts, strict=True)))
        )
        self.all_issame: NDArray[np.bool_] = np.concatenate(issame)
        self.all_dataname: NDArray[np.int64] = np.concatenate(dataname)

    @property
    def channels(self) -> str | None:
        """``"rgb"``, ``"bgr"``, or None where nobody noted it."""
        return self.all_imgs.channels

    def __len__(self) -> int:
        """Images."""
        return len(self.all_issame)

    def __getitem__(self, index: int) -> Sample:
        """(image, issame, dataname, index).

        Images are read one by one: a batch of them in one piece, 19 MB, leaves the memory of the process in pieces.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no image {index}: there are {len(self)}")
        index %= len(self)
        image = torch.from_numpy(self.all_imgs[index])
        return image, self.all_issame[index], int(self.all_dataname[index]), index


def _checked(concat: Memfile, parts: dict[str, Images]) -> Memfile:
    """The memfile of all sets, after a look at the first and the last image of each."""
    if len(concat) != sum(map(len, parts.values())):
        raise DatasetError(f"{concat.path} has {len(concat):,} images, the sets have {sum(map(len, parts.values())):,}")
    start = 0
    for name, images in parts.items():
        for number in (0, len(images) - 1):
            if not np.array_equal(concat[start + number], images[number]):
                raise DatasetError(f"{concat.path} does not have {name} where it should be: make it again")
        start += len(images)
    concat.channels = concat.channels or Joined(list(parts.values())).channels
    return concat
