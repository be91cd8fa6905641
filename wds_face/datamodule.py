"""Training and validation data for Lightning's ``Trainer``."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from torchvision.transforms import Compose, Normalize, RandomHorizontalFlip

from wds_face.adaface import adaface_arguments, stream_options
from wds_face.datasets import AugmentRecordDataset, CustomImageFolderDataset, RandomIdentitySampler
from wds_face.datasets.preparation import choose_augmenter
from wds_face.errors import WdsFaceError
from wds_face.location import is_url, local_path
from wds_face.shards.index import Index
from wds_face.stream import PKLoader, PKStream
from wds_face.stream.labels import Labels
from wds_face.transforms import (
    ARCFACE_112,
    Augmenter,
    MedicalMaskOcclusion,
    Occlusion,
    OcclusionMaskWrapper,
    ToTensorWithMask,
)
from wds_face.validation import FiveValidationDataset, get_val_sets

# One package under two names, whose classes are not each other's: that which the program has imported already.
_NAMES = sorted(("lightning.pytorch", "pytorch_lightning"), key=lambda name: name not in sys.modules)
_FOUND = next((name for name in _NAMES if find_spec(name.partition(".")[0])), None)
if _FOUND is None:
    raise WdsFaceError("lightning is not installed: pip install 'wds-face[lightning]'")
if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule
else:
    LightningDataModule = import_module(_FOUND).LightningDataModule

Channels = Literal["rgb", "bgr"]


class DataModule(LightningDataModule):  # type: ignore[misc,unused-ignore]
    """PK batches to train on, from shards, image folders or MXNet records, and the benchmarks to validate on.

    Training batches are ``[P * K, 3, 112, 112], [P * K]`` and, with an occlusion, masks ``[P * K, 1, 112, 112]``, with
    P = batch_size // num_instances and K = num_instances; those of validation ``[B, 3, 112, 112], [B], [B], [B]``:
    image, issame, dataname, index (see :class:`~wds_face.FiveValidationDataset`).

    From shards, all ranks train on different batches of one order; a checkpoint holds where that is, and the run goes
    on with the next batch, on any number of ranks. Lightning puts no sampler of its own in front of these loaders, and
    each epoch has its own order.

    What differs from the text it follows: the medical masks are placed for faces on ArcFace's template, which MS1MV2,
    Glint360K and WebFace have; nothing is mapped for writing; validation needs no ``concat_validation_memfile``.

    ``DataModule(**hparams)`` accepts the options that AdaFace's and OAML's ``main.py`` pass, and ignores those that are
    not about data; one log line names them. ``swap_color_channel`` means the opposite there: see :meth:`adaface`.

    Args:
        shards: folder or URL of a data set that ``wds-face convert`` made. Without it images come from
            *train_data_path*: a ``.rec`` with *use_mxrecord*, else folders, in ``imgs`` there if there is such a one.
        data_root: what the other paths are below.
        train_data_path, val_data_path: of the training images, and of the validation sets (``.bin``, carrays or
            memfiles; :meth:`prepare_data` makes memfiles of them). None for no validation.
        val_names: of the sets; by default all that are there.
        batch_size: of training and validation, of each rank.
        num_instances: K.
        num_workers, val_num_workers: processes for training and for validation.
        low_res_augmentation_prob, crop_augmentation_prob, photometric_augmentation_prob: see
            :class:`~wds_face.Augmenter`.
        augmenter: in place of these three.
        occlusion: by default medical masks on half of the images; None for none.
        flip: how likely an image is to be flipped left to right.
        transform: of a PIL image, in place of occlusion and flip; with shards of the augmenter too.
        channels: ``"rgb"`` or ``"bgr"``: of training images, and what the validation sets must have.
        swap_color_channel: True means ``"bgr"``. In AdaFace and OAML, False trains on BGR.
        use_mxrecord: see *shards*.
        train_data_subset: False: what is trained on is chosen when it is converted, or by *min_images*.
        output_dir: of image folders and records: the first sample is saved in ``training_samples/`` there.
        seed: of all choices, together with the epoch.
        stream: further arguments of :class:`~wds_face.PKStream`, such as *epoch*, *min_images*, *lanes*, *output*,
            *storage_options* and *cache_dir*; for shards only.

    Raises:
        ValueError: arguments that contradict each other.
        TypeError: an argument is unknown to this class, PKStream, AdaFace and OAML.
        WdsFaceError: by the hooks, where data are missing, damaged, or of other channels.
    """

    def __init__(
        self,
        shards: str | os.PathLike[str] | None = None,
        *,
        data_root: str | os.PathLike[str] = "",
        train_data_path: str | os.PathLike[str] | None = None,
        val_data_path: str | os.PathLike[str] | None = None,
        val_names: Sequence[str] | None = None,
        batch_size: int = 256,
        num_instances: int = 4,
        num_workers: int = 16,
        val_num_workers: int = 4,
        low_res_augmentation_prob: float = 0.0,
        crop_augmentation_prob: float = 0.0,
        photometric_augmentation_prob: float = 0.0,
        augmenter: Augmenter | None = None,
        occlusion: Occlusion | Literal["medical"] | None = "medical",
        flip: float = 0.5,
        transform: Callable[[Any], Any] | None = None,
        channels: Channels | None = None,
        swap_color_channel: bool | None = None,
        use_mxrecord: bool = False,
        train_data_subset: bool = False,
        output_dir: str | os.PathLike[str] | None = None,
        seed: int = 0,
        **stream: Any,
    ) -> None:
        super().__init__()
        if transform is not None and occlusion not in ("medical", None):
            raise ValueError("transform replaces occlusion and flip: give it, or them")
        if (shards is None) == (train_data_path is None):
            raise ValueError("give shards, or train_data_path: the one that there is to train on")
        if train_data_subset:
            raise ValueError(
                "train_data_subset: convert the images that are wanted, or leave identities out by min_images"
            )
        stream = stream_options(stream, swap_color_channel)
        if shards is None and stream:
            raise ValueError(f"{', '.join(stream)}: for shards only")
        if swap_color_channel is not None and channels not in (None, "bgr" if swap_color_channel else "rgb"):
            raise ValueError(
                f"swap_color_channel={swap_color_channel} contradicts channels={channels!r}: give one of them"
            )
        if not 1 <= num_instances <= batch_size:
            raise ValueError(f"num_instances must be from 1 to batch_size {batch_size}, not {num_instances}")
        self.shards, self.data_root, self.train_data_path = shards, local_path(data_root, "data_root"), train_data_path
        self.val_path = None if val_data_path is None else self._below(val_data_path, "val_data_path")
        self.val_names, self.batch_size, self.num_instances = val_names, batch_size, num_instances
        self.num_workers, self.val_num_workers = num_workers, val_num_workers
        self.channels: Channels = channels or ("bgr" if swap_color_channel else "rgb")
        self.augmenter = choose_augmenter(
            augmenter,
            crop_prob=crop_augmentation_prob,
            photometric_prob=photometric_augmentation_prob,
            low_res_prob=low_res_augmentation_prob,
        )
        if shards is not None and transform is not None and self.augmenter is not None:
            raise ValueError("transform replaces the augmenter too, with shards: give it, or that")
        self.occlusion, self.flip, self.transform = occlusion, flip, transform
        self.use_mxrecord, self.output_dir, self.seed, self._stream = use_mxrecord, output_dir, seed, stream
        self.train_dataset: Dataset[Any] | None = None
        self.val_dataset: FiveValidationDataset | None = None
        self._loader: PKLoader | None = None
        self._state: dict[str, Any] | None = None
        self._shuffle_images = False

    @classmethod
    def adaface(cls, shards: str | os.PathLike[str] | None = None, **hparams: Any) -> DataModule:
        """Make a DataModule that trains as AdaFace does, from the hyperparameters of its ``main.py``.

        It trains on BGR images, each once per epoch in random order (K = 1), without occlusion, flipped with
        probability 0.5, and augmented as in AdaFace's scripts: crop, low resolution and photometric changes with
        probability 0.2 each, the latter changing brightness, contrast and saturation by up to 0.5. *hparams* override
        each of these.

        ``swap_color_channel`` has AdaFace's meaning here: images are reversed to BGR, and with True reversed again, so
        that files that hold BGR yield BGR.

        Unlike AdaFace, a batch from shards never holds an identity twice, and the last batch of an epoch is filled; a
        crop is resized to the whole image, where AdaFace leaves black around it (see :class:`~wds_face.Augmenter`).

        After https://github.com/mk-minchul/AdaFace/tree/c60eaa786a42c03444f3df7096dbaf9d57ae010d: ``data.py``,
        ``dataset/image_folder_dataset.py``, ``dataset/augmenter.py`` and ``scripts/run_ir101_ms1mv2.sh``.

        Args:
            shards: Folder or URL of a data set that ``wds-face convert`` made, in place of *train_data_path*.
            hparams: AdaFace's hyperparameters and arguments of :class:`DataModule`.

        Raises:
            ValueError: Both *channels* and *swap_color_channel* are given, or arguments contradict each other.
            TypeError: An argument is unknown to DataModule, PKStream and AdaFace.
        """
        data = cls(shards, **adaface_arguments(shards, hparams))
        data._shuffle_images = data.num_instances == 1
        return data

    @property
    def num_classes(self) -> int:
        """Labels are below it: the rows of a classifier's weight. The index or the labels are read for it."""
        if self.shards is not None:
            return self._labels().num_classes
        return 1 + int(np.max(cast("Any", self._folders()).targets))

    @property
    def classes(self) -> list[str]:
        """The original name of each label. Records hold no names, so theirs are the labels themselves."""
        if self.shards is not None:
            return self._labels().classes
        folders = cast("Any", self._folders())
        names: list[str] | None = getattr(folders, "classes", None)
        return [str(label) for label in range(self.num_classes)] if names is None else names

    def _labels(self) -> Labels:
        index = Index.open(self._url(), self._stream.get("storage_options"))
        kept = index.identities["images"] >= self._stream.get("min_images", 1)
        return Labels(index, kept, self._stream.get("labels"))

    def prepare_data(self) -> None:
        """Make the memfiles of the validation sets that have none, once on each machine."""
        if self.val_path is not None:
            get_val_sets(self.val_path, self.val_names, channels=self.channels)

    def setup(self, stage: str | None = None) -> None:
        """Open the data sets."""
        if stage in (None, "fit"):
            self.train_dataset = self._folders() if self.shards is None else self._shards()
        if self.val_path is not None and self.val_dataset is None:
            self.val_dataset = FiveValidationDataset(
                get_val_sets(self.val_path, self.val_names, channels=self.channels)
            )

    def train_dataloader(self) -> DataLoader[Any]:
        """PK batches; of shards, a :class:`~wds_face.stream.PKLoader`."""
        if self.train_dataset is None:
            self.setup("fit")
        options = self._options(self.num_workers)
        if isinstance(self.train_dataset, PKStream):
            # Lightning doubts the length of any stream with workers; this one's is exact
            warnings.filterwarnings("ignore", r"Your `IterableDataset` has `__len__` defined")
            self._loader = self.train_dataset.loader(**options)
            if self._state is not None:
                self._loader.load_state_dict(self._state)
                self._state = None
            return self._loader
        size = self.batch_size // self.num_instances * self.num_instances
        if self._shuffle_images:
            ranks = _ranks()
            sampler: Any = DistributedSampler(
                cast("Dataset[Any]", self.train_dataset), num_replicas=ranks[1], rank=ranks[0], seed=self.seed
            )
        else:
            sampler = RandomIdentitySampler(self.train_dataset, self.num_instances, seed=self.seed)
        return DataLoader(cast("Dataset[Any]", self.train_dataset), batch_size=size, sampler=sampler, **options)

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """The images of all sets, each rank some of them; none without *val_data_path*.

        Where their number does not divide by that of the ranks, some come twice: by their index they are told.
        """
        if self.val_path is None:
            return []
        if self.val_dataset is None:
            self.setup("validate")
        dataset = cast("FiveValidationDataset", self.val_dataset)
        many = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
        sampler: Any = DistributedSampler(dataset, shuffle=False) if many else None
        return DataLoader(dataset, batch_size=self.batch_size, sampler=sampler, **self._options(self.val_num_workers))

    def test_dataloader(self) -> DataLoader[Any] | list[Any]:
        """See :meth:`val_dataloader`."""
        return self.val_dataloader()

    def state_dict(self) -> dict[str, Any]:
        """Where training on shards is, for Lightning's checkpoints."""
        return {} if self._loader is None else {"train": self._loader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next :meth:`train_dataloader` go on from there."""
        self._state = state_dict.get("train")

    def _options(self, workers: int) -> dict[str, Any]:
        return {"num_workers": workers, "persistent_workers": workers > 0, "pin_memory": torch.cuda.is_available()}

    def _shards(self) -> PKStream:
        p = self.batch_size // self.num_instances
        common: dict[str, Any] = {"seed": self.seed, "channels": self.channels, **self._stream}
        if self.transform is not None:
            return PKStream(self._url(), p, self.num_instances, transform=self.transform, **common)
        occlusion = _medical("rgb") if self.occlusion == "medical" else self.occlusion  # occlusions of a stream see RGB
        common |= {"augmenter": self.augmenter, "occlusion": occlusion, "flip": self.flip}
        return PKStream(self._url(), p, self.num_instances, **common)

    def _url(self) -> str:
        url = os.fspath(cast("str", self.shards))
        return url if is_url(url) else os.path.join(self.data_root, url)

    def _below(self, path: str | os.PathLike[str], argument: str) -> Path:
        """Return a path on this machine. Relative paths are resolved against *data_root*."""
        return self.data_root / local_path(path, argument)

    def _folders(self) -> Dataset[Any]:
        root = self._below(cast("str", self.train_data_path), "train_data_path")
        transform = self.transform
        if transform is None:
            occlusion = _medical(self.channels) if self.occlusion == "medical" else self.occlusion
            steps = [RandomHorizontalFlip(self.flip), *([] if occlusion is None else [occlusion])]
            normalize = OcclusionMaskWrapper(Normalize(mean=[0.5] * 3, std=[0.5] * 3))
            transform = Compose([*steps, ToTensorWithMask(), normalize])
        options: dict[str, Any] = {"augmenter": self.augmenter, "output_dir": self.output_dir}
        options["swap_color_channel"] = self.channels == "bgr"
        if self.use_mxrecord:
            return AugmentRecordDataset(root, transform, **options)
        return CustomImageFolderDataset(root / "imgs" if (root / "imgs").is_dir() else root, transform, **options)


def _ranks() -> tuple[int, int]:
    """Return the rank of this process and the number of ranks."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def _medical(channels: Channels) -> Occlusion:
    return MedicalMaskOcclusion(prob=0.5, ref_points=ARCFACE_112, channels=channels)
