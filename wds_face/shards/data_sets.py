"""Refuse shards of several data sets whose labels collide: label 3 of one is not label 3 of the other."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress

from wds_face.errors import SourceError, WdsFaceError
from wds_face.shards.index import MANIFEST
from wds_face.shards.label_evidence import Evidence
from wds_face.shards.labels import whole_number
from wds_face.storage import Store

_REMEDY = "labels of different data sets are different people; convert each data set on its own"


class DataSets:
    """Tells data sets apart by their keys and by the ``index.json`` next to their shards.

    wds_face writes the first image of an identity under one fixed key, into one shard. Two shards with that key
    therefore belong to different data sets. So do a shard that an ``index.json`` lists and any shard that it
    does not list.

    Args:
        store: Where the shards are.
        label_from: Label rule that the shards are read with.
    """

    def __init__(self, store: Store, label_from: str) -> None:
        self._store = store
        self._label_from = label_from
        self._own: dict[int, str] = {}
        self._owners: dict[str, str] = {}
        self._listed: dict[str, frozenset[str]] = {}

    def add(self, name: str, evidence: Evidence) -> None:
        """Add the labels of a shard.

        Raises:
            SourceError: A shard of another data set has one of these labels. The message names the shards and label.
        """
        for number in sorted(evidence.own):
            owner = self._own.setdefault(number, name)
            if owner != name:
                raise SourceError(
                    f"{self._store}: {owner} and {name} both have the first image of label {number}: {_REMEDY}"
                )
        for label in evidence.labels:
            if whole_number(label) is None:
                continue
            owner = self._owners.setdefault(label, name)
            if owner != name and self._data_set(owner) != self._data_set(name):
                raise SourceError(
                    f"{self._store}: {owner} and {name} are of different data sets, both with label {label}: {_REMEDY}"
                )

    def all_own(self, labels: Iterable[str]) -> bool:
        """Return whether wds_face wrote the first image of each of these labels."""
        return all(whole_number(label) in self._own for label in labels)

    def _data_set(self, name: str) -> str | None:
        """Return the folder whose ``index.json`` lists a shard, None if none does."""
        folder = name.rpartition("/")[0]
        if folder not in self._listed:
            self._listed[folder] = self._read(folder)
        return folder if name in self._listed[folder] else None

    def _read(self, folder: str) -> frozenset[str]:
        """Return the shards listed in the ``index.json`` of a folder, none if it records another label rule."""
        prefix = f"{folder}/" if folder else ""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, WdsFaceError):
            manifest = json.loads(self._store.read(prefix + MANIFEST))
            if manifest["wds_face"]["made"]["options"]["labels"] == self._label_from:
                return frozenset(prefix + row["url"] for row in manifest["shardlist"])
        return frozenset()
