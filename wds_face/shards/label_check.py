"""Check a label rule against all samples of a source. Errors about ambiguous labels name the option that decides."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wds_face.errors import SourceError
from wds_face.shards.data_sets import DataSets
from wds_face.shards.label_choice import Reading, without_label
from wds_face.shards.label_evidence import Evidence, Pairing
from wds_face.shards.labels import (
    FolderRule,
    JsonRule,
    MemberRule,
    PatternRule,
    candidates,
    plain_key,
    same_number,
)
from wds_face.storage import Store

#: Share of labels that are not text at which the source is refused; below it, these samples are left out.
_BINARY = 0.01

# Forms in which webdataset and others write arrays and objects.
_SERIALIZED = frozenset(["cbor", "mp", "msg", "npy", "npz", "pickle", "pkl", "pt", "pth", "pyd", "ten"])

_ESCAPED = re.compile("[\udc80-\udcff]")

_INSIST = "--label-from key uses the folder as the person, key:REGEX a part of the key; or name another member"


class LabelCheck:
    """Collects the evidence of every shard in turn.

    Args:
        store: Folder of the shards.
        reading: How the shards are read.
        named: Whether a pattern chose the shards, see :class:`~wds_face.shards.data_sets.DataSets`.
    """

    def __init__(self, store: Store, reading: Reading, *, named: bool = False) -> None:
        self.reading = reading
        self._where = str(store)
        self._data_sets = DataSets(store, reading.rule.spec, named=named)
        self._labels: dict[str, None] = {}
        self._samples = 0
        self._pairings: dict[str, Pairing] = {}
        self._binary = 0
        self._binary_example = ""
        self._example = ""
        self._shards = 0
        self._one_each = True

    def add(self, name: str, evidence: Evidence) -> None:
        """Add the evidence of a shard.

        Raises:
            SourceError: The shard shares a label with an earlier one of another data set.
        """
        self._data_sets.add(name, evidence)
        self._labels.update(dict.fromkeys(evidence.labels))
        self._samples += sum(evidence.labels.values())
        self._binary += evidence.binary
        if evidence.binary and not self._binary_example:
            self._binary_example = f"{name}:{evidence.binary_example}"
        if evidence.labels:
            self._shards += 1
            self._one_each = self._one_each and len(evidence.labels) == 1
            label = next(iter(evidence.labels))
            self._example = self._example or f"{label!r} for {name}:{evidence.first}"
        for spec, pairing in evidence.pairings.items():
            self._pairings.setdefault(spec, Pairing()).merge(pairing)

    def notes(self) -> list[str]:
        """Return lines for the user that name where the labels come from.

        Raises:
            SourceError: The labels are ambiguous, or not text. The message names the option that decides.
        """
        self._refuse_binary()
        if not self._labels:
            raise SourceError(without_label(self._where, self.reading))
        self._refuse_rivals()
        rule = self.reading.rule
        if self.reading.asked == "auto" and isinstance(rule, (FolderRule, PatternRule)):
            self._refuse_guesses()
        if isinstance(rule, (MemberRule, JsonRule, FolderRule)) and not rule.form:
            self._refuse_spellings()
        image = f", images from {self.reading.image_from}" if self.reading.image_from else ""
        notes = [f"labels from {rule.spec} ({self._example}){image}", *self._data_sets.notes()]
        if escaped := sum(1 for label in self._labels if _ESCAPED.search(label)):
            notes.append(f"{escaped:,} labels are not UTF-8; their bytes are kept as they are")
        return notes

    def _refuse_binary(self) -> None:
        if not self._binary or self._binary < _BINARY * (self._binary + self._samples):
            return
        rule = self.reading.rule
        assert isinstance(rule, MemberRule), "only members have binary content"
        member = rule.extension
        if member.rpartition(".")[2] in _SERIALIZED:
            remedy = f"a .{member} is not read; name another member"
        else:
            remedy = f"--label-from {member}:int reads binary little-endian integers, {member}:hex takes any bytes"
        raise SourceError(
            f"{self._where}: {self._binary:,} labels in {member} are not text (first: {self._binary_example}): {remedy}"
        )

    def _refuse_rivals(self) -> None:
        """Refuse a source to which another rule applies just as well."""
        spec = self.reading.rule.spec
        order = [candidate.spec for candidate in candidates(self.reading.asked)]
        for other in self.reading.others:
            pairing = self._pairings.get(other.spec)
            if pairing is None:
                continue
            choice = f"say --label-from {spec} or --label-from {other.spec} (first sample: {self.reading.sample})"
            if {spec, other.spec} <= set(order) and order.index(other.spec) < order.index(spec):
                raise SourceError(
                    f"{self._where}: {pairing.samples:,} samples have a label in {other.spec}, the first ones have it "
                    f"in {spec}: {choice}"
                )
            # Folders can mean anything; they contradict another label only if that is the same for all samples.
            weak = isinstance(other, FolderRule) and len(self._labels) > 1
            if pairing.conflict and len(pairing.backward) > 1 and not weak:
                raise SourceError(
                    f"{self._where}: labels in {spec} and {other.spec} differ ({pairing.conflict}): {choice}"
                )

    def _refuse_guesses(self) -> None:
        """Refuse keys that may not name people: one folder for all, nested folders, one folder per shard."""
        first = f"(first sample: {self.reading.sample})"
        if len(self._labels) == 1 and self._samples > 1:
            label = next(iter(self._labels))
            raise SourceError(
                f"{self._where}: all {self._samples:,} samples would be one person, {label!r} {first}: {_INSIST}"
            )
        if isinstance(self.reading.rule, PatternRule) and self._samples == len(self._labels) > 1:
            raise SourceError(
                f"{self._where}: keys have no folder, and each sample would be a person of its own {first}: {_INSIST}"
            )
        levels = _two_levels(self._labels)
        if levels is not None:
            raise SourceError(
                f"{self._where}: folders in folders, as {levels[0]!r} and {levels[1]!r}: --label-from key takes the "
                "whole path for the person, 'key:^([^/]+)/' the first folder, 'key:([^/]+)/[^/]*$' the last"
            )
        if 1 < self._shards == len(self._labels) and self._one_each and not self._data_sets.all_own(self._labels):
            raise SourceError(f"{self._where}: every shard would be one person of its own {first}: {_INSIST}")

    def _refuse_spellings(self) -> None:
        spelled = same_number(self._labels)
        if spelled is not None:
            spec = self.reading.rule.spec
            raise SourceError(
                f"{self._where}: labels {spelled[0]!r} and {spelled[1]!r} in {spec} are the same number: "
                f"--label-from {spec}:number makes them one person, {spec}:text two"
            )


def _two_levels(labels: Iterable[str]) -> tuple[str, str] | None:
    """Return two paths whose first or last folder alone could be the person; None if there are none."""
    by_first: dict[str, str] = {}
    by_last: dict[str, str] = {}
    same_first: tuple[str, str] | None = None
    for label in labels:
        path = plain_key(label)
        first = by_first.setdefault(path.partition("/")[0], label)
        last = by_last.setdefault(path.rpartition("/")[2], label)
        if last != label:
            return last, label
        if first != label and same_first is None:
            same_first = (first, label)
    return same_first if len(by_first) > 1 else None
