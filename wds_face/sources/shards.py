"""Faces in WebDataset shards of any maker, in any order: regrouped by identity."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wds_face.errors import NOT_THE_FILE, DatasetError, SourceError, TarError
from wds_face.pool import Workers
from wds_face.shards.classes import read_classes
from wds_face.shards.completeness import incomplete
from wds_face.shards.compression import require
from wds_face.shards.copies import Copies
from wds_face.shards.find import Location, ShardList, find_shards
from wds_face.shards.index import CLASSES
from wds_face.shards.label_check import LabelCheck
from wds_face.shards.label_choice import Reading, check_options, propose
from wds_face.shards.label_evidence import Evidence
from wds_face.shards.labels import FolderRule, MemberRule, whole_number
from wds_face.shards.names import Stray, compression_of
from wds_face.shards.opening import is_spooled, open_shard
from wds_face.shards.spool import Spool
from wds_face.sources.source import ALONE, Image, Inventory, Skipped, by_identity, quiet, runs
from wds_face.storage import Store

#: An image in a shard. Numbers of extensions and identities hold in one :class:`_Listed`.
_COLUMNS = ("shard", "offset", "nbytes", "extension", "identity")
_ROW = np.dtype([(name, "<i8") for name in _COLUMNS])

# Reason for leaving out further images of a sample.
_SPARE = "second image of its sample (see --image-from)"


class _Listed(NamedTuple):
    """The images of one shard, and what is none."""

    rows: NDArray[Any]
    extensions: list[str]
    identities: list[str]
    stamp: str
    skipped: list[Skipped]
    spooled: bool
    evidence: Evidence


class WebDataset:
    """WebDataset tar shards.

    Args:
        url: A folder of shards, with or without sub-folders, one shard, or a pattern with braces
            (``{a,b}/faces-{000000..000123}.tar``) or wildcards (``data/*.tar``, ``**/*.tar.gz``); a local path or any
            fsspec URL. Shards are ``.tar``, ``.tar.gz``, ``.tar.bz2``, ``.tar.xz``, ``.tar.zst`` and their short forms.
        label_from: Label rule, see :mod:`wds_face.shards.labels`; ``auto`` for the first of ``cls``, ``json`` and
            ``key`` that finds a label. It is decided once for all shards.
        image_from: Extension of the image, such as ``image.jpg``; by default any image extension.
        dots_in_keys: Whether file names have dots, so that the key ends at the last one.
        options: fsspec's ``storage_options``.
        spool_dir: Folder for local copies of compressed and remote shards, see
            :class:`wds_face.shards.spool.Spool`. Each machine uses its own.
        spool_size: Bytes that these copies may take on a machine; by default nine tenths of the free disk.

    Raises:
        WdsFaceError: *label_from* or *image_from* is invalid, or *image_from* and *dots_in_keys* exclude each other.
    """

    kind = "webdataset"

    def __init__(
        self,
        url: str | os.PathLike[str],
        *,
        label_from: str = "auto",
        image_from: str = "",
        dots_in_keys: bool = False,
        options: dict[str, Any] | None = None,
        spool_dir: str | os.PathLike[str] | None = None,
        spool_size: int | None = None,
    ) -> None:
        check_options(label_from, image_from, dots_in_keys)
        self.url = os.fspath(url)
        self.label_from = label_from
        self.image_from = image_from
        self.dots_in_keys = dots_in_keys
        self.options = options
        self._spool = Spool(spool_dir, spool_size)

    @property
    def location(self) -> str:
        """See :class:`wds_face.sources.Source`."""
        return Location.parse(self.url).root

    @property
    def recursive(self) -> bool:
        """See :class:`wds_face.sources.Source`."""
        return Location.parse(self.url).recursive

    def scan(self, workers: Workers = ALONE, progress: Callable[[int], object] = quiet) -> Inventory:
        """See :class:`wds_face.sources.Source`."""
        found = self._find()
        self._prepare(found.store, found.names)
        return self._scan(found, self._propose(found), workers, progress)

    def scan_some(
        self,
        rng: np.random.Generator,
        nbytes: int,
        workers: Workers = ALONE,
        progress: Callable[[int], object] = quiet,
    ) -> Inventory:
        """Scan shards chosen at random, with the label rule of all, as :meth:`scan` does. A note gives their number.

        Args:
            rng: Random generator for the choice.
            nbytes: Maximum size of the shards to scan, in bytes; at least one is scanned.
            workers: Workers to share the scan with.
            progress: Called with the number of images found since the last call.

        Raises:
            SourceError: See :meth:`scan`.
        """
        found = self._find()
        order = rng.permutation(len(found.names))
        sizes = np.array(found.store.sizes(found.names), np.float64)[order]
        chosen = order[: max(1, int(np.searchsorted(np.nancumsum(sizes), nbytes, side="right")))]
        reading = self._propose(found)
        if len(chosen) < len(order):
            note = f"{len(chosen):,} of {len(order):,} shards were read"
            names = [found.names[number] for number in sorted(chosen)]
            found = replace(found, names=names, notes=[*found.notes, note])
        self._prepare(found.store, found.names)
        return self._scan(found, reading, workers, progress)

    def _find(self) -> ShardList:
        """Find the shards, and what is missing of the data sets that they belong to."""
        found = find_shards(self.url, self.options)
        pattern = Location.parse(self.url).pattern
        if pattern and not pattern.endswith("**"):  # who names shards may mean a part
            return found
        missing = [Stray(name, reason, lost=True) for name, reason in incomplete(found.store, found.names)]
        return replace(found, strays=[*found.strays, *missing])

    def _scan(
        self, found: ShardList, reading: Reading, workers: Workers, progress: Callable[[int], object]
    ) -> Inventory:
        store = found.store
        names = found.names
        check = LabelCheck(store, reading, named=bool(Location.parse(self.url).pattern))
        skipped = [Skipped(stray.name, stray.reason, "container" if stray.lost else "other") for stray in found.strays]
        extensions: dict[str, int] = {}
        identities: dict[str, int] = {}
        tables = []
        stamps: list[str] = []
        spooled: list[bool] = []
        tasks = [(store, name, reading, self._spool) for name in names]
        for number, listed in enumerate(workers.map(_list, tasks)):
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
            spooled.append(listed.spooled)
            skipped += listed.skipped
            check.add(names[number], listed.evidence)
            progress(len(table))
        notes = check.notes()
        table = np.concatenate(tables)
        if not len(table):
            raise SourceError(f"{self.url}: no sample with an image and an identity" + _first(skipped))
        labels, rank = _in_order(list(identities))
        order, starts, counts, nbytes = by_identity(rank[table["identity"]], table["nbytes"], len(labels))
        table = table[order]
        shards = _Shards(store, names, stamps, spooled, list(extensions), self._spool)
        return Inventory(
            names=_original_names(store, reading, labels),
            images=counts,
            nbytes=nbytes,
            part=lambda rows: _ShardPart(shards, [table[run] for run in runs(starts, rows)]),
            skipped=skipped,
            notes=[*found.notes, *notes],
            facts=reading.facts,
            release=self._release,
        )

    def _propose(self, found: ShardList) -> Reading:
        """Return how to read the shards; see :func:`wds_face.shards.label_choice.propose`."""
        return propose(
            str(found.store),
            found.names,
            lambda name: open_shard(found.store, name, self._spool)[0],
            self.label_from,
            image_from=self.image_from,
            dots_in_keys=self.dots_in_keys,
        )

    def _prepare(self, store: Store, names: list[str]) -> None:
        """Check that the shards can be read, before any work is done.

        Raises:
            SourceError: A package is missing, or the shards to copy are larger than the spool.
        """
        for compression in {compression_of(name) for name in names}:
            require(compression)
        copied = [name for name in names if store.local is None or compression_of(name)]
        if copied:
            nbytes = sum(found or 0 for found in store.sizes(copied))
            with self._spool.using() as copies:
                copies.require(nbytes, str(store))

    def _release(self, workers: Workers) -> None:
        """Remove the copies of shards on all machines."""
        workers.everywhere(self._spool.close)
        self._spool.close()


def _list(task: tuple[Store, str, Reading, Spool]) -> _Listed:
    store, name, reading, spool = task
    evidence = reading.evidence()
    rows = array("q")
    extensions: dict[str, int] = {}
    identities: dict[str, int] = {}
    skipped: list[Skipped] = []
    stamp = ""
    damage = ""
    spooled = False
    try:
        stamp = store.stamp(name)
        spooled = is_spooled(store, name)
        view, damage = open_shard(store, name, spool, stamp)
        for sample in reading.reader(evidence).read(view):
            skipped += [Skipped(f"{name}:{spare}", _SPARE) for spare in sample.spare]
            if sample.problem or sample.image is None:
                skipped.append(Skipped(f"{name}:{sample.key}", sample.problem))
                continue
            extension = extensions.setdefault(sample.extension, len(extensions))
            identity = identities.setdefault(sample.identity, len(identities))
            rows.extend((0, sample.image.data, sample.image.size, extension, identity))
    except TarError as error:
        damage = damage or str(error)
    except OSError as error:
        if error.errno in NOT_THE_FILE:
            raise
        skipped.append(Skipped(name, f"unreadable ({error.strerror or type(error).__name__})", "container"))
    if damage:
        skipped.append(Skipped(name, f"damaged tar: {damage}", "container"))
    elif not rows and not skipped:
        skipped.append(Skipped(name, "holds no files: an empty archive, or a download without content", "container"))
    table = np.frombuffer(rows, _ROW).copy()
    return _Listed(table, list(extensions), list(identities), stamp, skipped, spooled, evidence)


def _in_order(names: list[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Names sorted (as numbers where all are), and the rank of each in that order."""
    numbers = all(whole_number(name) is not None for name in names)
    order = sorted(range(len(names)), key=(lambda i: (int(names[i]), names[i])) if numbers else names.__getitem__)
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return [names[i] for i in order], rank


