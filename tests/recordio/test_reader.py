"""Records are read by key, by position and in order; what is broken is named, never guessed."""

from __future__ import annotations

import pickle
import re
import struct
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.recordio.support import (
    DATA,
    MAGIC_BYTES,
    Record,
    numbered,
    on_disk,
    part,
    payloads,
    plain,
    records,
    slow,
    starts,
    write,
)
from wds_face.errors import RecordError
from wds_face.recordio import HEADERS, RecordReader, pack, read_idx, unpack

M = MAGIC_BYTES
Plain = tuple[int, float | list[float], int, int]

MULTI: dict[int, tuple[Plain, bytes]] = {
    0: ((0, 0.0, 0, 0), b"AAAAAAAA" + M + b"BBBBB"),
    1: ((0, 1.0, 1, 0), M + b"xyz"),
    2: ((0, 2.0, 2, 0), b"QQQQQQQ"),
    3: ((0, 3.0, 3, 0), M + M),
    4: ((0, 4.0, 4, 0), b"ab" + M + b"cd"),
    5: ((0, 5.0, 5, 0), b""),
    99: ((2, [3.0, 1.0], 99, 0), b"JPG"),
    100: ((2, [17091656.0, 17451888.0], 0, 0), b""),
}
INSIGHT: dict[int, tuple[Plain, bytes]] = {
    1: ((0, 0.0, 1, 0), b"\xff\xd8\x00\x00\xff\xd9"),
    2: ((0, 0.0, 2, 0), b"\xff\xd8\x00\x01\xff\xd9"),
    3: ((0, 0.0, 3, 0), b"\xff\xd8\x00\x02\xff\xd9"),
    4: ((0, 1.0, 4, 0), b"\xff\xd8\x01\x00\xff\xd9"),
    5: ((0, 2.0, 5, 0), b"\xff\xd8\x02\x00\xff\xd9"),
    6: ((0, 2.0, 6, 0), b"\xff\xd8\x02\x01\xff\xd9"),
    7: ((2, [1.0, 4.0], 7, 0), b""),
    8: ((2, [4.0, 5.0], 8, 0), b""),
    9: ((2, [5.0, 7.0], 9, 0), b""),
    0: ((2, [7.0, 10.0], 0, 1), b""),  # the header, written last
}
GOLDEN = pytest.mark.parametrize(("name", "expected"), [("multi", MULTI), ("insight", INSIGHT)])


def taken_apart(record: bytes | memoryview) -> tuple[Plain, bytes]:
    header, payload = unpack(record)
    return plain(header), bytes(payload)


def raises(path: Path, offset: int) -> Any:
    """A RecordError that names the file and the byte."""

    def names_both(error: BaseException) -> bool:
        assert isinstance(error, RecordError)
        assert error.offset == offset
        assert str(path) in str(error)
        assert re.search(rf"byte {offset}\b", str(error))
        return True

    return pytest.raises(RecordError, check=names_both)


def is_image(record: bytes) -> bool:
    """Whether a record can be taken apart."""
    try:
        unpack(record)
    except RecordError:
        return False
    return True


def scan(reader: RecordReader) -> tuple[list[tuple[int, bytes]], RecordError | None]:
    """All that a scan yields, and the error that it ends with."""
    found = []
    try:
        for offset, record in reader.scan():
            found.append((offset, bytes(record)))
    except RecordError as error:
        return found, error
    return found, None


def rescan(reader: RecordReader) -> dict[int, bytes]:
    """All records that can be had from a damaged file."""
    found: dict[int, bytes] = {}
    start = 0
    while start < reader.nbytes:
        try:
            for offset, record in reader.scan(start):
                found[offset] = bytes(record)
            break
        except RecordError as error:
            start = reader.resync(error.offset)
    return found


# --- golden files


