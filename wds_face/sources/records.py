"""Faces in an MXNet record file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wds_face import images, recognise
from wds_face.errors import RecordError, SourceError
from wds_face.location import local_path
from wds_face.pool import Workers
from wds_face.recordio import RecordReader, unpack
from wds_face.sources.source import ALONE, Image, Inventory, Skipped, by_identity, quiet, runs


class RecordIO:
    """A ``.rec`` file with or without its ``.idx``, in any of the layouts that face data sets come in.

    Images are grouped by the label that each carries itself (the first where it has several). The header (key 0) and
    the identity-range records that InsightFace adds are recognised by ``flag == 2`` and an empty payload and left
    aside: their ranges are float32, so wrong above 2**24, and an identity may have several.

    Args:
        path: the ``.rec`` file, or a folder that holds ``train.rec`` or just one other ``.rec``.
    """

    kind = "recordio"
    recursive = False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = local_path(path, "SRC")

    @property
    def location(self) -> str:
        """See :class:`wds_face.sources.Source`."""
        return str(record_file(self.path))

    def scan(self, workers: Workers = ALONE, progress: Callable[[int], object] = quiet) -> Inventory:
        """See :class:`wds_face.sources.Source`."""
        path = record_file(self.path)
        found = image_records(path)
        progress(len(found.table))
        table, skipped = found.table, found.skipped
        labels, identity = np.unique(table["label"], return_inverse=True)
        order, starts, counts, nbytes = by_identity(identity, table["nbytes"], len(labels))
        located = table["offset"][order]
        return Inventory(
            names=[str(int(label)) if label == int(label) else repr(float(label)) for label in labels.tolist()],
            images=counts,
            nbytes=nbytes,
            part=lambda rows: _RecordPart(str(path), [located[run] for run in runs(starts, rows)]),
            skipped=skipped,
            notes=_property_note(path, len(labels)),
        )


def record_file(path: str | os.PathLike[str]) -> Path:
    """The ``.rec`` file that is meant by a path: itself, or in a folder ``train.rec`` or just one other.

    Raises:
        SourceError: there is none, or more than one.
    """
    path = local_path(path, "SRC")
    if not path.is_dir():
        if not path.is_file():
            raise SourceError(f"{path} is not there: give a .rec file or the folder that holds train.rec")
        if hint := recognise.hint(path, reader="recordio"):
            raise SourceError(f"{path} is not a .rec file{hint}")
        return path
    found = sorted(path.glob("*.rec"))
    named = [file for file in found if file.name == "train.rec"] or found
    if len(named) == 1:
        return named[0]
    if not found:
        raise SourceError(f"{path} holds no .rec file{recognise.hint(path)}")
    raise SourceError(f"{path} holds {len(found)} .rec files ({found[0].name}, …): name the one that is meant")


class ImageRecords(NamedTuple):
    """The records of a file that are images, in the order of the file."""

    table: NDArray[Any]
    """What their headers tell, :data:`wds_face.recordio.HEADERS` ``[n]``."""
    keys: NDArray[np.int64]
    """Their keys, ``[n]``; without an index their numbers among the records that can be read."""
    skipped: list[Skipped]
    """What should have been an image and is none."""


def image_records(path: Path) -> ImageRecords:
    """Find the images of a ``.rec`` file by the headers of its records, in any of the layouts of :class:`RecordIO`.

    Raises:
        SourceError: there is none.
        RecordError: the file or its index cannot be read.
    """
    skipped: list[Skipped] = []
    with RecordReader(path) as reader:
        if not reader.nbytes:
            raise SourceError(f"{path} is empty")
        offsets, keys = _offsets(reader, skipped)
        table = reader.headers(offsets)
        size = reader.nbytes
    broken = ~table["ok"]
    skipped += [Skipped(f"{path.name} at byte {at}", "broken record") for at in table["offset"][broken].tolist()]
    if keys is not None:
        _unlisted(path.name, table, size, skipped)
    empty = (table["nbytes"] == 0) & ~broken
    index_record = empty & (table["flag"] == 2) & ~_image_keys(table, keys)
    for at in table["offset"][empty & ~index_record].tolist():
        skipped.append(Skipped(f"{path.name} at byte {at}", "empty"))
    odd = ~np.isfinite(table["label"]) & ~broken & ~empty
    skipped += [Skipped(f"{path.name} at byte {at}", "label is not a number") for at in table["offset"][odd].tolist()]
    image = ~(broken | empty | odd)
    if not image.any():
        raise SourceError(f"{path} holds no image record" + (f": {skipped[0].reason}" if skipped else ""))
    return ImageRecords(table[image], np.flatnonzero(image) if keys is None else keys[image], skipped)


def _offsets(reader: RecordReader, skipped: list[Skipped]) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Offsets of the records in the order of the file, and their keys where there is an index."""
    name = reader.path.name
    if reader.idx is None:
        return np.fromiter(_scan(reader, skipped), np.int64), None
    keys, offsets = reader.keys, reader.offsets
    # of equal keys the last line counts, as in mxnet; two keys for one record are one image
    _, last = np.unique(keys[::-1], return_index=True)
    kept = np.zeros(len(keys), bool)
    kept[len(keys) - 1 - last] = True
    skipped += [Skipped(f"{reader.idx.name} key {key}", "duplicate key") for key in keys[~kept].tolist()]
    keys, offsets = keys[kept], offsets[kept]
    _, first = np.unique(offsets, return_index=True)
    twice = np.ones(len(keys), bool)
    twice[first] = False
    skipped += [
        Skipped(f"{reader.idx.name} key {key}", f"second key of the record at byte {at} of {name}")
        for key, at in zip(keys[twice].tolist(), offsets[twice].tolist(), strict=True)
    ]
    return offsets[first], keys[first]


