"""Our headers are what tarfile writes; our walk finds what tarfile finds, and says where an archive is damaged."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
import webdataset as wds
from hypothesis import given
from hypothesis import strategies as st

from wds_face.errors import TarError
from wds_face.shards.tar import BLOCK, END, headers, padded, walk

NAMES = st.text("abcdefghij0123456789_-", min_size=1, max_size=40)
FILES = st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=12)


def archive(files: list[tuple[str, bytes]], format_: int = tarfile.USTAR_FORMAT, **attributes: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format_) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in attributes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def contents(data: bytes) -> list[tuple[str, bytes]]:
    return [(m.name, data[m.data : m.data + m.size]) for m in walk(memoryview(data))]


@given(FILES)
def test_headers_are_those_of_tarfile(files: list[tuple[str, bytes]]) -> None:
    expected = []
    for name, data in files:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        expected.append(info.tobuf(tarfile.USTAR_FORMAT))
    made = headers([name for name, _ in files], [len(data) for _, data in files])
    assert [row.tobytes() for row in made] == expected


@pytest.mark.parametrize("size", [0, 1, 511, 512, 8**7, 8**11 - 1])
def test_header_of_any_size(size: int) -> None:
    info = tarfile.TarInfo("a")
    info.size = size
    assert headers(["a"], [size])[0].tobytes() == info.tobuf(tarfile.USTAR_FORMAT)


def test_headers_refuse_what_ustar_cannot_hold() -> None:
    with pytest.raises(TarError, match="8 GiB"):
        headers(["a"], [8**11])
    with pytest.raises(TarError, match="100 characters"):
        headers(["a" * 101], [1])


@given(FILES, st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_walk_finds_every_file(files: list[tuple[str, bytes]], format_: int) -> None:
    assert contents(archive(files, format_)) == files


@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("attributes", [{}, {"mtime": 1.5}, {"uid": 10**9}, {"uname": "jörg"}])
def test_walk_reads_extended_headers(format_: int, attributes: dict[str, object]) -> None:
    files = [("short", b"1"), ("long/" * 30 + "name.jpg", b"22"), ("naïve.jpg", b"333"), ("last", b"")]
    if format_ == tarfile.GNU_FORMAT:
        attributes = {key: int(value) if isinstance(value, float) else value for key, value in attributes.items()}
    data = archive(files, format_, **attributes)
    assert contents(data) == files
    starts = [m.start for m in walk(memoryview(data))]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert starts == [info.offset for info in tar]


def test_walk_reads_long_ustar_names() -> None:
    files = [("folder" * 15 + "/" + "file" * 20, b"x")]
    assert contents(archive(files)) == files


def test_walk_passes_over_folders_and_links() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        folder = tarfile.TarInfo("d")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        link = tarfile.TarInfo("d/link")
        link.type, link.linkname = tarfile.SYMTYPE, "x"
        info = tarfile.TarInfo("d/x")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
        tar.addfile(link)
        tar.addfile(info, io.BytesIO(b"def"))
    assert contents(out.getvalue()) == [("d/x", b"abc"), ("d/x", b"def")]


def test_walk_reads_what_webdataset_writes(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("wds") / "a.tar"
    with wds.TarWriter(str(path)) as writer:
        for i in range(3000):
            writer.write({"__key__": f"{i:06d}", "bin": b"%d" % i})
    found = contents(path.read_bytes())
    assert found == [(f"{i:06d}.bin", b"%d" % i) for i in range(3000)]


def test_members_lie_where_they_say() -> None:
    data = archive([("a", b"x" * 700), ("b", b"")])
    first, second = walk(memoryview(data))
    assert (first.start, first.data, first.size, first.end) == (0, BLOCK, 700, 3 * BLOCK)
    assert second.start == first.end
    assert [padded(n) for n in (0, 1, 512, 513)] == [0, 512, 512, 1024]


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_a_cut_is_always_noticed(format_: int) -> None:
    """Python's tarfile takes a cut between two members for a normal end."""
    files = [(f"{i}.jpg", bytes([i]) * 600) for i in range(4)]
    data = archive(files, format_, mtime=1.5 if format_ == tarfile.PAX_FORMAT else 0)
    end = len(data.rstrip(b"\0"))
    end += -end % BLOCK
    for length in range(0, end, 128):
        found = []
        with pytest.raises(TarError, match="byte"):
            found += list(walk(memoryview(data)[:length]))
    assert contents(data[: end + BLOCK]) == files


def test_what_came_before_the_damage_is_kept() -> None:
    data = bytearray(archive([("a", b"1"), ("b", b"2"), ("c", b"3")]))
    data[2 * 1024 + 3] ^= 1  # in the name of the third
    found = []

    def collect() -> None:
        for member in walk(memoryview(data)):
            found.append(member.name)

    with pytest.raises(TarError, match=r"checksum at byte 2048"):
        collect()
    assert found == ["a", "b"]


@given(st.binary(min_size=1, max_size=2000))
def test_garbage_never_crashes(data: bytes) -> None:
    with pytest.raises(TarError):
        list(walk(memoryview(data.rstrip(b"\0") + b"x")))


def test_a_stretch_of_an_archive_needs_no_end() -> None:
    data = archive([("a", b"1"), ("b", b"2")])
    stretch = memoryview(data)[: 4 * BLOCK]
    assert [m.name for m in walk(stretch, ends=False)] == ["a", "b"]
    with pytest.raises(TarError):
        list(walk(stretch))
    assert list(walk(memoryview(END))) == []


def test_checksums_are_checked_in_every_batch() -> None:
    """Headers are summed a thousand at a time; the last batch counts as much as the first."""
    count = 2500
    table = headers([f"{i}" for i in range(count)], np.zeros(count, int))
    data = bytearray(table.tobytes() + END)
    assert len(list(walk(memoryview(data)))) == count
    data[BLOCK * 2400 + 5] ^= 2
    with pytest.raises(TarError, match=str(BLOCK * 2400)):
        list(walk(memoryview(data)))


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT], ids=["ustar", "pax"])
def test_what_follows_the_end_is_not_lost_silently(format_: int) -> None:
    long = "\N{LATIN SMALL LETTER E WITH ACUTE}" * 90 if format_ == tarfile.PAX_FORMAT else "b"
    joined = archive([("a.jpg", b"x"), (f"{long}.jpg", b"y")], format_) + archive([("c.jpg", b"z")])
    members = walk(memoryview(joined))
    assert [next(members).size for _ in range(2)] == [1, 1], "what stands before is there"
    with pytest.raises(TarError, match=r"ends at byte \d+, but data follows at byte \d+: split archives"):
        next(members)


def test_zeros_in_the_middle_are_no_end() -> None:
    whole = archive([(f"{number}.jpg", b"x") for number in range(8)])
    hole = whole[:4096] + bytes(2048) + whole[6144:]
    with pytest.raises(TarError, match="ends at byte 4096, but data follows at byte 6144"):
        list(walk(memoryview(hole)))
