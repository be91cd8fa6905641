"""Records are packed and taken apart as MXNet's image records."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recordio.support import floats, ids, payloads, plain, slow
from wds_face.errors import RecordError
from wds_face.recordio import Header, pack, unpack


@pytest.mark.parametrize("label", [3, 3.0, True, np.float32(3), np.float64(3), np.int64(3), np.uint8(3)])
def test_number_as_label(label: Any) -> None:
    value = float(label)
    assert pack((7, label, 5, 6), b"jpg") == struct.pack("<IfQQ", 0, value, 5, 6) + b"jpg"


@pytest.mark.parametrize(
    "label",
    [[3, 1, 2, 4], (3.0, 1.0, 2, 4), np.array([3, 1, 2, 4]), np.array([[3, 1], [2, 4]], ">f8", order="F")],
)
def test_array_as_label(label: Any) -> None:
    assert pack((0, label, 5, 6), b"jpg") == struct.pack("<IfQQ4f", 4, 0, 5, 6, 3, 1, 2, 4) + b"jpg"


def test_array_of_one_is_not_a_number() -> None:
    assert pack((0, [3], 5, 6), b"") == struct.pack("<IfQQf", 1, 0, 5, 6, 3)
    assert pack((0, [], 5, 6), b"") == struct.pack("<IfQQ", 0, 0, 5, 6)


def test_labels_are_float32() -> None:
    header, _ = unpack(pack((0, 17091657, 1, 0), b""))
    assert header.label == 17091656
    header, _ = unpack(pack((0, [17091657, 2**24 + 1], 1, 0), b""))
    assert header.label.tolist() == [17091656, 2**24]


@slow
@given(floats, ids, ids, payloads)
def test_unpack_undoes_pack_of_a_number(label: float, key: int, key2: int, payload: bytes) -> None:
    header, image = unpack(pack((9, label, key, key2), payload))
    assert header == Header(0, label, key, key2)
    assert image == payload


@slow
@given(st.lists(floats, min_size=1, max_size=9), ids, ids, payloads)
def test_unpack_undoes_pack_of_an_array(label: list[float], key: int, key2: int, payload: bytes) -> None:
    header, image = unpack(pack((9, label, key, key2), payload))
    assert header.label.dtype == np.float32
    assert plain(header) == (len(label), label, key, key2)
    assert image == payload


def test_unpack_copies_nothing() -> None:
    record = bytearray(pack((0, [1, 2], 3, 4), b"jpg"))
    header, image = unpack(record)
    record[-3:] = b"png"
    record[24:28] = struct.pack("<f", 5)
    assert bytes(image) == b"png"
    assert header.label.tolist() == [5, 2]


@pytest.mark.parametrize("length", range(24))
def test_shorter_than_a_header(length: int) -> None:
    with pytest.raises(RecordError, match=rf"record of {length} bytes"):
        unpack(bytes(length))


@pytest.mark.parametrize("flag", [3, 4, 237, 2**30, 2**32 - 1])
def test_shorter_than_its_labels(flag: int) -> None:
    record = struct.pack("<IfQQ", flag, 0, 0, 0) + bytes(11)
    with pytest.raises(RecordError, match=rf"record of 35 bytes announces {flag} labels"):
        unpack(record)


def test_as_long_as_its_labels() -> None:
    header, image = unpack(struct.pack("<IfQQfff", 3, 0, 0, 0, 1, 2, 3))
    assert header.label.tolist() == [1, 2, 3]
    assert image == b""
