"""A whole batch of encoded images, transformed into uint8 arrays: what a worker of the stream does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import cv2
import numpy as np

from wds_face.decoding import decode
from wds_face.images import Buffer
from wds_face.transforms.augmenter import Augmenter
from wds_face.transforms.checks import count, probability
from wds_face.transforms.forms import F32, U8
from wds_face.transforms.resize import resize
from wds_face.transforms.transform import Occlusion


class UndecodableError(ValueError):
    """An image of a batch cannot be decoded; *number* is its place there."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return f"image {self.number} of the batch cannot be decoded"


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
        if getattr(occlusion, "channels", "rgb") != "rgb":
            raise ValueError("in a batch images are RGB until they go out: the occlusion must have channels='rgb'")
        self.augmenter, self.occlusion = augmenter, occlusion
        self.flip = probability("flip", flip)
        self.image_size = count("image_size", image_size)
        self._split = augmenter.draws if augmenter else 0
        #: random numbers that one image takes
        self.draws = self._split + 1 + (occlusion.draws if occlusion else 0)

    def __call__(
        self, encoded: Sequence[Buffer], rng: np.random.Generator, replace: Callable[[int], U8] | None = None
    ) -> tuple[U8, U8 | F32 | None]:
        """Images uint8 RGB [N, H, W, 3], and with an occlusion masks, uint8 [N, H, W] or float32 [N, n, n].

        Args:
            encoded: the images.
            rng: of all choices.
            replace: called with the number of one that is no image, returns what comes in its place, uint8 RGB.

        Raises:
            UndecodableError: one is no image, and there is no *replace*; ``number`` says which.
        """
        size, count = self.image_size, len(encoded)
        images = np.empty((count, size, size, 3), np.uint8)
        drawn = rng.random((count, self.draws))
        for number, draws in enumerate(drawn[:, : self._split + 1].tolist()):
            row = images[number]
            image = decode(encoded[number], row)
            if image is None:
                if replace is None:
                    raise UndecodableError(number)
                image = replace(number)
            if image.shape != row.shape:
                image = cast(U8, resize(image, size, size))
            if self.augmenter is not None:
                image = self.augmenter.apply(image, draws)
            if draws[self._split] < self.flip:
                cv2.flip(image, 1, dst=row)
            elif image is not row:
                row[...] = image
        if self.occlusion is None:
            return images, None
        masks: U8 | F32 = np.full((count, size, size), 255, np.uint8)
        drawn = drawn[:, self._split + 1 :]
        self.occlusion.occlude(images, masks, drawn)  # type: ignore[arg-type]
        if self.occlusion.mask_size is not None:
            masks = self.occlusion.shrink(masks, self.occlusion.mask_size, drawn)  # type: ignore[arg-type]
        return images, masks
