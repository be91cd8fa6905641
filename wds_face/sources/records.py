"""Faces in an MXNet record file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from wds_face import images, recognise
from wds_face.errors import RecordError, SourceError
from wds_face.location import local_path
from wds_face.pool import Workers
from wds_face.recordio import RecordReader, unpack
from wds_face.sources.image_records import IdxUse, ImageRecords, image_records
from wds_face.sources.source import ALONE, Image, Inventory, Skipped, by_identity, quiet, runs


class RecordIO:
    """A ``.rec`` file with or without its ``.idx``, in any of the layouts that face data sets come in.

    Images are grouped by the label that each carries itself (the first where it has several). The header (key 0) and
    the identity-range records that InsightFace adds are recognised by ``flag == 2`` and an empty payload and left
    aside: their ranges are float32, so wrong above 2**24, and an identity may have several.

    A file that is cut off or damaged, and an ``.idx`` that does not belong to it, are containers in
    :attr:`Inventory.skipped <wds_face.sources.Inventory>`: a conversion refuses them unless it is told to salvage. What
    counts as evidence is described in :mod:`wds_face.sources.image_records`.

    Args:
        path: the ``.rec`` file, or a folder that holds ``train.rec`` or just one other ``.rec``.
        idx: Use of the ``.idx``. ``"check"``: It must name every image of the ``.rec``, and nothing else; otherwise it
            is reported and not used. ``"trust"``: Only the images that it lists are taken, for example to leave out a
            hold-out set. ``"ignore"``: It is not read; the ``.rec`` is read from front to back.

    Raises:
        ValueError: ``idx`` has another value.
    """

    kind = "recordio"
    recursive = False

    def __init__(self, path: str | os.PathLike[str], *, idx: IdxUse = "check") -> None:
        if idx not in get_args(IdxUse):
            raise ValueError(f'idx is "check", "trust" or "ignore", not {idx!r}')
        self.path = local_path(path, "SRC")
        self.idx: IdxUse = idx

    @property
    def location(self) -> str:
        """See :class:`wds_face.sources.Source`."""
        return str(record_file(self.path))

    def scan(self, workers: Workers = ALONE, progress: Callable[[int], object] = quiet) -> Inventory:
        """See :class:`wds_face.sources.Source`."""
        path = record_file(self.path)
        found = image_records(path, self.idx)
        progress(len(found.table))
        table = found.table
        labels, identity = np.unique(table["label"], return_inverse=True)
        order, starts, counts, nbytes = by_identity(identity, table["nbytes"], len(labels))
        located = table["offset"][order]
        others = sorted(self.path.glob("*.rec")) if self.path.is_dir() else []
        strays = [Skipped(other.name, "another record file", "other") for other in others if other != path]
        return Inventory(
            names=[str(int(label)) if label == int(label) else repr(float(label)) for label in labels.tolist()],
            images=counts,
            nbytes=nbytes,
            part=lambda rows: _RecordPart(str(path), [located[run] for run in runs(starts, rows)]),
            skipped=[*found.skipped, *strays],
            notes=found.notes,
            remedy=_remedy(path, found),
            facts={"idx": found.idx},
        )


def _remedy(path: Path, found: ImageRecords) -> str:
    if found.idx_misfit:
        return f"Say --idx ignore to read {path.name} without its .idx, --idx trust to take only what the .idx lists"
    return f"Copy {path.name} again"


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
        return Skipped(item, "broken record", "container")
    return Image(item, images.kind(payload) or "jpg", payload)
