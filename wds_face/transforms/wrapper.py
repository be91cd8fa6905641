"""Other people's transforms on pairs of an image and its mask."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision import transforms as v1
from torchvision import tv_tensors
from torchvision.transforms import v2

from wds_face.transforms.forms import F32, image_array, is_pair, mask_array, resize_mask
from wds_face.transforms.tensors import ToTensorWithMask
from wds_face.transforms.transform import Transform

Step = Callable[[Any, Any], tuple[Any, Any]]

# Those of torchvision that move pixels: v2's move masks too, and each of v1's has a twin there.
_GEOMETRIC = frozenset({
    "CenterCrop", "ElasticTransform", "Pad", "RandomAffine", "RandomCrop", "RandomHorizontalFlip", "RandomPerspective",
    "RandomResize", "RandomResizedCrop", "RandomRotation", "RandomShortestSize", "RandomVerticalFlip", "RandomZoomOut",
    "Resize", "ScaleJitter",
})  # fmt: skip

_FLIPS = frozenset({"RandomHorizontalFlip", "RandomVerticalFlip"})

# Those that move or hide some pixels, or make several images, and have no way to take a mask.
_UNFOLLOWED = frozenset({
    "AugMix", "AutoAugment", "FiveCrop", "RandAugment", "RandomErasing", "TenCrop", "TrivialAugmentWide",
})  # fmt: skip


class OcclusionMaskWrapper:
    """Lets a transform of images take pairs of an image and its mask.

    - A geometric transform moves the mask with the image: torchvision's, v1 and v2, those of wds_face, and
      ``Compose``, ``RandomApply``, ``RandomOrder`` and ``RandomChoice`` of them.
    - Every other one changes the image and leaves the mask as it is.

    A lone image is handed on. What is rotated or padded in counts as visible, 1, in the mask; a mask at feature map
    size stays at that size. What differs from the text it follows: there no mask ever moved, so that it said nothing
    true about an image that was flipped.

    Args:
        transform: a callable of an image.
        geometric: says of a callable that wds_face cannot know, such as a function, that it moves pixels. It is then
            called on the mask too, as an image of 255 where it is occluded and 0 elsewhere, from the same states of
            torch's, numpy's and Python's global generators. False keeps the mask still whatever the transform is.

    Raises:
        TypeError: *transform* cannot be called, or a mask cannot follow it, as it cannot follow ``RandAugment``.
    """

    def __init__(self, transform: Callable[..., Any], geometric: bool | None = None) -> None:
        if not callable(transform):
            raise TypeError(f"OcclusionMaskWrapper takes a callable, not {transform!r}")
        self.transform = transform
        self.geometric = geometric
        if geometric is None:
            self._step = _step(transform)
        else:
            self._step = _replayed(transform) if geometric else _still(transform, sure=True)

    def __call__(self, given: Any) -> Any:
        return self._step(*given) if is_pair(given) else self.transform(given)

    def __reduce__(self) -> tuple[Any, ...]:
        return OcclusionMaskWrapper, (self.transform, self.geometric)


def _step(transform: Any) -> Step:
    """What a transform does to a pair."""
    kind = type(transform)
    if isinstance(transform, OcclusionMaskWrapper):
        return transform._step
    if isinstance(transform, (Transform, ToTensorWithMask)):
        return lambda image, mask: transform((image, mask))
    if isinstance(transform, (v1.Compose, v2.Compose, torch.nn.Sequential)):
        steps = [_step(part) for part in getattr(transform, "transforms", transform)]
        return lambda image, mask: _all(steps, image, mask)
    if isinstance(transform, _CHOICES):
        return _some(transform, [_step(part) for part in transform.transforms])
    if not kind.__module__.startswith("torchvision."):
        if isinstance(transform, v2.Transform):
            return _joint(_unfilled(transform))
        return _replayed(transform) if any(map(_is_geometric, kind.__mro__)) else _still(transform)
    if kind.__name__ in _UNFOLLOWED:
        raise TypeError(f"a mask cannot follow {kind.__name__}: put it before the occlusion, outside of the wrapper")
    if not _is_geometric(kind):
        return _still(transform)
    joint = transform if isinstance(transform, v2.Transform) else _twin(transform)
    return _joint(_unfilled(joint), flips=kind.__name__ in _FLIPS)


def _is_geometric(kind: type) -> bool:
    return kind.__name__ in _GEOMETRIC and kind.__module__.startswith("torchvision.")


_CHOICES = (v1.RandomApply, v1.RandomChoice, v1.RandomOrder, v2.RandomApply, v2.RandomChoice, v2.RandomOrder)


def _all(steps: list[Step], image: Any, mask: Any) -> tuple[Any, Any]:
    for step in steps:
        image, mask = step(image, mask)
    return image, mask


def _some(transform: Any, steps: list[Step]) -> Step:
    """torchvision's containers draw as they always do: v1's from Python's generator too, v2's from torch's."""

    def step(image: Any, mask: Any) -> tuple[Any, Any]:
        if isinstance(transform, (v1.RandomApply, v2.RandomApply)):
            return (image, mask) if transform.p < torch.rand(1, device="cpu") else _all(steps, image, mask)
        if isinstance(transform, v1.RandomChoice):
            return random.choices(steps, weights=transform.p)[0](image, mask)  # noqa: S311
        if isinstance(transform, v2.RandomChoice):
            return steps[int(torch.multinomial(torch.tensor(transform.p, device="cpu"), 1))](image, mask)
        if isinstance(transform, v2.RandomOrder):
            order = torch.randperm(len(steps)).tolist()
        else:
            random.shuffle(order := list(range(len(steps))))
        return _all([steps[i] for i in order], image, mask)

    return step


