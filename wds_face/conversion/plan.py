"""What a conversion is to do: which identities go where. Nothing is written here."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wds_face.conversion import layout
from wds_face.conversion.skip_policy import SkipPolicy
from wds_face.conversion.skipped import frequent_reasons, too_few_images
from wds_face.conversion.writer import ShardTask
from wds_face.errors import SourceError, WdsFaceError
from wds_face.location import shown as shown_url
from wds_face.pool import Workers
from wds_face.progress import bar
from wds_face.shards.tar import BLOCK
from wds_face.sources.source import ALONE, Inventory, Skipped, Source
from wds_face.storage import Store
from wds_face.version import __version__


@dataclass(frozen=True)
class Options:
    """What decides the bytes of a conversion, besides the source.

    Attributes:
        name: prefix of the shards' names.
        shard_size: target bytes of a shard; None chooses by the size of the data (see :func:`layout.shard_size`).
        seed: of the order in which identities are dealt to shards.
        min_images: identities with fewer images are left out.
        labels: ``cls`` puts the label into a ``.cls`` member beside each image, ``key`` only into its folder's name.
        deep: decode every image, so that damage in the middle of one is found too.
    """

    name: str = "train"
    shard_size: int | None = None
    seed: int = 0
    min_images: int = 1
    labels: Literal["cls", "key"] = "cls"
    deep: bool = False

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > 80 or not all(char.isalnum() or char in "-_" for char in self.name):
            raise WdsFaceError(f"name is {self.name!r}: use up to 80 letters, digits, - and _")
        if self.shard_size is not None and self.shard_size < 1:
            raise WdsFaceError(f"shard_size is {self.shard_size}: it must be at least 1 byte")
        if self.seed < 0 or self.min_images < 1:
            raise WdsFaceError("seed must be 0 or more, and min_images 1 or more")
        if self.labels not in ("cls", "key"):
            raise WdsFaceError(f"labels is {self.labels!r}: it must be 'cls' or 'key'")


@dataclass(frozen=True)
class Plan:
    """Which identities go where; nothing has been written yet.

    Attributes:
        kind: of the source.
        source: Path or URL of the source, without credentials.
        inventory: what the source holds.
        kept: positions in the inventory of the identities with enough images, ``[n]``.
        shards: for each shard the identities in it, as positions in ``kept``.
        digest: tells this plan from others.
    """

    kind: str
    source: str
    inventory: Inventory
    options: Options
    kept: NDArray[np.int64]
    shards: list[NDArray[np.int64]]
    shard_size: int
    digest: str

    def check(self, policy: SkipPolicy, skipped: Iterable[Skipped]) -> None:
        """Check that the policy allows leaving out the skipped entries.

        Raises:
            SourceError: See :meth:`SkipPolicy.check`.
        """
        unreadable = sum(entry.kind == "item" for entry in self.inventory.skipped)
        items = int(self.inventory.images.sum()) + unreadable
        policy.check(skipped, items, self.source, self.inventory.remedy)

    def left_out(self) -> list[Skipped]:
        """Return the entries that are known to be left out before images are read, sorted."""
        few = np.flatnonzero(self.inventory.images < self.options.min_images).tolist()
        identities = {too_few_images(self.inventory.names[position], self.options.min_images) for position in few}
        return sorted({*self.inventory.skipped, *identities})

    def tasks(self, store: Store, lost: Collection[int]) -> list[tuple[NDArray[np.int64], ShardTask]]:
        """A task per shard, with the identities in it, leaving out those that are lost."""
        labels = layout.fill_holes(len(self.kept), lost)
        groups = [rows[labels[rows] >= 0] for rows in self.shards]
        numbers = layout.fill_holes(len(groups), [i for i, rows in enumerate(groups) if not len(rows)])
        tasks = []
        for i in np.argsort(numbers):
            if numbers[i] >= 0:
                rows = groups[i]
                name = f"{self.options.name}-{numbers[i]:06d}.tar"
                part = self.inventory.part(self.kept[rows])
                task = ShardTask(store, name, labels[rows], part, self.options.labels == "cls", self.options.deep)
                tasks.append((rows, task))
        return tasks


def make_plan(source: Source, options: Options, workers: Workers = ALONE, *, progress: bool = False) -> Plan:
    """Scan a source and decide what goes where.

    Raises:
        SourceError: the source cannot be read, or no identity has enough images.
    """
    with bar("scanning", None, progress) as shown:
        inventory = source.scan(workers, shown.update)
    kept = np.flatnonzero(inventory.images >= options.min_images)
    if not len(kept):
        unreadable = [entry for entry in inventory.skipped if entry.kind != "other"]
        left_out = f"; left out: {frequent_reasons(unreadable)}" if unreadable else ""
        raise SourceError(f"no identity has {options.min_images} images or more{left_out}")
    images, nbytes = inventory.images[kept], inventory.nbytes[kept]
    # header, half a block of padding on average, and the .cls member
    nbytes = nbytes + images * (BLOCK + BLOCK // 2 + (2 * BLOCK if options.labels == "cls" else 0))
    size = options.shard_size or layout.shard_size(int(nbytes.sum()))
    digest = hashlib.sha256(repr((__version__, source.kind, size, options)).encode())
    digest.update("\0".join(inventory.names).encode("utf-8", "surrogateescape"))
    digest.update(inventory.images.tobytes() + inventory.nbytes.tobytes())
    shards = layout.deal(nbytes, size, options.seed)
    return Plan(source.kind, shown_url(source.location), inventory, options, kept, shards, size, digest.hexdigest())
