"""Choose images of a data set of any kind, one of each identity."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from wds_face import recognise
from wds_face.errors import SourceError
from wds_face.images import EXTENSIONS, defect
from wds_face.location import is_url, shown
from wds_face.pool import Workers
from wds_face.shards.find import Location
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

#: Size in bytes of the shards without an index to choose from. Compressed and remote ones are read as a whole.
SHARD_BYTES = 256 << 20


class Peek(NamedTuple):
    """Images of a data set.

    Attributes:
        kind: What was read: ``"dataset"``, ``"recordio"``, ``"webdataset"`` or ``"imagefolder"``.
        notes: Lines for the user about how it was read.
        images: Identity name and encoded bytes of each image, in random order. Closed, it removes local copies of
            shards.
    """

    kind: str
    notes: list[str]
    images: Generator[tuple[str, bytes], None, None]


def peek(
    url: str,
    rng: np.random.Generator,
    *,
    identity_depth: int | None = None,
    samples: Mapping[str, Any] = MappingProxyType({}),
    workers: Workers = ALONE,
    progress: Callable[[int], object] = quiet,
) -> Peek:
    """Choose one image of each identity at random, in random order.

    Identities and images are those that a conversion would take, so image folders and records are scanned completely.
    Of shards without an index, some are scanned that are chosen at random, :data:`SHARD_BYTES` of them. A data set of
    wds_face is read by its index.

    Args:
        url: Folder of image folders, ``.rec`` file or a folder with one, or shards: a folder or fsspec URL of them, a
            ``.tar`` or a brace pattern. A folder of images without sub-folders yields all of them.
        rng: Random generator for the order and the choice.
        identity_depth: Depth of the identities in image folders, see :class:`wds_face.ImageFolder`.
        samples: Arguments of :class:`wds_face.WebDataset` that tell how shards without an index are read:
            ``label_from``, ``image_from`` and ``dots_in_keys``.
        workers: Workers to share the scan with.
        progress: Called with the number of images found since the last call.

    Raises:
        SourceError: *url* holds no such data, or is ambiguous; ``identity_depth`` or ``samples`` was given for another
            kind of data.
        DatasetError, RecordError, TarError: The data cannot be read.
    """
    kind = _kind(url, identity_depth, samples)
    if kind == "dataset":
        return Peek(kind, [], _of_index(Index.open(url), rng))
    if kind == "webdataset":
        inventory = WebDataset(url, **samples).scan_some(rng, SHARD_BYTES, workers, progress)
        return Peek(kind, _notes(inventory), _one_of_each(inventory, rng, workers))
    if kind == "images":
        inventory = ImageFolder(url, identity_depth=0).scan(workers, progress)
        return Peek("imagefolder", inventory.notes, _all_images(inventory, rng))
    source = RecordIO(url) if kind == "recordio" else ImageFolder(url, identity_depth=identity_depth)
    inventory = source.scan(workers, progress)
    return Peek(source.kind, _notes(inventory), _one_of_each(inventory, rng, workers))


def _notes(inventory: Inventory) -> list[str]:
    """Return the notes of a source, and one for the damage that a conversion refuses."""
    damaged = [f"{entry.item}: {entry.reason}" for entry in inventory.skipped if entry.kind == "container"]
    if not damaged:
        return inventory.notes
    more = f" ({len(damaged) - 1:,} more)" if damaged[1:] else ""
    return [*inventory.notes, f"a conversion is refused without --salvage: {damaged[0]}{more}"]


def _kind(url: str, identity_depth: int | None, samples: Mapping[str, Any]) -> recognise.Kind:
    """Return the kind of data at a path or URL. :class:`ImageFolder` refuses unknown kinds."""
    kind = _kind_of_url(url) or _kind_of_path(url)
    if samples and kind != "webdataset":
        option = next(iter(samples)).replace("_", "-")
        raise SourceError(f"{shown(url)} holds no shards without an index ({kind}): omit --{option}")
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


def _one_of_each(
    inventory: Inventory, rng: np.random.Generator, workers: Workers
) -> Generator[tuple[str, bytes], None, None]:
    """Yield a random undamaged image of each identity, and release the inventory."""
    try:
        for row in rng.permutation(len(inventory.names)).tolist():
            first = int(rng.integers(min(int(inventory.images[row]), _MOST_READ)))
            spare: bytes | None = None
            for i, data in enumerate(_whole_images(inventory, row)):
                spare = data
                if i >= first:
                    break
            if spare is not None:
                yield inventory.names[row], spare
    finally:
        inventory.release(workers)


def _all_images(inventory: Inventory, rng: np.random.Generator) -> Generator[tuple[str, bytes], None, None]:
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


def _of_index(index: Index, rng: np.random.Generator) -> Generator[tuple[str, bytes], None, None]:
    for row in index.identities[rng.permutation(len(index.identities))]:
        start = int(row["offset"])
        end = start + int(row["nbytes"])
        (run,) = index.store.ranges([index.shards[row["shard"]].name], [start], [end])
        if isinstance(run, Exception):
            raise run
        members = [member for member in walk(memoryview(run), ends=False) if extension(member) in EXTENSIONS]
        member = members[rng.integers(len(members))]
        yield index.classes[row["label"]], run[member.data : member.data + member.size]
