"""The index of a data set: which identity lies where, in three small files beside the shards.

``index.json`` is the manifest, a superset of WebDataset's ``wids`` shard list; it is written last, so a folder
without it holds no complete data set. ``identities.npy`` has a row per identity (:data:`IDENTITY`), ``classes.tsv``
the original name of each label, ``checksums.npy`` the crc32 of each run.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wds_face import git_lfs, recognise
from wds_face.errors import DatasetError
from wds_face.shards.checksums import CHECKSUMS, Sums, load_checksums
from wds_face.shards.classes import read_classes
from wds_face.shards.names import compression_of
from wds_face.shards.sizes import Sizes
from wds_face.storage import Store, open_store

FORMAT = 1
MANIFEST = "index.json"
IDENTITIES = "identities.npy"
CLASSES = "classes.tsv"

# Of a file that came wrong from a server.
_TRIES = 5

#: A run of images of one identity: ``nbytes`` of tar from ``offset`` on in shard number ``shard``. Rows are in the
#: order of the shards and of the offsets in them.
IDENTITY = np.dtype([("label", "<i8"), ("shard", "<i4"), ("images", "<i4"), ("offset", "<i8"), ("nbytes", "<i8")])


class Shard(NamedTuple):
    """A shard's file: its name, the samples in it, its size in bytes and its sha256 in hexadecimal."""

    name: str
    images: int
    nbytes: int
    sha256: str


