"""Sources of faces to convert. A fourth kind is one module that offers what :class:`Source` says."""

from wds_face.sources.image_records import IdxUse
from wds_face.sources.imagefolder import ImageFolder
from wds_face.sources.records import RecordIO
from wds_face.sources.shards import WebDataset
from wds_face.sources.source import Image, Inventory, Part, Skipped, SkippedKind, Source

__all__ = [
    "IdxUse",
    "Image",
    "ImageFolder",
    "Inventory",
    "Part",
    "RecordIO",
    "Skipped",
    "SkippedKind",
    "Source",
    "WebDataset",
]
