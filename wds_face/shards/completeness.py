"""Find data sets of wds_face of which only a part is there, before they are taken for the whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress

from wds_face.errors import WdsFaceError
from wds_face.shards.index import MANIFEST
from wds_face.shards.names import SUFFIXES
from wds_face.storage import Store

_UNFINISHED = ".convert/begun.json"


def incomplete(store: Store, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each missing shard or unfinished folder of the data sets that shards belong to, and how it is known.

    A folder without the files of wds_face tells nothing about what should be there.

    Args:
        store: Where the shards are.
        names: Shards that were found, with their folders.
    """
    found = {_plain(name) for name in names}
    for folder in sorted({name.rpartition("/")[0] for name in names}):
        prefix = f"{folder}/" if folder else ""
        listed = _listed(store, prefix)
        for name in listed:
            if _plain(name) not in found:
                yield name, f"is missing: {prefix}{MANIFEST} lists it"
        if not listed and store.size(prefix + _UNFINISHED) is not None:
            yield prefix or "./", "holds an unfinished conversion: run its command again"


def _plain(name: str) -> str:
    """Return the name of a shard without the suffix that tells how it is compressed."""
    suffix = max((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), key=len, default="")
    return name[: len(name) - len(suffix)]


def _listed(store: Store, prefix: str) -> list[str]:
    """Return the shards that the ``index.json`` of a folder lists, none if there is no such file of wds_face."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, WdsFaceError):
        manifest = json.loads(store.read(prefix + MANIFEST))
        if "wds_face" in manifest:
            return [f"{prefix}{row['url']}" for row in manifest["shardlist"]]
    return []
