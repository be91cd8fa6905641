"""What happens to a face between decoding and the batch."""

from wds_face.transforms.augmenter import Augmenter
from wds_face.transforms.medical import MedicalMaskOcclusion
from wds_face.transforms.patches import RandomErasing, RandomOcclusion, SyntheticOcclusionMask
from wds_face.transforms.placement import ARCFACE_112, CASIA_WEBFACE
from wds_face.transforms.rect import RandomSizedRectCrop, RectScale
from wds_face.transforms.tensors import ToTensorWithMask, normalize
from wds_face.transforms.transform import Geometric, Occlusion, Transform
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
