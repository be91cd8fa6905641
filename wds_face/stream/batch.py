"""What flows between the stages of the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from wds_face.stream.reader import Reader
    from wds_face.stream.slots import Space

# Behind the other numbers, as trailing zeros would not count, and apart from what the plan draws from.
_PURPOSE = 1000

#: A sample as in webdataset: ``__key__``, ``__url__``, ``image`` (a view of the encoded bytes) and ``cls`` (the label
#: that the stream yields).
Sample = dict[str, Any]


class Origin(NamedTuple):
    """Where images come from that are in one segment.

    Attributes:
        url: of the shard.
        keys: of the images; or else they are in
        view: bytes of the segment, at
        places: of each image: first byte and end, and those of its key.
    """

    url: str
    keys: list[str] | None
    view: memoryview
    places: list[list[int]]

    def names(self) -> list[str]:
        """The key of each."""
        if self.keys is not None:
            return self.keys
        return [str(self.view[key:stem], "utf-8", "surrogateescape") for _, _, key, stem in self.places]


class Found(NamedTuple):
    """The images of a batch, identity by identity.

    Attributes:
        images: encoded.
        labels: int64 ``[p * k]``.
        origins: of all images, segment by segment.
        order: of each image, its number in these.
    """

    images: list[memoryview | bytes]
    labels: NDArray[np.int64]
    origins: list[Origin]
    order: list[int]

    def samples(self) -> list[Sample]:
        """As samples."""
        names = [(key, origin.url) for origin in self.origins for key in origin.names()]
        return [
            {"__key__": names[number][0], "__url__": names[number][1], "image": image, "cls": label}
            for number, image, label in zip(self.order, self.images, self.labels.tolist(), strict=True)
        ]


class Batch:
    """One batch on its way. Each stage fills in what it makes.

    Arrays are a batch's own until it has passed the last stage, then others are written to the same memory: copy what
    is to stay.

    Attributes:
        entropy: seed, epoch and number of the batch: what all that is random about it comes from.
        groups: :data:`~wds_face.stream.plan.GROUP` ``[p]``: the identities, by their rows in the index.
            ``Index.open(url).identities[batch.groups["row"]]`` are their entries, even if *min_images* excludes rows.
        chosen: int64 ``[p, k]``: which of their images.
        images: uint8 ``[p * k, size, size, 3]``, RGB; or what a ``transform`` made of them, stacked.
        masks: of an occlusion: uint8 ``[p * k, size, size]`` or float32 ``[p * k, n, n]``; or as *transform* made them.
        wanted: segments that were asked for ahead.
        reader: finds other images, where one has to be replaced.
        space: where it is made, and goes out.
        gone: whether it has.
    """

    images: NDArray[np.uint8] | torch.Tensor | None = None
    masks: NDArray[Any] | torch.Tensor | None = None
    space: Space | None = None
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
        self.wanted: list[int] = []
        self._samples = samples or []
        self._found: Found | None = None

    @property
    def samples(self) -> list[Sample]:
        """p * k samples, identity by identity: made when they are first looked at, which takes time."""
        if self._found is not None:
            self._samples, self._found = self._found.samples(), None
        return self._samples

    @samples.setter
    def samples(self, samples: list[Sample]) -> None:
        self._samples, self._found = samples, None

    def fill(self, found: Found) -> None:
        """Give it its images."""
        self._samples, self._found = [], found

    @property
    def encoded(self) -> list[memoryview | bytes]:
        """The images of its samples."""
        return [sample["image"] for sample in self._samples] if self._found is None else self._found.images

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 ``[p * k]``, the labels of its samples."""
        if self._found is not None:
            return self._found.labels
        return np.array([sample["cls"] for sample in self._samples], np.int64)

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
