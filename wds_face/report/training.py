"""What a training run will get from a data set: the plan of an epoch, how well it mixes, and its first batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from wds_face.decoding import decode
from wds_face.gallery import POINTS
from wds_face.shards.index import Index
from wds_face.stream import Batch, PKStream
from wds_face.stream.lanes import reading_factor
from wds_face.stream.mixing import Mixing, full_order, mixing, neighbourhoods, shard_order, stream_order
from wds_face.stream.plan import Epoch
from wds_face.stream.stages import Plan
from wds_face.transforms import Augmenter, MedicalMaskOcclusion
from wds_face.transforms.resize import resize

U8 = NDArray[np.uint8]
Ints = NDArray[np.int64]

FLIP = 0.5

#: Numbers that people have: GPUs, and workers of each.
GPUS = (1, 2, 4, 8, 16, 32)
WORKERS = (1, 2, 3, 4, 6, 8, 12, 16)

_ORDERED = 120  # batches of which the order is shown


class Pictures(NamedTuple):
    """A batch: the labels of its identities, its images before and after the transforms, and the masks.

    ``before`` and ``after`` are uint8 ``[p, k, 112, 112, 3]``, ``masks`` uint8 ``[p, k, 112, 112]``, 0 where occluded.
    """

    labels: list[int]
    before: U8
    after: U8
    masks: U8


@dataclass(frozen=True)
class Training:
    """What a training run will get.

    Attributes:
        p: identities in a batch.
        k, every: images of each, and whether every image comes.
        summary: of the plan, for one worker of one GPU.
        segments, window: of an epoch, and of these what a lane mixes at a time.
        factors: how often a byte is read, by :data:`GPUS` and :data:`WORKERS`.
        batches: of each rank, by :data:`GPUS`.
        advice: what to change for one worker of one GPU.
        mixing: of an epoch.
        orders: places in the shards, from 0 to 1, of the identities in the first batches: of the stream, a full
            shuffle, and the shards one after the other.
    """

    p: int
    k: int
    every: bool
    summary: dict[str, int]
    segments: int
    window: int
    factors: list[list[int]]
    batches: list[int]
    advice: list[str]
    mixing: Mixing
    orders: dict[str, list[NDArray[np.float64]]]


class Trainer:
    """A stream with the transforms of the README, to be looked at.

    Args:
        index: of the data set.
        p, k, epoch, seed: of :class:`~wds_face.PKStream`.
        points: ``"arcface"`` or ``"casia"``, see :data:`~wds_face.gallery.POINTS`.
    """

    def __init__(
        self, index: Index, *, p: int, k: int, epoch: Literal["images", "identities"], seed: int, points: str
    ) -> None:
        self.index, self.seed = index, seed
        self.stream = PKStream(
            index.store.url,
            p,
            k,
            epoch=epoch,
            augmenter=Augmenter(),
            occlusion=MedicalMaskOcclusion(ref_points=POINTS[points]),
            flip=FLIP,
            seed=seed,
            rank=0,
            world_size=1,
            storage_options=index.store.options,
        )

    @property
    def _plan(self) -> Plan:
        return cast(Plan, self.stream.pipeline[0])

    def look(self) -> Training:
        """The plan, and how well it mixes. No image is read."""
        epoch = self._plan.epoch(0)
        rows = self.index.identities
        summary = self.stream.summary(1)
        return Training(
            p=epoch.p,
            k=epoch.k,
            every=epoch.every,
            summary=summary,
            segments=len(self._plan.segments) - 1,
            window=self._plan.options["window"],
            factors=[[reading_factor(summary["lanes"], gpus * workers) for workers in WORKERS] for gpus in GPUS],
            batches=[-(-len(epoch) // gpus) for gpus in GPUS],
            advice=self.stream.advice(1),
            mixing=mixing(epoch, neighbourhoods(rows["shard"].astype(np.int64), rows["nbytes"]), seed=self.seed),
            orders=self._orders(epoch),
        )

    def _orders(self, epoch: Epoch) -> dict[str, list[NDArray[np.float64]]]:
        nbytes = self.index.identities["nbytes"]
        places = (np.cumsum(nbytes) - nbytes / 2) / nbytes.sum()
        orders = {
            "stream": stream_order(epoch, range(min(_ORDERED, len(epoch)))),
            "full": full_order(epoch, [self.seed]),
            "shards": shard_order(epoch),
        }
        return {name: [places[batch] for batch in islice(order, _ORDERED)] for name, order in orders.items()}

    def batches(self, count: int) -> Iterator[Pictures]:
        """The first batches of the first epoch.

        Raises:
            DatasetError: a shard cannot be read, or no image can be decoded.
        """
        plan, read, transform = self.stream.pipeline[:3]
        for batch in islice(transform(read(plan())), count):
            yield _pictures(batch)


def _pictures(batch: Batch) -> Pictures:
    p, k = batch.chosen.shape
    after, masks = cast(U8, batch.images).copy(), cast(U8, batch.masks).copy()  # others come in their place
    size = after.shape[1:3]
    before = np.zeros_like(after)
    for number, sample in enumerate(batch.samples):
        image = decode(sample["image"])
        if image is not None:
            before[number] = resize(image, *size)
    labels = [int(sample["cls"]) for sample in batch.samples[::k]]
    return Pictures(labels, before.reshape(p, k, *size, 3), after.reshape(p, k, *size, 3), masks.reshape(p, k, *size))
