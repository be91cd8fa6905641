"""The labels of a stream: those of the index, or 0 to n - 1 over the identities that are streamed."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wds_face.shards.index import Index

Ints = NDArray[np.int64]
Kind = Literal["compact", "index"]


class Labels:
    """What the labels of the index become.

    Args:
        index: Index of the data set.
        kept: bool [n], which rows of the index are streamed.
        kind: ``"index"`` keeps the labels of the index; ``"compact"`` numbers the identities that are streamed from 0
            to n - 1, in the order of their labels. None is ``"compact"`` where rows are left out.

    Attributes:
        kind: ``"compact"`` or ``"index"``; ``"index"`` also where compact labels are the same.
        num_classes: Labels are below it.

    Raises:
        ValueError: *kind* is something else.
    """

    def __init__(self, index: Index, kept: NDArray[np.bool_], kind: Kind | None = None) -> None:
        if kind not in (None, "compact", "index"):
            raise ValueError(f'labels is "compact" or "index", not {kind!r}')
        labels = index.identities["label"].astype(np.int64)
        everyone = int(labels.max(initial=-1)) + 1
        streamed = np.unique(labels[kept])
        if kind is None:
            kind = "index" if kept.all() else "compact"
        if len(streamed) == everyone:
            kind = "index"
        self.kind: Kind = kind
        self.num_classes = everyone if kind == "index" else len(streamed)
        self._streamed = None if kind == "index" else streamed
        self._index = replace(index, identities=index.identities[:0].copy())  # without its rows, to be pickled

    def of(self, labels: Ints) -> Ints:
        """Return what labels of the index become."""
        return labels if self._streamed is None else np.searchsorted(self._streamed, labels)

    @cached_property
    def classes(self) -> list[str]:
        """The original name of each label, read when first asked for.

        Raises:
            DatasetError: The names of the data set are missing or damaged.
        """
        names = self._index.classes
        return names if self._streamed is None else [names[label] for label in self._streamed.tolist()]
