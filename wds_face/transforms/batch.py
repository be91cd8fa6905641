"""A whole batch of encoded images, transformed into uint8 arrays: what a worker of the stream does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from wds_face.decoding import decode
from wds_face.images import Buffer
from wds_face.transforms.augmenter import Augmenter
from wds_face.transforms.checks import count, probability
from wds_face.transforms.fit import Fit, ToSquare
from wds_face.transforms.forms import F32, U8
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
        image_size: Width and height of the images in a batch. Images of other sizes are brought to it first.
        fit: How images are brought to it; see :func:`~wds_face.transforms.fit.fit_to_square`. Occlusions are placed on
            the result: their reference points are pixels of it, wherever the face lies.
        on_other_size: Called with height and width of each image of another size.

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
        *,
        fit: Fit = "stretch",
        on_other_size: Callable[[int, int], None] | None = None,
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
        self.to_square = ToSquare(self.image_size, fit, on_other_size)
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
            replace: see :meth:`decode`.

        Raises:
            UndecodableError: see :meth:`decode`.
        """
        shape = len(encoded), self.image_size, self.image_size
        images = np.empty((*shape, 3), np.uint8)
        self.decode(encoded, images, replace)
        return images, self.change(images, None if self.occlusion is None else np.empty(shape, np.uint8), rng)

    def decode(self, encoded: Sequence[Buffer], images: U8, replace: Callable[[int], U8] | None = None) -> None:
        """Fill in *images*, uint8 RGB [N, H, W, 3].

        Args:
            encoded: the images.
            images: where they go.
            replace: called with the number of one that is no image, returns what comes in its place, uint8 RGB.

        Raises:
            UndecodableError: one is no image, and there is no *replace*; ``number`` says which.
        """
        for number, row in enumerate(images):
            image = decode(encoded[number], row)
            if image is None:
                if replace is None:
                    raise UndecodableError(number)
                image = replace(number)
            if image is not row:
                self.to_square(image, row)

    def change(self, images: U8, masks: U8 | None, rng: np.random.Generator) -> U8 | F32 | None:
        """Augment, flip and occlude *images* in place, and fill in *masks*, uint8 [N, H, W]; returns the masks.

        One transform after the other: its code is in the cache then, and that of OpenCV is large.
        """
        drawn = rng.random((len(images), self.draws))
        if self.augmenter is not None:
            self.augmenter.apply_all(images, drawn[:, : self._split])
        for number in np.flatnonzero(drawn[:, self._split] < self.flip).tolist():
            image = images[number]
            cv2.flip(image, 1, dst=image)
        if self.occlusion is None or masks is None:
            return None
        drawn = drawn[:, self._split + 1 :]
        masks.fill(255)
        self.occlusion.occlude(images, masks, drawn)
        return (
            masks if self.occlusion.mask_size is None else self.occlusion.shrink(masks, self.occlusion.mask_size, drawn)
        )
