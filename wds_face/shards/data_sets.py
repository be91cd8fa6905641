"""Refuse shards of several data sets whose labels collide, and shards that are there twice.

Label 3 of one data set is not label 3 of the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress

from wds_face.errors import SourceError, WdsFaceError
from wds_face.shards.index import MANIFEST
from wds_face.shards.label_evidence import Evidence
from wds_face.shards.labels import whole_number
from wds_face.storage import Store
from wds_face.units import plural

_REMEDY = "labels of different data sets are different people; convert each data set on its own"
_TOGETHER = "give a pattern such as '{}/**' if they belong together"


class DataSets:
    """Tells data sets apart by their keys and by the ``index.json`` next to their shards.

    wds_face writes the first image of an identity under one fixed key, into one shard. Two shards with that key
    therefore belong to different data sets. So do a shard that an ``index.json`` lists and any shard that it
    does not list. Shards of others in different folders belong to different data sets if they begin with the same key
    and have a whole number as label in common. Shards that begin with the same sample are copies.

    Args:
        store: Where the shards are.
        label_from: Label rule that the shards are read with.
        named: Whether a pattern chose the shards. Keys that two of them have in common are accepted then.
    """

    def __init__(self, store: Store, label_from: str, *, named: bool = False) -> None:
        self._store = store
        self._label_from = label_from
        self._named = named
        self._copied: dict[tuple[str, int], str] = {}
        self._firsts: dict[tuple[str, str], str] = {}
        self._shared: dict[str, str] = {}
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
        if evidence.first and not self._named:
            self._refuse_copy(name, evidence)
            self._refuse_stranger(name, evidence)
        for label in evidence.labels:
            if whole_number(label) is None:
                continue
            owner = self._owners.setdefault(label, name)
            if owner != name and self._data_set(owner) != self._data_set(name):
                raise SourceError(
                    f"{self._store}: {owner} and {name} are of different data sets, both with label {label}: {_REMEDY}"
                )
            if _folder(owner) != _folder(name):
                self._shared.setdefault(label, name)

    def notes(self) -> list[str]:
        """Return a line for the user if folders have labels in common, which are taken for the same people."""
        if not self._shared:
            return []
        label, name = next(iter(self._shared.items()))
        folders = f"{_folder(self._owners[label]) or '.'} and {_folder(name) or '.'}"
        return [
            f"{plural(len(self._shared), 'label')} in several folders (first: {label} in {folders}), taken for the "
            "same people; convert data sets that do not belong together on their own"
        ]

    def _refuse_copy(self, name: str, evidence: Evidence) -> None:
        """Refuse a shard that begins with the same sample as an earlier one."""
        other = self._copied.setdefault((evidence.first, evidence.first_checksum), name)
        if other != name:
            raise SourceError(
                f"{self._store}: {other} and {name} begin with the same sample, {evidence.first}: remove one if it "
                f"is a copy, or {_TOGETHER.format(self._store)}"
            )

    def _refuse_stranger(self, name: str, evidence: Evidence) -> None:
        """Refuse a shard if one in another folder begins with the same key, and the folders have a number in common."""
        self._firsts.setdefault((_folder(name), evidence.first), name)
        for label in evidence.labels:
            folder = _folder(self._owners.get(label, name))
            other = self._firsts.get((folder, evidence.first))
            if whole_number(label) is not None and folder != _folder(name) and other is not None:
                raise SourceError(
                    f"{self._store}: {other} and {name} begin with the same key, {evidence.first}, and label {label} "
                    f"is in both folders. They may be of different data sets, where it is another person: convert "
                    f"each on its own, or {_TOGETHER.format(self._store)}"
                )

    def all_own(self, labels: Iterable[str]) -> bool:
        """Return whether wds_face wrote the first image of each of these labels."""
        return all(whole_number(label) in self._own for label in labels)

    def _data_set(self, name: str) -> str | None:
        """Return the folder whose ``index.json`` lists a shard, None if none does."""
        folder = _folder(name)
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


def _folder(name: str) -> str:
    return name.rpartition("/")[0]
