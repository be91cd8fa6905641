"""Open a shard as the bytes of a plain tar, wherever it is stored and however it is compressed."""

from __future__ import annotations

from wds_face.shards.compression import HEAD, recognize
from wds_face.shards.spool import Spool
from wds_face.storage import Store


def open_shard(store: Store, name: str, spool: Spool, stamp: str | None = None) -> tuple[memoryview, str]:
    """Map a shard as a plain tar: the file itself where it is local and not compressed, else a copy in the spool.

    Args:
        store: Where the shard is.
        name: Its name.
        spool: Where copies are kept.
        stamp: Its version, if it is known.

    Returns:
        The bytes of the tar, and a description of the damage to the compressed file, "" if there is none. The bytes
        of a damaged file end where the damage begins.

    Raises:
        FileNotFoundError: The shard does not exist.
        TarError: The file is not a shard.
        SourceError: The spool is full, or a package for the compression is missing.
        DatasetError: The server cannot be read.
    """
    if not is_spooled(store, name):
        return store.view(name), ""
    with spool.using() as copies:
        return copies.view(store, name, store.stamp(name) if stamp is None else stamp)


def is_spooled(store: Store, name: str) -> bool:
    """Return whether a shard is compressed or remote, and so must be copied before it is read by ranges.

    Raises:
        FileNotFoundError: The shard does not exist.
        TarError: The file is not a shard.
    """
    if store.local is None:
        return True
    with store.reader(name) as file:
        return recognize(file.read(HEAD)) != ""
