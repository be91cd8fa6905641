"""What a conversion in progress keeps in ``DEST/.convert``, so that a killed one goes on where it was."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from wds_face.conversion.skipped import SKIPPED
from wds_face.conversion.writer import LabelRun, ShardResult, ShardTask
from wds_face.errors import DatasetError
from wds_face.shards.checksums import CHECKSUMS
from wds_face.shards.index import CLASSES, IDENTITIES, MANIFEST, Shard, read_manifest
from wds_face.sources.source import Skipped
from wds_face.storage import Store

_FOLDER = ".convert"
_BEGUN = f"{_FOLDER}/begun.json"
_TABLES = (IDENTITIES, CLASSES, CHECKSUMS, SKIPPED)
_LOST = f"{_FOLDER}/lost.json"

# Seconds to wait for the lock: forked workers of a killed conversion end, and release it, within a fraction of this.
_LOCK_TIMEOUT = 1.0
_LOCK_ATTEMPTS = 10


class Workspace:
    """The state of a conversion: which shards are done, and which identities turned out to have too few images.

    Args:
        store: the destination.
        name: prefix of the shards' names.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = name

    def begin(self, plan: str, *, overwrite: bool) -> None:
        """Check that no unrelated data would be overwritten, and remove files left by killed writers.

        Args:
            plan: Digest of the plan. An unfinished conversion with the same plan is resumed, with *overwrite* or not.
            overwrite: Replace an existing data set.

        Raises:
            DatasetError: the destination holds something that no unfinished conversion of this name explains.
        """
        self.check(plan, overwrite=overwrite)
        store = self.store
        if overwrite and self._begun() != {"name": self.name, "plan": plan}:
            old = self.shards(store.names()) + _listed(store)
            store.remove(MANIFEST)  # first: from here on the folder is no complete data set
            for name in [*old, *_TABLES]:
                store.remove(name)
            for name in store.names(_FOLDER):
                if name != "lock":
                    store.remove(f"{_FOLDER}/{name}")
        for name in store.names():
            if name.startswith(".") and name.endswith(".part"):
                store.remove(name)
        # tells the next run that the shards are ours
        store.put(_BEGUN, json.dumps({"name": self.name, "plan": plan}).encode())

    def check(self, plan: str, *, overwrite: bool) -> None:
        """Check that no unrelated data would be overwritten; see :meth:`begin`.

        Raises:
            DatasetError: The destination holds something that is not from an unfinished conversion of this name.
        """
        store = self.store
        begun = self._begun()
        names = store.names()
        ours: set[str] = set()
        if overwrite and begun != {"name": self.name, "plan": plan}:
            ours = {*self.shards(names), *_listed(store), *_TABLES, MANIFEST}  # is replaced
        elif begun and begun["name"] != self.name:
            raise DatasetError(
                f"{store} holds an unfinished conversion named {begun['name']!r}: finish it, choose another folder, "
                "or say --overwrite"
            )
        elif begun:
            ours = {*self.shards(names), *_TABLES, MANIFEST}
        strange = [name for name in names if (name.endswith(".tar") or name in _TABLES) and name not in ours]
        if strange:
            remedy = "move it away" if overwrite else "choose another folder, or say --overwrite"
            raise DatasetError(f"{store} holds {strange[0]}, which no unfinished conversion explains: {remedy}")

    def _begun(self) -> dict[str, str]:
        try:
            begun: dict[str, str] = json.loads(self.store.read(_BEGUN))
        except (FileNotFoundError, ValueError):
            return {}
        return begun

    def shards(self, names: list[str]) -> list[str]:
        """Those of the names that are shards of this conversion."""
        pattern = re.compile(re.escape(self.name) + r"-\d{6,}\.tar")
        return [name for name in names if pattern.fullmatch(name)]

    def done(self, task: ShardTask) -> ShardResult | None:
        """The result of a task that an earlier run finished and that would be the same now."""
        try:
            saved = json.loads(self.store.read(self._marker(task)))
            if saved.pop("fingerprint") != task.fingerprint:
                return None
            result = ShardResult(
                Shard(*saved["shard"]),
                [LabelRun(*run) for run in saved["runs"]],
                saved["images"],
                [Skipped(*item) for item in saved["skipped"]],
                {(width, height): images for width, height, images in saved["sizes"]},
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return result if self.store.size(task.name) == result.shard.nbytes else None

    def save(self, task: ShardTask, result: ShardResult) -> None:
        """Remember that a shard is complete, once it is on the disk."""
        self.store.sync(task.name)
        saved = {
            "fingerprint": task.fingerprint,
            "shard": result.shard,
            "runs": result.runs,
            "images": result.images,
            "skipped": result.skipped,
            "sizes": [[*size, images] for size, images in result.sizes.items()],
        }
        # A marker that a power cut spoils only makes its shard be written again.
        self.store.put(self._marker(task), json.dumps(saved).encode(), durable=False)

    def lost(self, plan: str) -> tuple[set[int], set[Skipped]]:
        """Return the identities that an earlier run of this plan found with too few good images, and its bad images."""
        try:
            saved = json.loads(self.store.read(_LOST))
        except (FileNotFoundError, ValueError):
            return set(), set()
        if saved["plan"] != plan:
            return set(), set()
        return set(saved["lost"]), {Skipped(*item) for item in saved["skipped"]}

    def save_lost(self, plan: str, lost: set[int], skipped: set[Skipped]) -> None:
        """Remember them before shards are rewritten without them."""
        saved = {"plan": plan, "lost": sorted(lost), "skipped": sorted(skipped)}
        self.store.put(_LOST, json.dumps(saved).encode())

    def finish(self, keep: set[str]) -> None:
        """Remove shards of an earlier plan. Call before the manifest is written."""
        for name in self.shards(self.store.names()):
            if name not in keep:
                self.store.remove(name)

    def clear(self) -> None:
        """Remove the state itself. Call after the manifest is written."""
        try:
            self.store.remove_folder(_FOLDER)
        except PermissionError:  # on Windows, of the lock that this process holds
            pass
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # another process put its lock there
                raise

    def _marker(self, task: ShardTask) -> str:
        return f"{_FOLDER}/{task.name}.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second conversion out of the same local folder. The lock of a killed process is free at once.

        Raises:
            DatasetError: another conversion is at work there, or the folder cannot be written.
        """
        if self.store.local is None:
            yield
            return
        path = self.store.local / _FOLDER / "lock"
        lock = FileLock(path, timeout=_LOCK_TIMEOUT)
        try:
            _acquire(lock, path)
        except Timeout:
            raise DatasetError(f"another conversion is writing to {self.store}: wait for it to end") from None
        except OSError as error:
            raise DatasetError(f"{self.store} cannot be written ({error.strerror})") from None
        try:
            yield
        finally:
            lock.release()
            if os.name == "nt":  # where an open file cannot be removed, so clear() left it
                with suppress(OSError):
                    path.unlink()
                    path.parent.rmdir()


def _acquire(lock: FileLock, path: Path) -> None:
    """Acquire a lock. Try again if the process that held it removes the folder meanwhile, as it does at its end."""
    for attempt in range(_LOCK_ATTEMPTS):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except FileNotFoundError:
            if attempt == _LOCK_ATTEMPTS - 1:
                raise
        else:
            return


def _listed(store: Store) -> list[str]:
    """Shards of the data set that is there now, under whatever name."""
    try:
        rows = read_manifest(store)["shardlist"]
        return [row["url"] for row in rows if "/" not in row["url"]]
    except (DatasetError, KeyError, TypeError):
        return []
