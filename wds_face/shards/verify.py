"""Does a data set hold what its index says, to the bit?"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wds_face import git_lfs
from wds_face.errors import DatasetError, ListingError, TarError
from wds_face.images import defect
from wds_face.pool import Workers
from wds_face.progress import bar
from wds_face.shards.checksums import CHECKSUMS, Checks, Sums
from wds_face.shards.index import MANIFEST, Index, Shard, read_manifest
from wds_face.shards.samples import SampleReader
from wds_face.storage import Store, open_store

_log = logging.getLogger("wds_face")


class Problem(NamedTuple):
    """What is wrong with which file."""

    file: str
    what: str


@dataclass(frozen=True)
class _Check:
    """One shard against its rows of the index."""

    store: Store
    shard: Shard
    rows: NDArray[Any]
    sums: Sums | None
    label_from: str
    deep: bool


def verify(
    url: str | os.PathLike[str],
    *,
    deep: bool = False,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
    storage_options: dict[str, Any] | None = None,
) -> list[Problem]:
    """Check a data set: sizes and sha256 of every file, and that each shard holds the runs that the index names.

    Finds a flipped bit, a shard that is truncated, missing, swapped or extra, and an index that is not of these shards.

    Args:
        url: the folder of the data set, a path or an fsspec URL.
        deep: decode every image too.
        workers: processes; by default one per processor.
        executor: a ``concurrent.futures`` executor to use instead; see :func:`wds_face.conversion.convert.convert`.
        progress: show a bar if the terminal is one.
        storage_options: of fsspec.

    Returns:
        What is wrong; nothing if all is well.

    Raises:
        DatasetError: there is no ``index.json`` that can be read.
    """
    store = open_store(url, storage_options)
    read_manifest(store)
    try:
        index = Index.open(store)
        classes, sums = len(index.classes), index.checksums
        for name, expected in index.tables.items():
            _same(store.read(name), expected, f"{store}/{name}")
    except DatasetError as error:
        return [Problem(MANIFEST, str(error))]
    except FileNotFoundError as error:
        return [Problem(MANIFEST, f"{error.filename or error} is missing")]
    problems = list(_table_problems(index, classes))
    listed = {shard.name for shard in index.shards}
    for name in _listed(store):
        if name.endswith(".tar") and not name.startswith(".") and name not in listed:
            problems.append(Problem(name, f"is not in {MANIFEST}"))
    checks = [
        _Check(store, shard, index.identities[own], None if sums is None else sums[own], index.labels, deep)
        for shard, own in zip(index.shards, _own(index), strict=True)
    ]
    with Workers.sharing([store], workers, executor) as team, bar("verifying", index.images, progress) as shown:
        for check, found in team.run(_problems, checks):
            problems += [Problem(check.shard.name, what) for what in found]
            shown.update(check.shard.images)
    return sorted(problems)


def _listed(store: Store) -> list[str]:
    """List the files of a data set; return none if the server does not list its files."""
    try:
        return store.names()
    except ListingError:
        _log.warning("%s does not list its files: shards that %s does not name are not looked for", store, MANIFEST)
        return []


def _own(index: Index) -> Iterator[NDArray[np.bool_]]:
    """Which rows are of each shard."""
    for number in range(len(index.shards)):
        yield index.identities["shard"] == number


def _same(data: bytes, expected: dict[str, Any], name: str) -> None:
    if hashlib.sha256(data).hexdigest() != expected["sha256"]:
        raise DatasetError(f"{name} does not belong to {MANIFEST}: its sha256 differs")


def _table_problems(index: Index, classes: int) -> Iterator[Problem]:
    labels = index.identities["label"]
    if not np.array_equal(np.sort(labels), np.arange(len(labels))):
        yield Problem("identities.npy", "labels are not 0 to n-1, each once")
    if classes != len(labels):
        yield Problem("classes.tsv", f"names {classes} identities, identities.npy has {len(labels)}")
    if len(labels) and not (
        0 <= index.identities["shard"].min() <= index.identities["shard"].max() < len(index.shards)
    ):
        yield Problem("identities.npy", f"names shards that {MANIFEST} does not list")


def _problems(check: _Check) -> list[str]:
    shard = check.shard
    try:
        view = check.store.view(shard.name)
    except FileNotFoundError:
        return ["is missing"]
    if len(view) != shard.nbytes:
        pointer = f" ({git_lfs.REASON})" if git_lfs.is_pointer(view) else ""
        return [f"has {len(view)} bytes, the index says {shard.nbytes}{pointer}"]
    if hashlib.sha256(view).hexdigest() != shard.sha256:
        return ["has another sha256 than the index says: its content changed"]
    runs, problems = SampleReader(check.label_from).runs(view)
    if check.deep:
        problems += _undecodable(view, check.label_from)
    expected = list(zip(*(check.rows[name].tolist() for name in ("label", "images", "offset", "nbytes")), strict=True))
    actual = [(run.label, run.images, run.offset, run.nbytes) for run in runs]
    for position, (found, wanted) in enumerate(zip(actual, expected, strict=False)):
        if found != wanted:
            what = "label, images, offset, bytes"
            return [*problems, f"identity run {position} is {found}, the index says {wanted} ({what})"]
    number = int(check.rows["shard"][0]) if len(check.rows) else 0
    if check.sums is not None and len(check.rows) and not Checks(check.rows, check.sums).right(number, 0, view):
        problems.append(f"has an identity with another crc32 than {CHECKSUMS} says")
    if len(actual) != len(expected):
        problems.append(f"has {len(actual)} identity runs, the index says {len(expected)}")
    return problems


def _undecodable(view: memoryview, label_from: str) -> list[str]:
    problems = []
    with suppress(TarError):  # already told
        for sample in SampleReader(label_from).read(view):
            if sample.image and (wrong := defect(view[sample.image.data :][: sample.image.size], deep=True)):
                problems.append(f"{sample.image.name}: {wrong}")
    return problems
