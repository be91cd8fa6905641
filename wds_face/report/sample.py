"""Random images of a data set, read in the order in which they lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wds_face.images import Buffer
from wds_face.progress import bar
from wds_face.shards.index import Index
from wds_face.stream.batch import Batch
from wds_face.stream.counters import Counters
from wds_face.stream.plan import GROUP
from wds_face.stream.stages import Read

Ints = NDArray[np.int64]

# Bytes to read for each image that is asked for: images of an identity are read together, and some have very many.
_EACH = 128 << 10

_TOGETHER = 64
_BUFFER = 64 << 20


class Drawn(NamedTuple):
    """An image as it lies in a shard: its shard and key, the label of its identity, and the encoded bytes."""

    url: str
    key: str
    label: int
    data: Buffer


def draw(images: Ints, nbytes: Ints, samples: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Choose images at random, each as likely as any other.

    Where their identities would be too much to read (more than 128 kB for an image that is asked for), there are fewer
    identities, with more images of each.

    Args:
        images: of each row of an index.
        nbytes: of each row.
        samples: how many to choose; all where there are no more.
        rng: of all choices.

    Returns:
        The row of each, ascending, and its number within the row.
    """
    ends = np.cumsum(images)
    total = int(ends[-1]) if len(ends) else 0
    chosen = rng.choice(total, min(samples, total), replace=False)
    rows = np.searchsorted(ends, chosen, side="right")
    _, first = np.unique(rows, return_index=True)
    coming = rows[np.sort(first)]
    kept = coming[np.cumsum(nbytes[coming]) <= samples * _EACH]
    if len(kept) < len(coming):
        kept = coming[: max(1, len(kept))]
        inside = chosen[np.isin(rows, kept)]
        pool = np.concatenate([np.arange(ends[row] - images[row], ends[row]) for row in kept.tolist()])
        pool = np.setdiff1d(pool, inside)
        more = rng.choice(pool, min(len(chosen) - len(inside), len(pool)), replace=False)
        chosen = np.r_[inside, more]
    chosen = np.sort(chosen)
    rows = np.searchsorted(ends, chosen, side="right")
    return rows, chosen - (ends - images)[rows]


def read_sample(index: Index, samples: int, seed: int, *, progress: bool = False) -> Iterator[Drawn]:
    """Random images of a data set, see :func:`draw`, in the order in which they lie.

    Args:
        index: of the data set.
        samples: how many.
        seed: of all choices.
        progress: show a bar on a terminal.

    Raises:
        DatasetError: a shard cannot be read, or is not what the index says.
    """
    table = index.identities
    rows, numbers = draw(table["images"].astype(np.int64), table["nbytes"], samples, np.random.default_rng([seed, 1]))
    some, row = np.unique(rows, return_inverse=True)
    sums = None if index.store.local is not None or index.checksums is None else index.checksums[some]
    read = Read(index, table[some], sums, np.arange(len(some) + 1), buffer_bytes=_BUFFER, counters=Counters())

    def batches() -> Iterator[Batch]:
        for begin in range(0, len(row), _TOGETHER):
            part = row[begin : begin + _TOGETHER]
            groups = np.zeros(len(part), GROUP)
            groups["row"] = part
            yield Batch((0, 0, begin), groups, numbers[begin : begin + _TOGETHER, None])

    with bar("looking at", len(row), progress) as shown:
        for batch in read(batches()):
            for one in batch.samples:
                yield Drawn(one["__url__"], one["__key__"], one["cls"], one["image"])
            shown.update(len(batch.samples))
