"""What is known of a data set from its index: its name, age and making, and names of identities."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from wds_face.conversion.skipped import SKIPPED, read_skipped
from wds_face.errors import DatasetError
from wds_face.shards.census import census
from wds_face.shards.index import MANIFEST, Index
from wds_face.shards.sizes import Sizes


@dataclass(frozen=True)
class About:
    """What is known of a data set.

    Attributes:
        url: where it lies, without what is secret.
        name: the last part of it.
        date: when its index was written, by its file system, as ``2026-11-25``; None where that does not say.
        digest: the sha256 of the index's table of identities, which changes with the data.
        counts: see :func:`~wds_face.shards.census.census`.
        held: how many images the identities of each bin of the histogram in *counts* have.
        shards: name, images and bytes of each.
        classes: the original name of each label.
        left_out: what the conversion left out: reasons, and how often each.
        sizes: of all images; None where the index does not record them.
    """

    url: str
    name: str
    date: str | None
    digest: str
    counts: dict[str, Any]
    held: list[int]
    shards: list[tuple[str, int, int]]
    classes: list[str]
    left_out: list[tuple[str, int]]
    sizes: Sizes | None

    def of(self, label: int) -> str:
        """The original name of a label."""
        return self.classes[label] if 0 <= label < len(self.classes) else f"label {label}"


def about(index: Index, k: int) -> About:
    """Collect what is known.

    Args:
        index: of the data set.
        k: identities with fewer images are counted.
    """
    url = str(index.store)
    if index.store.local is None:
        url = url.partition("?")[0]  # where signatures and tokens are
    try:
        classes = index.classes
    except (DatasetError, KeyError):
        classes = []
    counts = census(index, k=k)
    images = index.identities["images"].astype(np.int64)
    edges = [*(least for least, _, _ in counts["histogram"]), np.iinfo(np.int64).max]
    return About(
        url=url,
        name=url.rstrip("/").rpartition("/")[2] or url,
        date=_date(index),
        digest=hashlib.sha256(index.identities.tobytes()).hexdigest(),
        counts=counts,
        held=np.histogram(images, edges, weights=images)[0].astype(np.int64).tolist(),
        shards=[(shard.name, shard.images, shard.nbytes) for shard in index.shards],
        classes=classes,
        left_out=_left_out(index),
        sizes=index.sizes,
    )


def _date(index: Index) -> str | None:
    store = index.store
    if store.local is not None:
        when = datetime.fromtimestamp((store.local / MANIFEST).stat().st_mtime, timezone.utc)
        return f"{when:%Y-%m-%d}"
    from wds_face.storage.remote import RemoteStore  # noqa: PLC0415 (fsspec is slow to import)

    assert isinstance(store, RemoteStore)
    with suppress(Exception):  # a file system need not know
        when = store.fs.modified(f"{store.fs._strip_protocol(store.url).rstrip('/')}/{MANIFEST}")
        return f"{when.astimezone(timezone.utc):%Y-%m-%d}"
    return None


def _left_out(index: Index) -> list[tuple[str, int]]:
    if not index.tables.get(SKIPPED, {}).get("filesize"):
        return []
    try:
        skipped = read_skipped(index.store.read(SKIPPED))
    except FileNotFoundError:
        return []
    return Counter(entry.reason for entry in skipped).most_common()
