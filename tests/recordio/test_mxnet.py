"""Real mxnet 1.9.1 and wds_face write the same bytes and read the same records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.recordio.support import (
    DATA,
    MAGIC_BYTES,
    Mxnet,
    Record,
    ids,
    labels,
    numbered,
    on_disk,
    payloads,
    plain,
    records,
    slow,
    write,
)
from wds_face.errors import RecordError
from wds_face.recordio import RecordReader, pack, unpack

#: The magic number at each alignment, alone, twice, at the start, at the end.
PLANTED = [
    b"x" * before + MAGIC_BYTES * times + b"y" * after
    for before in range(9)
    for times in (1, 2, 3)
    for after in (0, 1, 4, 7)
]
KEYS = st.one_of(st.integers(0, 8), st.integers(0, 2**62))


def check_reading(mxnet: Mxnet, rec: Path) -> None:
    """Both read a file alike: by key, in order, and taken apart."""
    theirs = mxnet.read(rec)
    with RecordReader(rec) as reader:
        ours = [(key, bytes(reader.read(key))) for key in reader.keys.tolist()]
        assert ours == theirs
        scanned = list(reader.scan())
        assert [bytes(record) for _, record in scanned] == mxnet.scan(rec)
        assert [offset for offset, _ in scanned] == reader.offsets.tolist()
        for row in reader.headers(reader.offsets):
            record = bytes(reader.at(int(row["offset"])))
            try:
                header, payload = mxnet.unpack(record)
            except RuntimeError:  # too short for a header
                assert not row["ok"]
                with pytest.raises(RecordError):
                    unpack(record)
                continue
            if not row["ok"]:  # mxnet takes the labels that are there
                assert len(record) < 24 + 4 * header[0]
                continue
            our_header, our_payload = unpack(record)
            label = header[1][0] if isinstance(header[1], list) else header[1]
            assert our_payload == payload
            np.testing.assert_equal(plain(our_header), header)  # where NaN equals itself
            np.testing.assert_equal((row["nbytes"], row["flag"], row["label"]), (len(payload), header[0], label))


def check_writing(mxnet: Mxnet, folder: Path, items: list[Record]) -> None:
    """Both write the same bytes, and both read what the other wrote."""
    ours, theirs = write(folder / "our.rec", items), mxnet.write(folder / "their.rec", items)
    assert ours.read_bytes() == theirs.read_bytes()
    assert ours.with_suffix(".idx").read_bytes() == theirs.with_suffix(".idx").read_bytes()
    check_reading(mxnet, theirs)
    check_reading(mxnet, ours)


@pytest.mark.parametrize("name", ["multi", "insight"])
def test_golden_files(mxnet: Mxnet, name: str) -> None:
    check_reading(mxnet, DATA / f"{name}.rec")


def test_planted_magic(mxnet: Mxnet, tmp_path: Path) -> None:
    check_writing(mxnet, tmp_path, numbered(PLANTED))
    assert {(part[7] >> 5) for part in map(on_disk, PLANTED)} == {0, 1}  # whole records and such of several parts


def test_planted_magic_in_images(mxnet: Mxnet, tmp_path: Path) -> None:
    check_writing(mxnet, tmp_path, numbered(pack((0, 1, 2, 3), payload) for payload in PLANTED))


def test_planted_magic_in_headers(mxnet: Mxnet, tmp_path: Path) -> None:
    magic = int.from_bytes(MAGIC_BYTES, "little")
    value = float(np.frombuffer(MAGIC_BYTES, "<f4")[0])
    headers: list[tuple[int, Any, int, int]] = [
        (0, value, 0, 0),
        (0, 0, magic, 0),
        (0, 0, magic << 32, magic),
        (0, 0, magic << 16, magic << 32 | magic),
        (0, value, magic << 32 | magic, magic << 32 | magic),
        (0, [value], 0, 0),
        (0, [1, value, value, 2], magic, 0),
        (0, [value] * 5, magic << 32 | magic, magic << 32 | magic),
    ]
    items = [pack(header, payload) for header in headers for payload in (b"", b"jpeg", MAGIC_BYTES, b"x" + MAGIC_BYTES)]
    assert [mxnet.pack(header, b"") for header in headers] == [pack(header, b"") for header in headers]
    check_writing(mxnet, tmp_path, numbered(items))


@pytest.mark.parametrize("length", range(0, 40, 1))
def test_every_short_length(mxnet: Mxnet, tmp_path: Path, length: int) -> None:
    check_writing(mxnet, tmp_path, [(0, bytes(length)), (1, b"\xff" * length), (2, b"behind")])


@slow
@given(st.lists(records, max_size=6))
def test_any_records(mxnet: Mxnet, scratch: Path, items: list[bytes]) -> None:
    check_writing(mxnet, scratch, numbered(items))


@slow
@given(st.lists(st.tuples(KEYS, payloads), max_size=8))
@example([(5, b"first"), (3, b"other"), (5, b"last"), (2**62, b"far")])
@example([(5, b"first"), (3, b"other"), (5, b"last")])
@example([(1 << 40, b"first"), (0, b"other"), (1 << 40, b"last")])
def test_any_keys(mxnet: Mxnet, scratch: Path, items: list[Record]) -> None:
    check_writing(mxnet, scratch, items)


@slow
@given(labels, ids, ids, payloads)
def test_pack(mxnet: Mxnet, label: Any, key: int, key2: int, payload: bytes) -> None:
    assert pack((3, label, key, key2), payload) == mxnet.pack((3, label, key, key2), payload)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8", "bool", "float16"])
@pytest.mark.parametrize("label", [1, 0, [1, 0], [[1, 2], [3, 4]], [7], []])
def test_pack_of_numpy_labels(mxnet: Mxnet, label: Any, dtype: str) -> None:
    ours = pack((0, np.asarray(label, dtype)[()], 2, 3), b"jpg")
    assert ours == mxnet.pack((0, label, 2, 3), b"jpg", dtype)


def test_real_records(mxnet: Mxnet, lfw_rec: Path, tmp_path: Path) -> None:
    rec = lfw_rec / "train.rec"
    theirs = mxnet.read(rec)
    with RecordReader(rec) as reader:
        assert len(reader) == len(theirs) == 2032
        assert [(key, bytes(reader.read(key))) for key in reader.keys.tolist()] == theirs
        assert [bytes(record) for _, record in reader.scan()] == mxnet.scan(rec)
        table = reader.headers(reader.offsets)
        assert table["ok"].all()
        assert (table["flag"] == 2).all()
        assert np.count_nonzero(table["nbytes"]) == 1631
        # images stand under the keys 1..1631 with two labels: identity, 1.0
        images = table[(reader.keys >= 1) & (reader.keys <= 1631)]
        assert images["nbytes"].all()
        assert set(images["label"].tolist()) == set(range(400))
        header, payload = unpack(reader.read(0))
        assert plain(header)[1] == [1632, 2032]
        assert payload == b""
    ours = write(tmp_path / "train.rec", theirs)
    assert ours.read_bytes() == rec.read_bytes()
    assert ours.with_suffix(".idx").read_bytes() == rec.with_suffix(".idx").read_bytes()
