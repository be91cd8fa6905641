"""Images and masks in the forms that people pass around, as arrays and back: what comes out is what came in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from wds_face.decoding import GREY_MODES, eight_bits

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Back = Callable[[Any], Any]


def is_pair(given: Any) -> bool:
    """Is this an image with its mask?"""
    return isinstance(given, (tuple, list)) and len(given) == 2


def image_array(image: Any) -> tuple[U8, Back]:
    """An image as uint8 RGB [H, W, 3] of its own memory, and the way back to its form.

    Grey images go back to grey; palettes, alpha channels and CMYK go back as RGB; 16 bits become 8, by the rules of
    :mod:`wds_face.decoding`.

    Raises:
        TypeError: it is no PIL image, no uint8 or uint16 array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], and no uint8
            tensor [1, H, W] or [3, H, W].
        ValueError: it has no pixels, or is a PIL image of 32-bit integers or floats, whose range is not known.
    """
    if isinstance(image, Image.Image):
        grey = image.mode in GREY_MODES
        array = eight_bits(image)
        back: Back = Image.fromarray
    elif isinstance(image, np.ndarray):
        _refuse_unless(image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4)), image)
        _refuse_unless(image.dtype in (np.uint8, np.uint16), image)
        array = np.array(image) if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)
        grey, flat = image.ndim == 2 or image.shape[2] == 1, image.ndim == 2
        if not flat and grey:
            array, back = array[..., 0], lambda out: out[..., None]
        else:
            array, back = array[..., :3] if not flat else array, lambda out: out
    elif isinstance(image, torch.Tensor):
        _refuse_unless(image.ndim == 3 and image.shape[0] in (1, 3) and image.dtype == torch.uint8, image)
        grey = image.shape[0] == 1
        array = image.as_subclass(torch.Tensor).cpu().permute(1, 2, 0).numpy().copy()
        array, like = array[..., 0] if grey else array, image

        def back(out: U8) -> torch.Tensor:
            planes = np.ascontiguousarray(out[None] if out.ndim == 2 else out.transpose(2, 0, 1))
            return _like(like, torch.from_numpy(planes))
    else:
        _refuse_unless(False, image)
    if not array.size:
        raise ValueError("an image without pixels")
    if grey:
        colored = cast(U8, cv2.cvtColor(array, cv2.COLOR_GRAY2RGB))
        return colored, lambda out: back(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY))
    return np.ascontiguousarray(array), back


def mask_array(mask: Any) -> tuple[F32, Back]:
    """A mask as float32 [h, w], 1 visible and 0 occluded, and the way back to its form.

    Whole numbers are taken as 0 to 255, or as 0 and 1 if the largest is 1.

    Raises:
        TypeError: it is no PIL image and no array or tensor [h, w], [1, h, w] or [h, w, 1].
    """
    if isinstance(mask, Image.Image):
        grey = np.asarray(mask if mask.mode == "L" else mask.convert("L"))
        largest = 1 if grey.max(initial=0) == 1 else 255
        share = as_share(grey) if largest == 255 else grey.astype(np.float32)
        return share, lambda out: Image.fromarray(np.rint(out * largest).astype(np.uint8))
    if not isinstance(mask, (np.ndarray, torch.Tensor)):
        raise TypeError(f"a mask is a PIL image, an array or a tensor, not {type(mask).__name__}")
    if isinstance(mask, torch.Tensor):
        plain = mask.as_subclass(torch.Tensor).detach().cpu()
        array = (plain.float() if mask.is_floating_point() else plain).numpy()  # numpy has no bfloat16
    else:
        array = mask
    shape, dtype = array.shape, array.dtype
    if array.ndim not in (2, 3) or (array.ndim == 3 and 1 not in (shape[0], shape[2])) or 0 in shape:
        raise TypeError(f"a mask has the shape [h, w], [1, h, w] or [h, w, 1], not {list(shape)}")
    plane = array if array.ndim == 2 else array[0] if shape[0] == 1 else array[..., 0]
    whole = 255 if dtype.kind in "iu" and plane.max() != 1 else 1

    def back(out: F32) -> Any:
        scaled = np.rint(out * whole) if dtype.kind in "iub" else out
        values = scaled.astype(dtype)
        values = values if len(shape) == 2 else values[None] if shape[0] == 1 else values[..., None]
        return _like(mask, torch.from_numpy(values).to(mask.dtype)) if isinstance(mask, torch.Tensor) else values

    if dtype == np.uint8 and whole == 255:
        return as_share(plane), back
    return np.clip(plane.astype(np.float32) / whole, 0, 1), back


def new_mask(mask: U8 | F32, image: Any) -> Any:
    """A mask in the form that goes with an image: uint8 [H, W] 0 and 255, or float32 [h, w] at feature map size.

    PIL images take a PIL mask of mode L, unless it is at feature map size; tensors a ``tv_tensors.Mask`` [1, h, w].
    """
    if isinstance(image, torch.Tensor):
        from torchvision import tv_tensors  # noqa: PLC0415 (slow to import, and streams do not need it)

        return tv_tensors.Mask(torch.from_numpy(mask[None]))
    if isinstance(image, Image.Image) and mask.dtype == np.uint8:
        return Image.fromarray(mask)
    return mask


def shrink(mask: U8 | F32, size: int) -> F32:
    """The visible share of each cell: [H, W] -> float32 [size, size], by area."""
    return resize_mask(as_share(mask), size, size)


def as_share(mask: U8 | F32) -> F32:
    """A mask of 0 and 255 as float32 of 0 and 1."""
    return np.divide(mask, 255, dtype=np.float32) if mask.dtype == np.uint8 else cast(F32, mask)


def resize_mask(mask: F32, height: int, width: int) -> F32:
    """A mask at another size: a cell is repeated over the pixels it covers, pixels are averaged by area into a cell."""
    if mask.shape == (height, width):
        return mask
    wider = max(height, mask.shape[0]), max(width, mask.shape[1])
    if mask.shape != wider:
        mask = cast(F32, cv2.resize(mask, wider[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
    # Averaging needs whole or smaller pixels on both axes, so the larger size of the two comes first.
    return cast(F32, cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA))


def _like(tensor: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    out = out.to(tensor.device)
    if type(tensor) is torch.Tensor:
        return out
    from torchvision import tv_tensors  # noqa: PLC0415

    return tv_tensors.wrap(out, like=tensor) if isinstance(tensor, tv_tensors.TVTensor) else out


def _refuse_unless(fine: bool, image: Any) -> None:
    if not fine:
        shape = f" {image.dtype} {list(image.shape)}" if hasattr(image, "shape") else ""
        raise TypeError(
            "an image is a PIL image, a uint8 array [H, W, 3] or a uint8 tensor [3, H, W], "
            f"not {type(image).__name__}{shape}"
        )
