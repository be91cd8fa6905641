"""Collect evidence from the samples of a shard for or against the label rule of their source."""

from __future__ import annotations

from dataclasses import dataclass, field
from zlib import crc32

from wds_face.shards.labels import Label, LabelRule, Members, whole_number
from wds_face.shards.samples import Sample


@dataclass
class Pairing:
    """Correspondence between the labels of the rule and those of another rule.

    Attributes:
        samples: Number of samples in which the other rule finds a label.
        forward: The other rule's label for each label of the rule.
        backward: The rule's label for each label of the other rule.
        conflict: Description of the first contradiction; empty if both rules group the images in the same way.
    """

    samples: int = 0
    forward: dict[str, str] = field(default_factory=dict)
    backward: dict[str, str] = field(default_factory=dict)
    conflict: str = ""

    def add(self, label: str, other: str) -> None:
        """Add a sample that has both labels."""
        if self.conflict:
            # From here on it only matters whether the other rule has one label or several.
            if len(self.backward) < 2:
                self.backward.setdefault(other, label)
            return
        if self.forward.setdefault(label, other) != other:
            self.conflict = f"{label!r} goes with {self.forward[label]!r} and {other!r}"
        elif self.backward.setdefault(other, label) != label:
            self.conflict = f"{other!r} goes with {self.backward[other]!r} and {label!r}"
        self.backward.setdefault(other, label)

    def merge(self, following: Pairing) -> None:
        """Add the samples of a later shard."""
        self.samples += following.samples
        for label, other in following.forward.items():
            self.add(label, other)
        for other, label in following.backward.items():
            self.add(label, other)
        self.conflict = self.conflict or following.conflict


@dataclass
class Evidence:
    """Summary of the samples of a shard that have an image.

    Attributes:
        rule: Rule that gives the labels.
        others: Rules that it is compared with.
        labels: Number of samples of each label.
        first: Key of the first sample with a label.
        first_checksum: CRC-32 of the members of that sample.
        binary: Number of samples whose label is not text.
        binary_example: Key and problem of the first of these.
        own: Labels whose first image has the key that wds_face gives it.
        pairings: Comparison with each of the other rules, by their spec.
    """

    rule: LabelRule
    others: tuple[LabelRule, ...] = ()
    labels: dict[str, int] = field(default_factory=dict)
    first: str = ""
    first_checksum: int = 0
    binary: int = 0
    binary_example: str = ""
    own: set[int] = field(default_factory=set)
    pairings: dict[str, Pairing] = field(default_factory=dict)

    def add(self, key: str, members: Members, sample: Sample) -> None:
        """Add a sample; see ``watch`` of :class:`~wds_face.shards.samples.SampleReader`."""
        if sample.label is not None:
            self._add_label(key, members, sample.label)
            own = sample.own_label
            if own is not None and own == whole_number(sample.label.text):
                self.own.add(own)
        for rule in self.others:
            other = rule.read(key, members)
            if other.text:
                pairing = self.pairings.setdefault(rule.spec, Pairing())
                pairing.samples += 1
                if sample.identity:
                    pairing.add(sample.identity, other.text)

    def _add_label(self, key: str, members: Members, label: Label) -> None:
        if label.text:
            self.labels[label.text] = self.labels.get(label.text, 0) + 1
            if not self.first:
                self.first = key
                for _, content in sorted(members.items()):
                    self.first_checksum = crc32(content, self.first_checksum)
        elif label.kind == "binary":
            self.binary += 1
            self.binary_example = self.binary_example or f"{key}: {label.problem}"
