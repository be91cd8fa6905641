"""Fields of a ``.json`` member that may be labels, with every digit of their numbers."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any


def _parse_number(text: str) -> str:
    """Keep a number as it is written, but whole ones without ``.0``: some writers make floats of all numbers."""
    whole, _, fraction = text.partition(".")
    return text if fraction.strip("0") else whole


def _parse_constant(text: str) -> None:
    """Take NaN, which stands for a missing value, as none."""


@lru_cache(maxsize=1)  # several rules may ask for fields of the same sample
def parse_fields(data: bytes) -> dict[str, Any] | str:
    """Return the fields of a ``.json`` member, or what is wrong with it."""
    try:
        fields = json.loads(data, parse_int=_parse_number, parse_float=_parse_number, parse_constant=_parse_constant)
    except (ValueError, RecursionError):
        return "its .json is not JSON"
    return fields if isinstance(fields, dict) else "its .json has no fields"


def field_at(fields: dict[str, Any], path: str) -> object:
    """Return the value of a dotted path; None if there is none."""
    if path in fields:
        return fields[path]
    name, dot, rest = path.partition(".")
    inner = fields.get(name)
    if not dot or not isinstance(inner, dict):
        return None
    return field_at(inner, rest)