def _original_names(store: Store, reading: Reading, labels: list[str]) -> list[str]:
    """Return the names in the ``classes.tsv`` of shards that wds_face made, so that a conversion keeps them."""
    numbers = [number for number in map(whole_number, labels) if number is not None]
    own = reading.rule in (MemberRule("cls"), FolderRule())
    if not own or len(numbers) < len(labels) or store.size(CLASSES) is None:
        return labels
    data = store.read(CLASSES)
    try:
        classes = read_classes(data)
    except DatasetError:  # somebody else's file of that name
        return labels
    if any(number >= len(classes) for number in numbers):
        return labels
    return [classes[number] for number in numbers]


def _first(skipped: list[Skipped]) -> str:
    return f" (first of {len(skipped)} left out: {skipped[0].item}, {skipped[0].reason})" if skipped else ""


@dataclass(frozen=True)
class _Shards:
    """The shards of a source, and how to read them by ranges.

    Attributes:
        store: Folder of the shards.
        names: Names of the shards.
        stamps: Versions of the shards.
        spooled: Whether each shard is read from a copy in the spool.
        extensions: Extensions of images, by number.
        spool: Spool that holds the copies.
    """

    store: Store
    names: list[str]
    stamps: list[str]
    spooled: list[bool]
    extensions: list[str]
    spool: Spool

    def ranges(self, copies: Copies | None, shards: list[int], starts: list[int], ends: list[int]) -> list[Any]:
        """Read byte ranges. An exception takes the place of each range that could not be read."""
        found: list[Any] = [None] * len(shards)
        for spooled in (False, True):
            places = [place for place, shard in enumerate(shards) if self.spooled[shard] == spooled]
            names = [self.names[shards[place]] for place in places]
            begins = [starts[place] for place in places]
            stops = [ends[place] for place in places]
            if spooled and copies is not None:
                stamps = [self.stamps[shards[place]] for place in places]
                read = copies.ranges(self.store, names, stamps, begins, stops)
            else:
                read = self.store.ranges(names, begins, stops)
            for place, data in zip(places, read, strict=True):
                found[place] = data
        return found


