"""Check a destination before any work is done, for a conversion and its dry run alike."""

from __future__ import annotations

import os
import shutil

from wds_face.conversion.plan import Plan
from wds_face.conversion.workspace import Workspace
from wds_face.errors import DatasetError
from wds_face.shards.index import MANIFEST, read_manifest
from wds_face.sources.source import Source
from wds_face.storage import Store
from wds_face.storage.local import nearest_folder
from wds_face.units import size


def check_apart(source: Source, origin: Store, store: Store) -> None:
    """Check that a destination does not lie within its source.

    Otherwise the next conversion would read it as part of the source, or it would overwrite the source.

    Raises:
        DatasetError: The destination lies within the source.
    """
    if store.local is None or origin.local is None:
        inner = store.url.rstrip("/")
        outer = origin.url.rstrip("/")
        separator = "/"
    else:
        inner = os.path.realpath(store.local)
        outer = os.path.realpath(origin.local)
        separator = os.sep
    if inner == outer or (source.recursive and inner.startswith(outer + separator)):
        raise DatasetError(f"{store} lies within the source {origin}: choose a folder outside")


def check_writable(store: Store, *, overwrite: bool) -> bool:
    """Check that a destination can be written, unless it is finished already.

    Returns:
        False if only writing to it would tell.

    Raises:
        DatasetError: The destination cannot be written.
    """
    if not overwrite and store.size(MANIFEST) is not None:
        return True  # it is finished, or it is another data set, which is an error
    return store.check_writable()


def is_finished(store: Store, plan: Plan) -> bool:
    """Return whether a destination holds the finished data set of a plan.

    Raises:
        DatasetError: The destination holds another data set.
    """
    if store.size(MANIFEST) is None:
        return False
    made = read_manifest(store)["wds_face"].get("made") or {}
    if made.get("plan") != plan.digest:
        raise DatasetError(
            f"{store} holds another data set, or this one made with other options: choose another folder, "
            "or say --overwrite"
        )
    return True


def check_room(store: Store, plan: Plan, workspace: Workspace) -> None:
    """Check that a local disk has room for the images of a plan, counting the space of shards already written.

    Raises:
        DatasetError: The disk has too little room.
    """
    if store.local is None:
        return
    disk = shutil.disk_usage(nearest_folder(store.local))
    if not disk.total:  # some network file systems do not report their size
        return
    there = sum(store.size(name) or 0 for name in workspace.shards(store.names()))
    needed = int(plan.inventory.nbytes[plan.kept].sum())
    if needed > disk.free + there:
        raise DatasetError(
            f"{store}: the images take {size(needed)}, and the disk has {size(disk.free)} free: make room, or choose "
            "another disk"
        )
