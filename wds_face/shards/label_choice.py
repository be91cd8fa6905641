"""Choose one label rule for a whole source.

The first shard with a usable sample proposes a rule. Every shard is then read by it, and
:class:`~wds_face.shards.label_check.LabelCheck` refuses the source if its samples together are ambiguous.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from wds_face.errors import SourceError, TarError, WdsFaceError
from wds_face.images import EXTENSIONS
from wds_face.shards.label_evidence import Evidence
from wds_face.shards.label_json import parse_fields
from wds_face.shards.labels import MAX_JSON, PREFIX, JsonRule, LabelRule, MemberRule, PatternRule, candidates
from wds_face.shards.samples import SampleReader, extension
from wds_face.shards.tar import Member

#: Fallback of ``key``. It is too weak to contradict another rule, so it is never compared with one.
_PREFIX_RULE = PatternRule(PREFIX.removeprefix("key:"))

#: Number of samples of a shard that propose a rule. All samples are checked against it, so a larger number only takes
#: longer.
_PROBED = 1000

#: Maximum number of extensions that a message names, and that ``auto`` considers.
_FEW = 4

#: Maximum number of ``.json`` fields that a message names.
_MOST_FIELDS = 8


@dataclass(frozen=True)
class Reading:
    """How every shard of a source is read.

    Attributes:
        rule: Label rule.
        asked: Value of ``--label-from``.
        others: Other rules that *asked* could stand for.
        image_from: Extension of the image; empty for any image extension.
        dots_in_keys: Whether the key ends at the last dot of the file name.
        sample: Names of the members of the first sample, for messages.
        apart: Name of a label member that is not stored next to its image, for messages; empty if there is none.
    """

    rule: LabelRule
    asked: str = "auto"
    others: tuple[LabelRule, ...] = ()
    image_from: str = ""
    dots_in_keys: bool = False
    sample: str = ""
    apart: str = ""

    def reader(self, evidence: Evidence | None = None) -> SampleReader:
        """Return a reader of the samples of a shard, which adds them to *evidence*."""
        return SampleReader(
            self.rule,
            image_from=self.image_from,
            dots_in_keys=self.dots_in_keys,
            watch=evidence.add if evidence is not None else None,
        )

    def evidence(self) -> Evidence:
        """Return empty evidence for a shard."""
        return Evidence(self.rule, self.others)

    @property
    def facts(self) -> dict[str, Any]:
        """How the source is read, for ``index.json``."""
        facts: dict[str, Any] = {"label_from": self.rule.spec}
        if self.image_from:
            facts["image_from"] = self.image_from
        if self.dots_in_keys:
            facts["dots_in_keys"] = True
        return facts


def check_options(label_from: str, image_from: str = "", dots_in_keys: bool = False) -> None:
    """Refuse options that no source can be read with.

    Raises:
        WdsFaceError: *label_from* is not a label rule, *image_from* is not the extension of an image, or *image_from*
            and *dots_in_keys* exclude each other.
    """
    candidates(label_from)
    if image_from and image_from.rpartition(".")[2].lower() not in EXTENSIONS:
        raise WdsFaceError(f"image-from is {image_from!r}: it must end in an image's extension, as in image.jpg")
    if "." in image_from and dots_in_keys:
        raise WdsFaceError(f"image-from {image_from} has a dot, dots-in-keys ends the key at the last one: give one")


def propose(
    where: str,
    names: Iterable[str],
    view: Callable[[str], memoryview],
    label_from: str = "auto",
    *,
    image_from: str = "",
    dots_in_keys: bool = False,
) -> Reading:
    """Choose how to read a source from its first shard with a usable sample.

    Args:
        where: Name of the source, for messages.
        names: Names of its shards, in order.
        view: Function that returns the bytes of a shard, as a plain tar, by name.
        label_from: Label rule, see :mod:`wds_face.shards.labels`.
        image_from: Extension of the image; by default any image extension, or the only one with two parts.
        dots_in_keys: Whether the key ends at the last dot of the file name.

    Raises:
        WdsFaceError: See :func:`check_options`.
        SourceError: No sample has an image or a label, or it is ambiguous which member is the image.
    """
    check_options(label_from, image_from, dots_in_keys)
    asked = Reading(MemberRule("cls"), label_from, (), image_from.lower(), dots_in_keys)
    why = "holds no sample with an image"
    unlabelled: Reading | None = None
    for name in names:
        try:
            found = _look(asked, view(name), f"{where}/{name}")
        except (TarError, OSError) as error:  # another shard may do
            why = f"{name}: {error}"
            continue
        if found is not None and found.others:
            return _chosen(found)
        unlabelled = unlabelled or found
    if unlabelled is None:
        raise SourceError(f"{where}: {why}")
    raise SourceError(without_label(where, unlabelled))


def _look(asked: Reading, view: memoryview, name: str) -> Reading | None:
    """Return how to read a shard, with the rules that find a label in it; None if it has no sample with an image.

    Raises:
        TarError: The shard is damaged before its first sample with an image.
        SourceError: It is ambiguous which member is the image.
    """
    kinds: dict[str, str] = {}  # an example of each extension that may be the image's
    classes: set[str] = set()
    reader = asked.reader()
    plain = False
    damage: TarError | None = None
    try:
        for number, (_, members) in enumerate(reader.members(view)):
            if kinds and number >= _PROBED:
                break
            for member in members:
                kind = reader.extension(member)
                plain = plain or kind in EXTENSIONS
                if extension(member, last_dot=True) in EXTENSIONS and len(kinds) <= _FEW:
                    kinds.setdefault(kind, member.name)
                if kind.endswith(".cls") and len(classes) <= _FEW:
                    classes.add(kind)
    except TarError as error:
        damage = error
    if not kinds:
        if damage is not None:
            raise damage
        return None
    if not (asked.image_from or plain):
        if len(kinds) > 1:
            raise SourceError(_which_image(name, kinds))
        asked = replace(asked, image_from=next(iter(kinds)))
    return _with_labels(asked, view, candidates(asked.asked, classes if len(classes) <= _FEW else ()))


def _with_labels(asked: Reading, view: memoryview, rules: tuple[LabelRule, ...]) -> Reading | None:
    """Add the rules that find anything in a sample of a shard, even an invalid label; None without an image."""
    finds: set[LabelRule] = set()
    sample = ""
    apart: dict[str, str] = {}
    keys: set[str] = set()
    samples = 0
    reader = asked.reader()
    with suppress(TarError):  # what comes before the damage is enough
        for key, members in reader.members(view):
            contents = {reader.extension(member): view[member.data : member.data + member.size] for member in members}
            if not (asked.image_from in contents or (not asked.image_from and EXTENSIONS & contents.keys())):
                if any(rule.read(key, contents).text for rule in rules if isinstance(rule, (MemberRule, JsonRule))):
                    apart.setdefault(key, members[0].name)
                continue
            keys.add(key)
            sample = sample or _shown(members, contents)
            finds.update(rule for rule in rules if rule not in finds and _is_found(rule, key, contents))
            samples += 1
            if len(finds) == len(rules) or (finds and samples >= _PROBED):
                break
    if not sample:
        return None
    separate = next((name for key, name in apart.items() if key in keys), "")
    return replace(asked, sample=sample, apart=separate, others=tuple(rule for rule in rules if rule in finds))


def _shown(members: list[Member], contents: dict[str, memoryview]) -> str:
    """Return the names of a sample's members, and the fields of its ``.json``."""
    names = ", ".join(member.name for member in members)
    fields = parse_fields(bytes(contents["json"])) if len(contents.get("json", b"")) in range(1, MAX_JSON) else ""
    if not isinstance(fields, dict):
        return names
    more = ", …" if len(fields) > _MOST_FIELDS else ""
    return f"{names}; fields: {', '.join(list(fields)[:_MOST_FIELDS])}{more}"


