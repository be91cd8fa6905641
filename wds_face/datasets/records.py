"""Faces in an MXNet record file, by number."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from wds_face import git_lfs
from wds_face.datasets.preparation import FORMATS, choose_augmenter, prepare, reverse_channels
from wds_face.datasets.snapshot import Snapshot
from wds_face.decoding import decode_or_raise
from wds_face.errors import RecordError, SourceError
from wds_face.images import ImageError
from wds_face.recordio import RecordReader, unpack
from wds_face.sources.image_records import IdxUse, ImageRecords, image_records
from wds_face.sources.records import record_file
from wds_face.transforms import Augmenter


class BaseMXDataset(Dataset[Any]):
    """The images of a ``.rec`` file, in any of the layouts that face data sets come in; mxnet is not needed.

    Image ``i`` is the i-th in the file. Its target is its own label, the first where it has several. The header and
    the identity-range records of InsightFace are no images. Records that are empty or lack a label are left out; a
    warning gives their number, :attr:`skipped` lists them. A truncated or damaged file is refused, and so is an
    ``.idx`` that does not belong to it, so that a data set never shrinks unnoticed.

    Only headers are read to begin with. The file is mapped into memory when an image is first read, once in each
    process, so the data set can be handed to workers that are forked or spawned.

    Args:
        root_dir: a folder with ``train.rec`` and, if there is one, ``train.idx``; or a ``.rec`` file.
        swap_color_channel: give images in BGR.
        salvage: Take all that can be read of a damaged file, with a warning. Ignores an ``.idx`` that does not belong
            to the file.
        idx: Use of the ``.idx``. ``"check"`` requires it to list every image of the ``.rec``; ``"trust"`` takes the
            images that it lists, such as a hold-out set; ``"ignore"`` reads the ``.rec`` without it.

    Raises:
        SourceError: there is no such file, or no image in it; it is damaged, or its ``.idx`` does not belong to it.
        RecordError: the file or its index cannot be read, or a label is not a whole number.
        ValueError: *idx* is something else.
    """

    def __init__(
        self,
        root_dir: str | os.PathLike[str],
        swap_color_channel: bool = False,
        *,
        salvage: bool = False,
        idx: IdxUse = "check",
    ) -> None:
        self.root_dir = root_dir
        self.swap_color_channel = swap_color_channel
        self.path: Path = record_file(root_dir)
        self._stamp = _stamp(self.path)
        self._reader: RecordReader | None = None
        found = image_records(self.path, idx)
        if not salvage:
            _refuse_damage(self.path, found)
        self.skipped = found.skipped  #: what was left out, and why
        self.targets: NDArray[np.int64] = _targets(self.path, found)  #: the label of each image, ``[n]``
        self._keys = found.keys
        self._offsets = found.table["offset"].copy()  # a view would keep the whole table
        if self.skipped:
            first = self.skipped[0]
            warnings.warn(
                f"{self.path}: {len(self.skipped)} left out, first {first.item}: {first.reason}", stacklevel=2
            )

    def __len__(self) -> int:
        """Images."""
        return len(self.targets)

    def __getitem__(self, index: int) -> Any:
        """See :meth:`read_sample`."""
        return self.read_sample(index)

    def read_sample(self, index: int) -> tuple[Image.Image, int]:
        """Decode an image: (PIL image of mode RGB, label). Its channels are BGR with ``swap_color_channel``.

        Raises:
            RecordError: the record holds no image that can be decoded; the message names the file and the key.
        """
        offset = int(self._offsets[index])
        reader = self._open()
        try:
            _, payload = unpack(reader.at(offset))
        except RecordError as error:
            raise self._unreadable(index, "is broken") from error
        try:
            image = Image.fromarray(decode_or_raise(payload, FORMATS))
        except ImageError as error:
            if git_lfs.is_pointer(payload):
                raise self._unreadable(index, f"is {git_lfs.REASON}") from None
            raise self._unreadable(index, f"cannot be decoded ({error})") from error
        return reverse_channels(image) if self.swap_color_channel else image, int(self.targets[index])

    def _unreadable(self, index: int, why: str) -> RecordError:
        offset = int(self._offsets[index])
        return RecordError(f"{self.path}: the record of key {self._keys[index]} at byte {offset} {why}", offset)

    def _open(self) -> RecordReader:
        if self._reader is None:
            if _stamp(self.path) != self._stamp:  # the offsets are those of another file
                raise RecordError(f"{self.path} has changed since the data set was made: make it again")
            self._reader = RecordReader(self.path)
        return self._reader

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None}


class AugmentRecordDataset(BaseMXDataset):
    """:class:`BaseMXDataset` with augmentation and occlusion masks.

    ``dataset[i]`` is (sample, target), or (sample, target, mask) where the transform returns a tuple of image and mask.
    An image is decoded, its channels reversed if that is wanted, augmented, and given to the transform.

    Args:
        root_dir: a folder with ``train.rec`` and, if there is one, ``train.idx``; or a ``.rec`` file.
        transform: of a PIL image.
        low_res_augmentation_prob: probability of a lower resolution.
        crop_augmentation_prob: probability of a crop.
        photometric_augmentation_prob: probability of other brightness, contrast and saturation.
        augmenter: in place of these three.
        swap_color_channel: hand the augmenter and the transform images in BGR.
        output_dir: a folder to save the first augmented sample in, as ``training_samples/sample.jpg``.
        salvage: See :class:`BaseMXDataset`.
        idx: See :class:`BaseMXDataset`.

    Raises:
        SourceError: there is no such file, or no image in it; it is damaged, or its ``.idx`` does not belong to it.
        RecordError: the file or its index cannot be read, or a label is not a whole number.
        ValueError: a probability outside [0, 1], both an augmenter and probabilities, or an unknown ``idx``.
    """

    def __init__(
        self,
        root_dir: str | os.PathLike[str],
        transform: Callable[[Any], Any] | None = None,
        *,
        low_res_augmentation_prob: float = 0.0,
        crop_augmentation_prob: float = 0.0,
        photometric_augmentation_prob: float = 0.0,
        augmenter: Augmenter | None = None,
        swap_color_channel: bool = False,
        output_dir: str | os.PathLike[str] | None = None,
        salvage: bool = False,
        idx: IdxUse = "check",
    ) -> None:
        self.augmenter = choose_augmenter(
            augmenter,
            crop_prob=crop_augmentation_prob,
            photometric_prob=photometric_augmentation_prob,
            low_res_prob=low_res_augmentation_prob,
        )
        super().__init__(root_dir, swap_color_channel, salvage=salvage, idx=idx)
        self.transform = transform
        self._snapshot = None if output_dir is None else Snapshot(output_dir, reverse=swap_color_channel)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """(sample, target) or (sample, target, mask) of an image."""
        image, target = self.read_sample(index)
        return prepare(image, target, self.augmenter, self.transform, self._snapshot)


def _refuse_damage(path: Path, found: ImageRecords) -> None:
    """Raise SourceError for an incomplete file, with the first damage and the remedy."""
    damage = [entry for entry in found.skipped if entry.kind == "container"]
    if not damage:
        return
    more = f" ({len(damage) - 1:,} more)" if damage[1:] else ""
    remedy = f"copy {path.name} again"
    if found.idx_misfit:
        remedy = 'give idx="ignore" to read it without the .idx, idx="trust" to take only the images that it lists'
    raise SourceError(f"{path}: {damage[0].item}: {damage[0].reason}{more}: {remedy}, or salvage=True")


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _targets(path: Path, found: ImageRecords) -> NDArray[np.int64]:
    labels = found.table["label"].astype(np.float64)
    whole = (labels == np.rint(labels)) & (np.abs(labels) < 2**62)
    if not whole.all():
        wrong = int(np.argmin(whole))
        raise RecordError(
            f"{path}: the label of key {found.keys[wrong]} is {labels[wrong]:g}, not a whole number: "
            "`wds-face convert recordio` numbers such identities",
            int(found.table["offset"][wrong]),
        )
    return labels.astype(np.int64)
