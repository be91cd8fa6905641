"""One shard, written from one part of a source."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wds_face import git_lfs
from wds_face.images import ImageError, Size, checked_size
from wds_face.shards.checksums import checksum
from wds_face.shards.index import Shard
from wds_face.shards.tar import BLOCK, END, headers, padded
from wds_face.sources.source import Image, Part, Skipped
from wds_face.storage import Store
from wds_face.version import __version__

_CHUNK = 1 << 20  # bytes that are laid out, hashed and written at once; more leave the processor's cache
_ZEROS = bytes(BLOCK)


class LabelRun(NamedTuple):
    """Where the images of one identity lie in a shard, and the sum of these bytes."""

    label: int
    images: int
    offset: int
    nbytes: int
    crc32: int


@dataclass(frozen=True)
class ShardTask:
    """All that it takes to write one shard; the same task gives the same bytes wherever it runs.

    Attributes:
        store: where to.
        name: the file.
        labels: the label of each identity of the part, ``[n]``.
        part: the identities.
        cls: whether each image is followed by a ``.cls`` member with its label.
        deep: decode every image to see whether it can be.
    """

    store: Store
    name: str
    labels: NDArray[np.int64]
    part: Part
    cls: bool = True
    deep: bool = False

    @property
    def fingerprint(self) -> str:
        """Tells two tasks apart that would write other bytes."""
        what = f"{__version__} {self.name} {self.cls} {self.deep}".encode()
        return hashlib.sha256(b"\0".join([what, self.labels.tobytes(), self.part.fingerprint])).hexdigest()


@dataclass(frozen=True)
class ShardResult:
    """What came of a task.

    ``images`` counts the good images of each identity, including zero, and ``sizes`` the good images of each size.
    """

    shard: Shard
    runs: list[LabelRun]
    images: list[int]
    skipped: list[Skipped]
    sizes: dict[Size, int]


def write_shard(task: ShardTask) -> ShardResult:
    """Write a shard: every image's bytes as they are, identity by identity, what is no whole image left out.

    It is left to the caller to wait for the disk, while this worker goes on with the next one.
    """
    places: list[tuple[int, int, int, int]] = []
    images: list[int] = []
    skipped: list[Skipped] = []
    sizes: dict[Size, int] = defaultdict(int)
    with task.store.write(task.name, durable=False) as file:
        tar = _TarStream(file, task.cls)
        for label, items in zip(task.labels.tolist(), task.part.read(), strict=True):
            offset, number = tar.nbytes, 0
            for item in items:
                if not isinstance(item, Image):
                    skipped.append(item)
                    continue
                try:
                    size = checked_size(item.data, deep=task.deep)
                except ImageError as error:
                    skipped.append(_unreadable(item.item, str(error)))
                    continue
                sizes[size] += 1
                tar.add(label, number, item)
                number += 1
            images.append(number)
            if number:
                places.append((label, number, offset, tar.nbytes - offset))
        digest = tar.close()
    runs = [LabelRun(*place, tar.sums[place[0]]) for place in places]
    shard = Shard(task.name, sum(images), tar.nbytes, digest)
    return ShardResult(shard, runs, images, skipped, sizes)


def _unreadable(item: str, reason: str) -> Skipped:
    """Return the entry of an unreadable image; a Git LFS pointer, rarely the only one, counts as a container."""
    return Skipped(item, reason, "container" if reason == git_lfs.REASON else "item")


@dataclass
class _TarStream:
    """A tar that is laid out in large chunks: headers by numpy, one join, one hash update and one write for each."""

    file: BinaryIO
    cls: bool
    nbytes: int = 0
    sums: dict[int, int] = field(default_factory=dict)  #: of the members of each label
    _sha256: hashlib._Hash = field(default_factory=hashlib.sha256)
    _keys: list[str] = field(default_factory=list)
    _labels: list[int] = field(default_factory=list)
    _images: list[Image] = field(default_factory=list)
    _flushed: int = 0

    def __post_init__(self) -> None:
        self._extra = BLOCK * 3 if self.cls else BLOCK  # besides the image: headers, and the label

    def add(self, label: int, number: int, image: Image) -> None:
        self._keys.append(f"{label:07d}/{number:06d}.")
        self._labels.append(label)
        self._images.append(image)
        self.nbytes += self._extra + padded(len(image.data))
        if self.nbytes - self._flushed >= _CHUNK:
            self._flush()

    def close(self) -> str:
        """Finish the archive; the sha256 of all of it."""
        self._flush()
        self._put(END)
        self.nbytes += len(END)
        return self._sha256.hexdigest()

    def _flush(self) -> None:
        if not self._keys:
            return
        sizes = [len(image.data) for image in self._images]
        names = [key + image.extension for key, image in zip(self._keys, self._images, strict=True)]
        blocks = headers(names, sizes)
        if self.cls:
            blocks = np.concatenate([blocks, _cls_members(self._keys, self._labels)], axis=1)
        table = memoryview(blocks.data).cast("B")
        width = blocks.shape[1]
        pieces: list[bytes | memoryview] = []
        for row, (image, size) in enumerate(zip(self._images, sizes, strict=True)):
            at = row * width
            pieces += (
                table[at : at + BLOCK],
                image.data,
                _ZEROS[: -size % BLOCK],
                table[at + BLOCK : at + width],
            )
        data = b"".join(pieces)
        self._put(data)
        self._sum(memoryview(data), [width + padded(size) for size in sizes])
        self._flushed = self.nbytes
        for pending in (self._keys, self._labels, self._images):
            pending.clear()

    def _sum(self, data: memoryview, sizes: list[int]) -> None:
        """Go on with the sums of the labels whose images these are."""
        ends = np.cumsum(sizes).tolist()
        first = [0, *(i for i in range(1, len(sizes)) if self._labels[i] != self._labels[i - 1]), len(sizes)]
        for begin, end in pairwise(first):
            label = self._labels[begin]
            piece = data[ends[begin] - sizes[begin] : ends[end - 1]]
            self.sums[label] = checksum(piece, self.sums.get(label, 0))

    def _put(self, data: bytes) -> None:
        self._sha256.update(data)
        self.file.write(data)


def _cls_members(keys: list[str], labels: list[int]) -> NDArray[np.uint8]:
    """The ``.cls`` members that follow the images: header and content, uint8 ``[n, 1024]``."""
    texts = [str(label) for label in labels]
    content = np.array(texts, dtype=f"S{BLOCK}").view(np.uint8).reshape(-1, BLOCK)
    return np.concatenate([headers([key + "cls" for key in keys], [len(text) for text in texts]), content], axis=1)
