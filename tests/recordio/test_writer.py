"""Record files are written by the letter of the format, and appear whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wds_face
from tests.recordio.support import DATA, MAGIC_BYTES, numbered, on_disk, part, payloads, records, slow, starts, write
from wds_face.errors import RecordError
from wds_face.recordio import MAX_LENGTH, RecordReader, RecordWriter


@pytest.mark.parametrize("name", ["multi", "insight"])
def test_golden_files_again(name: str, tmp_path: Path) -> None:
    with RecordReader(DATA / f"{name}.rec") as reader:
        items = [(key, bytes(reader.read(key))) for key in reader.keys.tolist()]
    write(tmp_path / "our.rec", items)
    assert (tmp_path / "our.rec").read_bytes() == (DATA / f"{name}.rec").read_bytes()
    assert (tmp_path / "our.idx").read_bytes() == (DATA / f"{name}.idx").read_bytes()


@pytest.mark.parametrize(
    ("record", "parts"),
    [
        (b"", [(0, b"")]),
        (b"abc", [(0, b"abc")]),
        (MAGIC_BYTES, [(1, b""), (3, b"")]),
        (MAGIC_BYTES * 3, [(1, b""), (2, b""), (2, b""), (3, b"")]),
        (b"abcd" + MAGIC_BYTES + b"e", [(1, b"abcd"), (3, b"e")]),
        (b"abc" + MAGIC_BYTES + b"e", [(0, b"abc" + MAGIC_BYTES + b"e")]),
        (b"abc" + MAGIC_BYTES * 2, [(0, b"abc" + MAGIC_BYTES * 2)]),
        (b"abc" + MAGIC_BYTES + b"e" + MAGIC_BYTES, [(1, b"abc" + MAGIC_BYTES + b"e"), (3, b"")]),
        (MAGIC_BYTES[:3], [(0, MAGIC_BYTES[:3])]),
    ],
)
def test_parts(record: bytes, parts: list[tuple[int, bytes]], tmp_path: Path) -> None:
    rec = write(tmp_path / "a.rec", [(0, record)])
    assert rec.read_bytes() == b"".join(part(flag, data) for flag, data in parts)


@slow
@given(st.lists(records, max_size=6))
def test_by_the_letter_of_the_format(scratch: Path, items: list[bytes]) -> None:
    rec = write(scratch / "a.rec", numbered(items))
    encoded = [on_disk(item) for item in items]
    assert rec.read_bytes() == b"".join(encoded)
    assert starts(rec) == [sum(map(len, encoded[:i])) for i in range(len(items))]


@slow
@given(st.lists(st.tuples(st.integers(0, 2**62), payloads), max_size=6))
def test_index(scratch: Path, items: list[tuple[int, bytes]]) -> None:
    rec = write(scratch / "a.rec", items)
    lines = rec.with_suffix(".idx").read_bytes().decode("ascii").splitlines(keepends=True)
    assert lines == [f"{key}\t{start}\n" for (key, _), start in zip(items, starts(rec), strict=True)]


def test_index_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with RecordWriter(tmp_path / "a.rec", tmp_path / "sub" / "b.index") as writer:
        writer.write(3, b"abc")
    assert {path.name for path in tmp_path.rglob("*.*")} == {"a.rec", "b.index"}
    assert RecordReader(tmp_path / "a.rec", tmp_path / "sub" / "b.index").read(3) == b"abc"


def test_nothing_appears_before_close(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "a.rec")
    writer.write(0, b"abc")
    assert not (tmp_path / "a.rec").exists()
    assert not (tmp_path / "a.idx").exists()
    writer.close()
    assert {path.name for path in tmp_path.iterdir()} == {"a.rec", "a.idx"}
    writer.close()  # a second time does nothing
    assert RecordReader(tmp_path / "a.rec").read(0) == b"abc"


def fail(rec: Path, record: bytes) -> None:
    """Write a record, then raise."""
    with suppress(ZeroDivisionError), RecordWriter(rec) as writer:
        writer.write(0, record)
        raise ZeroDivisionError


def test_nothing_appears_after_an_exception(tmp_path: Path) -> None:
    fail(tmp_path / "a.rec", bytes(1 << 20))
    assert not list(tmp_path.iterdir())


def test_exception_keeps_the_old_file(tmp_path: Path) -> None:
    rec = write(tmp_path / "a.rec", [(0, b"old")])
    fail(rec, b"new")
    assert RecordReader(rec).read(0) == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"a.rec", "a.idx"}


def test_discard(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "a.rec")
    writer.write(0, b"abc")
    writer.discard()
    writer.close()
    assert not list(tmp_path.iterdir())


class _Long(bytes):
    """Says that it is longer than a record can be, without being so."""

    def __len__(self) -> int:
        return MAX_LENGTH + 1


def test_too_long(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "a.rec") as writer:
        writer.write(0, b"abc")
        with pytest.raises(RecordError, match=f"record 1 has {MAX_LENGTH + 1} bytes"):
            writer.write(1, _Long())
        writer.write(2, b"def")
    with RecordReader(tmp_path / "a.rec") as reader:
        assert reader.keys.tolist() == [0, 2]
        assert [bytes(record) for _, record in reader.scan()] == [b"abc", b"def"]


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        RecordWriter(tmp_path / "missing" / "a.rec")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_for_the_index(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        RecordWriter(tmp_path / "a.rec", tmp_path / "missing" / "a.idx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "size",
    [
        1 << 20,
        5000,
    ],
)
def test_disk_full(size: int, tmp_path: Path) -> None:
    """A small file does not fail before its buffer is flushed."""
    script = f"""
import resource
from wds_face.recordio import RecordWriter

resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    with RecordWriter("a.rec") as writer:
        writer.write(0, bytes({size}))
except OSError:
    print("full", end="")
"""
    env = {**os.environ, "PYTHONPATH": str(Path(wds_face.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"full"
    assert not list(tmp_path.iterdir())
