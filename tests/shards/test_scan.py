"""The images of a run are those that ``walk`` sees, whoever wrote the tar; damage is an error, never another answer."""

from __future__ import annotations

import io
import tarfile
from itertools import groupby

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wds_face.errors import TarError
from wds_face.images import EXTENSIONS
from wds_face.shards.scan import scan
from wds_face.shards.tar import BLOCK, END, Member, padded, walk

#: Key, first byte of its header, first byte, size, label.
Found = list[tuple[str, int, int, int, int]]
Files = list[tuple[str, bytes]]

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
LONG = "folder" * 15 + "/" + "file" * 20

KINDS = st.one_of(
    st.sampled_from(["jpg", "cls", "jpg", "cls", "png", "json", "txt", "seg.png", "JPG", "Cls", "tar.gz", "jpegs", ""]),
    st.sampled_from(sorted(EXTENSIONS)),
    st.text("jpgcls.", max_size=9),
)
KEYS = st.one_of(
    st.sampled_from(["a", "b", "0000001/000002", "v1.5/a", "a.b/c.d/e", "ä/zoë", LONG, "x" * 90, "-"]),
    st.text("ab01/_é", min_size=1, max_size=12).filter(lambda key: not key.endswith("/") and not key.startswith("/")),
)
LABELS = st.one_of(
    st.integers(0, 99).map(lambda label: b"%d" % label),
    st.sampled_from(
        [b"", b"7\n", b" 7", b"\t7\r\n ", b"7 8", b"7x", b"x", b"-7", b"+7", b"7.0", b"7\0", b"0x7", b"007", b"1_0"]
    ),
    st.sampled_from([b"9" * 18, b"9" * 19, b"0" * 19, b" " * 600 + b"7" + b"\n" * 600, b"7" + b" " * 40 + b"x"]),
    st.sampled_from(["\u0667".encode(), b"\xff"]),
)
CONTENT = st.one_of(st.binary(max_size=40), st.sampled_from([0, 1, 511, 512, 513, 1300]).map(lambda size: b"x" * size))


@st.composite
def samples(draw: st.DrawFn) -> Files:
    """The members of some samples; those of one key stand together, but keys may come again."""
    files = []
    for key in draw(st.lists(KEYS, max_size=6)):
        for kind in draw(st.lists(KINDS, min_size=1, max_size=4)):
            data = draw(LABELS if kind.lower() == "cls" else CONTENT)
            files.append((f"{key}.{kind}" if kind else key, data))
    return files


def archive(files: Files, format_: str = "ustar", folders: bool = False) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=FORMATS[format_]) as tar:
        for name, data in files:
            if folders:
                info = tarfile.TarInfo(name.rpartition("/")[0] or "folder.jpg")
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def found(run: bytes | bytearray | memoryview) -> Found:
    """What scan says."""
    table, keys = scan(memoryview(run))
    rows = table.tolist()
    if keys is None:
        keys = [str(run[start : start + stem], "utf-8", "surrogateescape") for start, _, _, stem, _ in rows]
    return [(key, *row[:3], row[4]) for key, row in zip(keys, rows, strict=True)]


def expected(run: bytes | bytearray | memoryview) -> Found:
    """What walk says: members in a row with the same key are a sample, whose label is what its last .cls says."""

    def split(member: Member) -> tuple[str, str]:
        folder, slash, file = member.name.rpartition("/")
        stem, _, kind = file.partition(".")
        return folder + slash + stem, kind.lower()

    rows: Found = []
    for key, members in groupby(walk(memoryview(run), ends=False), lambda member: split(member)[0]):
        sample = list(members)
        label = -1
        for member in sample:
            if split(member)[1] == "cls":
                text = bytes(run[member.data : member.data + member.size]).strip()
                label = int(text) if text.isdigit() and len(text) <= 18 else -1
        rows += [(key, m.start, m.data, m.size, label) for m in sample if split(m)[1] in EXTENSIONS]
    return rows


