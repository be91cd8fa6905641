"""Read labels from the fields of a ``.json`` member without rounding numbers."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any


def _parse_number(text: str) -> str:
    """Keep a number as written, but drop ``.0``: some writers turn all numbers into floats."""
    whole, _, fraction = text.partition(".")
    return text if fraction.strip("0") else whole


def _parse_constant(text: str) -> None:
    """Treat NaN as a missing value."""


@lru_cache(maxsize=1)  # several rules may ask for fields of the same sample
def parse_fields(data: bytes) -> dict[str, Any] | str:
    """Return the fields of a ``.json`` member, or a description of what is wrong with it."""
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
