"""Identities in random order, k images of each together: PK batches from a map-style data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import index
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed
from torch.utils.data import ConcatDataset, Dataset, DistributedSampler, Subset

Array = NDArray[Any]
Ints = NDArray[np.int64]

_DRAWN = 1 << 18  # indices drawn at once: what is held in memory while a pass runs


class RandomIdentitySampler(DistributedSampler[int]):
    """Each identity once per pass, in random order, with ``num_instances`` of its images standing together.

    A ``DataLoader`` with ``batch_size=P * num_instances`` thus gets batches of P identities. The images of an identity
    all differ where it has at least ``num_instances``; where it has fewer, each comes before any comes again.

    Only labels are read, no image is. A pass is a function of (seed, epoch): its groups are dealt to the ranks like
    cards, rank r getting r, r + R, r + 2R, ..., whole groups all. Every rank gets as many: a few groups from the start
    come again at the end, or the last few are left out with ``drop_last``.

    Every ``iter()`` starts the next epoch. Where the ranks might not begin as many passes, and to resume, say which
    with :meth:`set_epoch`. It is a ``DistributedSampler``, in whose place Lightning puts none of its own, which would
    take the groups apart.

    Args:
        data_source: a data set with ``targets`` (list, array or tensor: a label for each image), a ``Subset`` or
            ``ConcatDataset`` of such, or the labels themselves. Different data sets in a ``ConcatDataset`` must not
            share labels, since label 3 is a different person in each.
        num_instances: images of each identity, k.
        seed: of all choices, together with the epoch.
        num_replicas: processes that share a pass; those of ``torch.distributed`` by default, 1 without it.
        rank: which of them this is; likewise.
        drop_last: leave out the last identities instead of repeating the first, to give every rank as many.

    Raises:
        TypeError: the labels cannot be had without reading images, or are not one number or string each.
        ValueError: no labels, labels that are not as many as the images, labels that several data sets of a
            ``ConcatDataset`` share, or an argument out of its range.
    """

    def __init__(
        self,
        data_source: Any,
        num_instances: int = 4,
        *,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
        drop_last: bool = False,
    ) -> None:
        self.data_source = data_source
        self.num_instances = index(num_instances)
        self.seed = index(seed)
        self.num_replicas, self.rank = _replica(num_replicas, rank)
        self.drop_last = drop_last
        self.epoch = 0  #: of the next pass
        if self.num_instances < 1:
            raise ValueError(f"num_instances must be at least 1, not {num_instances}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, not {seed}")
        labels = _labels(data_source)
        if not len(labels):
            raise ValueError("there are no labels to sample from: the data set is empty")
        self._order, self._starts = _by_identity(labels)
        self.num_identities = len(self._starts) - 1
        whole, left = divmod(self.num_identities, self.num_replicas)
        self._groups = whole + (left > 0 and not drop_last)  # of this rank, as of every other
        if not self._groups:
            raise ValueError(
                f"{self.num_identities} identities are too few for {self.num_replicas} ranks with drop_last=True"
            )

    def __len__(self) -> int:
        """Indices in a pass of this rank."""
        return self._groups * self.num_instances

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass that of ``epoch``."""
        if index(epoch) < 0:
            raise ValueError(f"epoch must be at least 0, not {epoch}")
        self.epoch = index(epoch)

    def __iter__(self) -> Iterator[int]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self._pass(epoch)

    def _pass(self, epoch: int) -> Iterator[int]:
        identities = np.random.default_rng([self.seed, epoch, 0]).permutation(self.num_identities)
        step = max(1, _DRAWN // self.num_instances)
        last = self.rank + (self._groups - 1) * self.num_replicas  # beyond the end: one from the start again
        for number, begin in enumerate(range(0, self.num_identities, step)):
            groups = self._draw(identities[begin : begin + step], epoch, number)
            groups = groups[: max(0, last + 1 - begin)]
            yield from groups[(self.rank - begin) % self.num_replicas :: self.num_replicas].ravel().tolist()
        if last >= self.num_identities:
            number, row = divmod(last % self.num_identities, step)
            yield from self._draw(identities[number * step :][:step], epoch, number)[row].tolist()

    def _draw(self, identities: Ints, epoch: int, number: int) -> Ints:
        """Indices of k images of each of these identities, ``[m, k]``: those of chunk ``number``, on every rank."""
        k = self.num_instances
        rng = np.random.default_rng([self.seed, epoch, 1 + number])
        starts = self._starts[identities]
        images = self._starts[identities + 1] - starts
        enough = images >= k
        chosen = np.empty((len(identities), k), np.int64)
        chosen[enough] = _distinct(images[enough], k, rng)
        chosen[~enough] = _repeated(images[~enough], k, rng)
        indices: Ints = self._order[starts[:, None] + chosen]
        return indices


def _distinct(images: Ints, k: int, rng: np.random.Generator) -> Ints:
    """k different numbers below each of ``images``, ``[m, k]``, by Floyd's algorithm for all rows at once."""
    chosen = np.empty((k, len(images)), np.int64)
    for i in range(k):
        top = images - k + i
        drawn = rng.integers(0, top, endpoint=True)
        chosen[i] = np.where((chosen[:i] == drawn).any(axis=0), top, drawn)
    return rng.permuted(chosen.T, axis=1)  # Floyd's sets are uniform, their order is not


def _repeated(images: Ints, k: int, rng: np.random.Generator) -> Ints:
    """All numbers below each of ``images``, of at most k, in random order, again and again until they are k."""
    keys = rng.random((len(images), k))
    keys[np.arange(k) >= images[:, None]] = 2.0  # stand last
    return np.take_along_axis(np.argsort(keys, axis=1), np.arange(k) % images[:, None], axis=1)


def _replica(num_replicas: int | None, rank: int | None) -> tuple[int, int]:
    running = distributed.is_available() and distributed.is_initialized()
    if num_replicas is None:
        num_replicas = distributed.get_world_size() if running else 1
    if rank is None:
        rank = distributed.get_rank() if running else 0
    if not 0 <= rank < num_replicas:
        raise ValueError(f"rank must be at least 0 and below num_replicas, not {rank} of {num_replicas}")
    return index(num_replicas), index(rank)


def _labels(source: Any) -> Array:
    """A label for each image, ``[n]``."""
    targets = getattr(source, "targets", None)
    if targets is not None:
        labels = _column(targets, f"the targets of {type(source).__name__}")
        if hasattr(source, "__len__") and len(source) != len(labels):
            raise ValueError(f"{type(source).__name__} has {len(source)} images but {len(labels)} targets")
        return labels
    if isinstance(source, Subset):
        return _labels(source.dataset)[np.asarray(source.indices, np.int64)]
    if isinstance(source, ConcatDataset):
        parts = [(part, _labels(part)) for part in _parts(source)]
        _refuse_common_labels(parts)
        return np.concatenate([labels for _, labels in parts])
    if isinstance(source, (str, bytes, Dataset)) or not (isinstance(source, Sequence) or hasattr(source, "__array__")):
        raise TypeError(
            f"{type(source).__name__} has no targets, and images are not read for their labels: "
            "give it targets, a label for each image, or pass the list of labels"
        )
    return _column(source, "the labels")


def _parts(source: Any) -> Iterator[Any]:
    """Yield the data sets of a ``ConcatDataset``, including those of nested ones, in order."""
    if not isinstance(source, ConcatDataset):
        yield source
        return
    for part in source.datasets:
        yield from _parts(part)


def _refuse_common_labels(parts: Sequence[tuple[Any, Array]]) -> None:
    """Refuse different data sets that share a label. Subsets of one data set may share labels.

    Raises:
        ValueError: Two data sets share a label, which the message names.
    """
    by_origin: dict[int, tuple[str, list[Array]]] = {}
    for part, labels in parts:
        origin = part
        while isinstance(origin, Subset):
            origin = origin.dataset
        _, of_origin = by_origin.setdefault(id(origin), (type(origin).__name__, []))
        of_origin.append(labels)
    seen: list[tuple[str, Array]] = []
    for name, of_origin in by_origin.values():
        own = np.unique(np.concatenate(of_origin))
        for other_name, others in seen:
            common = np.intersect1d(own, others)
            if len(common):
                raise ValueError(
                    f"{len(common)} labels ({common[0]}, …) are in two data sets of the ConcatDataset ({other_name}, "
                    f"{name}), where they are different people: give each data set labels of its own, for example by a "
                    "target_transform that adds the number of labels before it, and pass the list of labels"
                )
        seen.append((name, own))


def _column(values: Any, name: str) -> Array:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
    try:
        labels = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # rows of different length, tensors among them
        labels = np.empty(0, object)
    if labels.ndim != 1 or labels.dtype.kind not in "biufUS":
        raise TypeError(f"{name} must be one number or string for each image: pass the list of labels")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError(f"{name} contain NaN, which is no identity")
    return labels


def _by_identity(labels: Array) -> tuple[Ints, Ints]:
    """The images' indices, identity by identity, ``[n]``, and where in them each starts, ``[identities + 1]``."""
    count = len(labels)
    bits = count.bit_length()
    if labels.dtype.kind not in "iu" or (int(labels.max()) - int(labels.min())) >> (63 - bits):
        labels = np.unique(labels, return_inverse=True)[1]
    if (labels[1:] >= labels[:-1]).all():
        order = np.arange(count)
    else:
        # label and index in one number: sorting those takes half the time of argsort
        wide = labels.astype(np.uint64 if labels.dtype.kind == "u" else np.int64)
        packed = (wide - labels.min()).astype(np.int64) << bits
        packed |= np.arange(count)
        packed.sort()
        order = packed & (1 << bits) - 1
        labels = labels[order]
    starts = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    return order, np.concatenate([[0], starts, [count]]).astype(np.int64)