def _still(transform: Any, *, sure: bool = False) -> Step:
    """The image is changed, the mask is not."""

    def step(image: Any, mask: Any) -> tuple[Any, Any]:
        out = transform(image)
        if not sure and _size(out) != _size(image):
            raise ValueError(
                f"{transform!r} made a {_size(image)} image {_size(out)}, and its mask cannot follow: "
                "wrap it with geometric=True, or use torchvision.transforms.v2"
            )
        return out, mask

    return step


def _joint(transform: Any, *, flips: bool = False) -> Step:
    """A transform of torchvision's v2, which takes a mask with the image; a flip takes one of any size."""

    def step(image: Any, mask: Any) -> tuple[Any, Any]:
        visible, mask_back = mask_array(mask)
        full = visible if flips else resize_mask(visible, *_size(image)[::-1])
        # What a rotation or a pad brings in is 0 in a mask, so it travels as what is occluded.
        occluded = given = tv_tensors.Mask(torch.from_numpy(1 - full)[None])
        if isinstance(image, np.ndarray):
            array, image_back = image_array(image)
            shifted, occluded = transform(tv_tensors.Image(torch.from_numpy(array.transpose(2, 0, 1))), occluded)
            out = image_back(np.ascontiguousarray(shifted.numpy().transpose(1, 2, 0)))
        else:
            out, occluded = transform(image, occluded)
        if occluded is given:
            return out, mask
        moved: F32 = 1 - occluded.as_subclass(torch.Tensor)[0].numpy()
        return out, mask_back(moved if full is visible else resize_mask(moved, *visible.shape))

    return step


def _replayed(transform: Any) -> Step:
    """A callable of which nothing is known but that it moves pixels."""

    def step(image: Any, mask: Any) -> tuple[Any, Any]:
        visible, mask_back = mask_array(mask)
        full = resize_mask(visible, *_size(image)[::-1])
        # As in _joint, what the callable fills in is black, and so not occluded.
        plane = np.repeat(np.rint((1 - full) * 255).astype(np.uint8)[..., None], 3, 2)
        before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 (the user's own)
        out = transform(image)
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])
        occluded = _plane(transform(_alike(plane, image)))
        moved: F32 = 1 - mask_array(occluded)[0]
        return out, mask_back(moved if full is visible else resize_mask(moved, *visible.shape))

    return step


def _alike(plane: Any, image: Any) -> Any:
    """A mask as an image of the kind of *image*."""
    if isinstance(image, Image.Image):
        return Image.fromarray(plane)
    if isinstance(image, torch.Tensor):
        tensor = torch.from_numpy(plane).permute(2, 0, 1)
        return tensor / 255 if image.is_floating_point() else tensor
    return plane


def _plane(image: Any) -> Any:
    """The first channel."""
    if isinstance(image, Image.Image):
        return image.getchannel(0)
    return image[0] if isinstance(image, torch.Tensor) else image[..., 0]


def _size(image: Any) -> tuple[int, int]:
    """Width and height."""
    if isinstance(image, Image.Image):
        return image.size
    height, width = image.shape[-2:] if isinstance(image, torch.Tensor) else image.shape[:2]
    return int(width), int(height)


def _twin(transform: Any) -> Any:
    """The transform of v2 that does what this one of v1 does."""
    twin = getattr(v2, type(transform).__name__)
    known = {name: getattr(transform, name) for name in inspect.signature(twin).parameters if hasattr(transform, name)}
    return twin(**known)


def _unfilled(transform: Any) -> Any:
    """A transform of v2 that fills masks with 0, what is not occluded, whatever it fills images with."""
    fill = getattr(transform, "_fill", None)  # by type, as torchvision's own functions look it up
    if not isinstance(fill, dict):
        return transform
    transform = copy(transform)
    transform._fill = {**fill, tv_tensors.Mask: 0}
    return transform
