"""``classes.tsv``: the original name of every label, one line each."""

from __future__ import annotations

import re
from collections.abc import Iterable

from wds_face.errors import DatasetError

_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_SPECIAL = re.compile(r"[\\\t\n\r]")
_NAMES = {escaped: char for char, escaped in _ESCAPES.items()}


def escape(text: str) -> str:
    """Text that may hold anything, as one field of a tab-separated line."""
    return _SPECIAL.sub(lambda match: _ESCAPES[match[0]], text) if _SPECIAL.search(text) else text


def unescape(field: str) -> str:
    """The text that :func:`escape` made a field of."""
    return re.sub(r"\\[\\tnr]", lambda match: _NAMES[match[0]], field)


def table(lines: Iterable[Iterable[str]]) -> bytes:
    """Tab-separated lines. Names that are not UTF-8 (as file names may be) keep their bytes."""
    joined = ("\t".join(map(escape, row)) + "\n" for row in lines)
    return "".join(joined).encode("utf-8", "surrogateescape")


def fields(data: bytes) -> list[list[str]]:
    """The fields of every line that :func:`table` wrote."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")[:-1]
    return [[unescape(field) for field in line.split("\t")] for line in lines]


def write_classes(names: list[str]) -> bytes:
    """The file's bytes for the names of labels 0..n-1."""
    return table([(str(label), name) for label, name in enumerate(names)])


def read_classes(data: bytes) -> list[str]:
    """Names of labels 0..n-1.

    Raises:
        DatasetError: the lines are not labels in order, each with a name.
    """
    names: list[str] = []
    for row in fields(data):
        if len(row) != 2 or row[0] != str(len(names)):
            raise DatasetError(f"classes.tsv line {len(names) + 1}: expected label {len(names)}, a tab and a name")
        names.append(row[1])
    return names
