"""What the transforms share: numbers drawn first, arrays inside, and out what came in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wds_face.transforms.chance import Chance
from wds_face.transforms.checks import count
from wds_face.transforms.forms import F32, U8, as_share, image_array, is_pair, mask_array, new_mask, resize_mask, shrink

Draws = Sequence[float]
Floats = npt.NDArray[np.float64]


class Transform(ABC):
    """A random change of one image, or of an image and its mask.

    Called with a PIL image, a uint8 array [H, W, 3], a uint8 tensor [3, H, W] (``tv_tensors.Image`` too), or a pair of
    one of them and its mask, it returns the same, and leaves what it was given as it was.

    Args:
        rng: of all choices; without it torch's generator, which every worker seeds for itself.
    """

    #: Uniform numbers in [0, 1) that one image takes, whatever comes of them, so that no choice shifts a later one.
    draws: int

    def __init__(self, rng: np.random.Generator | None = None) -> None:
        self._chance = Chance(rng)

    def __call__(self, given: Any) -> Any:
        if is_pair(given):
            return self._pair(*given)
        return self._image(given)

    @abstractmethod
    def _image(self, image: Any) -> Any: ...

    @abstractmethod
    def _pair(self, image: Any, mask: Any) -> tuple[Any, Any]: ...


class Geometric(Transform):
    """A change after which pixels are elsewhere: the mask goes with them."""

    @abstractmethod
    def move(self, plane: Any, draws: Draws, *, mask: bool = False) -> Any:
        """The pixels of *plane*, uint8 [H, W, 3], or float32 [H, W] for a mask, at their new places."""

    def _image(self, image: Any) -> Any:
        array, back = image_array(image)
        return back(self.move(array, self._chance.draw(self.draws)))

    def _pair(self, image: Any, mask: Any) -> tuple[Any, Any]:
        array, back = image_array(image)
        visible, mask_back = mask_array(mask)
        draws = self._chance.draw(self.draws)
        full = resize_mask(visible, *array.shape[:2])
        moved = self.move(full, draws, mask=True)
        if moved is full:
            moved = visible
        elif visible is not full:  # at feature map size: it stays there
            moved = resize_mask(moved, *visible.shape)
        return back(self.move(array, draws)), mask_back(moved)


class Occlusion(Transform):
    """Something in front of the face.

    Of an image it makes a pair with the mask. To a pair it adds: what was occluded stays so, and the mask keeps its
    size and form. Visible shares are multiplied: where both are shares of a cell, that is what to expect of two
    occlusions that know nothing of each other.

    Args:
        mask_size: None for masks of the image's size, uint8, 255 visible and 0 occluded; n for float32 [n, n], the
            visible share of each cell of a feature map.
        rng: see :class:`Transform`.
    """

    #: Does a lone image come back with a mask?
    pairs = True

    def __init__(self, mask_size: int | None = None, rng: np.random.Generator | None = None) -> None:
        super().__init__(rng)
        self.mask_size = None if mask_size is None else count("mask_size", mask_size)

    @abstractmethod
    def occlude(self, images: U8, masks: U8, draws: Floats) -> None:
        """Draw over *images*, uint8 [N, H, W, 3], and set *masks*, uint8 [N, H, W], to 0 where they are covered.

        Both are changed in place. *draws* are [N, :attr:`draws`].
        """

    def shrink(self, masks: U8, size: int, draws: Floats) -> F32:
        """What :meth:`occlude` made of masks that were all 255, at feature map size: float32 [N, size, size]."""
        shares = np.empty((len(masks), size, size), np.float32)
        for share, mask in zip(shares, masks, strict=True):
            share[...] = shrink(mask, size)
        return shares

    def _occluded(self, image: Any) -> tuple[Any, U8, Floats]:
        array, back = image_array(image)
        mask, draws = np.full((1, *array.shape[:2]), 255, np.uint8), np.array([self._chance.draw(self.draws)])
        self.occlude(array[None], mask, draws)
        return back(array), mask, draws

    def _image(self, image: Any) -> Any:
        out, mask, draws = self._occluded(image)
        if not self.pairs:
            return out
        return out, new_mask((mask if self.mask_size is None else self.shrink(mask, self.mask_size, draws))[0], image)

    def _pair(self, image: Any, mask: Any) -> tuple[Any, Any]:
        visible, mask_back = mask_array(mask)
        out, added, draws = self._occluded(image)
        height, width = visible.shape
        if visible.shape == added.shape[1:] or height != width:
            share = resize_mask(as_share(added[0]), height, width)
        else:
            share = self.shrink(added, height, draws)[0]
        return out, mask_back(visible * share)
