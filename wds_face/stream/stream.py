"""A data set as a stream of PK batches: shards -> samples -> groups -> transformed batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import webdataset as wds
from PIL import Image
from torch.utils.data import DataLoader, get_worker_info

from wds_face.errors import DatasetError
from wds_face.images import EXTENSIONS
from wds_face.shards.index import Index
from wds_face.shards.samples import extension
from wds_face.shards.tar import walk
from wds_face.stream.collate import Sample, collate_arrays, collate_transformed
from wds_face.stream.grouper import pk_batched
from wds_face.transforms import Augmenter, Occlusion
from wds_face.transforms.batch import BatchTransform
from wds_face.transforms.checks import count

# What a generator is for: behind the other numbers, as trailing zeros would not count.
_ORDER, _GROUPS, _BATCH = 1, 2, 3

_Collate = Callable[[list[Sample], np.random.Generator], tuple[torch.Tensor, ...]]


class PKStream(wds.DataPipeline):  # type: ignore[misc]
    """Batches of p identities x k images from a data set that ``wds-face convert`` made.

    Yields ``(images, labels)``, or with an occlusion ``(images, labels, masks)``, identity by identity:

    - images ``[p * k, 3, size, size]``, in torch's channels-last memory format: float32 in [-1, 1], or uint8;
    - labels int64 ``[p * k]``;
    - masks ``[p * k, 1, size, size]``, or of the occlusion's ``mask_size``: 1 visible and 0 occluded, float32, or uint8
      where images are.

    Every image comes at least once per epoch and every batch is full. With workers each streams its own share.

    Args:
        url: the data set's folder, a path or an fsspec URL.
        p: identities in a batch.
        k: images of each.
        augmenter: changes images first. It, too, sees RGB, and draws from the stream's seed, not from an ``rng`` of
            its own.
        occlusion: puts something in front of them last.
        flip: how likely an image is to be flipped left to right.
        transform: instead of these three, a callable of a PIL image that returns a tensor, or a tensor and its mask.
            What it draws from torch's, numpy's and Python's global generators is seeded for it.
        seed: of all choices, together with the epoch.
        bufsize: images that batches are grouped from; 16 batches by default.
        output: ``"float"``, or ``"uint8"`` for images to be normalised on the device, with :func:`wds_face.normalize`.
        channels: ``"rgb"`` or ``"bgr"``, the order in which images go out; a *transform* is given them in this order.
        image_size: images of another size are resized to this.
        storage_options: of fsspec.

    Raises:
        DatasetError: there is no complete data set, or it has fewer than p identities.
        ValueError: an argument is out of its range, or *transform* comes with what it replaces.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        p: int,
        k: int,
        *,
        augmenter: Augmenter | None = None,
        occlusion: Occlusion | None = None,
        flip: float = 0.0,
        transform: Callable[[Image.Image], Any] | None = None,
        seed: int = 0,
        bufsize: int | None = None,
        output: str = "float",
        channels: str = "rgb",
        image_size: int = 112,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        p, k = count("p", p), count("k", k)
        bufsize = None if bufsize is None else count("bufsize", bufsize)
        if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 1 << 32:
            raise ValueError(f"seed must be a whole number from 0 to 2**32 - 1, not {seed!r}")
        if output not in {"float", "uint8"} or channels not in {"rgb", "bgr"}:
            raise ValueError(f'output is "float" or "uint8", channels "rgb" or "bgr", not {output!r} and {channels!r}')
        if transform is not None and (augmenter is not None or occlusion is not None or flip):
            raise ValueError("transform replaces augmenter, occlusion and flip: give it, or them")
        collate: _Collate
        if transform is None:
            batch = BatchTransform(augmenter, occlusion, flip, image_size)
            collate = partial(collate_arrays, batch=batch, output=output, channels=channels)
        else:
            collate = partial(collate_transformed, transform=transform, channels=channels, size=image_size)
        index = Index.open(url, storage_options)
        if len(index.identities) < p:
            raise DatasetError(f"{index.store} has {len(index.identities)} identities, fewer than p={p}")
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # workers that persist see it change
        self.seed = seed
        super().__init__(
            _Runs(index, p, seed, self._epoch),
            _Read(index),
            _Seeded(p, k, bufsize, seed, self._epoch),
            _Collated(collate, seed, self._epoch),
        )

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration runs; each has its own order."""
        self._epoch.fill_(epoch)

    def loader(self, num_workers: int = 0, **options: Any) -> PKLoader:
        """A torch ``DataLoader`` over the batches; ``options`` are its own."""
        return PKLoader(self, batch_size=None, num_workers=num_workers, **options)


class PKLoader(DataLoader[Any]):
    """A ``DataLoader`` with ``set_epoch``."""

    def set_epoch(self, epoch: int) -> None:
        """See :meth:`PKStream.set_epoch`."""
        self.dataset.set_epoch(epoch)  # type: ignore[attr-defined]


class _Runs:
    """Rows of the index in this epoch's order, shard by shard: this worker's share, of p identities or more."""

    def __init__(self, index: Index, p: int, seed: int, epoch: torch.Tensor) -> None:
        self.rows, self.p, self.seed, self.epoch = index.identities, p, seed, epoch

    def __call__(self) -> Iterator[np.void]:
        rng = np.random.default_rng([self.seed, int(self.epoch), _ORDER])
        shards = int(self.rows["shard"].max()) + 1
        # by a random rank of the shard, then by a random number
        order = np.lexsort((rng.random(len(self.rows)), rng.permutation(shards)[self.rows["shard"]]))
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        shares = min(workers, len(order) // self.p)  # more would have too few identities for a batch
        if number < shares:
            yield from self.rows[np.array_split(order, shares)[number]]


class _Read:
    """Rows of the index -> samples."""

    def __init__(self, index: Index) -> None:
        self.store, self.shards = index.store, index.shards

    def __call__(self, rows: Iterable[np.void]) -> Iterator[Sample]:
        opened, view = -1, memoryview(b"")
        for row in rows:
            shard = int(row["shard"])
            name, nbytes = self.shards[shard].name, self.shards[shard].nbytes
            if shard != opened:
                opened, view = shard, self.store.view(name)
                if len(view) != nbytes:
                    raise DatasetError(
                        f"{self.store}/{name} has {len(view)} bytes, the index says {nbytes}: run `wds-face verify`"
                    )
            run = view[int(row["offset"]) :][: int(row["nbytes"])]
            members = [member for member in walk(run, ends=False) if extension(member) in EXTENSIONS]
            if len(members) != row["images"]:
                raise DatasetError(
                    f"{self.store}/{name}: {len(members)} images of identity {row['label']}, the index says "
                    f"{row['images']}: run `wds-face verify`"
                )
            for member in members:
                image = run[member.data : member.data + member.size]
                key = member.name.rpartition(".")[0]
                yield {"__key__": key, "__url__": name, "image": image, "cls": int(row["label"])}


class _Seeded:
    """``pk_batched`` with a seed of its own in each epoch and worker."""

    def __init__(self, p: int, k: int, bufsize: int | None, seed: int, epoch: torch.Tensor) -> None:
        self.p, self.k, self.bufsize, self.seed, self.epoch = p, k, bufsize, seed, epoch

    def __call__(self, samples: Iterable[Sample]) -> Iterator[list[Sample]]:
        worker = get_worker_info()
        entropy = [self.seed, int(self.epoch), worker.id if worker else 0, _GROUPS]
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        yield from pk_batched(self.p, self.k, bufsize=self.bufsize, seed=seed)(samples)


class _Collated:
    """Samples -> batches, each with a generator of its own."""

    def __init__(self, collate: _Collate, seed: int, epoch: torch.Tensor) -> None:
        self.collate, self.seed, self.epoch = collate, seed, epoch

    def __call__(self, batches: Iterable[list[Sample]]) -> Iterator[tuple[torch.Tensor, ...]]:
        worker = get_worker_info()
        for number, samples in enumerate(batches):
            entropy = [self.seed, int(self.epoch), worker.id if worker else 0, number, _BATCH]
            yield self.collate(samples, np.random.default_rng(entropy))
