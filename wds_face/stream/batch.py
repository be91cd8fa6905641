"""What flows between the stages of the stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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


@dataclass
class Batch:
    """One batch on its way. Each stage fills in what it makes.

    Attributes:
        entropy: seed, epoch and number of the batch: what all that is random about it comes from.
        groups: :data:`~wds_face.stream.plan.GROUP` ``[p]``: the identities, by their rows.
        chosen: int64 ``[p, k]``: which of their images.
        samples: p * k of them, identity by identity.
        images: uint8 ``[p * k, size, size, 3]``, RGB; or what a ``transform`` made of them, stacked.
        masks: of an occlusion: uint8 ``[p * k, size, size]`` or float32 ``[p * k, n, n]``; or as *transform* made them.
        reader: finds other images, where one has to be replaced.
        slot: shared memory for it to go out in.
        borrowed: arrays that others use when it has gone out.

    Arrays are a batch's own until it has passed the last stage, then others are written to the same memory: copy what
    is to stay.
    """

    entropy: tuple[int, int, int]
    groups: NDArray[Any]
    chosen: NDArray[np.int64]
    samples: list[Sample] = field(default_factory=list)
    images: NDArray[np.uint8] | torch.Tensor | None = None
    masks: NDArray[Any] | torch.Tensor | None = None
    reader: Reader | None = None
    slot: Slot | None = None
    borrowed: list[NDArray[np.uint8]] = field(default_factory=list)

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