@dataclass(frozen=True)
class Index:
    """What ``index.json`` and its tables say.

    Attributes:
        store: where the data set lies.
        shards: its shards, in order.
        identities: :data:`IDENTITY` ``[n]``.
        made: how it was made (options of the conversion), JSON-able.
        tables: size and sha256 of the files beside ``index.json``.
        sizes: Number of images of each width and height; None if the index does not record them, as for shards that
            ``wds-face convert`` did not write.
    """

    store: Store
    shards: list[Shard]
    identities: NDArray[Any]
    made: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    sizes: Sizes | None = None

    @property
    def images(self) -> int:
        """The number of images."""
        return int(self.identities["images"].sum())

    @property
    def labels(self) -> str:
        """Where the shards say what their labels are: ``"cls"`` members, the ``"key"``, or ``"auto"``."""
        return str(self.made.get("options", {}).get("labels", "auto"))

    @cached_property
    def classes(self) -> list[str]:
        """The original name of each label, read when first asked for."""
        return read_classes(_table(self.store, CLASSES, self.tables))

    @cached_property
    def checksums(self) -> Sums | None:
        """The crc32 of each row's bytes, uint32 ``[n]``, read when first asked for; None where there are none.

        Raises:
            DatasetError: they are damaged.
        """
        if CHECKSUMS not in self.tables:
            return None
        try:
            return load_checksums(_table(self.store, CHECKSUMS, self.tables), len(self.identities))
        except ValueError as error:
            raise DatasetError(f"{self.store}/{CHECKSUMS} is damaged ({error}): run `wds-face verify`") from None

    @classmethod
    def open(cls, url: str | os.PathLike[str] | Store, options: dict[str, Any] | None = None) -> Index:
        """Read the index of a data set.

        Raises:
            DatasetError: there is none, or its files do not fit together.
        """
        store = url if isinstance(url, Store) else open_store(url, options)
        manifest = read_manifest(store)
        own = manifest["wds_face"]
        try:
            shards = [
                Shard(row["url"], int(row["nsamples"]), int(row["filesize"]), row["sha256"])
                for row in manifest["shardlist"]
            ]
            identities = _load(_table(store, IDENTITIES, own["tables"]))
            sizes = Sizes.from_json(own["sizes"]) if "sizes" in own else None
            index = cls(store, shards, identities, own["made"], own["tables"], sizes)
            counts = (int(own["identities"]), int(own["images"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{store}/{MANIFEST} is damaged ({error!r}): run `wds-face verify`") from None
        if counts != (len(identities), index.images) or index.images != sum(shard.images for shard in shards):
            raise DatasetError(f"{store}/{MANIFEST} and {IDENTITIES} disagree on the number of images or identities")
        return index


def read_manifest(store: Store) -> dict[str, Any]:
    """``index.json`` of a data set.

    Raises:
        DatasetError: it is missing, not JSON, a Git LFS pointer, or of another format.
    """
    try:
        data = _read(store, MANIFEST, _whole)
        if git_lfs.is_pointer(data):
            raise DatasetError(f"{store}/{MANIFEST} is {git_lfs.REASON}")
        manifest: dict[str, Any] = json.loads(data)
    except FileNotFoundError:
        raise DatasetError(_without_manifest(store)) from None
    except NotADirectoryError:
        raise DatasetError(f"{store} is a file: give the folder that holds the data set") from None
    except ValueError:
        raise DatasetError(f"{store}/{MANIFEST} is not JSON: it is damaged") from None
    own = manifest.get("wds_face") if isinstance(manifest, dict) else None
    if not isinstance(own, dict) or "shardlist" not in manifest:
        raise DatasetError(f"{store}/{MANIFEST} was not written by wds-face: run `wds-face index {store}`")
    if own.get("format") != FORMAT:
        raise DatasetError(f"{store}/{MANIFEST} has format {own.get('format')}, this version reads {FORMAT}")
    if own.get("sha256", digest := _digest(manifest)) != digest:
        raise DatasetError(f"{store}/{MANIFEST} was changed or damaged: its sha256 is not the one that it names")
    return manifest


def _without_manifest(store: Store) -> str:
    """Return the error message for a folder without a manifest."""
    if store.local is not None and not store.local.exists():
        return f"{store} is not there: give the folder of a data set"
    try:
        compressed = [name for name in store.names() if compression_of(name)]
    except DatasetError:  # a server that does not list its files
        compressed = []
    if compressed:
        return (
            f"{store} has no {MANIFEST}, and {compressed[0]} is compressed, so it cannot be read by ranges: "
            "convert it with `wds-face convert webdataset` first"
        )
    if store.local is not None and (hint := recognise.hint(store.local, reader="webdataset")):
        return f"{store} has no {MANIFEST}{hint}"
    return (
        f"{store} has no {MANIFEST}: not a data set, or one whose conversion has not finished "
        "(run the same `wds-face convert` again, or `wds-face index` for shards made elsewhere)"
    )


def _digest(manifest: dict[str, Any]) -> str:
    """The sha256 of a manifest without itself."""
    own = {name: value for name, value in manifest["wds_face"].items() if name != "sha256"}
    return hashlib.sha256(json.dumps({**manifest, "wds_face": own}, sort_keys=True).encode()).hexdigest()


def _whole(data: bytes) -> bool:
    """Whether a manifest is as it was written; of one that is older, or another's, it is not known."""
    try:
        manifest = json.loads(data)
        return bool(manifest["wds_face"].get("sha256", digest := _digest(manifest)) == digest)
    except ValueError:
        return False
    except (KeyError, TypeError, AttributeError):
        return True


def _read(store: Store, name: str, right: Callable[[bytes], bool]) -> bytes:
    """A file; from a server once more, some times, where it came wrong."""
    for _ in range(1 if store.local else _TRIES):
        if right(data := store.read(name)):
            break
    return data


def write_index(
    store: Store,
    shards: list[Shard],
    identities: NDArray[Any],
    tables: dict[str, bytes],
    made: dict[str, Any],
    *,
    sizes: Sizes | None = None,
) -> Index:
    """Write the tables and then, last and atomically, the manifest.

    Args:
        identities: :data:`IDENTITY` ``[n]``.
        tables: other files by name, ``classes.tsv`` among them.
        made: how the data set was made; the same input must give the same value.
        sizes: Sizes of the images, if they are known.
    """
    tables = {IDENTITIES: _dump(identities), **tables}
    for name, data in tables.items():
        store.put(name, data)
    sums = {name: {"filesize": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in tables.items()}
    own: dict[str, Any] = {
        "format": FORMAT,
        "identities": len(identities),
        "images": int(identities["images"].sum()),
        "tables": sums,
        "made": made,
    }
    if sizes is not None:
        own["sizes"] = sizes.to_json()
    shardlist = [
        {"url": shard.name, "nsamples": shard.images, "filesize": shard.nbytes, "sha256": shard.sha256}
        for shard in shards
    ]
    manifest = {"wids_version": 1, "wds_face": own, "shardlist": shardlist}
    own["sha256"] = _digest(manifest)
    store.put(MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    return Index(store, shards, identities, made, sums, sizes)


def _table(store: Store, name: str, tables: dict[str, dict[str, Any]]) -> bytes:
    def right(data: bytes) -> bool:
        return bool(hashlib.sha256(data).hexdigest() == tables[name]["sha256"])

    try:
        data = _read(store, name, right)
    except FileNotFoundError:
        raise DatasetError(f"{store}/{name} is missing") from None
    if git_lfs.is_pointer(data):
        raise DatasetError(f"{store}/{name} is {git_lfs.REASON}")
    if not right(data):
        raise DatasetError(f"{store}/{name} does not belong to {MANIFEST}: its sha256 differs")
    return data


def _dump(table: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, table, version=(1, 0), allow_pickle=False)
    return file.getvalue()


def _load(data: bytes) -> NDArray[Any]:
    table: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    if table.dtype != IDENTITY or table.ndim != 1:
        raise ValueError(f"{IDENTITIES} has dtype {table.dtype}")
    return table
