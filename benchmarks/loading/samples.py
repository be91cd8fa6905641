"""What becomes of an image and its label, sample by sample, in the systems of peers.py."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from PIL import Image

Sample = Callable[[Any, int], tuple[Any, ...]]  # (image, label) -> (image, label) or (image, label, mask)


def opened(image: Any) -> Any:
    """A PIL image, in RGB, of encoded bytes."""
    if isinstance(image, (bytes, memoryview)):
        image = Image.open(io.BytesIO(image))
    return image if image.mode == "RGB" else image.convert("RGB")


def transformed(transform: Callable[[Any], tuple[Any, Any]]) -> Sample:
    def sample(image: Any, label: int) -> tuple[Any, ...]:
        image, mask = transform(opened(image))
        return image, label, mask

    return sample


def literal() -> Sample:
    """The mission's transforms as its text has them: PIL, torchvision, floats."""
    from literal import literal_transform

    return transformed(literal_transform())


def callables() -> Sample:
    """wds_face's callables of single images in torchvision's Compose."""
    from torchvision.transforms import Compose, Normalize, RandomHorizontalFlip

    from wds_face import ARCFACE_112, Augmenter, MedicalMaskOcclusion, OcclusionMaskWrapper, ToTensorWithMask

    steps = [
        Augmenter(0.1, 0.3, 0.2),
        RandomHorizontalFlip(),
        MedicalMaskOcclusion(prob=0.5, ref_points=ARCFACE_112),
        ToTensorWithMask(),
        OcclusionMaskWrapper(Normalize(mean=[0.5] * 3, std=[0.5] * 3)),
    ]
    return transformed(Compose(steps))


def as_it_is() -> Sample:
    """What the system itself decoded."""
    return lambda image, label: (image, label)


def pixels() -> Sample:
    """PIL's image as an array, uint8."""
    import numpy as np
    import torch

    return lambda image, label: (torch.from_numpy(np.array(opened(image))), label)


def simplejpeg() -> Sample:
    """Encoded bytes decoded by what wds_face decodes with."""
    import torch
    from simplejpeg import decode_jpeg

    return lambda image, label: (torch.from_numpy(decode_jpeg(image)), label)
