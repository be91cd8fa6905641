"""The samples of a shard, of our making or anybody's: key, image and identity of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from wds_face.errors import TarError, WdsFaceError
from wds_face.images import EXTENSIONS
from wds_face.shards.tar import Member, walk

#: Fields of a ``.json`` member that are asked for the identity, in this order.
JSON_FIELDS = ("label", "identity", "class", "id")


class Sample(NamedTuple):
    """A run of members with the same key, WebDataset's unit.

    ``start`` and ``end`` are the bytes of the shard that it takes, ``image`` the member that holds the picture and
    ``identity`` the name of who is on it. ``problem`` says in a few words why it cannot be used, '' if it can.
    ``spare`` names further images of the sample: the first is the one that counts.
    """

    key: str
    start: int
    end: int
    image: Member | None
    identity: str
    problem: str
    spare: tuple[str, ...] = ()

    @property
    def extension(self) -> str:
        """Of the image, without a dot, in lower case."""
        return extension(self.image) if self.image else ""


class Run(NamedTuple):
    """Consecutive samples of one identity: how many, and the bytes of the shard that they take."""

    identity: str
    images: int
    offset: int
    nbytes: int

    @property
    def label(self) -> int:
        """The identity as a number, -1 if it is none."""
        return int(self.identity) if self.identity.isdecimal() and len(self.identity) <= 18 else -1


class SampleReader:
    """Cuts shards into samples.

    Args:
        label_from: where the identity is: ``cls``, ``json``, ``json:FIELD``, ``key`` (the key's folder, or what stands
            before its last ``_`` or ``-``), or ``auto``: the first of ``cls``, ``json``, ``key`` that the first sample
            has. Once that is known, :attr:`label_from` says it.
    """

    def __init__(self, label_from: str = "auto") -> None:
        if label_from not in ("auto", "cls", "json", "key") and not label_from.startswith("json:"):
            raise WdsFaceError(f"label-from is {label_from!r}: it must be auto, cls, json, json:FIELD or key")
        self.label_from = label_from

    def read(self, view: memoryview) -> Iterator[Sample]:
        """The samples of a shard in order; one whose key came before has a ``problem``.

        Raises:
            TarError: where the shard is damaged, after everything before it was yielded.
        """
        seen: set[str] = set()
        key, members = "", list[Member]()
        damage: TarError | None = None
        try:
            for member in walk(view):
                folder, slash, file = member.name.rpartition("/")
                found = folder + slash + file.split(".", 1)[0]
                if found != key or any(member.name == other.name for other in members):
                    if members:
                        yield self._sample(view, key, members, seen)
                    key, members = found, []
                members.append(member)
        except TarError as error:
            damage = error
        if members:
            yield self._sample(view, key, members, seen)
        if damage:
            raise damage

    def runs(self, view: memoryview) -> tuple[list[Run], list[str]]:
        """The identity runs of a shard, and what is wrong with it."""
        found: list[list[Any]] = []
        problems: list[str] = []
        try:
            for sample in self.read(view):
                if sample.problem or sample.spare:
                    problems.append(f"{sample.key}: {sample.problem or 'more than one image'}")
                elif found and found[-1][0] == sample.identity:
                    found[-1][1] += 1
                    found[-1][3] = sample.end - found[-1][2]
                else:
                    found.append([sample.identity, 1, sample.start, sample.end - sample.start])
        except TarError as error:
            problems.append(str(error))
        return [Run(*run) for run in found], problems

    def _sample(self, view: memoryview, key: str, members: list[Member], seen: set[str]) -> Sample:
        kinds = {extension(member): member for member in reversed(members)}
        if self.label_from == "auto" and not kinds.keys().isdisjoint(EXTENSIONS):
            self.label_from = next((where for where in ("cls", "json") if where in kinds), "key")
        pictures = [member for member in members if extension(member) in EXTENSIONS]
        image = pictures[0] if pictures else None
        identity = self._identity(view, key, kinds)
        problem = ""
        if key in seen:
            problem = "duplicate key"
        elif image is None:
            problem = "no image"
        elif not identity:
            problem = f"no identity (looked for in {self.label_from})"
        seen.add(key)
        return Sample(
            key,
            members[0].start,
            members[-1].end,
            image,
            identity,
            problem,
            tuple(member.name for member in pictures[1:]),
        )

    def _identity(self, view: memoryview, key: str, kinds: dict[str, Member]) -> str:
        """The identity's name, '' for none. Whole numbers lose leading zeros: ``007`` and ``7`` are one."""
        where, _, wanted = self.label_from.partition(":")
        if where == "key":
            folder = key.rpartition("/")[0]
            return folder or key[: max(key.rfind("_"), key.rfind("-"), 0)]
        member = kinds.get(where)
        if member is None:
            return ""
        text = bytes(view[member.data : member.data + member.size]).decode("utf-8", "replace").strip()
        if where == "json":
            text = _json_field(text, (wanted,) if wanted else JSON_FIELDS)
        if text.isdecimal() and len(text) <= 18:
            return str(int(text))
        try:
            text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # JSON can say characters that no file can hold
            return ""
        return text


def extension(member: Member) -> str:
    """Everything behind the first dot of the file name, as WebDataset has it, in lower case."""
    return member.name.rpartition("/")[2].partition(".")[2].lower()


def _json_field(text: str, names: tuple[str, ...]) -> str:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    found = [fields[name] for name in names if name in fields] if isinstance(fields, dict) else []
    if not found or not isinstance(found[0], (str, int, float)):
        return ""
    value = found[0]
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)
