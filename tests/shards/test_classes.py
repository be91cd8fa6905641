"""Names of identities survive the table, whatever is in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wds_face.errors import DatasetError
from wds_face.shards.classes import fields, read_classes, table, write_classes


@given(st.lists(st.text()))
def test_round_trip(names: list[str]) -> None:
    encodable = [name.encode("utf-8", "replace").decode() for name in names]
    assert read_classes(write_classes(encodable)) == encodable


def test_names_that_are_not_utf8_keep_their_bytes() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert write_classes([name]) == b"0\tcaf\xe9\n"
    assert read_classes(b"0\tcaf\xe9\n") == [name]


def test_lines_are_what_people_expect() -> None:
    assert write_classes(["Ann A", "b\tc"]) == b"0\tAnn A\n1\tb\\tc\n"
    assert fields(table([("a", "b\n"), ("\\", "")])) == [["a", "b\n"], ["\\", ""]]


@pytest.mark.parametrize("data", [b"1\ta\n", b"0\ta\n2\tb\n", b"0 a\n", b"0\ta\tb\n"])
def test_damage_is_named_by_line(data: bytes) -> None:
    with pytest.raises(DatasetError, match=r"line \d"):
        read_classes(data)
