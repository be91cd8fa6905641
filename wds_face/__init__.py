"""The data path for training face recognition: identity-grouped WebDataset shards, streamed as PK batches.

Names are imported when they are first used, so that the command line and record reading do not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wds_face.version import __version__

if TYPE_CHECKING:
    from wds_face.conversion.convert import Report, convert
    from wds_face.conversion.plan import Options
    from wds_face.datamodule import DataModule as DataModule  # not in __all__: Lightning may not be installed
    from wds_face.datasets import (
        AugmentRecordDataset,
        BaseMXDataset,
        CustomImageFolderDataset,
        RandomIdentitySampler,
    )
    from wds_face.errors import DatasetError, PathError, RecordError, SourceError, TransferError, WdsFaceError
    from wds_face.recordio import RecordReader, RecordWriter
    from wds_face.shards.adopt import adopt
    from wds_face.shards.index import Index
    from wds_face.shards.verify import Problem, verify
    from wds_face.sheet import contact_sheet, save_sheet
    from wds_face.sources import ImageFolder, RecordIO, WebDataset
    from wds_face.stream import PKGrouper, PKStream, pk_batched
    from wds_face.transforms import (
        ARCFACE_112,
        CASIA_WEBFACE,
        Augmenter,
        MedicalMaskOcclusion,
        OcclusionMaskWrapper,
        RandomErasing,
        RandomOcclusion,
        RandomSizedRectCrop,
        RectScale,
        SyntheticOcclusionMask,
        ToTensorWithMask,
        normalize,
    )
    from wds_face.validation import (
        FiveValidationDataset,
        Verification,
        convert_pairs,
        convert_validation,
        draw_pairs,
        embed,
        evaluate_benchmarks,
        evaluate_verification,
        get_val_data,
        get_val_pair,
        get_val_sets,
        load_bin,
        make_memmap,
        mean_accuracy,
        read_memmap,
        save_roc,
    )

_HOMES = {
    "wds_face.datamodule": ("DataModule",),
    "wds_face.conversion.convert": ("Report", "convert"),
    "wds_face.conversion.plan": ("Options",),
    "wds_face.datasets": ("AugmentRecordDataset", "BaseMXDataset", "CustomImageFolderDataset", "RandomIdentitySampler"),
    "wds_face.errors": (
        "DatasetError",
        "PathError",
        "RecordError",
        "SourceError",
        "TransferError",
        "WdsFaceError",
    ),
    "wds_face.recordio": ("RecordReader", "RecordWriter"),
    "wds_face.sheet": ("contact_sheet", "save_sheet"),
    "wds_face.shards.adopt": ("adopt",),
    "wds_face.shards.index": ("Index",),
    "wds_face.shards.verify": ("Problem", "verify"),
    "wds_face.sources": ("ImageFolder", "RecordIO", "WebDataset"),
    "wds_face.stream": ("PKGrouper", "PKStream", "pk_batched"),
    "wds_face.transforms": (
        "ARCFACE_112",
        "CASIA_WEBFACE",
        "Augmenter",
        "MedicalMaskOcclusion",
        "OcclusionMaskWrapper",
        "RandomErasing",
        "RandomOcclusion",
        "RandomSizedRectCrop",
        "RectScale",
        "SyntheticOcclusionMask",
        "ToTensorWithMask",
        "normalize",
    ),
    "wds_face.validation": (
        "FiveValidationDataset",
        "Verification",
        "convert_pairs",
        "convert_validation",
        "draw_pairs",
        "embed",
        "evaluate_benchmarks",
        "evaluate_verification",
        "get_val_data",
        "get_val_pair",
        "get_val_sets",
        "load_bin",
        "make_memmap",
        "mean_accuracy",
        "read_memmap",
        "save_roc",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ARCFACE_112",
    "CASIA_WEBFACE",
    "AugmentRecordDataset",
    "Augmenter",
    "BaseMXDataset",
    "CustomImageFolderDataset",
    "DatasetError",
    "FiveValidationDataset",
    "ImageFolder",
    "Index",
    "MedicalMaskOcclusion",
    "OcclusionMaskWrapper",
    "Options",
    "PKGrouper",
    "PKStream",
    "PathError",
    "Problem",
    "RandomErasing",
    "RandomIdentitySampler",
    "RandomOcclusion",
    "RandomSizedRectCrop",
    "RecordError",
    "RecordIO",
    "RecordReader",
    "RecordWriter",
    "RectScale",
    "Report",
    "SourceError",
    "SyntheticOcclusionMask",
    "ToTensorWithMask",
    "TransferError",
    "Verification",
    "WdsFaceError",
    "WebDataset",
    "__version__",
    "adopt",
    "contact_sheet",
    "convert",
    "convert_pairs",
    "convert_validation",
    "draw_pairs",
    "embed",
    "evaluate_benchmarks",
    "evaluate_verification",
    "get_val_data",
    "get_val_pair",
    "get_val_sets",
    "load_bin",
    "make_memmap",
    "mean_accuracy",
    "normalize",
    "pk_batched",
    "read_memmap",
    "save_roc",
    "save_sheet",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'wds_face' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
