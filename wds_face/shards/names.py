"""Tell from the name of a file whether it is a shard, how it is compressed, and which split it belongs to."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from wds_face.images import EXTENSIONS

Compression = Literal["", "gzip", "bzip2", "xz", "zstd"]

#: Compression of a shard by the end of its name, in lower case.
SUFFIXES: dict[str, Compression] = {
    ".tar": "",
    ".tar.gz": "gzip",
    ".tgz": "gzip",
    ".tar.bz2": "bzip2",
    ".tbz2": "bzip2",
    ".tbz": "bzip2",
    ".tar.xz": "xz",
    ".txz": "xz",
    ".tar.zst": "zstd",
    ".tar.zstd": "zstd",
    ".tzst": "zstd",
}

#: Split of a data set by the first word in the name of a folder or shard.
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
}
_SPLIT = re.compile(rf"({'|'.join(sorted(_SPLITS, key=len, reverse=True))})(?![a-z])", re.IGNORECASE)

# Files that describe a data set and hold none of its images, by the end of their names.
_TEXTS = {"csv", "htm", "html", "json", "jsonl", "list", "log", "lst", "md", "pdf", "rst", "tsv", "txt", "xml"}
_SETTINGS = {"cfg", "ini", "py", "sh", "toml", "yaml", "yml"}
_SUMS_AND_INDICES = {"crc", "etag", "idx", "index", "lock", "md5", "npy", "sha1", "sha256"}
_DESCRIPTIONS = _TEXTS | _SETTINGS | _SUMS_AND_INDICES
_UNFINISHED = frozenset(["aria2", "crdownload", "download", "incomplete", "part", "partial", "tmp"])
_PACKED = frozenset(["tlz", "tlz4", "taz", "tz", "tz2"])  # short for .tar.lz and the like


class Stray(NamedTuple):
    """A file or folder among shards that is not taken.

    Attributes:
        name: Path of the file or folder, relative to the folder of the shards.
        reason: Short reason why it is not taken.
        lost: Whether it is a shard that cannot be read, so that its images are lost.
    """

    name: str
    reason: str
    lost: bool = False


def compression_of(name: str) -> Compression | None:
    """Return the compression that a file name indicates, "" for a plain tar and None if it is not a shard."""
    lower = name.rpartition("/")[2].lower()
    if lower.startswith("."):
        return None
    for suffix, compression in SUFFIXES.items():
        if lower.endswith(suffix) and lower != suffix:
            return compression
    return None


def is_shard(name: str) -> bool:
    """Return whether a file name is that of a shard: a plain or compressed tar that is not hidden."""
    return compression_of(name) is not None


def split_of(name: str) -> str:
    """Return the split that a shard's path names, "train", "val" or "test", and "" if it names none."""
    for part in name.split("/"):
        if match := _SPLIT.match(part):
            return _SPLITS[match[1].lower()]
    return ""


def stray(name: str) -> Stray | None:
    """Describe a file that is not a shard; None for files that hold no images, such as text."""
    file = name.rpartition("/")[2].lower()
    extension = file.rpartition(".")[2] if "." in file else ""
    if file.startswith("."):
        return Stray(name, "hidden file") if ".tar" in file and not file.endswith(".part") else None
    if extension in _UNFINISHED:
        return Stray(name, "unfinished download", lost=True)
    if ".tar." in file or extension in _PACKED:
        return Stray(name, f"a shard in a form that is not read (.{extension}): unpack it first", lost=True)
    if extension == "rec":
        return Stray(name, "records, not a shard: `wds-face convert recordio` reads them")
    if extension in EXTENSIONS:
        return Stray(name, "an image in no shard")
    if not extension or extension in _DESCRIPTIONS:
        return None
    return Stray(name, f"not a shard (.{extension})")
