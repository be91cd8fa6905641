"""Sizes as people write them."""

from __future__ import annotations

import click
import pytest

from wds_face.cli.units import Bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1000", 1000), ("64MB", 64 * 10**6), ("64 mb", 64 * 10**6), ("1.5GiB", 3 << 29), ("8k", 8000), ("2Ki", 2048)],
)
def test_sizes(text: str, expected: int) -> None:
    assert Bytes().convert(text, None, None) == expected


@pytest.mark.parametrize("text", ["", "MB", "-1", "1TB", "0", "1.2.3", "64 potatoes"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write it like"):
        Bytes().convert(text, None, None)
