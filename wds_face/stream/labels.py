"""Labels of a stream: those of the index, or 0 to n - 1 over the identities that are streamed."""

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
    """Map the labels of the index to those that a stream yields.

    Args:
        index: Index of the data set.
        kept: bool [n], True for the rows of the index that are streamed.
        kind: ``"index"`` keeps the labels of the index; ``"compact"`` numbers the identities that are streamed from 0
            to n - 1, in the order of their labels. None means ``"compact"`` if rows are left out.

    Attributes:
        kind: ``"compact"`` or ``"index"``; always ``"index"`` if both give the same labels.
        num_classes: Number of classes; every label is smaller.

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
        self._index = replace(index, identities=index.identities[:0].copy())  # without its rows, which would be pickled

    def of(self, labels: Ints) -> Ints:
        """Return the labels that the stream yields for labels of the index."""
        return labels if self._streamed is None else np.searchsorted(self._streamed, labels)

    @cached_property
    def classes(self) -> list[str]:
        """The original name of each label, read on first access.

        Raises:
            DatasetError: The names of the data set are missing or damaged.
        """
        names = self._index.classes
        return names if self._streamed is None else [names[label] for label in self._streamed.tolist()]
