"""What happens to a face between decoding and the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wds_face.transforms.augmenter import Augmenter
from wds_face.transforms.medical import MedicalMaskOcclusion
from wds_face.transforms.patches import RandomErasing, RandomOcclusion, SyntheticOcclusionMask
from wds_face.transforms.placement import ARCFACE_112, CASIA_WEBFACE
from wds_face.transforms.rect import RandomSizedRectCrop, RectScale
from wds_face.transforms.tensors import ToTensorWithMask, normalize
from wds_face.transforms.transform import Geometric, Occlusion, Transform

if TYPE_CHECKING:
    from wds_face.transforms.wrapper import OcclusionMaskWrapper

__all__ = [
    "ARCFACE_112",
    "CASIA_WEBFACE",
    "Augmenter",
    "Geometric",
    "MedicalMaskOcclusion",
    "Occlusion",
    "OcclusionMaskWrapper",
    "RandomErasing",
    "RandomOcclusion",
    "RandomSizedRectCrop",
    "RectScale",
    "SyntheticOcclusionMask",
    "ToTensorWithMask",
    "Transform",
    "normalize",
]


def __getattr__(name: str) -> Any:
    if name == "OcclusionMaskWrapper":  # the only one that needs torchvision, which takes as long to import as the rest
        from wds_face.transforms.wrapper import OcclusionMaskWrapper  # noqa: PLC0415

        return OcclusionMaskWrapper
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
