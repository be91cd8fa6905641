"""Determine what a conversion would do, without writing anything."""

from __future__ import annotations

import os
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from wds_face.conversion.destination import check_apart, check_room, check_writable, is_finished
from wds_face.conversion.plan import Options, Plan, make_plan
from wds_face.conversion.workspace import Workspace
from wds_face.pool import Workers
from wds_face.sources.source import Source
from wds_face.storage import open_store


@dataclass(frozen=True)
class DryRun:
    """Result of a dry run.

    Attributes:
        plan: Shard of each identity.
        finished: Whether the destination already holds this data set.
        checked: Whether the destination was found to be writable; False if only writing would tell.
    """

    plan: Plan
    finished: bool
    checked: bool


def dry_run(
    source: Source,
    dest: str | os.PathLike[str],
    options: Options,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    overwrite: bool = False,
    progress: bool = False,
    storage_options: dict[str, Any] | None = None,
) -> DryRun:
    """Plan a conversion and run its checks. The arguments are those of :func:`wds_face.convert`.

    Raises:
        SourceError: The source cannot be read.
        DatasetError: The conversion would be refused: the destination holds something else, lies within the source,
            cannot be written or has too little room.
    """
    store = open_store(dest, storage_options)
    origin = open_store(source.location)
    check_apart(source, origin, store)
    checked = check_writable(store, overwrite=overwrite)
    workspace = Workspace(store, options.name)
    with Workers.sharing([origin, store], workers, executor) as team:
        plan = make_plan(source, options, team, progress=progress)
        plan.inventory.release(team)
    if not overwrite and is_finished(store, plan):
        return DryRun(plan, finished=True, checked=True)
    workspace.check(plan.digest, overwrite=overwrite)
    check_room(store, plan, workspace)
    return DryRun(plan, finished=False, checked=checked)