@dataclass(frozen=True)
class _ShardPart:
    shards: _Shards
    rows: list[NDArray[Any]]
    """:data:`_ROW` of each image, per identity."""

    @property
    def fingerprint(self) -> bytes:
        """See :class:`wds_face.sources.Part`."""
        shards = self.shards
        digest = hashlib.sha256(shards.store.url.encode("utf-8", "surrogateescape"))
        for texts in (shards.names, shards.stamps, shards.extensions):
            digest.update("\0".join([*texts, ""]).encode("utf-8", "surrogateescape"))
        for rows in self.rows:
            digest.update(len(rows).to_bytes(8, "little") + rows.tobytes())
        return digest.digest()

    def read(self) -> Iterator[Iterable[Image | Skipped]]:
        """See :class:`wds_face.sources.Part`."""
        with self.shards.spool.using() if any(self.shards.spooled) else nullcontext() as copies:
            for rows in self.rows:
                yield self._identity(rows, copies)

    def _identity(self, rows: NDArray[Any], copies: Copies | None) -> Iterator[Image | Skipped]:
        shards, starts, sizes, extensions = (rows[name].tolist() for name in _COLUMNS[:4])
        ends = [start + size for start, size in zip(starts, sizes, strict=True)]
        found = self.shards.ranges(copies, shards, starts, ends)
        for shard, start, extension, data in zip(shards, starts, extensions, found, strict=True):
            item = f"{self.shards.names[shard]} at byte {start}"
            if isinstance(data, Exception):
                yield Skipped(item, f"unreadable ({type(data).__name__})", "container")
            else:
                yield Image(item, self.shards.extensions[extension], data)
