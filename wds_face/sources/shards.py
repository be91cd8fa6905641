"""Faces in WebDataset shards of any maker, in any order: regrouped by identity."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wds_face.errors import NOT_THE_FILE, DatasetError, SourceError, TarError
from wds_face.pool import Workers
from wds_face.shards.classes import read_classes
from wds_face.shards.find import find_label, find_shards
from wds_face.shards.samples import SampleReader
from wds_face.sources.source import ALONE, Image, Inventory, Skipped, by_identity, quiet, runs
from wds_face.storage import Store

#: An image in a shard. Numbers of extensions and identities hold in one :class:`_Listed`.
_COLUMNS = ("shard", "offset", "nbytes", "extension", "identity")
_ROW = np.dtype([(name, "<i8") for name in _COLUMNS])


class _Listed(NamedTuple):
    """The images of one shard, and what is none."""

    rows: NDArray[Any]
    extensions: list[str]
    identities: list[str]
    stamp: str
    skipped: list[Skipped]


class WebDataset:
    """WebDataset tar shards.

    Args:
        url: a folder of ``.tar`` files, one ``.tar``, or a brace pattern (``faces-{000000..000123}.tar``); a local
            path or any fsspec URL.
        label_from: where identities are, see :class:`wds_face.shards.samples.SampleReader`.
        options: fsspec's ``storage_options``.
    """

    kind = "webdataset"
    recursive = False

    def __init__(
        self, url: str | os.PathLike[str], *, label_from: str = "auto", options: dict[str, Any] | None = None
    ) -> None:
        self.url = os.fspath(url)
        self.label_from = label_from
        self.options = options
        SampleReader(label_from)  # refuses what it does not know

    @property
    def location(self) -> str:
        """See :class:`wds_face.sources.Source`."""
        return self.url.rpartition("/")[0] or "." if self.url.endswith(".tar") else self.url

    def scan(self, workers: Workers = ALONE, progress: Callable[[int], object] = quiet) -> Inventory:
        """See :class:`wds_face.sources.Source`."""
        store, names = find_shards(self.url, self.options)
        label_from = find_label(store, names) if self.label_from == "auto" else self.label_from
        skipped: list[Skipped] = []
        extensions: dict[str, int] = {}
        identities: dict[str, int] = {}
        tables = []
        stamps: list[str] = []
        for number, listed in enumerate(workers.map(_list, [(store, name, label_from) for name in names])):
            table = listed.rows
            table["shard"] = number
            # numbers that hold in this shard become numbers that hold in all
            for column, of_shard, of_all in (
                ("extension", listed.extensions, extensions),
                ("identity", listed.identities, identities),
            ):
                common = [of_all.setdefault(name, len(of_all)) for name in of_shard]
                table[column] = np.array(common, np.int64)[table[column]]
            tables.append(table)
            stamps.append(listed.stamp)
            skipped += listed.skipped
            progress(len(table))
        table = np.concatenate(tables)
        if not len(table):
            raise SourceError(f"{self.url}: no sample with an image and an identity" + _first(skipped))
        labels, rank = _in_order(list(identities))
        order, starts, counts, nbytes = by_identity(rank[table["identity"]], table["nbytes"], len(labels))
        table = table[order]
        kinds = list(extensions)
        return Inventory(
            names=_original_names(store, labels),
            images=counts,
            nbytes=nbytes,
            part=lambda rows: _ShardPart(store, names, stamps, kinds, [table[run] for run in runs(starts, rows)]),
            skipped=skipped,
        )


def _list(task: tuple[Store, str, str]) -> _Listed:
    store, name, label_from = task
    rows = array("q")
    extensions: dict[str, int] = {}
    identities: dict[str, int] = {}
    skipped: list[Skipped] = []
    stamp = ""
    try:
        stamp = store.stamp(name)
        for sample in SampleReader(label_from).read(store.view(name)):
            skipped += [Skipped(f"{name}:{spare}", "second image of its sample") for spare in sample.spare]
            if sample.problem or sample.image is None:
                skipped.append(Skipped(f"{name}:{sample.key}", sample.problem))
                continue
            extension = extensions.setdefault(sample.extension, len(extensions))
            identity = identities.setdefault(sample.identity, len(identities))
            rows.extend((0, sample.image.data, sample.image.size, extension, identity))
    except TarError as error:
        skipped.append(Skipped(name, f"damaged tar: {error}"))
    except OSError as error:
        if error.errno in NOT_THE_FILE:
            raise
        skipped.append(Skipped(name, f"unreadable ({error.strerror or type(error).__name__})"))
    return _Listed(np.frombuffer(rows, _ROW).copy(), list(extensions), list(identities), stamp, skipped)


def _in_order(names: list[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Names sorted (as numbers where all are), and the rank of each in that order."""
    numbers = all(name.isdecimal() for name in names)
    order = sorted(range(len(names)), key=(lambda i: (int(names[i]), names[i])) if numbers else names.__getitem__)
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return [names[i] for i in order], rank


def _original_names(store: Store, labels: list[str]) -> list[str]:
    """Names from the ``classes.tsv`` beside shards that wds_face made, so that they survive a second conversion."""
    if "classes.tsv" not in store.names() or not all(label.isdecimal() for label in labels):
        return labels
    try:
        classes = read_classes(store.read("classes.tsv"))
    except DatasetError:  # somebody else's file of that name
        return labels
    if any(int(label) >= len(classes) for label in labels):
        return labels
    return [classes[int(label)] for label in labels]


def _first(skipped: list[Skipped]) -> str:
    return f" (first of {len(skipped)} left out: {skipped[0].item}, {skipped[0].reason})" if skipped else ""


@dataclass(frozen=True)
class _ShardPart:
    store: Store
    names: list[str]
    stamps: list[str]
    extensions: list[str]
    rows: list[NDArray[Any]]
    """:data:`_ROW` of each image, per identity."""

    @property
    def fingerprint(self) -> bytes:
        """See :class:`wds_face.sources.Part`."""
        digest = hashlib.sha256(self.store.url.encode("utf-8", "surrogateescape"))
        for texts in (self.names, self.stamps, self.extensions):
            digest.update("\0".join([*texts, ""]).encode("utf-8", "surrogateescape"))
        for rows in self.rows:
            digest.update(len(rows).to_bytes(8, "little") + rows.tobytes())
        return digest.digest()

    def read(self) -> Iterator[Iterable[Image | Skipped]]:
        """See :class:`wds_face.sources.Part`."""
        for rows in self.rows:
            yield self._identity(rows)

    def _identity(self, rows: NDArray[Any]) -> Iterator[Image | Skipped]:
        shards, starts, sizes, extensions = (rows[name].tolist() for name in _COLUMNS[:4])
        ends = [start + size for start, size in zip(starts, sizes, strict=True)]
        found = self.store.ranges([self.names[shard] for shard in shards], starts, ends)
        for shard, start, extension, data in zip(shards, starts, extensions, found, strict=True):
            item = self._item(shard, start)
            if isinstance(data, Exception):
                yield Skipped(item, f"unreadable ({type(data).__name__})")
            else:
                yield Image(item, self.extensions[extension], data)

    def _item(self, shard: int, offset: int) -> str:
        return f"{self.names[shard]} at byte {offset}"