def _is_found(rule: LabelRule, key: str, contents: dict[str, memoryview]) -> bool:
    label = rule.read(key, contents)
    # A member that is not text still shows where the label is; a faulty .json shows nothing.
    return bool(label.text) or (label.kind != "missing" and not isinstance(rule, JsonRule))


def _chosen(found: Reading) -> Reading:
    """Take the first rule that finds a label; the others that *asked* may stand for are compared with it."""
    rule = found.others[0]
    possible = dict.fromkeys([*candidates(found.asked), *found.others])
    return replace(found, rule=rule, others=tuple(other for other in possible if other not in (rule, _PREFIX_RULE)))


def without_label(where: str, reading: Reading) -> str:
    """Return the message for a source in which no sample has a label."""
    if reading.apart:
        return (
            f"{where}: labels are not next to their images ({reading.apart} has no image beside it): pack the shards "
            "with the files of a sample one after the other, as `tar --sort=name` does"
        )
    return (
        f"{where}: no sample has a label for --label-from {reading.asked} (first sample: {reading.sample}): "
        "name a member (as in --label-from txt), json:FIELD, key or key:REGEX"
    )


def _which_image(name: str, kinds: dict[str, str]) -> str:
    examples = ", ".join(list(kinds.values())[:_FEW])
    return (
        f"{name}: dots in the names of images ({examples}): --image-from {next(iter(kinds))} takes one of several "
        "members of a sample, --dots-in-keys ends the key at the last dot"
    )