@settings(deadline=None)
@given(samples(), st.sampled_from(sorted(FORMATS)), st.booleans())
@example([("a.cls", b"7"), ("b.jpg", b""), ("a.jpg", b"")], "ustar", False)
@example([("x" * 96 + ".jpg", b"x"), ("x" * 96 + ".cls", b"7")], "gnu", False)
@example([("a.jpg", b""), ("a.cls", b"7 8"), (LONG + ".jpg", b"x")], "pax", False)
def test_any_archive(files: Files, format_: str, folders: bool) -> None:
    data = archive(files, format_, folders)
    rows = found(data)
    assert rows == expected(data)
    pictures = [(name, body) for name, body in files if name.rpartition("/")[2].partition(".")[2].lower() in EXTENSIONS]
    assert [data[begin : begin + size] for _, _, begin, size, _ in rows] == [body for _, body in pictures]
    assert all(name.startswith(row[0] + ".") for (name, _), row in zip(pictures, rows, strict=True))


@settings(deadline=None)
@given(samples(), st.sampled_from(sorted(FORMATS)), st.data())
def test_any_run_cut_out_of_an_archive(files: Files, format_: str, data: st.DataObject) -> None:
    whole = archive(files, format_)
    members = list(walk(memoryview(whole)))
    first, last = sorted(data.draw(st.tuples(st.integers(0, len(members)), st.integers(0, len(members)))))
    start = members[first].start if first < len(members) else 0
    run = whole[start : members[last - 1].end if last > first else start]
    assert found(run) == expected(run)
    assert len(found(run)) == sum(m.name.rpartition("/")[2].partition(".")[2].lower() in EXTENSIONS
                                  for m in members[first:last])  # fmt: skip


@settings(deadline=None)
@given(samples(), st.sampled_from(["gnu", "pax"]))
def test_old_gnu_and_ustar_headers_give_the_same_images(files: Files, format_: str) -> None:
    plain = [(name, body) for name, body in files if len(name.encode()) <= 100 and name.isascii()]
    assert found(archive(plain, "ustar")) == found(archive(plain, format_))


@pytest.mark.parametrize("text", [b"5", b"5\n", b" 5 ", b"\r\n5\t", b"005", b"5" + b" " * 700])
@pytest.mark.parametrize("name", ["1/2", LONG])
def test_labels_in_white_space(text: bytes, name: str) -> None:
    for files in ([(name + ".jpg", b"i"), (name + ".cls", text)], [(name + ".cls", text), (name + ".jpg", b"i")]):
        assert [row[4] for row in found(archive(files)[: -len(END)])] == [5]


@pytest.mark.parametrize("text", [b"", b"5 6", b"5x", b"x", b"-5", b"5\0", b"1" * 19, b"5" + b" " * 700 + b"6"])
@pytest.mark.parametrize("name", ["1/2", LONG])
def test_what_is_no_label(text: bytes, name: str) -> None:
    assert [row[4] for row in found(archive([(name + ".jpg", b"i"), (name + ".cls", text)]))] == [-1]


@pytest.mark.parametrize("folder", ["", "folder" * 15 + "/"])
def test_a_label_is_of_its_own_sample_only(folder: str) -> None:
    names = ["a.jpg", "a.cls", "ab.jpg", "b.cls", "c.jpg", "b.jpg", "c.cls", "d.cls", "d.json", "d.png", "d.jpg"]
    files = [(folder + name, b"%d" % i) for i, name in enumerate(names)]
    files += [("v.1/a.jpg", b""), ("v.2/a.cls", b"9"), ("v.2/a", b""), ("v.2/a.jpg", b"")]
    labels = [(key.removeprefix(folder), label) for key, *_, label in found(archive(files))]
    assert labels == [("a", 1), ("ab", -1), ("c", -1), ("b", -1), ("d", 7), ("d", 7), ("v.1/a", -1), ("v.2/a", 9)]


