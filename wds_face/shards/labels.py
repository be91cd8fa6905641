"""Label rules: find the identity of a sample in a shard.

A source has one rule, written as in ``--label-from``:

==================  =====================================================================================
``cls``             The content of the ``.cls`` member; likewise ``txt``, ``class``, ``person.txt``, …
``json:a.b``        A field of the ``.json`` member, or a field within a field.
``key``             The folder of the key; if no key has a folder, the part before its last _ or -.
``key:REGEX``       The first group of a regular expression that is searched for in the key, or a named group.
``WHERE:number``    As above, as a whole number: ``007``, ``+7`` and ``7.0`` are all 7.
``WHERE:text``      As above, as it is spelled: ``007`` and ``7`` are two identities.
``MEMBER:int``      A binary little-endian signed integer of 1, 2, 4 or 8 bytes.
``MEMBER:hex``      Any bytes, in hexadecimal.
==================  =====================================================================================

Different bytes are different identities. Only white space around a text is dropped; bytes that are not UTF-8 are kept
by Python's ``surrogateescape``.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from wds_face.errors import WdsFaceError
from wds_face.images import EXTENSIONS
from wds_face.shards.label_json import field_at, parse_fields
from wds_face.shards.label_pattern import compile_pattern, label_group

#: JSON fields that conventionally hold an identity. ``id`` is left out because it usually numbers the samples.
JSON_FIELDS = ("label", "identity", "class")

#: Maximum length of a label in bytes; a longer member is not a label.
MAX_LABEL = 1 << 16

#: Maximum size of a ``.json`` member in bytes; a larger one is not parsed.
MAX_JSON = 1 << 24

#: Maximum length of a key in characters for a regular expression; this limits the time of a search.
MAX_KEY = 200

#: Processor time in seconds that one search may take before the expression is refused.
_SLOW = 1.0

#: Rule that ``key`` stands for if no key has a folder.
PREFIX = "key:(.+)[_-]"

_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BLANK = b" \t\r\n"
_EXTENSION = re.compile(r"[\w+-]+(\.[\w+-]+)*")
_WHOLE = re.compile(r"([+-]?)(\d{1,4000})(\.0*)?")
_DIGITS = re.compile(r"[0-9]{1,18}")

Form = Literal["", "text", "number", "int", "hex"]

#: The content of a sample's members by their extension.
Members = Mapping[str, memoryview]


class Label(NamedTuple):
    """Result of a label rule for one sample.

    Attributes:
        text: The identity; empty if there is none.
        problem: Short reason why there is none; empty if there is one.
        kind: Kind of problem. ``"missing"``: the place that the rule names is empty. ``"binary"``: bytes that are not
            text. ``"bad"``: anything else that cannot be an identity.
    """

    text: str
    problem: str = ""
    kind: Literal["", "missing", "binary", "bad"] = ""


class LabelRule(ABC):
    """Finds the identity of a sample."""

    @property
    @abstractmethod
    def spec(self) -> str:
        """The rule as it is written in ``--label-from`` and recorded in ``index.json``."""

    @abstractmethod
    def read(self, key: str, members: Members) -> Label:
        """Return the identity of the sample with this key and these members."""

    @cached_property
    def nothing(self) -> Label:
        """Result of :meth:`read` for a sample without a label."""
        return Label("", f"no identity (looked for in {self.spec})", "missing")


@dataclass(frozen=True)
class MemberRule(LabelRule):
    """The content of the member with this extension."""

    extension: str
    form: Form = ""

    @property
    def spec(self) -> str:
        """See :class:`LabelRule`."""
        return _with_form(self.extension, self.form)

    def read(self, key: str, members: Members) -> Label:
        """See :class:`LabelRule`."""
        view = members.get(self.extension)
        if view is None or not len(view):
            return self.nothing
        if len(view) > MAX_LABEL:
            return Label("", f"its .{self.extension} has {len(view)} bytes, too many for a label", "bad")
        data = bytes(view)
        if self.form == "hex":
            return Label(data.hex())
        if self.form == "int":
            if len(data) not in (1, 2, 4, 8):
                return Label("", f"its .{self.extension} has {len(data)} bytes; an integer has 1, 2, 4 or 8", "bad")
            return Label(str(int.from_bytes(data, "little", signed=True)))
        if _CONTROL.search(data):
            return Label("", f"its .{self.extension} is not text ({_shown_bytes(data)})", "binary")
        text = data.strip(_BLANK).decode("utf-8", "surrogateescape")
        if not text:
            return self.nothing
        return _as_form(text, self.form)


@dataclass(frozen=True)
class JsonRule(LabelRule):
    """A field of the ``.json`` member; ``a.b`` is the field ``b`` of the field ``a``, unless a field has that name."""

    path: str
    form: Form = ""

    @property
    def spec(self) -> str:
        """See :class:`LabelRule`."""
        return _with_form(f"json:{self.path}", self.form)

    def read(self, key: str, members: Members) -> Label:
        """See :class:`LabelRule`."""
        view = members.get("json")
        if view is None:
            return self.nothing
        if len(view) > MAX_JSON:
            return Label("", f"its .json has {len(view)} bytes, more than {MAX_JSON}", "bad")
        fields = parse_fields(bytes(view))
        if isinstance(fields, str):
            return Label("", fields, "bad")
        return self._found(field_at(fields, self.path))

    def _found(self, value: object) -> Label:
        if value is None or value == "":
            return self.nothing
        if not isinstance(value, str):
            return Label("", f"{self.spec} is neither text nor a number", "bad")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:  # JSON can name characters that no file can hold
            return Label("", f"{self.spec} is not valid Unicode", "bad")
        text = value.strip(" \t\r\n")
        if not text:
            return self.nothing
        return _as_form(text, self.form)


@dataclass(frozen=True)
class FolderRule(LabelRule):
    """The folder of the key."""

    form: Form = ""

    @property
    def spec(self) -> str:
        """See :class:`LabelRule`."""
        return _with_form("key", self.form)

    def read(self, key: str, members: Members) -> Label:
        """See :class:`LabelRule`."""
        folder = plain_key(key).rpartition("/")[0]
        return _as_form(folder, self.form) if folder else self.nothing


@dataclass(frozen=True)
class PatternRule(LabelRule):
    """What a group of a regular expression matches in the key.

    Raises:
        WdsFaceError: The expression is invalid, has no group, or could take forever.
    """

    pattern: str
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _group: int | str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        compiled = compile_pattern(self.pattern)
        object.__setattr__(self, "_compiled", compiled)
        object.__setattr__(self, "_group", label_group(compiled))

    @property
    def spec(self) -> str:
        """See :class:`LabelRule`."""
        return f"key:{self.pattern}"

    def read(self, key: str, members: Members) -> Label:
        """See :class:`LabelRule`."""
        key = plain_key(key)
        if len(key) > MAX_KEY:
            return Label("", f"its key has {len(key)} characters, more than {MAX_KEY}", "bad")
        begin = time.thread_time()
        match = self._compiled.search(key)
        if time.thread_time() - begin > _SLOW:
            raise WdsFaceError(
                f"--label-from {self.spec} takes seconds on the key {key!r}: write it with fewer * and +"
            )
        text = match[self._group] if match else None
        return Label(text) if text else self.nothing


@dataclass(frozen=True)
class _FirstOf(LabelRule):
    """The first of several rules that finds a label; older versions recorded it as ``json`` or ``key``."""

    recorded: str
    rules: tuple[LabelRule, ...]

    @property
    def spec(self) -> str:
        """See :class:`LabelRule`."""
        return self.recorded

    def read(self, key: str, members: Members) -> Label:
        """See :class:`LabelRule`."""
        for rule in self.rules:
            label = rule.read(key, members)
            if label.kind != "missing":
                return label
        return self.nothing


def candidates(label_from: str, extensions: Iterable[str] = ()) -> tuple[LabelRule, ...]:
    """Return the rules that ``--label-from`` may stand for, in order of preference.

    Args:
        label_from: ``auto``, or a rule as listed at the top of this module. ``auto``, ``json`` and ``key`` stand for
            several rules.
        extensions: Extensions of members in the source; ``auto`` also tries those that end in ``.cls``.

    Raises:
        WdsFaceError: *label_from* is not a rule.
    """
    where, form = _split_form(label_from)
    if label_from == "auto":
        two_part = sorted(extension for extension in extensions if extension.endswith(".cls"))
        classes = tuple(MemberRule(extension) for extension in ("cls", *two_part))
        return classes + candidates("json") + candidates("key")
    if where == "json":
        return tuple(JsonRule(name, form) for name in JSON_FIELDS)
    if where == "key":
        return (FolderRule(form),) if form else (FolderRule(), PatternRule(PREFIX.removeprefix("key:")))
    if where.startswith("json:") and len(where) > len("json:"):
        return (JsonRule(where.removeprefix("json:"), form),)
    if where.startswith("key:") and len(where) > len("key:"):
        return (PatternRule(label_from.removeprefix("key:")),)
    if where.lower() in EXTENSIONS:
        raise WdsFaceError(f"label-from is {label_from!r}: .{where} is the image")
    if where == "auto" or not _EXTENSION.fullmatch(where):
        raise WdsFaceError(
            f"label-from is {label_from!r}: it must be auto, cls, json:FIELD, key, key:REGEX, or the extension of "
            "another member, such as txt; :text, :number, :int or :hex may follow"
        )
    return (MemberRule(where.lower(), form),)


def recorded_rule(spec: str) -> LabelRule:
    """Return the rule recorded in an ``index.json``, including those of older versions.

    Older versions recorded ``json`` for the first known field of a sample, ``id`` among them, and ``key`` for the
    folder or, without one, the part before the last _ or -.

    Raises:
        WdsFaceError: *spec* is not a rule.
    """
    rules = candidates(spec)
    if spec == "json":
        rules += (JsonRule("id"),)
    return rules[0] if len(rules) == 1 else _FirstOf(spec, rules)


def plain_key(key: str) -> str:
    """Return a key without the ``./`` that ``tar cf x.tar .`` puts before it."""
    while key.startswith("./"):
        key = key[2:].lstrip("/")
    return key


def whole_number(text: str) -> int | None:
    """Return the number that up to 18 ASCII digits spell; None for any other text."""
    return int(text) if _DIGITS.fullmatch(text) else None


def same_number(labels: Iterable[str]) -> tuple[str, str] | None:
    """Return two labels that spell the same whole number, such as ``007`` and ``7``; None if no two do."""
    spelled: dict[int, str] = {}
    for label in labels:
        number = _value(label)
        if number is not None and spelled.setdefault(number, label) != label:
            return spelled[number], label
    return None


def _split_form(label_from: str) -> tuple[str, Form]:
    """Split ``WHERE:FORM``. A regular expression after ``key:`` is not a form."""
    where, colon, form = label_from.rpartition(":")
    member = bool(_EXTENSION.fullmatch(where)) and where not in ("key", "json", "auto")
    if colon and form in ("text", "number") and (member or where == "key" or where.startswith("json:")):
        return where, "text" if form == "text" else "number"
    if colon and form in ("int", "hex") and member:
        return where, "int" if form == "int" else "hex"
    return label_from, ""


def _with_form(where: str, form: Form) -> str:
    return f"{where}:{form}" if form else where


def _as_form(text: str, form: Form) -> Label:
    if form != "number":
        return Label(text)
    number = _value(text)
    if number is None:
        return Label("", f"{text[:40]!r} is not a whole number", "bad")
    return Label(str(number))


def _value(text: str) -> int | None:
    """Return the whole number that a text spells, with a sign, leading zeros, ``.0`` or digits of any script."""
    match = _WHOLE.fullmatch(text)
    return int(match[1] + match[2]) if match else None


def _shown_bytes(data: bytes) -> str:
    head = data[:8].hex(" ")
    return f"{len(data)} bytes: {head}" + (" …" if len(data) > 8 else "")
