"""From the arrays or images of a batch to its tensors."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from wds_face.decoding import decode
from wds_face.stream.batch import Batch
from wds_face.transforms.forms import F32, U8, is_pair
from wds_face.transforms.resize import resize
from wds_face.transforms.tensors import scaled, shares

if TYPE_CHECKING:
    from wds_face.stream.slots import Space


def finished(
    images: U8, masks: U8 | F32 | None, output: str, channels: str, space: Space | None = None
) -> tuple[U8 | F32, U8 | F32 | None]:
    """What a :class:`~wds_face.transforms.batch.BatchTransform` made, and is used up, as it goes out.

    Args:
        images, masks: uint8 [N, H, W, 3], and uint8 [N, H, W] or float32 [N, n, n].
        output, channels: of :class:`~wds_face.PKStream`.
        space: where it is to lie.
    """
    images = np.ascontiguousarray(images)  # a stage of one's own may have turned them
    if channels == "bgr":
        rows = images.reshape(-1, *images.shape[2:])  # one tall image
        cv2.cvtColor(rows, cv2.COLOR_RGB2BGR, dst=rows)
    made: U8 | F32
    if output == "float":
        made = scaled(images, None if space is None else space.images)
    else:
        made = images if space is None else _moved(images, space.images)
    if masks is None:
        return made, None
    if masks.dtype != np.uint8:
        return made, masks if space is None else _moved(masks, space.masks)
    if output == "float":
        out = np.empty(masks.shape, np.float32) if space is None else cast(F32, space.masks)
        return made, shares(np.ascontiguousarray(masks), out)
    return made, np.bitwise_and(masks, 1, out=masks if space is None else space.masks)  # 255 -> 1


def _moved(array: Any, to: Any) -> Any:
    if array is not to:
        to[...] = array
    return to


def as_tensors(images: U8 | F32, labels: NDArray[np.int64], masks: U8 | F32 | None) -> tuple[torch.Tensor, ...]:
    """A batch as the tensors of :class:`~wds_face.PKStream`."""
    tensors = torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)
    return tensors if masks is None else (*tensors, torch.from_numpy(masks)[:, None])


def compose(
    batch: Batch,
    transform: Callable[[Image.Image], Any],
    channels: str,
    size: int,
    replace: Callable[[Batch, int], U8],
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The images of a batch, and their masks, as *transform* makes them of PIL images.

    Raises:
        TypeError: *transform* returned something else.
    """
    images, masks = [], []
    with _seeded(batch.rng(0)):
        for number in range(len(batch.samples)):
            image = decode(batch.samples[number]["image"])
            if image is None:
                image = replace(batch, number)
            if image.shape[:2] != (size, size):
                image = resize(image, size, size)
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
