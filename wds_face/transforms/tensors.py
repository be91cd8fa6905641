"""From images to tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from wds_face.jit import compiled
from wds_face.transforms.forms import F32, U8, image_array, is_pair, mask_array

# 2 / 255 as the sum of 257 / 2^15, whose product with any pixel is exact, and the rest. Multiplying by both gives the
# same bits as dividing by 255, in half the time.
_HIGH = np.float32(257 / 2**15)
_LOW = np.float32(2 / 255 - 257 / 2**15)


class ToTensorWithMask:
    """An image becomes a float tensor [C, H, W] in [0, 1]; of a pair, the mask a float tensor [1, h, w] in [0, 1] too.

    1 is visible, 0 occluded. What differs from the text it follows: there every mask was divided by 255, also one
    that was in [0, 1] already, such as that of :class:`SyntheticOcclusionMask`. Here only whole numbers above 1 are.
    """

    def __call__(self, given: Any) -> Any:
        if not is_pair(given):
            return _tensor(given)
        image, mask = given
        visible, _ = mask_array(mask)
        return _tensor(image), torch.from_numpy(np.ascontiguousarray(visible))[None]


def normalize(images: torch.Tensor) -> torch.Tensor:
    """uint8 images, any shape, any device -> float32 in [-1, 1]: (x / 255 - 0.5) / 0.5, as face models have them.

    The result has the memory format of *images*; on a CPU it is to the bit what ``ToTensor`` and ``Normalize`` make.

    Raises:
        TypeError: *images* are not uint8.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be uint8, not {images.dtype}")
    if images.device.type != "cpu" or images.ndim == 0:
        return images.to(torch.float32).div_(255).sub_(0.5).mul_(2)
    return torch.from_numpy(scaled(images.numpy()))


def scaled(pixels: U8, out: F32 | None = None) -> F32:
    """What :func:`normalize` does, of arrays, in one pass.

    Args:
        pixels: uint8, any shape.
        out: of the same shape; both are C-contiguous then. *pixels* may be the last quarter of its memory.
    """
    if out is None:
        dense = np.empty_like(pixels)
        if dense.strides != pixels.strides:  # parts of something larger, or expanded
            np.copyto(dense, pixels)
            pixels = dense
        out = np.empty_like(pixels, np.float32)
    _widened(_scale, pixels.ravel("K"), out.ravel("K"))
    return out


def planar(pixels: U8, out: U8 | F32, *, bgr: bool = False) -> None:
    """Write pixels to channels-first images, scaled as by :func:`scaled` if these are float32.

    One image at a time passes through a buffer that stays in the processor's cache, so each is read and written once,
    and *pixels* may be the last bytes of the memory of *out*.

    Args:
        pixels: uint8 [N, H, W, 3], C-contiguous RGB.
        out: uint8 or float32 [N, 3, H, W], C-contiguous.
        bgr: Write the planes as blue, green and red.
    """
    if not pixels.size:
        return
    count, area = len(pixels), pixels.shape[1] * pixels.shape[2]
    rows, planes, buffer = pixels.reshape(count, -1), out.reshape(count, 3, area), np.empty((3, area), np.uint8)
    write = _planar_scaled if out.dtype == np.float32 else _planar
    write(rows, planes, buffer, 2 if bgr else 0)


def shares(masks: U8, out: F32) -> F32:
    """Masks of 0 and 255 as 0 and 1; C-contiguous, and *masks* may be the last quarter of the memory of *out*."""
    _widened(_share, masks.ravel(), out.ravel())
    return out


def _widened(convert: Callable[[U8, F32], None], narrow: U8, wide: F32) -> None:
    """Convert piece by piece, as far as no piece writes over what it still reads: compiled loops are ten times slower
    where memory overlaps."""
    begin, count = 0, len(narrow)
    while begin < count:
        end = max((3 * count + begin) // 4, begin + 1)
        convert(narrow[begin:end], wide[begin:end])
        begin = end


@compiled("void(u1[::1], f4[::1])")
def _share(masks, out):  # type: ignore[no-untyped-def]
    for at in range(len(masks)):
        out[at] = np.float32(masks[at] & 1)


@compiled("void(u1[::1], f4[::1])")
def _scale(pixels, out):  # type: ignore[no-untyped-def]
    for at in range(len(pixels)):
        pixel = np.float32(pixels[at])
        out[at] = pixel * _HIGH + pixel * _LOW - np.float32(1)


@compiled("void(u1[::1], u1[:,::1], i8)")
def _split(row, buffer, first):  # type: ignore[no-untyped-def]
    """Split the pixels of an image into three planes. *first* (0 or 2) is the number of the red one."""
    red, green, blue = buffer[first], buffer[1], buffer[2 - first]
    for at in range(len(green)):
        red[at] = row[3 * at]
        green[at] = row[3 * at + 1]
        blue[at] = row[3 * at + 2]


@compiled("void(u1[:,::1], u1[:,:,::1], u1[:,::1], i8)")
def _planar(rows, planes, buffer, first):  # type: ignore[no-untyped-def]
    for image in range(len(rows)):
        _split(rows[image], buffer, first)
        for plane in range(3):
            source, target = buffer[plane], planes[image, plane]
            for at in range(len(source)):
                target[at] = source[at]


@compiled("void(u1[:,::1], f4[:,:,::1], u1[:,::1], i8)")
def _planar_scaled(rows, planes, buffer, first):  # type: ignore[no-untyped-def]
    for image in range(len(rows)):
        _split(rows[image], buffer, first)
        for plane in range(3):
            _scale(buffer[plane], planes[image, plane])


def _tensor(image: Any) -> torch.Tensor:
    if isinstance(image, torch.Tensor) and image.is_floating_point():
        return image
    array, back = image_array(image)
    out = back(array)
    if isinstance(out, torch.Tensor):
        return out.as_subclass(torch.Tensor).to(torch.float32) / 255
    pixels = np.array(out).reshape(*array.shape[:2], -1)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).to(torch.float32) / 255
