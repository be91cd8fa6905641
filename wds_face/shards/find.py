"""The shards that a path or a URL stands for."""

from __future__ import annotations

from typing import Any

from braceexpand import braceexpand

from wds_face.errors import SourceError
from wds_face.storage import Store, open_store


def find_shards(url: str, options: dict[str, Any] | None = None) -> tuple[Store, list[str]]:
    """The folder and the names of the shards that a folder, a ``.tar`` or a brace pattern stands for, sorted.

    Raises:
        SourceError: there are none, or one of the pattern is missing.
    """
    if not url.endswith(".tar"):
        store = open_store(url, options)
        names = [name for name in store.names() if name.endswith(".tar") and not name.startswith(".")]
        if not names:
            raise SourceError(f"{store} holds no .tar files: give a folder of shards, a .tar or a brace pattern")
        return store, names
    folder, _, pattern = url.rpartition("/")
    store = open_store(folder or ("/" if url.startswith("/") else "."), options)
    names = list(braceexpand(pattern))
    if missing := sorted(set(names) - set(store.names())):
        raise SourceError(f"{store}/{missing[0]} is not there" + (f" ({len(missing)} missing)" if missing[1:] else ""))
    return store, names
