"""Sizes as people write them."""

from __future__ import annotations

import re
from typing import Any

import click

from wds_face.conversion.skip_policy import parse_max_skipped
from wds_face.errors import WdsFaceError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 1 << 10, "MI": 1 << 20, "GI": 1 << 30}


class Bytes(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4
    """A number of bytes: ``1000000``, ``64MB``, ``1.5GiB``."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes."""
        match = re.fullmatch(r"(\d{1,15}(?:\.\d+)?)\s*([KMG]I?)?B?", str(value).strip().upper())
        if not match or (number := int(float(match[1]) * _UNITS[match[2] or ""])) < 1:
            self.fail(f"{value!r} is not a size; write it like 64MB or 1GiB.", param, ctx)
        return number


class MaxSkipped(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4
    """A share of the images (``1%``, ``0.01``) or a number of them (``20``)."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        """Return an int for a number of images, a float for a share of them."""
        try:
            return parse_max_skipped(value)
        except WdsFaceError:
            self.fail(f"{value!r}: write it as a share like 1% or 0.01, or as a number of images.", param, ctx)