def _scan(reader: RecordReader, skipped: list[Skipped]) -> Iterator[int]:
    """Offsets found by walking the file; a broken stretch is reported and stepped over."""
    start = 0
    while start < reader.nbytes:
        try:
            for offset, _ in reader.scan(start):
                yield offset
            return
        except RecordError as error:
            start = reader.resync(error.offset)
            reason = f"broken record ({start - error.offset} bytes passed over)"
            skipped.append(Skipped(f"{reader.path.name} at byte {error.offset}", reason))


def _unlisted(name: str, table: NDArray[Any], size: int, skipped: list[Skipped]) -> None:
    """Report the stretches of the file that the index does not name."""
    good = table[table["ok"]]
    begins = np.concatenate([[0], np.minimum(good["end"], size)])
    ends = np.concatenate([table["offset"][table["ok"]], [size]])
    bad = table["offset"][~table["ok"]]
    for begin, end in zip(begins[ends > begins].tolist(), ends[ends > begins].tolist(), strict=True):
        if not ((bad >= begin) & (bad < end)).any():  # a broken record was reported already
            skipped.append(Skipped(f"{name} bytes {begin} to {end}", "not in the .idx"))


def _image_keys(table: NDArray[Any], keys: NDArray[np.int64] | None) -> NDArray[np.bool_]:
    """Records that the header's range says are images, so that an empty one among them is a lost image.

    Compared in float32, as the header has it: rounding keeps the order, so no range record is taken for an image.
    """
    if keys is None:
        return np.zeros(len(table), bool)
    header = (keys == 0) & (table["flag"] == 2) & (table["nbytes"] == 0) & table["ok"]
    if not header.any():
        return np.zeros(len(table), bool)
    first = np.float32(table["label"][header][0])
    return np.asarray((keys.astype(np.float32) < first) & ~header, bool)


def _property_note(path: Path, identities: int) -> list[str]:
    """``property`` says how many identities there should be; datasets in circulation differ."""
    try:
        first = (path.parent / "property").read_text(encoding="ascii", errors="replace").split(",")[0].strip()
    except OSError:
        return []
    if first.isdecimal() and int(first) != identities:
        return [f"the property file announces {int(first)} identities, the images of {path.name} have {identities}"]
    return []


def _stamp(path: str) -> str:
    status = os.stat(path)
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"


@lru_cache(maxsize=2)
def _reader(path: str, stamp: str) -> RecordReader:
    """One mapping for all parts that a worker reads, until the file is replaced."""
    return RecordReader(path)


@dataclass(frozen=True)
class _RecordPart:
    path: str
    offsets: list[NDArray[np.int64]]

    @property
    def fingerprint(self) -> bytes:
        """See :class:`wds_face.sources.Part`."""
        digest = hashlib.sha256(os.fsencode(f"{os.path.realpath(self.path)} {_stamp(self.path)}"))
        for offsets in self.offsets:
            digest.update(len(offsets).to_bytes(8, "little") + offsets.tobytes())
        return digest.digest()

    def read(self) -> Iterator[Iterable[Image | Skipped]]:
        """See :class:`wds_face.sources.Part`."""
        reader = _reader(self.path, _stamp(self.path))
        name = reader.path.name
        for offsets in self.offsets:
            yield (_image(reader, name, offset) for offset in offsets.tolist())


def _image(reader: RecordReader, name: str, offset: int) -> Image | Skipped:
    item = f"{name} at byte {offset}"
    try:
        _, payload = unpack(reader.at(offset))
    except RecordError:
        return Skipped(item, "broken record")
    return Image(item, images.kind(payload) or "jpg", payload)
