"""An index for shards that were made elsewhere, if they are grouped by identity already."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from wds_face.errors import DatasetError, TarError
from wds_face.pool import Workers
from wds_face.progress import bar
from wds_face.shards.checksums import CHECKSUMS, checksum, dump_checksums
from wds_face.shards.classes import read_classes, write_classes
from wds_face.shards.compression import HEAD, recognize
from wds_face.shards.find import find_shards
from wds_face.shards.index import CLASSES, IDENTITY, MANIFEST, Index, Shard, write_index
from wds_face.shards.label_check import LabelCheck
from wds_face.shards.label_choice import Reading, propose
from wds_face.shards.label_evidence import Evidence
from wds_face.shards.names import compression_of
from wds_face.shards.samples import Run
from wds_face.storage import Store
from wds_face.version import __version__


@dataclass(frozen=True)
class _Look:
    store: Store
    name: str
    reading: Reading


def adopt(
    url: str | os.PathLike[str],
    *,
    label_from: str = "auto",
    overwrite: bool = False,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
    storage_options: dict[str, Any] | None = None,
) -> Index:
    """Write an index beside shards that have none; the shards are left as they are.

    They must be grouped: every identity one run in one shard, with the labels 0 to n-1 in ``.cls``, ``.json`` or key.

    Args:
        url: a folder of ``.tar`` files; a local path or an fsspec URL.
        label_from: Label rule, see :mod:`wds_face.shards.labels`.
        overwrite: replace an index that is there.
        workers: processes; by default one per processor.
        executor: a ``concurrent.futures`` executor to use instead; see :func:`wds_face.conversion.convert.convert`.
        progress: show a bar if the terminal is one.
        storage_options: of fsspec.

    Raises:
        DatasetError: there is an index, or the shards are not grouped, or damaged; the message says where.
        SourceError: there are no shards, or none with a sample that can be used.
    """
    found = find_shards(os.fspath(url), storage_options)
    store = found.store
    names = found.names
    for name in names:
        if compression := compression_of(name):
            raise DatasetError(_compressed(store, name, compression))
    lost = [stray for stray in found.strays if stray.lost]
    if lost:
        raise DatasetError(f"{store}/{lost[0].name}: {lost[0].reason}")
    if store.size(MANIFEST) is not None and not overwrite:
        raise DatasetError(f"{store} has an {MANIFEST} already: say --overwrite to make it anew")
    reading = propose(str(store), names, store.view, label_from)
    if reading.image_from:
        raise DatasetError(
            f"{store}: its images are .{reading.image_from} members, which only `wds-face convert webdataset` reads"
        )
    check = LabelCheck(store, reading)
    looks = [_Look(store, name, reading) for name in names]
    evidence: dict[str, Evidence] = {}
    looked: dict[str, tuple[Shard, list[Run]]] = {}
    sums: dict[str, list[int]] = {}
    with Workers.sharing([store], workers, executor) as team, bar("indexing", None, progress) as shown:
        for look, (shard, runs, of_runs, of_samples) in team.run(_look, looks):
            looked[look.name], sums[look.name] = (shard, runs), of_runs
            evidence[look.name] = of_samples
            shown.update(shard.images)
    for name in names:
        check.add(name, evidence[name])
    check.notes()  # raises an error if the labels are ambiguous
    owner: dict[int, str] = {}
    for name in names:
        for run in looked[name][1]:
            if run.label in owner:
                raise DatasetError(
                    f"{store} is not grouped: identity {run.label} has runs in {owner[run.label]} and {name}; "
                    "regroup it with `wds-face convert webdataset`"
                )
            owner[run.label] = name
    gap = next((label for label in range(len(owner)) if label not in owner), None)
    if gap is not None:
        raise DatasetError(
            f"{store}: its {len(owner)} labels are not 0 to {len(owner) - 1} ({gap} is missing); "
            "`wds-face convert webdataset` renumbers them"
        )
    rows = [
        (run.label, number, run.images, run.offset, run.nbytes)
        for number, name in enumerate(names)
        for run in looked[name][1]
    ]
    made = {"by": f"wds-face {__version__}", "from": "shards made elsewhere", "options": {"labels": reading.rule.spec}}
    checksums = dump_checksums([one for name in names for one in sums[name]])
    tables = {CLASSES: _classes(store, len(owner), overwrite), CHECKSUMS: checksums}
    return write_index(store, [looked[name][0] for name in names], np.array(rows, IDENTITY), tables, made)


def _classes(store: Store, count: int, overwrite: bool) -> bytes:
    """The names that are there already, if they fit; else the labels themselves."""
    if store.size(CLASSES) is not None:
        data = store.read(CLASSES)
        with suppress(DatasetError):
            if len(read_classes(data)) == count:
                return data
        if not overwrite:
            raise DatasetError(f"{store}/{CLASSES} does not name {count} labels: move it away, or say --overwrite")
    return write_classes([str(label) for label in range(count)])


def _compressed(store: Store, name: str, compression: str) -> str:
    return (
        f"{store}/{name} is compressed ({compression}), but an index needs plain tars, which are read by ranges: "
        "convert it with `wds-face convert webdataset`"
    )


def _look(look: _Look) -> tuple[Shard, list[Run], list[int], Evidence]:
    view = look.store.view(look.name)
    try:
        compression = recognize(bytes(view[:HEAD]))
    except TarError as error:
        raise DatasetError(f"{look.store}/{look.name} {error}") from None
    if compression:
        raise DatasetError(_compressed(look.store, look.name, compression))
    evidence = look.reading.evidence()
    runs, problems = look.reading.reader(evidence).runs(view)
    remedy = "leaves such samples out"
    if not problems:
        problems = [f"identity {run.identity!r} is no label, a whole number from 0" for run in runs if run.label < 0]
        remedy = "numbers and regroups them"
    if not runs and not problems:
        raise DatasetError(f"{look.store}/{look.name} holds no sample: remove it, or copy it again")
    if problems:
        more = f" ({len(problems) - 1} more)" if problems[1:] else ""
        raise DatasetError(f"{look.store}/{look.name}: {problems[0]}{more}; `wds-face convert webdataset` {remedy}")
    digest = hashlib.sha256(view).hexdigest()
    shard = Shard(look.name, sum(run.images for run in runs), len(view), digest)
    return shard, runs, [checksum(view[run.offset : run.offset + run.nbytes]) for run in runs], evidence
