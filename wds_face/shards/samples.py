"""Read the samples of a shard, from wds_face or any other tool: key, image and identity of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from wds_face.errors import TarError
from wds_face.images import EXTENSIONS
from wds_face.shards.labels import Label, LabelRule, Members, recorded_rule, whole_number
from wds_face.shards.tar import Member, walk

# wds_face writes keys as LABEL/IMAGE. The label has at least this many digits, the number of the image at least 6.
_LABEL_DIGITS = 7


class Sample(NamedTuple):
    """A run of members with the same key, WebDataset's unit.

    Attributes:
        key: WebDataset's key.
        start: First byte of the sample in the shard.
        end: The byte after its last one.
        image: The member that holds the image.
        identity: Identity of the image; empty if there is none, or no rule to read it.
        problem: Short reason why the sample cannot be used; empty if it can.
        spare: Names of further images of the sample; only the first image is used.
        label: Result of the label rule, None without a rule or an image.
    """

    key: str
    start: int
    end: int
    image: Member | None
    identity: str
    problem: str
    spare: tuple[str, ...] = ()
    label: Label | None = None

    @property
    def extension(self) -> str:
        """The last part of the image's extension, without a dot, in lower case."""
        return extension(self.image).rpartition(".")[2] if self.image else ""

    @property
    def own_label(self) -> int | None:
        """The label in a key as wds_face writes it for the first image of an identity; None for any other key."""
        if not self.key.endswith("/000000"):  # most have another number
            return None
        label = self.key.removesuffix("/000000")
        return whole_number(label) if len(label) >= _LABEL_DIGITS else None


class Run(NamedTuple):
    """Consecutive samples of one identity: how many, and the bytes of the shard that they take."""

    identity: str
    images: int
    offset: int
    nbytes: int

    @property
    def label(self) -> int:
        """The identity as a number, -1 if it is not one."""
        number = whole_number(self.identity)
        return -1 if number is None else number


class SampleReader:
    """Cuts shards into samples.

    Args:
        label_from: Label rule, or its name as recorded in ``index.json``; None reads no labels.
        image_from: Extension of the image, such as ``image.jpg``; empty for any of
            :data:`~wds_face.images.EXTENSIONS`.
        dots_in_keys: Whether the key ends at the last dot of the file name, not at the first as in WebDataset.
        watch: Called with key, members and sample for every sample with an image and a new key, if there is a rule.

    Raises:
        WdsFaceError: *label_from* is not a label rule.
    """

    def __init__(
        self,
        label_from: str | LabelRule | None = None,
        *,
        image_from: str = "",
        dots_in_keys: bool = False,
        watch: Callable[[str, Members, Sample], None] | None = None,
    ) -> None:
        self.rule = recorded_rule(label_from) if isinstance(label_from, str) else label_from
        self.image_from = image_from
        self.dots_in_keys = dots_in_keys
        self.watch = watch

    def read(self, view: memoryview) -> Iterator[Sample]:
        """Yield the samples of a shard in order; one whose key came before has a ``problem``.

        Raises:
            TarError: The shard is damaged. Everything before the damage is yielded first.
        """
        seen: set[str] = set()
        for key, members in self.members(view):
            yield self._sample(view, key, members, key in seen)
            seen.add(key)

    def members(self, view: memoryview) -> Iterator[tuple[str, list[Member]]]:
        """Yield the key and the members of every sample in order.

        Raises:
            TarError: The shard is damaged. Everything before the damage is yielded first.
        """
        key = ""
        members: list[Member] = []
        damage: TarError | None = None
        try:
            for member in walk(view):
                found = self._key(member)
                if found != key or any(member.name == other.name for other in members):
                    if members:
                        yield key, members
                    key = found
                    members = []
                members.append(member)
        except TarError as error:
            damage = error
        if members:
            yield key, members
        if damage:
            raise damage

    def runs(self, view: memoryview) -> tuple[list[Run], list[str]]:
        """Return the identity runs of a shard, and descriptions of its problems."""
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

    def extension(self, member: Member) -> str:
        """Return what follows the key in a member's file name, without a dot, in lower case."""
        return extension(member, last_dot=self.dots_in_keys)

    def _key(self, member: Member) -> str:
        folder, slash, file = member.name.rpartition("/")
        stem = file.rpartition(".")[0] if self.dots_in_keys else ""
        return folder + slash + (stem or file.partition(".")[0])

    def _is_image(self, kind: str) -> bool:
        return kind == self.image_from if self.image_from else kind in EXTENSIONS

    def _sample(self, view: memoryview, key: str, members: list[Member], duplicate: bool) -> Sample:
        kinds = [(self.extension(member), member) for member in members]
        images = [member for kind, member in kinds if self._is_image(kind)]
        label = None
        contents: dict[str, memoryview] = {}
        if images and self.rule is not None:
            for kind, member in kinds:
                contents.setdefault(kind, view[member.data : member.data + member.size])
            label = self.rule.read(key, contents)
        problem = ""
        if duplicate:
            problem = "duplicate key"
        elif not images:
            problem = _no_image(members)
        elif label is not None:
            problem = label.problem
        sample = Sample(
            key,
            members[0].start,
            members[-1].end,
            images[0] if images else None,
            label.text if label else "",
            problem,
            tuple(member.name for member in images[1:]),
            label,
        )
        if self.watch and label is not None and not duplicate:
            self.watch(key, contents, sample)
        return sample


def extension(member: Member, *, last_dot: bool = False) -> str:
    """Return everything after the first dot of the file name, as in WebDataset, in lower case.

    Args:
        member: A file in a tar.
        last_dot: Return only the part after the last dot.
    """
    file = member.name.rpartition("/")[2]
    kind = file.rpartition(".")[2] if last_dot and "." in file else file.partition(".")[2]
    return kind.lower()


def _no_image(members: list[Member]) -> str:
    """Return the reason; if dots in a name hide an image, add the name and the options that help."""
    for member in members:
        if extension(member, last_dot=True) in EXTENSIONS:
            name = member.name.rpartition("/")[2]
            return f"no image (dots in the name {name}: see --image-from and --dots-in-keys)"
    return "no image"
