"""Some images of a data set of any kind, without reading the rest of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wds_face.errors import SourceError
from wds_face.images import EXTENSIONS
from wds_face.recordio import RecordReader, unpack
from wds_face.shards.find import Location, find_shards
from wds_face.shards.index import MANIFEST, Index
from wds_face.shards.names import is_shard
from wds_face.shards.opening import open_shard
from wds_face.shards.samples import SampleReader, extension
from wds_face.shards.spool import Spool
from wds_face.shards.tar import walk
from wds_face.sources.records import image_records, record_file
from wds_face.storage import Store, open_store
from wds_face.storage.store import Listing


def peek(url: str, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Names and encoded bytes of images in random order, of different identities where these can be told apart.

    Args:
        url: a folder of image folders, a ``.rec`` file or a folder with one, or shards: a folder or fsspec URL of
            them, a ``.tar`` or a brace pattern.
        rng: of the order.

    Raises:
        SourceError: there is nothing of these.
        DatasetError, RecordError, TarError: it cannot be read.
    """
    path = Path(url)
    if path.suffix == ".rec" or (path.is_dir() and any(path.glob("*.rec"))):
        return _of_records(path, rng)
    location = Location.parse(url)
    if not location.pattern:
        store = open_store(url)
        if store.size(MANIFEST) is not None:
            return _of_index(Index.open(store), rng)
        listing = store.listing()
        if path.is_dir() and not any(map(is_shard, listing.files)) and not any(_shards_in(store, listing)):
            return _of_folders(path, rng)
        if not listing.files and not listing.folders:
            raise SourceError(f"{store} is not there, or empty: give a folder of images, a .rec file, or shards")
    found = find_shards(url)
    return _of_shards(found.store, found.names, rng)


def _shards_in(store: Store, listing: Listing) -> Iterator[bool]:
    """Tell of each of the first folders whether it holds shards."""
    for folder in listing.folders[:16]:
        yield any(map(is_shard, store.names(folder)))


def _of_folders(root: Path, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    with os.scandir(root) as entries:
        folders = sorted(entry.path for entry in entries if entry.is_dir())
    for number in rng.permutation(len(folders)):
        files = [file for file in sorted(Path(folders[number]).iterdir()) if _is_image(file)]
        if files:
            file = files[rng.integers(len(files))]
            yield f"{file.parent.name}/{file.name}", file.read_bytes()
    files = [file for file in sorted(root.iterdir()) if _is_image(file)]
    for number in rng.permutation(len(files)):
        yield files[number].name, files[number].read_bytes()


def _is_image(file: Path) -> bool:
    return file.suffix[1:].lower() in EXTENSIONS and file.is_file()


def _of_records(path: Path, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    path = record_file(path)
    found = image_records(path)
    _, identity = np.unique(found.table["label"], return_inverse=True)
    order = rng.permutation(len(identity))
    _, first = np.unique(identity[order], return_index=True)  # of each identity the one that comes first
    with RecordReader(path) as reader:
        for number in order[np.sort(first)].tolist():
            _, payload = unpack(reader.at(int(found.table["offset"][number])))
            yield f"label {found.table['label'][number]:g}", bytes(payload)


def _of_index(index: Index, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    for row in index.identities[rng.permutation(len(index.identities))]:
        start, end = int(row["offset"]), int(row["offset"] + row["nbytes"])
        (run,) = index.store.ranges([index.shards[row["shard"]].name], [start], [end])
        if isinstance(run, Exception):
            raise run
        members = [member for member in walk(memoryview(run), ends=False) if extension(member) in EXTENSIONS]
        member = members[rng.integers(len(members))]
        yield member.name, run[member.data : member.data + member.size]


def _of_shards(store: Store, names: list[str], rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    spool = Spool()
    for number in rng.permutation(len(names)):
        view, _ = open_shard(store, names[number], spool)
        samples = [sample for sample in SampleReader().read(view) if sample.image is not None]
        for place in rng.permutation(len(samples)):
            member = samples[place].image
            if member is not None:
                yield member.name, bytes(view[member.data : member.data + member.size])
