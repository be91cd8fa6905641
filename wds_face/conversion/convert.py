"""Converting a source into shards: plan first, then write each shard as a task of its own."""

from __future__ import annotations

import os
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from wds_face.conversion import layout
from wds_face.conversion.destination import check_apart, check_room, check_writable, is_finished
from wds_face.conversion.plan import Options, Plan, make_plan
from wds_face.conversion.skip_policy import DEFAULT_MAX_SKIPPED, SkipPolicy
from wds_face.conversion.skipped import (
    SKIPPED,
    count_kinds,
    frequent_reasons,
    read_skipped,
    too_few_images,
    write_skipped,
)
from wds_face.conversion.workspace import Workspace
from wds_face.conversion.writer import ShardResult, write_shard
from wds_face.errors import DatasetError, SourceError
from wds_face.pool import Workers
from wds_face.progress import bar
from wds_face.shards.checksums import CHECKSUMS, dump_checksums
from wds_face.shards.classes import write_classes
from wds_face.shards.index import CLASSES, IDENTITY, Index, write_index
from wds_face.shards.sizes import Sizes, total
from wds_face.sources.source import Skipped, Source
from wds_face.storage import Store, open_store
from wds_face.units import plural
from wds_face.version import __version__


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    Attributes:
        index: of the finished data set.
        skipped: Items left out, with reason and kind; also in ``skipped.tsv`` next to the index.
        notes: what else the user should know.
        written: shards that this run wrote; the others had been finished before.
        was_complete: Whether the data set had been published before, so that nothing was done.
    """

    index: Index
    skipped: list[Skipped]
    notes: list[str]
    written: int
    was_complete: bool = False


def convert(
    source: Source,
    dest: str | os.PathLike[str],
    options: Options | None = None,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    overwrite: bool = False,
    strict: bool = False,
    salvage: bool = False,
    max_skipped: float | str = DEFAULT_MAX_SKIPPED,
    progress: bool = False,
    storage_options: dict[str, Any] | None = None,
) -> Report:
    """Convert a source into shards grouped by identity, with their index.

    A run that was killed at any moment is continued by the same call and ends with the same bytes. The bytes do not
    depend on ``workers`` or ``executor``. Called again on a finished data set, it does nothing.

    Nothing is published from a source with a damaged container (a shard or record file that is cut off, an ``.idx``
    that does not fit, a Git LFS pointer), nor from one with too many unreadable images. Shards already written
    are kept, so that a call with a higher limit resumes from there. The same checks apply when a finished data set is
    converted again.

    Args:
        source: where the faces are.
        dest: a folder, or any fsspec URL; created if need be.
        options: what decides the bytes.
        workers: processes; by default one per processor.
        executor: a ``concurrent.futures`` executor to use instead of processes of its own; see
            :func:`wds_face.engines.open_engine`. Its workers must reach the source and ``dest`` under these paths.
        overwrite: replace what ``dest`` holds under this name.
        strict: raise where something has to be left out, except identities with too few images.
        salvage: Keep what can still be read from damaged containers, and list the rest in ``skipped.tsv``.
        max_skipped: Limit of unreadable images, which are left out and listed; above it nothing is published. A float
            between 0 and 1 is a share of all images, an int is a number of images, and a string such as ``"1%"`` or
            ``"20"`` is either.
        progress: show a bar if the terminal is one.
        storage_options: of fsspec, for ``dest``.

    Raises:
        SourceError: the source cannot be read, or (``strict``) not all of it; it is damaged; more than
            ``max_skipped`` of it cannot be read.
        DatasetError: ``dest`` holds something else, or cannot be written.
        WdsFaceError: ``max_skipped`` is out of range, or ``strict`` and ``salvage`` are both set.
    """
    options = options or Options()
    policy = SkipPolicy(strict, salvage, max_skipped)
    store = open_store(dest, storage_options)
    origin = open_store(source.location)
    check_apart(source, origin, store)
    check_writable(store, overwrite=overwrite)
    workspace = Workspace(store, options.name)
    with Workers.sharing([origin, store], workers, executor) as team, ExitStack() as stack:
        plan = make_plan(source, options, team, progress=progress)
        stack.callback(plan.inventory.release, team)
        plan.check(policy, plan.inventory.skipped)
        if not overwrite and is_finished(store, plan):
            return _finished(store, plan, policy)
        workspace.check(plan.digest, overwrite=overwrite)
        check_room(store, plan, workspace)
        with workspace.locked():
            if not overwrite and is_finished(store, plan):  # by another process, since the check above
                return _finished(store, plan, policy)
            workspace.begin(plan.digest, overwrite=overwrite)
            runner = _Runner(plan, store, workspace, team, policy)
            results = runner.run(progress)
            _sweep(store)
            skipped = runner.left_out()
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
    policy: SkipPolicy
    written: int = 0
    lost: set[int] = field(default_factory=set)
    skipped: set[Skipped] = field(default_factory=set)

    def run(self, progress: bool) -> list[ShardResult]:
        self.lost, self.skipped = self.workspace.lost(self.plan.digest)
        total = int(self.plan.inventory.images[self.plan.kept].sum())
        while True:
            with bar("writing", total, progress) as shown:
                results, poor = self._round(shown)
            # Check once all results are known, so that the outcome does not depend on the order of the workers.
            self.plan.check(self.policy, self.left_out())
            if not poor:
                return results
            # Labels must have no gaps, so these identities' go to others: their shards are written again.
            self.lost |= poor
            if len(self.lost) == len(self.plan.kept):
                least = plural(self.plan.options.min_images, "image")
                raise SourceError(f"no identity has {least} that can be read: {frequent_reasons(self.skipped)}")
            self.workspace.save_lost(self.plan.digest, self.lost, self.skipped)

    def left_out(self) -> list[Skipped]:
        """Return all entries left out so far, sorted: by the scan, while reading, and for too few images."""
        positions = self.plan.kept[sorted(self.lost)].tolist()
        names = [self.plan.inventory.names[position] for position in positions]
        lost = {too_few_images(name, self.plan.options.min_images) for name in names}
        return sorted({*self.plan.left_out(), *self.skipped, *lost})

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
        self.policy.refuse_any(result.skipped)
        self.skipped.update(result.skipped)
        shown.update(result.shard.images + len(result.skipped))
        return result


def _finished(store: Store, plan: Plan, policy: SkipPolicy) -> Report:
    Workspace(store, plan.options.name).clear()  # killed between its last two steps
    index = Index.open(store)
    for shard in index.shards:
        nbytes = store.size(shard.name)
        if nbytes != shard.nbytes:
            found = "is missing" if nbytes is None else f"has {nbytes:,} bytes instead of {shard.nbytes:,}"
            raise DatasetError(f"{store}/{shard.name} {found}: write the data set again with --overwrite")
    skipped = read_skipped(store.read(SKIPPED))
    plan.check(policy, skipped)
    return Report(index, skipped, plan.inventory.notes, 0, was_complete=True)


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
        "skipped": count_kinds(skipped),
    }
    checksums = dump_checksums([run.crc32 for run, _ in runs])
    tables = {CLASSES: write_classes(names), CHECKSUMS: checksums, SKIPPED: write_skipped(skipped)}
    sizes = Sizes.of(total(result.sizes for result in results))
    shards = [result.shard for result in results]
    return write_index(runner.store, shards, identities, tables, made, sizes=sizes)


def _sweep(store: Store) -> None:
    """Remove what killed workers left, where the executor had others do their tasks."""
    for name in store.names():
        if name.startswith(".") and name.endswith(".part"):
            store.remove(name)