def test_plain_members_need_no_list_of_keys() -> None:
    """Those that convert writes are found by the compiled loop, which leaves the keys where they are."""
    files = [(f"{i:07d}/{i:06d}.{kind}", b"7" * i) for i in range(1, 18) for kind in ("jpg", "cls")]
    for format_ in ("ustar", "gnu", "pax"):
        data = archive(files, format_)
        assert scan(memoryview(data)[: list(walk(memoryview(data)))[-1].end]).keys is None


def test_many_empty_images() -> None:
    """They take one block each, and the table is made for two."""
    data = archive([(f"{i}.jpg", b"") for i in range(2500)])
    run = data[: 2500 * BLOCK]
    assert found(run) == expected(run) == [(f"{i}", i * BLOCK, (i + 1) * BLOCK, 0, -1) for i in range(2500)]


def test_a_run_may_be_empty_or_the_end_of_an_archive() -> None:
    assert found(b"") == found(END) == found(bytes(BLOCK)) == []


@settings(deadline=None, max_examples=300)
@given(samples().filter(bool), st.sampled_from(sorted(FORMATS)), st.booleans(), st.data())
def test_a_damaged_header_is_an_error_or_changes_nothing(
    files: Files, format_: str, closed: bool, data: st.DataObject
) -> None:
    whole = archive(files, format_)
    members = list(walk(memoryview(whole)))
    run = bytearray(whole if closed else whole[: members[-1].end])
    member = data.draw(st.sampled_from(members))
    at = data.draw(st.sampled_from([member.start, member.data - BLOCK])) + data.draw(st.integers(0, BLOCK - 1))
    before = found(run)
    run[at] ^= data.draw(st.integers(1, 255))
    try:
        after = found(run)
    except TarError:
        return
    assert after == before


@settings(deadline=None, max_examples=300)
@given(samples().filter(bool), st.sampled_from(sorted(FORMATS)), st.data())
def test_any_byte_changed_never_crashes(files: Files, format_: str, data: st.DataObject) -> None:
    """Names in extended headers have no checksum, so they may change; but then walk says the same."""
    whole = archive(files, format_)
    run = bytearray(whole[: list(walk(memoryview(whole)))[-1].end])
    for _ in range(data.draw(st.integers(1, 3))):
        run[data.draw(st.integers(0, len(run) - 1))] = data.draw(st.integers(0, 255))
    try:
        wanted = expected(run)
    except TarError:
        wanted = None
    try:
        assert found(run) == wanted or wanted is None
    except TarError:
        assert wanted is None


@settings(deadline=None)
@given(samples().filter(bool), st.sampled_from(sorted(FORMATS)), st.data())
def test_a_cut_is_an_error_except_between_members(files: Files, format_: str, data: st.DataObject) -> None:
    whole = archive(files, format_)
    members = list(walk(memoryview(whole)))
    length = data.draw(st.integers(0, members[-1].end))
    kept = [member for member in members if member.end <= length]
    run = memoryview(whole)[:length]
    if length == (kept[-1].end if kept else 0):
        assert [row[1] for row in found(run)] == [row[1] for row in found(whole) if row[1] < length]
    else:
        with pytest.raises(TarError):
            scan(run)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=2000))
@example(b"x" * BLOCK)
@example(b"\0x" * BLOCK)
def test_garbage_is_an_error(data: bytes) -> None:
    with pytest.raises(TarError):
        scan(memoryview(data.rstrip(b"\0") + b"x"))


def test_sizes_that_reach_beyond_the_run() -> None:
    data = archive([("a.jpg", b"x" * 1500)])
    with pytest.raises(TarError, match="cut off"):
        scan(memoryview(data)[: BLOCK + 1024])
    run = memoryview(data)[: BLOCK + padded(1500)]
    assert found(run) == [("a", 0, BLOCK, 1500, -1)]


def test_the_message_names_the_byte() -> None:
    data = bytearray(archive([("a.jpg", b"1"), ("b.jpg", b"2")]))
    data[2 * BLOCK + 3] ^= 1
    with pytest.raises(TarError, match="byte 1024"):
        scan(memoryview(data))
