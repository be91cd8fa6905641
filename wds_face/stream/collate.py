"""From the arrays or images of a batch to its tensors."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from wds_face.decoding import decode
from wds_face.stream.batch import Batch
from wds_face.transforms.fit import ToSquare
from wds_face.transforms.forms import F32, U8, is_pair
from wds_face.transforms.tensors import planar, scaled, shares

if TYPE_CHECKING:
    from wds_face.stream.slots import Space


Array = NDArray[Any]

_MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class Output(NamedTuple):
    """Format of the images and masks in a batch; see :class:`~wds_face.PKStream`.

    Attributes:
        dtype: ``"float"`` or ``"uint8"``.
        channels: ``"rgb"`` or ``"bgr"``.
        memory_format: Memory format of the images. Masks have one channel, so both formats are the same for them.
    """

    dtype: str = "float"
    channels: str = "rgb"
    memory_format: torch.memory_format = torch.contiguous_format


def memory_format_of(chosen: str | torch.memory_format) -> torch.memory_format:
    """Return the ``torch.memory_format`` for a name or a memory format.

    Raises:
        ValueError: *chosen* is neither contiguous nor channels last.
    """
    if isinstance(chosen, torch.memory_format) and chosen in _MEMORY_FORMATS.values():
        return chosen
    if isinstance(chosen, str) and chosen in _MEMORY_FORMATS:
        return _MEMORY_FORMATS[chosen]
    raise ValueError(f'memory_format is "contiguous" or "channels_last", not {chosen!r}')


def finished(
    images: U8, masks: U8 | F32 | None, output: Output, space: Space | None = None
) -> tuple[Array, Array | None]:
    """Turn what the transforms made into the arrays of a batch, [N, 3, H, W] and [N, 1, h, w]. Overwrites its input.

    Args:
        images: uint8 RGB [N, H, W, 3].
        masks: uint8 [N, H, W] of 0 and 255, or float32 [N, h, w].
        output: Format of the arrays.
        space: Memory for the arrays; new memory if None. *images* and *masks* may be its work area.
    """
    images = np.ascontiguousarray(images)  # a custom stage may have left a view
    finish = _channels_last if output.memory_format == torch.channels_last else _contiguous
    made = finish(images, output, None if space is None else space.images)
    if masks is None:
        return made, None
    out = None if space is None or space.masks is None else space.masks[:, 0]
    made_masks = _finished_masks(np.ascontiguousarray(masks), output, out)
    return made, made_masks.reshape(len(masks), 1, *masks.shape[1:])


def _contiguous(images: U8, output: Output, out: Array | None) -> Array:
    if out is None:
        count, height, width, channels = images.shape
        out = np.empty((count, channels, height, width), np.float32 if output.dtype == "float" else np.uint8)
    planar(images, out, bgr=output.channels == "bgr")
    return out


def _channels_last(images: U8, output: Output, out: Array | None) -> Array:
    if output.channels == "bgr":
        rows = images.reshape(-1, *images.shape[2:])  # one tall image
        cv2.cvtColor(rows, cv2.COLOR_RGB2BGR, dst=rows)
    rows_out = None if out is None else out.transpose(0, 2, 3, 1)
    made = scaled(images, rows_out) if output.dtype == "float" else _moved(images, rows_out)
    return made.transpose(0, 3, 1, 2)


def _finished_masks(masks: Array, output: Output, out: Array | None) -> Array:
    if masks.dtype != np.uint8:
        return _moved(masks, out)
    if output.dtype == "float":
        return shares(masks, np.empty(masks.shape, np.float32) if out is None else out)
    return np.bitwise_and(masks, 1, out=masks if out is None else out)  # 255 -> 1


def _moved(array: Array, out: Array | None) -> Array:
    """Copy *array* to *out* unless it is already there. Returns *array* itself if *out* is None."""
    if out is None or (array.ctypes.data == out.ctypes.data and array.strides == out.strides):
        return array
    out[...] = array
    return out


def as_tensors(images: Array, labels: NDArray[np.int64], masks: Array | None) -> tuple[torch.Tensor, ...]:
    """Return the arrays of a batch as tensors."""
    tensors = torch.from_numpy(images), torch.from_numpy(labels)
    return tensors if masks is None else (*tensors, torch.from_numpy(masks))


def laid_out(tensor: torch.Tensor, memory_format: torch.memory_format) -> torch.Tensor:
    """Return a tensor in a memory format, copied only if needed. Only 4-D tensors can be channels last."""
    return tensor.contiguous(memory_format=memory_format if tensor.ndim == 4 else torch.contiguous_format)


def compose(
    batch: Batch,
    transform: Callable[[Image.Image], Any],
    channels: str,
    to_square: ToSquare,
    replace: Callable[[Batch, int], U8],
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The images of a batch, and their masks, as *transform* makes them of PIL images.

    Args:
        batch: Batch of samples.
        transform: Called with a square PIL image of mode RGB.
        channels: Channel order of the images passed to *transform*, ``"rgb"`` or ``"bgr"``.
        to_square: Brings images to the size that *transform* expects.
        replace: Returns a replacement, uint8 RGB, for an image that cannot be decoded.

    Raises:
        TypeError: *transform* returned something else.
    """
    images, masks = [], []
    with _seeded(batch.rng(0)), torch.device("cpu"):  # as in a worker, whatever the default device is
        for number in range(len(batch.samples)):
            image = decode(batch.samples[number]["image"])
            if image is None:
                image = replace(batch, number)
            if image.shape[:2] != (to_square.side, to_square.side):
                square = np.empty((to_square.side, to_square.side, 3), np.uint8)
                to_square(image, square)
                image = square
            out = transform(Image.fromarray(image if channels == "rgb" else np.ascontiguousarray(image[..., ::-1])))
            if is_pair(out):
                out, mask = out
                masks.append(mask)
            images.append(out)
            if not isinstance(out, torch.Tensor) or (masks and not isinstance(masks[-1], torch.Tensor)):
                found = type(masks[-1] if isinstance(out, torch.Tensor) else out).__name__
                raise TypeError(
                    f"transform must return a tensor, or a tensor and its mask as a tensor, not {found}: end it with "
                    "wds_face.ToTensorWithMask()"
                )
    if masks and len(masks) != len(images):
        raise TypeError("transform returned a mask with some images only")
    for what, made in ("images", images), ("masks", masks):
        if len(shapes := {tuple(tensor.shape) for tensor in made}) > 1:
            raise TypeError(f"transform must return {what} of one shape, not {' and '.join(map(str, sorted(shapes)))}")
    return torch.stack(images), torch.stack(masks) if masks else None


@contextmanager
def _seeded(rng: np.random.Generator) -> Iterator[None]:
    """The global generators, which other people's transforms draw from, seeded here and put back afterwards."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    one, two, three = (int(seed) for seed in rng.integers(1 << 32, size=3))
    torch.default_generator.manual_seed(one)
    np.random.seed(two)  # noqa: NPY002
    random.seed(three)
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        random.setstate(before[2])
