"""Data sets without images, and the orders in which systems bring them: for shuffle.py, which says what each is."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import webdataset as wds

from wds_face import pk_batched
from wds_face.conversion import layout
from wds_face.stream.lanes import default_lanes, default_window, groups_of, segment_size
from wds_face.stream.mixing import cut_batches, neighbourhoods
from wds_face.stream.plan import Epoch, cut_segments

SAMPLE = 10_000  # identities whose pairs are followed


@dataclass
class Data:
    """Rows of an index, in the order of the shards."""

    title: str
    images: np.ndarray
    shards: np.ndarray
    nbytes: np.ndarray
    p: int
    k: int
    epochs: int
    window: int = 0
    lanes: int = 0

    def __post_init__(self) -> None:
        self.segment_of = neighbourhoods(self.shards, self.nbytes)
        self.first = np.cumsum(self.images) - self.images  # image of each row
        self.groups = groups_of(self.images, self.k, True)
        self.lanes = self.lanes or default_lanes(self.images, self.p, self.k, True)
        self.segments = cut_segments(self.shards, self.nbytes, segment_size(int(self.nbytes.sum()), self.lanes))
        self.window = self.window or default_window(self.images, self.segments, self.p)
        self.sample = np.full(len(self.images), -1)
        chosen = np.random.default_rng(1).permutation(len(self.images))[:SAMPLE]
        self.sample[chosen] = np.arange(len(chosen))
        self.sampled = len(chosen)


def dealt(title: str, images: np.ndarray, nbytes: int, *options: int) -> Data:
    """Identities in shards of wds-face convert's size; *nbytes* of an image."""
    sizes = images * nbytes
    shards = layout.deal(sizes, layout.shard_size(int(sizes.sum())), 0)
    rows = np.concatenate(shards)
    return Data(title, images[rows], np.repeat(np.arange(len(shards)), [len(s) for s in shards]), sizes[rows], *options)


def like_lfw() -> np.ndarray:
    """LFW's numbers: two thirds of the identities have one image, one has 530."""
    images = np.maximum(1, (5749 / np.arange(1, 5750)) ** 0.63).astype(np.int64)
    images[0] = 530
    images[1] += 13_233 - images.sum()
    return images


def like_ms1mv2() -> np.ndarray:
    drawn = np.random.default_rng(0).lognormal(4.0, 0.65, 85_742)
    return np.maximum(5, np.rint(drawn * (68 / drawn.mean()))).astype(np.int64)


def ours(data: Data, number: int) -> Iterator[np.ndarray]:
    options = {"p": data.p, "k": data.k, "every": True, "lanes": data.lanes, "window": data.window}
    epoch = Epoch(data.images, data.segments, entropy=[0, number], **options)
    for g in range(len(epoch)):
        groups = epoch.batch(g)
        yield (data.first[groups["row"]][:, None] + epoch.images_of(groups)).ravel()


def full(data: Data, number: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng([number, 2])
    rows = np.repeat(np.arange(len(data.images)), data.images)
    order = np.argsort(rows + rng.random(len(rows)))  # each identity's images
    used = np.zeros(len(data.images), np.int64)
    for chosen in cut_batches(rng.permutation(np.repeat(np.arange(len(data.images)), data.groups)), data.p):
        numbers = (used[chosen][:, None] + np.arange(data.k)) % data.images[chosen][:, None]
        used[chosen] += data.k
        yield order[data.first[chosen][:, None] + numbers].ravel()


def single(data: Data, number: int) -> Iterator[np.ndarray]:
    order = np.random.default_rng([number, 3]).permutation(int(data.images.sum()))
    return iter(np.split(order, np.arange(data.p * data.k, len(order), data.p * data.k)))


def samples(data: Data, order: np.ndarray) -> Iterator[dict[str, Any]]:
    """What comes out of the shards."""
    cuts = np.searchsorted(data.shards, np.arange(data.shards[-1] + 2))
    for shard in order.tolist():
        for row in range(cuts[shard], cuts[shard + 1]):
            for image in range(data.first[row], data.first[row] + data.images[row]):
                yield {"__key__": image, "cls": row}


def webdataset(data: Data, number: int, *, pk: bool = False, shuffled: bool = True) -> Iterator[np.ndarray]:
    shards = np.arange(data.shards[-1] + 1)
    stream = samples(data, np.random.default_rng([number, 4]).permutation(shards) if shuffled else shards)
    if shuffled:
        stream = wds.filters.shuffle(1000, rng=random.Random(number))(stream)
    batched = pk_batched(data.p, data.k) if pk else wds.filters.batched(data.p * data.k, collation_fn=None)
    for batch in batched(stream):
        yield np.array([sample["__key__"] for sample in batch])


SYSTEMS: dict[str, Callable[[Data, int], Iterator[np.ndarray]]] = {
    "ours": ours,
    "full": full,
    "webdataset + pk": lambda data, number: webdataset(data, number, pk=True),
    "webdataset": webdataset,
    "images": single,
    "unshuffled": lambda data, number: webdataset(data, number, shuffled=False),
}
