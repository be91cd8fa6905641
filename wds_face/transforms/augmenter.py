"""Crops, photometric changes and low resolution, as faces meet them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import cv2
import numpy as np

from wds_face.transforms.checks import between, probability
from wds_face.transforms.forms import U8
from wds_face.transforms.rect import ASPECT, cut, place
from wds_face.transforms.resize import NEAREST, resize, sketch
from wds_face.transforms.transform import Draws, Floats, Geometric

_LUMA = 0.299, 0.587, 0.114  # ITU-R BT.601, as PIL's "L"
# Which of the draws says whether, how likely it is, and what is done with an image and all of its draws; where its last
# pass may write to.
Step = tuple[int, float, Callable[[U8, Draws, "U8 | None"], U8]]

_CV2_FILTERS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


class Augmenter(Geometric):
    """Crops, changes the light, and lowers the resolution of an image, each with a probability of its own.

    - *Crop*: a part of 0.8 to 1.0 of height and width, anywhere, resized to the image's size (bilinear).
    - *Photometric*: brightness, contrast and saturation, each times 1 - *jitter* to 1 + *jitter*.
    - *Low resolution*: to int(0.25 to 0.75 times the size) and back (bilinear).

    All uniform. A mask that comes with the image is cropped with it.

    What differs from the text it follows: the image keeps its size (there it became 112 x 112), and its height and
    width shrink alike. The three photometric factors are applied in one step, which is rounded and clipped once;
    without clipping between them their order makes no difference, so none is drawn.

    Args:
        crop_prob, photometric_prob, low_res_prob: how likely each is.
        jitter: of the photometric factors, in [0, 1].
        rng: see :class:`Transform`.

    Raises:
        ValueError: an argument is out of its range.
    """

    # Whether, then what: crop 1 + 4, photometric 1 + 3, low resolution 1 + 3.
    draws = 13

    crop_scale = (0.8, 1.0)
    low_res_scale = (0.25, 0.75)

    def __init__(
        self,
        crop_prob: float = 0.1,
        photometric_prob: float = 0.3,
        low_res_prob: float = 0.2,
        *,
        jitter: float = 0.2,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(rng)
        self.crop_prob = probability("crop_prob", crop_prob)
        self.photometric_prob = probability("photometric_prob", photometric_prob)
        self.low_res_prob = probability("low_res_prob", low_res_prob)
        self.jitter = between("jitter", jitter, 0.0, 1.0)

    @staticmethod
    def adaface(
        crop_prob: float = 0.2,
        photometric_prob: float = 0.2,
        low_res_prob: float = 0.2,
        *,
        rng: np.random.Generator | None = None,
    ) -> Augmenter:
        """What AdaFace was trained with (Kim et al., CVPR 2022, and its published code), in its order.

        - *Crop*: a part of 0.2 to 1.0 of the area, of an aspect of 3/4 to 4/3, stays where it is; around it is black.
        - *Low resolution*: to 0.2 to 1.0 of the size and back, each way with one of OpenCV's five filters.
        - *Photometric*: as above, with a jitter of 0.5.

        A mask that comes with the image stays as it is.
        """
        return _AdaFace(crop_prob, photometric_prob, low_res_prob, jitter=0.5, rng=rng)

    def augment(self, img: Any) -> Any:
        """The same as calling it: an image, or a pair of an image and its mask, in the form it came in."""
        return self(img)

    def _steps(self) -> tuple[Step, ...]:
        return (
            (0, self.crop_prob, lambda image, draws, _: self._crop(image, draws[1:5])),
            (5, self.photometric_prob, lambda image, draws, _: photometric(image, self.jitter, draws[6:9])),
            (9, self.low_res_prob, lambda image, draws, out: self._low_resolution(image, draws[10:13], out)),
        )

    def apply(self, image: U8, draws: Draws) -> U8:
        """uint8 [H, W, 3] of the same size; *image* itself if nothing is to be done."""
        for whether, prob, change in self._steps():
            if draws[whether] < prob:
                image = change(image, draws, None)
        return image

    def apply_all(self, images: U8, draws: Floats) -> None:
        """Change uint8 [N, H, W, 3] in place, each as :meth:`apply` does with its row of *draws* [N, :attr:`draws`].

        One step after the other: its code is in the processor's cache then.
        """
        if type(self).apply is not Augmenter.apply:  # of somebody else's
            for image, row in zip(images, draws.tolist(), strict=True):
                image[...] = self.apply(image, row)
            return
        for whether, prob, change in self._steps():
            for number in np.flatnonzero(draws[:, whether] < prob).tolist():
                image = images[number]
                made = change(image, draws[number].tolist(), image)
                if made is not image:
                    image[...] = made

    def move(self, plane: Any, draws: Draws, *, mask: bool = False) -> Any:
        """See :meth:`Geometric.move`."""
        if not mask:
            return self.apply(plane, draws)
        return self._crop(plane, draws[1:5], NEAREST) if draws[0] < self.crop_prob else plane

    def _crop(self, plane: Any, draws: Draws, interpolation: int = cv2.INTER_LINEAR) -> Any:
        height, width = plane.shape[:2]
        low, high = self.crop_scale
        scale = low + (high - low) * draws[0]
        part = plane[place(plane.shape, height * scale, width * scale, draws[2], draws[3])]
        return resize(part, height, width, interpolation)

    def _low_resolution(self, image: U8, draws: Draws, out: U8 | None) -> Any:
        height, width = image.shape[:2]
        return resize(sketch(image, *self._small(image, draws[0])), height, width, out=out)

    def _small(self, image: U8, draw: float) -> tuple[int, int]:
        """Height and width at low resolution."""
        low, high = self.low_res_scale
        ratio = low + (high - low) * draw
        return max(1, int(image.shape[0] * ratio)), max(1, int(image.shape[1] * ratio))


class _AdaFace(Augmenter):
    crop_scale = (0.2, 1.0)  # of the area
    low_res_scale = (0.2, 1.0)

    def _steps(self) -> tuple[Step, ...]:
        crop, light, resolution = super()._steps()
        return crop, resolution, light

    def _crop(self, plane: Any, draws: Draws, interpolation: int = cv2.INTER_LINEAR) -> Any:
        box = cut(plane.shape, self.crop_scale, ASPECT, draws)
        padded = np.zeros_like(plane)
        padded[box] = plane[box]
        return padded

    def _low_resolution(self, image: U8, draws: Draws, out: U8 | None) -> Any:
        high, wide = self._small(image, draws[0])
        down, up = (_CV2_FILTERS[int(draw * len(_CV2_FILTERS))] for draw in draws[1:3])
        small = cv2.resize(image, (wide, high), interpolation=down)
        return cv2.resize(small, image.shape[1::-1], dst=out, interpolation=up)

    def move(self, plane: Any, draws: Draws, *, mask: bool = False) -> Any:
        return plane if mask else self.apply(plane, draws)


def photometric(image: U8, jitter: float, draws: Draws) -> U8:
    """Brightness, contrast and saturation of uint8 [H, W, 3], each times 1 +- *jitter*.

    As torchvision's ``ColorJitter`` has them: brightness b multiplies, contrast c spreads around the mean grey value m,
    and saturation s spreads around each pixel's grey value g: out = b (c (s x + (1 - s) g) + (1 - c) m).
    """
    brightness, contrast, saturation = [1 + jitter * (2 * draw - 1) for draw in draws]
    red, green, blue, _ = cv2.mean(image)
    mean = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    own, shared = brightness * contrast * saturation, brightness * contrast * (1 - saturation)
    r, g, b = shared * _LUMA[0], shared * _LUMA[1], shared * _LUMA[2]
    shift = brightness * (1 - contrast) * mean
    # From lists: four times as fast as numpy on arrays this small.
    matrix = np.array([[own + r, g, b, shift], [r, own + g, b, shift], [r, g, own + b, shift]], np.float32)
    return cast(U8, cv2.transform(image, matrix))
