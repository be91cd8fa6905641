"""Choose images of a data set of any kind, one of each identity."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from wds_face import recognise
from wds_face.errors import SourceError
from wds_face.images import EXTENSIONS, defect
from wds_face.location import is_url, shown
from wds_face.pool import Workers
from wds_face.shards.find import Location, ShardList, find_shards
from wds_face.shards.index import MANIFEST, Index
from wds_face.shards.samples import extension
from wds_face.shards.tar import walk
from wds_face.sources.imagefolder import ImageFolder
from wds_face.sources.records import RecordIO
from wds_face.sources.shards import WebDataset
from wds_face.sources.source import ALONE, Image, Inventory, quiet
from wds_face.storage import open_store

#: Number of images of an identity to choose from. A larger number means reading more images to reach later ones.
_MOST_READ = 8


class Peek(NamedTuple):
    """Images of a data set.

    Attributes:
        kind: What was read: ``"dataset"``, ``"recordio"``, ``"webdataset"`` or ``"imagefolder"``.
        notes: Lines for the user about how it was read.
        images: Identity name and encoded bytes of each image, in random order.
    """

    kind: str
    notes: list[str]
    images: Iterator[tuple[str, bytes]]


def peek(
    url: str,
    rng: np.random.Generator,
    *,
    identity_depth: int | None = None,
    workers: Workers = ALONE,
    progress: Callable[[int], object] = quiet,
) -> Peek:
    """Choose one image of each identity at random, in random order.

    Identities and images are those that a conversion would take, so image folders and records are scanned completely.
    Shards without an index are scanned one by one as images are requested, and an identity counts in the first shard
    that has it. A data set of wds_face is read by its index.

    Args:
        url: Folder of image folders, ``.rec`` file or a folder with one, or shards: a folder or fsspec URL of them, a
            ``.tar`` or a brace pattern. A folder of images without sub-folders yields all of them.
        rng: Random generator for the order and the choice.
        identity_depth: Depth of the identities in image folders, see :class:`wds_face.ImageFolder`.
        workers: Workers to share the scan of image folders with.
        progress: Called with the number of images found since the last call.

    Raises:
        SourceError: *url* holds no such data, or is ambiguous; ``identity_depth`` was given for another kind of data.
        DatasetError, RecordError, TarError: The data cannot be read.
    """
    kind = _kind(url, identity_depth)
    if kind == "dataset":
        return Peek(kind, [], _of_index(Index.open(url), rng))
    if kind == "webdataset":
        found = find_shards(url)
        return Peek(kind, found.notes, _of_shards(found, rng))
    if kind == "images":
        inventory = ImageFolder(url, identity_depth=0).scan(workers, progress)
        return Peek("imagefolder", inventory.notes, _all_images(inventory, rng))
    source = RecordIO(url) if kind == "recordio" else ImageFolder(url, identity_depth=identity_depth)
    inventory = source.scan(workers, progress)
    return Peek(source.kind, inventory.notes, _one_of_each(inventory, rng, set()))


def _kind(url: str, identity_depth: int | None) -> recognise.Kind:
    """Return the kind of data at a path or URL. :class:`ImageFolder` refuses unknown kinds."""
    kind = _kind_of_url(url) or _kind_of_path(url)
    if identity_depth is None:
        return kind
    if kind in ("imagefolder", "images"):
        return "imagefolder"
    raise SourceError(f"{shown(url)} holds no image folders ({kind}): omit --identity-depth")


def _kind_of_url(url: str) -> recognise.Kind | None:
    """Return the kind of data at a URL or a pattern of shards, None for any other local path."""
    if not is_url(url):
        is_pattern = bool(Location.parse(url).pattern) and not os.path.exists(url)
        return "webdataset" if is_pattern and not url.endswith(".rec") else None
    if not Location.parse(url).pattern and open_store(url).size(MANIFEST) is not None:
        return "dataset"
    return "webdataset"


def _kind_of_path(path: str) -> recognise.Kind:
    found = recognise.recognise(path)
    if found is None:
        if not os.path.isdir(path) and not path.endswith(".rec"):
            raise SourceError(f"{path} does not exist or is empty: give a folder of images, a .rec file, or shards")
        return "recordio" if path.endswith(".rec") else "imagefolder"
    if found.kind in ("dataset", "recordio") and found.path != path:  # in a folder below
        return "imagefolder"
    if found.kind in ("unsupported", "validation"):
        return "imagefolder"
    return found.kind


def _one_of_each(inventory: Inventory, rng: np.random.Generator, seen: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield a random undamaged image of each identity that is not in ``seen``, and add the identity to ``seen``."""
    for row in rng.permutation(len(inventory.names)).tolist():
        name = inventory.names[row]
        if name in seen:
            continue
        first = int(rng.integers(min(int(inventory.images[row]), _MOST_READ)))
        spare: bytes | None = None
        for i, data in enumerate(_whole_images(inventory, row)):
            spare = data
            if i >= first:
                break
        if spare is not None:
            seen.add(name)
            yield name, spare


def _all_images(inventory: Inventory, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Yield all images of the only identity in random order."""
    (part,) = inventory.part(np.array([0])).read()
    found = [bytes(image.data) for image in part if isinstance(image, Image)]
    for i in rng.permutation(len(found)):
        yield inventory.names[0], found[i]


def _whole_images(inventory: Inventory, row: int) -> Iterator[bytes]:
    """Yield the images of an identity that are not damaged."""
    (images,) = inventory.part(np.array([row])).read()
    for image in images:
        if isinstance(image, Image) and defect(image.data) is None:
            yield bytes(image.data)


def _of_shards(found: ShardList, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Yield an image of each identity, shard by shard."""
    store = found.store
    seen: set[str] = set()
    for i in rng.permutation(len(found.names)):
        inventory = WebDataset(f"{store.url}/{found.names[i]}", options=store.options).scan()
        try:
            yield from _one_of_each(inventory, rng, seen)
        finally:
            inventory.release(ALONE)


def _of_index(index: Index, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    for row in index.identities[rng.permutation(len(index.identities))]:
        start = int(row["offset"])
        end = start + int(row["nbytes"])
        (run,) = index.store.ranges([index.shards[row["shard"]].name], [start], [end])
        if isinstance(run, Exception):
            raise run
        members = [member for member in walk(memoryview(run), ends=False) if extension(member) in EXTENSIONS]
        member = members[rng.integers(len(members))]
        yield index.classes[row["label"]], run[member.data : member.data + member.size]
