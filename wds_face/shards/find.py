"""The shards that a path or a URL stands for, and where their labels are."""

from __future__ import annotations

from typing import Any

from braceexpand import braceexpand

from wds_face.errors import SourceError, TarError
from wds_face.shards.samples import SampleReader
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


def find_label(store: Store, names: list[str]) -> str:
    """Where the first sample with an image has its identity: ``cls``, ``json`` or ``key``.

    Raises:
        SourceError: there is no such sample in any of the shards.
    """
    reader = SampleReader()
    why = "holds no sample with an image"
    for name in names:
        try:
            for _ in reader.read(store.view(name)):
                if reader.label_from != "auto":
                    return reader.label_from
        except (TarError, OSError) as error:  # another shard may do
            why = f"{name}: {error}"
    raise SourceError(f"{store}: {why}")
