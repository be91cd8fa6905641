"""A whole batch of encoded images, transformed into uint8 arrays: what a worker of the stream does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np

from wds_face.decoding import decode
from wds_face.images import Buffer
from wds_face.transforms.augmenter import Augmenter
from wds_face.transforms.checks import pixels, probability
from wds_face.transforms.forms import F32, U8
from wds_face.transforms.resize import resize
from wds_face.transforms.transform import Occlusion


class UndecodableError(ValueError):
    """An image of a batch cannot be decoded; *number* is its place there."""

    def __init__(self, number: int) -> None:
        super().__init__(f"image {number} of the batch cannot be decoded")
        self.number = number


class BatchTransform:
    """Decodes, augments, flips and occludes a batch.

    Every image takes the same count of random numbers, a row of its own, so that what happens to it depends on the
    generator and its position only. The results are those of the same transforms called one image at a time with
    these numbers.

    Args:
        augmenter: comes first.
        occlusion: comes last, on the flipped image, so that a mask is never flipped.
        flip: how likely an image is to be flipped left to right.
        image_size: of the batch; images of another size are resized to it before anything else.

    Raises:
        TypeError: a transform is of another kind.
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        augmenter: Augmenter | None = None,
        occlusion: Occlusion | None = None,
        flip: float = 0.0,
        image_size: int = 112,
    ) -> None:
        if augmenter is not None and not isinstance(augmenter, Augmenter):
            raise TypeError(f"augmenter must be a wds_face.Augmenter, not {augmenter!r}")
        if occlusion is not None and not isinstance(occlusion, Occlusion):
            raise TypeError(f"occlusion must be one of wds_face's occlusions, not {occlusion!r}")
        self.augmenter, self.occlusion = augmenter, occlusion
        self.flip = probability("flip", flip)
        self.image_size = pixels("image_size", image_size)
        self._split = augmenter.draws if augmenter else 0
        #: random numbers that one image takes
        self.draws = self._split + 1 + (occlusion.draws if occlusion else 0)

    def masks(self, count: int) -> U8 | F32:
        """Room for the masks of *count* images: all visible, uint8 [N, H, W], or float32 [N, n, n] at ``mask_size``."""
        size = self.occlusion.mask_size if self.occlusion else None
        if size is None:
            return np.full((count, self.image_size, self.image_size), 255, np.uint8)
        return np.ones((count, size, size), np.float32)

    def __call__(self, encoded: Sequence[Buffer], rng: np.random.Generator) -> tuple[U8, U8 | F32 | None]:
        """Images uint8 RGB [N, H, W, 3], and with an occlusion masks as :meth:`masks` makes them.

        Raises:
            UndecodableError: one is no image; ``number`` says which.
        """
        size, count = self.image_size, len(encoded)
        images = np.empty((count, size, size, 3), np.uint8)
        masks = self.masks(count) if self.occlusion else None
        for number, draws in enumerate(rng.random((count, self.draws)).tolist()):
            room = images[number]
            image = decode(encoded[number])
            if image is None:
                raise UndecodableError(number)
            if image.shape != room.shape:
                image = cast(U8, resize(image, size, size))
            if self.augmenter is not None:
                image = self.augmenter.apply(image, draws)
            if draws[self._split] < self.flip:
                cv2.flip(image, 1, dst=room)
            else:
                room[...] = image
            if self.occlusion is not None and masks is not None:
                self._occlude(room, masks, number, draws[self._split + 1 :])
        return images, masks

    def _occlude(self, image: U8, masks: U8 | F32, number: int, draws: Sequence[float]) -> None:
        occlusion = cast(Occlusion, self.occlusion)
        if occlusion.mask_size is None:
            occlusion.occlude(image, cast(U8, masks[number]), draws)
        else:
            mask = np.full(image.shape[:2], 255, np.uint8)
            occlusion.occlude(image, mask, draws)
            masks[number] = occlusion.shrink(mask, occlusion.mask_size, draws)