@GOLDEN
def test_golden_by_key(name: str, expected: dict[int, tuple[Plain, bytes]]) -> None:
    with RecordReader(DATA / f"{name}.rec") as reader:
        assert len(reader) == len(expected)
        assert reader.keys.tolist() == list(expected)
        assert {key: taken_apart(reader.read(key)) for key in expected} == expected
        assert reader.read(np.int64(5)) == reader.read(5)


@GOLDEN
def test_golden_in_order(name: str, expected: dict[int, tuple[Plain, bytes]]) -> None:
    with RecordReader(DATA / f"{name}.rec") as reader:
        found = list(reader.scan())
        assert [taken_apart(record) for _, record in found] == list(expected.values())
        assert [offset for offset, _ in found] == reader.offsets.tolist()
        later = list(reader.scan(found[3][0]))
        assert later == found[3:]


@GOLDEN
def test_golden_headers(name: str, expected: dict[int, tuple[Plain, bytes]]) -> None:
    with RecordReader(DATA / f"{name}.rec") as reader:
        table = reader.headers(reader.offsets)
    assert table.dtype == HEADERS
    assert table["ok"].all()
    assert table["offset"].tolist() == reader.offsets.tolist()
    assert table["end"].tolist() == [*reader.offsets[1:].tolist(), (DATA / f"{name}.rec").stat().st_size]
    assert table["flag"].tolist() == [header[0] for header, _ in expected.values()]
    assert table["nbytes"].tolist() == [len(payload) for _, payload in expected.values()]
    first = [header[1][0] if isinstance(header[1], list) else header[1] for header, _ in expected.values()]
    assert table["label"].tolist() == first


@GOLDEN
def test_golden_without_index(name: str, expected: dict[int, tuple[Plain, bytes]], tmp_path: Path) -> None:
    rec = tmp_path / "a.rec"
    rec.write_bytes((DATA / f"{name}.rec").read_bytes())
    with RecordReader(rec) as reader:
        assert reader.idx is None
        assert reader.keys.tolist() == list(range(len(expected)))
        assert [taken_apart(reader.read(key)) for key in range(len(expected))] == list(expected.values())


# --- keys


@slow
@given(st.lists(st.tuples(st.one_of(st.integers(0, 20), st.integers(0, 2**62)), payloads), max_size=9))
@example([(7, b"a"), (3, b"b"), (7, b"c"), (0, b"d")])
@example([(7, b"a"), (2**62, b"b"), (7, b"c"), (0, b"d")])
def test_keys(scratch: Path, items: list[Record]) -> None:
    with RecordReader(write(scratch / "keys.rec", items)) as reader:
        assert reader.keys.tolist() == [key for key, _ in items]
        assert {key: bytes(reader.read(key)) for key, _ in items} == dict(items)  # of equal keys the last wins
        taken = {key for key, _ in items}
        for key in {-1, -2, 1, 21, 2**63 - 1, 2**63, 2**70} - taken:
            with pytest.raises(KeyError) as caught:
                reader.read(key)
            assert caught.value.args == (key,)


def test_negative_keys(tmp_path: Path) -> None:
    """mxnet reads them."""
    assert RecordReader(write(tmp_path / "a.rec", [(-3, b"abc"), (0, b"def")])).read(-3) == b"abc"


def test_index_of_another_name(tmp_path: Path) -> None:
    rec = write(tmp_path / "a.rec", [(0, b"abc"), (1, b"def")])
    (tmp_path / "b.txt").write_text("7\t12\n")
    with RecordReader(str(rec), str(tmp_path / "b.txt")) as reader:
        assert reader.keys.tolist() == [7]
        assert reader.read(7) == b"def"


