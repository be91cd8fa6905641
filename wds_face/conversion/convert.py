"""Converting a source into shards: plan first, then write each shard as a task of its own."""

from __future__ import annotations

import os
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from wds_face.conversion import layout
from wds_face.conversion.plan import Options, Plan, make_plan
from wds_face.conversion.workspace import Workspace
from wds_face.conversion.writer import ShardResult, write_shard
from wds_face.errors import DatasetError, SourceError
from wds_face.pool import Workers
from wds_face.progress import bar
from wds_face.shards.checksums import CHECKSUMS, dump_checksums
from wds_face.shards.classes import fields, table, write_classes
from wds_face.shards.index import CLASSES, IDENTITY, MANIFEST, Index, read_manifest, write_index
from wds_face.shards.sizes import Sizes, total
from wds_face.sources.source import Skipped, Source
from wds_face.storage import Store, open_store
from wds_face.version import __version__

#: Lists what was left out: item, reason.
SKIPPED = "skipped.tsv"

_FEW = "identity with fewer than"


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    Attributes:
        index: of the finished data set.
        skipped: what was left out and why; also in ``skipped.tsv`` beside the index.
        notes: what else the user should know.
        written: shards that this run wrote; the others had been finished before.
    """

    index: Index
    skipped: list[Skipped]
    notes: list[str]
    written: int


def convert(
    source: Source,
    dest: str | os.PathLike[str],
    options: Options | None = None,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    overwrite: bool = False,
    strict: bool = False,
    progress: bool = False,
    storage_options: dict[str, Any] | None = None,
) -> Report:
    """Convert a source into shards grouped by identity, with their index.

    A run that was killed at any moment is continued by the same call and ends with the same bytes. The bytes do not
    depend on ``workers`` or ``executor``. Called again on a finished data set, it does nothing.

    Args:
        source: where the faces are.
        dest: a folder, or any fsspec URL; created if need be.
        options: what decides the bytes.
        workers: processes; by default one per processor.
        executor: a ``concurrent.futures`` executor to use instead of processes of its own; see
            :func:`wds_face.engines.open_engine`. Its workers must reach the source and ``dest`` under these paths.
        overwrite: replace what ``dest`` holds under this name.
        strict: raise where something has to be left out.
        progress: show a bar if the terminal is one.
        storage_options: of fsspec, for ``dest``.

    Raises:
        SourceError: the source cannot be read, or (``strict``) not all of it.
        DatasetError: ``dest`` holds something else, or cannot be written.
    """
    options = options or Options()
    store = open_store(dest, storage_options)
    origin = open_store(source.location)
    _keep_apart(source, origin, store)
    workspace = Workspace(store, options.name)
    with Workers.sharing([origin, store], workers, executor) as team, ExitStack() as stack:
        plan = make_plan(source, options, team, progress=progress)
        stack.callback(plan.inventory.release, team)
        if strict:
            _refuse(plan.inventory.skipped)
        if not overwrite and store.size(MANIFEST) is not None:
            return _finished(store, plan, strict)
        with workspace.locked():
            workspace.begin(plan.digest, overwrite=overwrite)
            runner = _Runner(plan, store, workspace, team, strict)
            results = runner.run(progress)
            _sweep(store)
            skipped = _skipped(runner)
            index = _publish(runner, results, skipped)
            workspace.clear()
    return Report(index, skipped, plan.inventory.notes, runner.written)


@dataclass
class _Runner:
    """Writes the shards of a plan, again where identities turn out to be lost, until none is."""

    plan: Plan
    store: Store
    workspace: Workspace
    team: Workers
    strict: bool
    written: int = 0
    lost: set[int] = field(default_factory=set)
    skipped: set[Skipped] = field(default_factory=set)

    def run(self, progress: bool) -> list[ShardResult]:
        self.lost, self.skipped = self.workspace.lost(self.plan.digest)
        total = int(self.plan.inventory.images[self.plan.kept].sum())
        while True:
            with bar("writing", total, progress) as shown:
                results, poor = self._round(shown)
            if not poor:
                return results
            # Labels must have no gaps, so these identities' go to others: their shards are written again.
            self.lost |= poor
            if len(self.lost) == len(self.plan.kept):
                raise SourceError(f"no identity has {self.plan.options.min_images} images that can be read")
            self.workspace.save_lost(self.plan.digest, self.lost, self.skipped)

    def _round(self, shown: Any) -> tuple[list[ShardResult], set[int]]:
        """The results of all shards, and the identities among them that have too few good images."""
        tasks = {task.name: (rows, task) for rows, task in self.plan.tasks(self.store, self.lost)}
        results: dict[str, ShardResult] = {}
        for name, (_, task) in tasks.items():
            if (result := self.workspace.done(task)) is not None:
                results[name] = self._taken(result, shown)
        shown.initial = shown.n  # the rate is that of this run
        todo = [task for name, (_, task) in tasks.items() if name not in results]
        for task, result in self.team.run(write_shard, todo):
            self.workspace.save(task, result)
            results[task.name] = self._taken(result, shown)
            self.written += 1
        poor: set[int] = set()
        for name, (rows, _) in tasks.items():
            few = np.array(results[name].images) < self.plan.options.min_images
            poor.update(rows[few].tolist())
        return [results[name] for name in tasks], poor

    def _taken(self, result: ShardResult, shown: Any) -> ShardResult:
        if self.strict:
            _refuse(result.skipped)
        self.skipped.update(result.skipped)
        shown.update(result.shard.images + len(result.skipped))
        return result


def _finished(store: Store, plan: Plan, strict: bool) -> Report:
    made = read_manifest(store)["wds_face"].get("made") or {}
    if made.get("plan") != plan.digest:
        raise DatasetError(
            f"{store} holds another data set, or this one made with other options: choose another folder, "
            "or say --overwrite"
        )
    Workspace(store, plan.options.name).clear()  # killed between its last two steps
    index = Index.open(store)
    skipped = [Skipped(line[0], line[1]) for line in fields(store.read(SKIPPED))]
    if strict:
        _refuse([item for item in skipped if not item.reason.startswith(_FEW)])
    return Report(index, skipped, plan.inventory.notes, 0)


def _publish(runner: _Runner, results: list[ShardResult], skipped: list[Skipped]) -> Index:
    plan = runner.plan
    runner.workspace.finish({result.shard.name for result in results})
    runs = [(run, number) for number, result in enumerate(results) for run in result.runs]
    rows = [(run.label, number, run.images, run.offset, run.nbytes) for run, number in runs]
    identities = np.array(rows, IDENTITY)
    labels = layout.fill_holes(len(plan.kept), runner.lost)
    names = [""] * len(runs)
    for position, label in zip(plan.kept.tolist(), labels.tolist(), strict=True):
        if label >= 0:
            names[label] = plan.inventory.names[position]
    made = {
        "by": f"wds-face {__version__}",
        "from": plan.kind,
        "source": plan.inventory.facts,
        "options": {**asdict(plan.options), "shard_size": plan.shard_size},
        "plan": plan.digest,
    }
    checksums = dump_checksums([run.crc32 for run, _ in runs])
    tables = {
        CLASSES: write_classes(names),
        CHECKSUMS: checksums,
        SKIPPED: table((item.item, item.reason) for item in skipped),
    }
    sizes = Sizes.of(total(result.sizes for result in results))
    shards = [result.shard for result in results]
    return write_index(runner.store, shards, identities, tables, made, sizes=sizes)


def _skipped(runner: _Runner) -> list[Skipped]:
    """All that was left out, sorted: found in scanning, found in reading, and identities with too few images."""
    plan = runner.plan
    few = np.flatnonzero(plan.inventory.images < plan.options.min_images).tolist()
    few += [int(plan.kept[row]) for row in runner.lost]
    reason = f"{_FEW} {plan.options.min_images} good images"
    return sorted({*plan.inventory.skipped, *runner.skipped, *(Skipped(plan.inventory.names[i], reason) for i in few)})


def _sweep(store: Store) -> None:
    """Remove what killed workers left, where the executor had others do their tasks."""
    for name in store.names():
        if name.startswith(".") and name.endswith(".part"):
            store.remove(name)


def _keep_apart(source: Source, origin: Store, store: Store) -> None:
    """A destination within its source would be read as part of it the next time, or overwrite it."""
    if store.local is None or origin.local is None:
        same = store.url.rstrip("/") == origin.url.rstrip("/")
    else:
        inner, outer = os.path.realpath(store.local), os.path.realpath(origin.local)
        same = inner == outer or (source.recursive and inner.startswith(outer + os.sep))
    if same:
        raise DatasetError(f"{store} lies within the source {origin}: choose a folder outside")


def _refuse(skipped: list[Skipped]) -> None:
    if skipped:
        more = f" ({len(skipped) - 1} more)" if skipped[1:] else ""
        raise SourceError(f"strict: {skipped[0].item}: {skipped[0].reason}{more}")
