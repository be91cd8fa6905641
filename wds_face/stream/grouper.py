"""P identities x K images: a buffer of samples in, full batches out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np
import webdataset as wds

T = TypeVar("T")


class PKGrouper(Generic[T]):
    """Groups samples by identity, in a buffer, and deals them out as full batches.

    Every sample is dealt at least once. One is dealt again only where its identity has too few to fill a group of k, or
    where at the end fewer than p identities are left.

    Args:
        p: identities in a batch.
        k: images of each.
        rng: of all choices.
    """

    def __init__(self, p: int, k: int, rng: np.random.Generator) -> None:
        if p < 1 or k < 1:
            raise ValueError(f"p and k must be at least 1, not {p} and {k}")
        self.p, self.k = p, k
        self.pending = 0  #: samples not dealt yet
        self._rng = rng
        self._fresh: dict[int, list[T]] = {}
        self._dealt: dict[int, list[T]] = {}  # the last k of each of the latest identities, to fill groups with

    def add(self, label: int, sample: T) -> None:
        """Take in a sample."""
        self._fresh.setdefault(label, []).append(sample)
        self.pending += 1

    def batch(self) -> list[tuple[int, T]]:
        """A batch of p * k (label, sample), identity by identity.

        Raises:
            ValueError: fewer than p identities were seen.
        """
        labels = list(self._fresh)
        # By the number of images left, so that large identities are not all that remains at the end.
        counts = np.fromiter((len(self._fresh[label]) for label in labels), float, len(labels))
        order = np.argsort(-(np.log(counts) + self._rng.gumbel(size=len(labels))))
        chosen = [labels[i] for i in order[: self.p]]
        if len(chosen) < self.p:
            spare = [label for label in self._dealt if label not in self._fresh]
            missing = self.p - len(chosen)
            if len(spare) < missing:
                raise ValueError(
                    f"p={self.p} identities are wanted in a batch, but there are only {len(chosen) + len(spare)}"
                )
            chosen += [spare[i] for i in self._rng.permutation(len(spare))[:missing]]
        batch = [(label, sample) for label in chosen for sample in self._group(label)]
        while len(self._dealt) > 4 * self.p:  # forget the oldest
            self._dealt.pop(next(iter(self._dealt)))
        return batch

    def _group(self, label: int) -> list[T]:
        """k samples of an identity: those not dealt yet, then different earlier ones, then repeats."""
        fresh = self._fresh.pop(label, [])
        order = self._rng.permutation(len(fresh))
        group = [fresh[i] for i in order[: self.k]]
        if len(order) > self.k:
            self._fresh[label] = [fresh[i] for i in order[self.k :]]
        self.pending -= len(group)
        earlier = self._dealt.pop(label, [])
        new = len(group)
        group += [earlier[i] for i in self._rng.permutation(len(earlier))[: self.k - new]]
        different = len(group)
        group += [group[i % different] for i in range(self.k - different)]
        self._dealt[label] = group[:different]
        return group


def _pk_batched(
    source: Iterable[dict[str, Any]],
    p: int,
    k: int,
    *,
    bufsize: int | None = None,
    seed: int = 0,
    label: Callable[[dict[str, Any]], int] | None = None,
    handler: Callable[[Exception], bool] = wds.reraise_exception,
) -> Iterator[list[dict[str, Any]]]:
    if bufsize is None:
        bufsize = 16 * p * k
    grouper: PKGrouper[dict[str, Any]] = PKGrouper(p, k, np.random.default_rng([seed, p, k]))
    for sample in source:
        try:
            identity = int(sample["cls"]) if label is None else label(sample)
        except Exception as error:
            if handler(error):
                continue
            break
        grouper.add(identity, sample)
        if grouper.pending >= bufsize:
            yield [member for _, member in grouper.batch()]
    while grouper.pending:
        yield [member for _, member in grouper.batch()]


_stage = wds.pipelinefilter(_pk_batched)


def pk_batched(
    p: int,
    k: int,
    *,
    bufsize: int | None = None,
    seed: int = 0,
    label: Callable[[dict[str, Any]], int] | None = None,
    handler: Callable[[Exception], bool] = wds.reraise_exception,
) -> Any:
    """A WebDataset stage that turns samples into lists of p * k samples, identity by identity.

    Use it as ``dataset.compose(wds_face.pk_batched(p=64, k=4))`` over grouped or ungrouped shards; no index is needed.

    Args:
        p: identities in a batch.
        k: images of each.
        bufsize: samples to choose from; 16 batches by default. Grouped shards need at least several times
            p x the images of a usual identity to mix well.
        seed: of all choices.
        label: the identity of a sample; by default its ``cls`` as a whole number.
        handler: of webdataset's: what to do about a sample of which that cannot be said.

    Raises:
        ValueError: when the source has fewer than p identities.
    """
    return _stage(p, k, bufsize=bufsize, seed=seed, label=label, handler=handler)