@pytest.mark.parametrize("text", ["4\t0\n9\t12", "4\t0\r\n9\t12\r\n"])
def test_line_ends_of_an_index(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.idx").write_bytes(text.encode())
    keys, offsets = read_idx(tmp_path / "a.idx")
    assert keys.tolist() == [4, 9]
    assert offsets.tolist() == [0, 12]
    assert keys.dtype == offsets.dtype == np.int64


def test_empty_index(tmp_path: Path) -> None:
    rec = write(tmp_path / "a.rec", [])
    with RecordReader(rec) as reader:
        assert len(reader) == 0
        with pytest.raises(KeyError):
            reader.read(0)


GARBAGE = [
    b"garbage",
    b"0\t0\n1\tgarbage\n",
    b"0\t0\n1\t12\ngarbage",
    b"0\t0\n1\n",
    b"0\t0\n1\t12\t24\n",
    b"0\t0.5\n",
    b"0.0\t0\n",
    b"0,0\n",
    b"0x0\t0\n",
    b"\xef\xbb\xbf0\t0\n",
    b"\xff\xfe0\x00\t\x000\x00",
    b"0\t0\n\x00\x00\x00\x00",
    b"\x00",
    bytes(range(256)),
    (DATA / "multi.rec").read_bytes(),
]


@pytest.mark.parametrize("text", GARBAGE, ids=lambda text: repr(text[:24]))
def test_garbage_as_index(text: bytes, tmp_path: Path) -> None:
    rec = write(tmp_path / "a.rec", [(0, b"abc")])
    (tmp_path / "a.idx").write_bytes(text)
    for use in (
        lambda: read_idx(tmp_path / "a.idx"),
        lambda: RecordReader(rec).read(0),
        lambda: RecordReader(rec).keys,
    ):
        with pytest.raises(RecordError, match=re.escape(str(tmp_path / "a.idx"))):
            use()


@pytest.mark.parametrize(
    "text",
    [
        b"0\t0\n1\n2\t24\n3\n",  # two offsets were lost: what follows would be taken for something else
        b"0\n0\n1\n12\n",
        b"0\t0\t1\t12\n",
        b"99999999999999999999\t0\n",  # beyond int64
    ],
    ids=repr,
)
def test_lines_that_are_not_key_and_offset(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.idx").write_bytes(text)
    with pytest.raises(RecordError, match=re.escape(str(tmp_path / "a.idx"))):
        read_idx(tmp_path / "a.idx")


@pytest.mark.parametrize("offset", [4, 12, 24, 26, 2**62])
def test_index_that_points_nowhere(offset: int, tmp_path: Path) -> None:
    rec = write(tmp_path / "a.rec", [(0, bytes(5)), (1, b"")])
    (tmp_path / "a.idx").write_text(f"0\t0\n1\t{offset}\n")
    with RecordReader(rec) as reader:
        assert reader.read(0) == bytes(5)
        with raises(rec, offset):
            reader.read(1)


@pytest.mark.parametrize("keys", [(0, 1), (0, 2**40)])
def test_index_with_a_negative_offset(keys: tuple[int, int], tmp_path: Path) -> None:
    """The key is there, so it is the record that is broken."""
    rec = write(tmp_path / "a.rec", [(0, bytes(5)), (1, b"")])
    (tmp_path / "a.idx").write_text(f"{keys[0]}\t0\n{keys[1]}\t-8\n")
    with RecordReader(rec) as reader, raises(rec, -8):
        reader.read(keys[1])


@pytest.mark.parametrize("name", ["missing.rec", "folder.rec"])
def test_file_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.rec").mkdir()
    with pytest.raises(RecordError, match=re.escape(str(tmp_path / name))):
        RecordReader(tmp_path / name)


def test_index_that_cannot_be_read(tmp_path: Path) -> None:
    rec = write(tmp_path / "a.rec", [(0, b"abc")])
    with pytest.raises(RecordError, match=re.escape(str(tmp_path / "b.idx"))):
        RecordReader(rec, tmp_path / "b.idx").read(0)
    with pytest.raises(RecordError, match=re.escape(str(tmp_path / "b.idx"))):
        read_idx(tmp_path / "b.idx")


# --- what is broken


def check_cut(rec: Path, items: list[bytes], cut: int) -> None:
    """A file of these records that was cut gives the records before the cut, and names the one that was hit."""
    encoded = [on_disk(item) for item in items]
    begins = [0, *accumulate(map(len, encoded))][:-1]
    # the padding behind a record may be missing
    ends = [begin + len(data) - -len(item) % 4 for begin, data, item in zip(begins, encoded, items, strict=True)]
    whole = [end <= cut for end in ends]
    rec.write_bytes(b"".join(encoded)[:cut])
    idx = rec.with_suffix(".txt")
    idx.write_text("".join(f"{key}\t{begin}\n" for key, begin in enumerate(begins)))
    with RecordReader(rec, idx) as reader:
        for key, (begin, item) in enumerate(zip(begins, items, strict=True)):
            if whole[key]:
                assert reader.read(key) == item
            else:
                with raises(rec, begin):
                    reader.read(key)
        found, error = scan(reader)
        assert found == [(begin, item) for begin, item, ok in zip(begins, items, whole, strict=True) if ok]
        hit = [begin for begin, ok in zip(begins, whole, strict=True) if not ok and begin < cut]
        assert (error.offset if error else None) == (hit[0] if hit else None)
        readable = [ok and is_image(item) for ok, item in zip(whole, items, strict=True)]
        assert reader.headers(begins)["ok"].tolist() == readable
    with RecordReader(rec) as reader:  # without its index
        if hit:
            with raises(rec, hit[0]):
                reader.read(0)
        else:
            assert len(reader) == len(found)


def test_cut_at_every_byte(scratch: Path) -> None:
    items = [pack(header, payload) for header, payload in MULTI.values()]
    size = (DATA / "multi.rec").stat().st_size
    for cut in range(size + 1):
        check_cut(scratch / "cut.rec", items, cut)


@slow
@given(st.lists(records, max_size=5), st.data())
def test_cut_anywhere(scratch: Path, items: list[bytes], data: st.DataObject) -> None:
    size = sum(len(on_disk(item)) for item in items)
    check_cut(scratch / "cut.rec", items, data.draw(st.integers(0, size)))


@pytest.mark.parametrize(
    "broken",
    [
        part(2, b"abcd"),
        part(3, b"abcd"),
        part(2, b"abcd") + part(3, b"abcd"),
        part(1, b"abcd") + part(1, b"abcd") + part(3, b"abcd"),
        part(1, b"abcd") + part(0, b"abcd"),
        part(1, b"abcd") + part(2, b"abcd") + part(0, b"abcd"),
        part(1, b"abcd") + part(2, b"abcd"),
        *(part(1, b"abcd") + part(flag, b"abcd") + part(3, b"abcd") for flag in (4, 5, 6, 7)),
        *(part(flag, b"abcd") for flag in (4, 5, 6, 7)),
        b"abcd" + part(0, b"abcd")[4:],
        part(1, b"abcd") + b"abcd" + part(3, b"abcd")[4:],
        bytes(8),
        bytes(4),
        b"abcd" * 10,
    ],
)
def test_parts_in_disorder(broken: bytes, tmp_path: Path) -> None:
    before, behind = on_disk(b"before"), on_disk(b"behind")
    rec = tmp_path / "a.rec"
    rec.write_bytes(before + broken + behind)
    at = len(before)
    with RecordReader(rec) as reader:
        with raises(rec, at):
            reader.at(at)
        found, error = scan(reader)
        assert found == [(0, b"before")]
        assert error is not None
        assert error.offset == at
        assert not reader.headers([at])["ok"][0]
        with raises(rec, at):
            len(reader)
        recovered = rescan(reader)
        assert recovered[0] == b"before"
        assert recovered[at + len(broken)] == b"behind"
        assert at not in recovered


def test_length_beyond_the_end(tmp_path: Path) -> None:
    rec = tmp_path / "a.rec"
    good = on_disk(b"abc")
    rec.write_bytes(good + struct.pack("<II", int.from_bytes(M, "little"), (1 << 29) - 1) + bytes(100))
    with RecordReader(rec) as reader:
        assert reader.at(0) == b"abc"
        with raises(rec, len(good)):
            reader.at(len(good))


@slow
@given(st.lists(payloads, max_size=6), st.data())
def test_resync_finds_the_next_record(scratch: Path, items: list[bytes], data: st.DataObject) -> None:
    rec = write(scratch / "sync.rec", numbered(items))
    with RecordReader(rec) as reader:
        offset = data.draw(st.integers(-1, reader.nbytes + 4))
        assert reader.resync(offset) == min((start for start in starts(rec) if start > offset), default=reader.nbytes)


def test_resync_from_every_byte() -> None:
    with RecordReader(DATA / "multi.rec") as reader:
        for offset in range(-1, reader.nbytes + 1):
            expected = [start for start in reader.offsets.tolist() if start > offset]
            assert reader.resync(offset) == (expected[0] if expected else reader.nbytes)


def test_resync_from_before_the_file() -> None:
    with RecordReader(DATA / "multi.rec") as reader:
        assert [reader.resync(offset) for offset in (-2, -5, -400)] == [0, 0, 0]


@slow
@given(st.lists(records, min_size=1, max_size=5), st.data())
def test_damage_stays_within_its_record(scratch: Path, items: list[bytes], data: st.DataObject) -> None:
    rec = write(scratch / "damage.rec", numbered(items))
    content, begins = bytearray(rec.read_bytes()), starts(rec)
    hit = data.draw(st.integers(0, len(items) - 1))
    begin, end = [*begins, len(content)][hit : hit + 2]
    first = data.draw(st.integers(begin, end - 1))
    last = data.draw(st.integers(first, end))
    content[first:last] = bytes(last - first)
    rec.write_bytes(content)
    with RecordReader(rec) as reader:
        found = rescan(reader)
    others = {start: item for start, item in zip(begins, items, strict=True) if start != begin}
    assert {start: found.get(start) for start in others} == others


# --- headers of many


def check_headers(reader: RecordReader, items: dict[int, bytes], offsets: list[int]) -> None:
    """``headers`` says of each offset what ``at`` and ``unpack`` say."""
    ends = dict(zip(items, [*list(items)[1:], reader.nbytes], strict=True)) if items else {}
    table = reader.headers(offsets)
    assert table["offset"].tolist() == offsets
    for row, offset in zip(table, offsets, strict=True):
        try:
            header, payload = unpack(items[offset])
        except (KeyError, RecordError):
            assert not row["ok"]
            continue
        assert row["ok"]
        assert unpack(reader.at(offset))[1] == payload
        assert (row["end"], row["nbytes"], row["flag"]) == (ends[offset], len(payload), header.flag)
        np.testing.assert_equal(row["label"], np.float32(header.label[0] if header.flag else header.label))


def draw_file(scratch: Path, items: list[bytes]) -> tuple[RecordReader, dict[int, bytes]]:
    rec = write(scratch / "headers.rec", numbered(items))
    return RecordReader(rec), dict(zip(starts(rec), items, strict=True))


@slow
@given(st.lists(records, max_size=6), st.data())
def test_headers(scratch: Path, items: list[bytes], data: st.DataObject) -> None:
    reader, at = draw_file(scratch, items)
    somewhere = st.integers(-10, reader.nbytes // 4 + 10).map(lambda word: 4 * word)
    known = st.sampled_from([0, *at])
    with reader:
        check_headers(reader, at, data.draw(st.lists(st.one_of(known, somewhere), max_size=12)))


@pytest.mark.parametrize("flag", range(6))
def test_headers_give_the_first_of_the_labels(flag: int, tmp_path: Path) -> None:
    label = [7.0, 1, 2, 3, 4][:flag] if flag else 7.0
    rec = write(tmp_path / "a.rec", [(0, pack((0, label, 5, 6), b"jpg"))])
    with RecordReader(rec) as reader:
        assert reader.headers([0]).tolist() == [(0, rec.stat().st_size, 3, flag, 7.0, True)]


def test_no_record_begins_between_the_golden_ones() -> None:
    with RecordReader(DATA / "multi.rec") as reader:
        begins = set(reader.offsets.tolist())
        nowhere = [offset for offset in range(reader.nbytes + 9) if offset not in begins]
        assert not reader.headers(nowhere)["ok"].any()
        for offset in nowhere:
            with raises(reader.path, offset):
                reader.at(offset)


def test_no_record_begins_without_the_magic_number(tmp_path: Path) -> None:
    rec = write(tmp_path / "a.rec", [(0, struct.pack("<II", 0, 40) + bytes(40))])
    with RecordReader(rec) as reader:
        assert not reader.headers([8])["ok"][0]
        with raises(rec, 8):
            reader.at(8)


def test_beyond_4_gb(tmp_path: Path) -> None:
    """The file is a hole but for its ends, so it takes no room; part flags could be taken for lengths in it."""
    rec, far = tmp_path / "a.rec", 5 << 30
    golden = (DATA / "multi.rec").read_bytes()
    with rec.open("wb") as file:
        file.write(golden)
        file.seek(far)
        file.write(golden)
    begins = starts(DATA / "multi.rec")
    with RecordReader(DATA / "multi.rec") as small, RecordReader(rec) as reader:
        near, behind = reader.headers(begins), reader.headers([far + begin for begin in begins])
        np.testing.assert_array_equal(near, small.headers(begins))
        behind["offset"] -= far
        behind["end"] -= far
        np.testing.assert_array_equal(behind, near)
        for offset in begins:
            assert reader.at(offset) == reader.at(far + offset) == small.at(offset)
        assert [offset - far for offset, _ in reader.scan(far)] == begins
        assert reader.resync(far) == far + begins[1]


@slow
@given(st.lists(records, max_size=6))
def test_no_record_begins_where_none_was_written(scratch: Path, items: list[bytes]) -> None:
    reader, at = draw_file(scratch, items)
    nowhere = [offset for offset in range(-reader.nbytes - 9, reader.nbytes + 9) if offset not in at]
    with reader:
        assert not reader.headers(nowhere)["ok"].any()
        for offset in nowhere:
            with raises(reader.path, offset):
                reader.at(offset)


def test_the_end_of_the_file_is_not_counted_back_from() -> None:
    with RecordReader(DATA / "multi.rec") as reader:
        for offset in range(-reader.nbytes - 8, 0):
            with raises(reader.path, offset):
                reader.at(offset)


def test_magic_that_is_not_aligned_begins_no_record(tmp_path: Path) -> None:
    rec = write(tmp_path / "a.rec", [(0, b"ab" + part(0, pack((0, 1, 2, 3), b"fake")))])
    with RecordReader(rec) as reader:
        assert not reader.headers([10])["ok"][0]
        with raises(rec, 10):
            reader.at(10)


def test_headers_of_very_many() -> None:
    """They are gathered in chunks."""
    with RecordReader(DATA / "multi.rec") as reader:
        few = reader.headers(reader.offsets)
        many = np.tile(reader.offsets, 40_000)
        np.testing.assert_array_equal(reader.headers(many), np.tile(few, 40_000))


def test_headers_at_the_edge_of_int64() -> None:
    with RecordReader(DATA / "multi.rec") as reader:
        edges = [-(2**63), -1, 2**63 - 1, 2**63 - 8, 2**62]
        assert not reader.headers(edges)["ok"].any()
        for offset in edges:
            with raises(reader.path, offset):
                reader.at(offset)


@pytest.mark.parametrize(
    "record",
    [
        bytes(25),
        bytes(24) + M + b"x",
    ],
)
def test_record_that_lacks_its_padding(record: bytes, tmp_path: Path) -> None:
    """It is whole, and ends where the file does."""
    rec = tmp_path / "a.rec"
    rec.write_bytes(on_disk(record)[:-2])
    with RecordReader(rec) as reader:
        assert reader.read(0) == record
        row = reader.headers([0])[0]
        assert row["ok"]
        assert row["end"] == reader.nbytes


# --- life cycle


def test_views_outlive_the_reader() -> None:
    with RecordReader(DATA / "multi.rec") as reader:
        views = {key: reader.read(key) for key in MULTI}
        headers = {key: unpack(view) for key, view in views.items()}
    reader.close()
    del reader
    assert {key: taken_apart(view) for key, view in views.items()} == MULTI
    assert {key: (plain(header), bytes(image)) for key, (header, image) in headers.items()} == MULTI


def test_views_outlive_the_file(tmp_path: Path) -> None:
    rec = write(tmp_path / "a.rec", [(0, bytes(range(200)))])
    with RecordReader(rec) as reader:
        view = reader.read(0)
    write(rec, [(0, b"other")])
    assert view == bytes(range(200))
    assert RecordReader(rec).read(0) == b"other"


def test_whole_records_are_not_copied() -> None:
    with RecordReader(DATA / "multi.rec") as reader:
        assert reader.read(2).obj is reader.read(4).obj


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_close_lets_go_of_the_file(tmp_path: Path) -> None:
    rec = write(tmp_path / "a.rec", [(0, b"abc")])
    reader = RecordReader(rec)
    assert reader.read(0) == b"abc"
    assert str(rec) in Path("/proc/self/maps").read_text()
    reader.close()
    assert str(rec) not in Path("/proc/self/maps").read_text()


def test_closed_reader_hands_out_nothing(tmp_path: Path) -> None:
    reader = RecordReader(DATA / "multi.rec")
    reader.read(0)
    reader.close()
    with pytest.raises(RecordError):
        reader.read(0)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_reader(protocol: int, tmp_path: Path) -> None:
    with RecordReader(DATA / "multi.rec") as reader:
        before = bytes(reader.read(99))
        with pickle.loads(pickle.dumps(reader, protocol)) as other:
            assert other.path == reader.path
            assert other.read(99) == before
            assert other.keys.tolist() == reader.keys.tolist()
    (tmp_path / "other.idx").write_text("5\t56\n")
    with RecordReader(DATA / "multi.rec", tmp_path / "other.idx") as reader:
        other = pickle.loads(pickle.dumps(reader, protocol))
        assert other.keys.tolist() == [5]
        assert other.read(5) == reader.read(5)


def test_pickled_error() -> None:
    with RecordReader(DATA / "multi.rec") as reader, pytest.raises(RecordError) as caught:
        reader.at(4)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.offset) == (str(caught.value), 4)


@pytest.mark.parametrize("indexed", [True, False])
def test_empty_file(indexed: bool, tmp_path: Path) -> None:
    rec = tmp_path / "a.rec"
    rec.touch()
    if indexed:
        rec.with_suffix(".idx").touch()
    with RecordReader(rec) as reader:
        assert len(reader) == reader.nbytes == 0
        assert list(reader.scan()) == []
        assert reader.keys.tolist() == reader.offsets.tolist() == []
        assert reader.resync(0) == reader.resync(-1) == 0
        assert not reader.headers([0, -4, 4])["ok"].any()
        assert len(reader.headers([])) == 0
        with raises(rec, 0):
            reader.at(0)
        with pytest.raises(KeyError):
            reader.read(0)
        assert pickle.loads(pickle.dumps(reader)).nbytes == 0


@pytest.mark.parametrize("size", range(1, 8))
def test_file_shorter_than_a_part(size: int, tmp_path: Path) -> None:
    rec = tmp_path / "a.rec"
    rec.write_bytes(part(0, b"")[:size])
    with RecordReader(rec) as reader:
        assert not reader.headers([0, 4])["ok"].any()
        with raises(rec, 0):
            list(reader.scan())
        with raises(rec, 0):
            reader.at(0)
        assert reader.resync(-1) == size
