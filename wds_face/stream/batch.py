"""What flows between the stages of the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from wds_face.stream.reader import Reader
    from wds_face.stream.slots import Slot

# Behind the other numbers, as trailing zeros would not count, and apart from what the plan draws from.
_PURPOSE = 1000

#: As webdataset has it: ``__key__``, ``__url__``, ``image`` (encoded, a view) and ``cls``, the label.
Sample = dict[str, Any]


class Found(NamedTuple):
    """The k images of one identity in the bytes of a segment.

    Attributes:
        view: the bytes.
        places: of each image, its first byte and end, and those of its key.
        keys: the keys instead, where they do not stand in the bytes.
    """

    view: memoryview
    places: list[list[int]]
    keys: list[str] | None
    url: str
    label: int

    def samples(self) -> list[Sample]:
        """As samples."""
        keys = self.keys or [str(self.view[key:stem], "utf-8", "surrogateescape") for _, _, key, stem in self.places]
        return [
            {"__key__": key, "__url__": self.url, "image": self.view[data:stop], "cls": self.label}
            for key, (data, stop, _, _) in zip(keys, self.places, strict=True)
        ]


class Batch:
    """One batch on its way. Each stage fills in what it makes.

    Arrays are a batch's own until it has passed the last stage, then others are written to the same memory: copy what
    is to stay.

    Attributes:
        entropy: seed, epoch and number of the batch: what all that is random about it comes from.
        groups: :data:`~wds_face.stream.plan.GROUP` ``[p]``: the identities, by their rows.
        chosen: int64 ``[p, k]``: which of their images.
        images: uint8 ``[p * k, size, size, 3]``, RGB; or what a ``transform`` made of them, stacked.
        masks: of an occlusion: uint8 ``[p * k, size, size]`` or float32 ``[p * k, n, n]``; or as *transform* made them.
        reader: finds other images, where one has to be replaced.
        slot: shared memory for it to go out in.
        borrowed: arrays that others use when it has gone out.
        gone: whether it has.
    """

    images: NDArray[np.uint8] | torch.Tensor | None = None
    masks: NDArray[Any] | torch.Tensor | None = None
    slot: Slot | None = None
    gone = False

    def __init__(
        self,
        entropy: tuple[int, int, int],
        groups: NDArray[Any],
        chosen: NDArray[np.int64],
        samples: list[Sample] | None = None,
        reader: Reader | None = None,
    ) -> None:
        self.entropy, self.groups, self.chosen, self.reader = entropy, groups, chosen, reader
        self.borrowed: list[NDArray[np.uint8]] = []
        self._samples, self._found = samples, list[Found]()

    @property
    def samples(self) -> list[Sample]:
        """p * k samples, identity by identity: made when they are first looked at, which takes time."""
        if self._samples is None:
            self._samples = [sample for found in self._found for sample in found.samples()]
            self._found = []
        return self._samples

    @samples.setter
    def samples(self, samples: list[Sample]) -> None:
        self._samples, self._found = samples, []

    def place(self, found: list[Found]) -> None:
        """Say where its samples are, group by group."""
        self._samples, self._found = None, found

    @property
    def encoded(self) -> list[memoryview]:
        """The images of its samples."""
        if self._samples is not None:
            return [sample["image"] for sample in self._samples]
        return [found.view[data:stop] for found in self._found for data, stop, _, _ in found.places]

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 ``[p * k]``, the labels of its samples."""
        if self._samples is not None:
            return np.array([sample["cls"] for sample in self._samples], np.int64)
        return np.repeat(np.array([found.label for found in self._found], np.int64), self.chosen.shape[1])

    @property
    def number(self) -> int:
        """Of the batch in its epoch, over all ranks."""
        return self.entropy[2]

    def rng(self, purpose: int) -> np.random.Generator:
        """A generator for one purpose, the same whoever makes this batch.

        Args:
            purpose: 0 is what the stream's own transforms draw from; take another number for yours.
        """
        return np.random.default_rng([*self.entropy, _PURPOSE + purpose])
