"""Compressed shards are the same source as plain ones, in bounded disk space, and whoever needs ranges refuses them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds

from tests.support import command, sums
from wds_face import DatasetError, Options, PKStream, SourceError, WebDataset, adopt, convert
from wds_face.errors import PathError
from wds_face.shards.compression import decompressed, recognize
from wds_face.sources import Skipped
from wds_face.sources.peek import peek


def zstd(data: bytes) -> bytes:
    module = (
        pytest.importorskip("backports.zstd") if sys.version_info < (3, 14) else __import__("compression.zstd").zstd
    )
    compressed: bytes = module.compress(data)
    return compressed


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "tar.gz": gzip.compress,
    "tgz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tbz2": bz2.compress,
    "tar.xz": lzma.compress,
    "txz": lzma.compress,
    "tar.zst": zstd,
}


@pytest.fixture
def plain(tmp_path: Path, jpegs: list[bytes]) -> Path:
    """Three shards in which every identity comes everywhere."""
    folder = tmp_path / "plain"
    folder.mkdir()
    for number in range(3):
        with wds.TarWriter(str(folder / f"s-{number}.tar"), mtime=0) as writer:
            for i in range(number, 30, 3):
                writer.write({"__key__": f"{i:04d}", "jpg": jpegs[i], "cls": i % 4})
    return folder


def packed(plain: Path, extension: str, name: str = "packed", only: int | None = None) -> Path:
    """A copy of shards, all or only one of them compressed."""
    folder = plain.with_name(name)
    folder.mkdir()
    for number, path in enumerate(sorted(plain.iterdir())):
        if only in (None, number):
            (folder / f"{path.stem}.{extension}").write_bytes(COMPRESS[extension](path.read_bytes()))
        else:
            shutil.copy(path, folder)
    return folder


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for copies, which must be empty in the end."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.mark.parametrize("extension", COMPRESS)
def test_the_same_bytes_as_from_plain_shards(plain: Path, tmp_path: Path, spool: Path, extension: str) -> None:
    convert(WebDataset(plain), tmp_path / "expected", Options(shard_size=9000), workers=1)
    source = WebDataset(packed(plain, extension))
    report = convert(source, tmp_path / "out", Options(shard_size=9000), workers=2 if extension == "tar.gz" else 1)
    assert report.skipped == []
    assert sums(tmp_path / "out") == sums(tmp_path / "expected")
    assert list(spool.glob("wds-face-spool-*")) == [], "no copies are left"


def test_plain_and_compressed_shards_side_by_side(plain: Path, tmp_path: Path, spool: Path) -> None:
    convert(WebDataset(plain), tmp_path / "expected", workers=1)
    convert(WebDataset(packed(plain, "tar.gz", only=1)), tmp_path / "out", workers=1)
    assert sums(tmp_path / "out") == sums(tmp_path / "expected")


@pytest.mark.parametrize(("name", "content"), [("s-1.tar", "gzip"), ("s-1.tar.gz", "plain"), ("s-1.tar.gz", "xz")])
def test_the_content_counts_and_not_the_name(plain: Path, tmp_path: Path, spool: Path, name: str, content: str) -> None:
    convert(WebDataset(plain), tmp_path / "expected", workers=1)
    data = (plain / "s-1.tar").read_bytes()
    (plain / "s-1.tar").unlink()
    (plain / name).write_bytes({"gzip": gzip.compress, "xz": lzma.compress, "plain": bytes}[content](data))
    convert(WebDataset(plain), tmp_path / "out", workers=1)
    assert sums(tmp_path / "out") == sums(tmp_path / "expected")


def test_a_preview_reads_them(plain: Path, spool: Path) -> None:
    folder = packed(plain, "tar.gz")
    for path in (folder, folder / "s-1.tar.gz", f"{folder}/s-*.tar.gz"):
        found = dict(peek(str(path), np.random.default_rng(0)).images)
        assert sorted(found) == ["0", "1", "2", "3"]
    assert list(spool.glob("wds-face-spool-*")) == []


def test_what_needs_ranges_refuses_them(plain: Path) -> None:
    folder = packed(plain, "tar.gz")
    (plain / "s-0.tar").write_bytes(gzip.compress((plain / "s-0.tar").read_bytes()))
    for path, name in ((folder, "s-0.tar.gz"), (plain, "s-0.tar")):
        with pytest.raises(DatasetError, match=rf"{name} is compressed \(gzip\).*`wds-face convert webdataset`"):
            adopt(path, workers=1)
    with pytest.raises(DatasetError, match=r"s-0\.tar\.gz is compressed.*`wds-face convert webdataset`"):
        PKStream(folder, 2, 2)


def test_a_bomb_fills_no_disk(plain: Path, tmp_path: Path, spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bomb = (plain / "s-0.tar").read_bytes()[:-1024] + bytes(300 << 20)
    (plain / "s-0.tar.gz").write_bytes(gzip.compress(bomb, 1))
    (plain / "s-0.tar").unlink()
    arguments = ("convert", "webdataset", plain, tmp_path / "out", "--workers", 1, "-q", "--spool-size")
    assert command(*arguments, "64MB") == 1
    message = capsys.readouterr().err
    assert "s-0.tar.gz" in message
    assert "may take 64.0 MB: raise --spool-size" in message
    assert len(message.splitlines()) == 1
    assert list(spool.glob("wds-face-spool-*")) == []
    assert command(*arguments, "400MB") == 0


def test_shards_that_cannot_fit_are_refused_before_the_work(plain: Path, tmp_path: Path, spool: Path) -> None:
    source = WebDataset(packed(plain, "tar.gz"), spool_size=1000, spool_dir=tmp_path / "elsewhere")
    with pytest.raises(SourceError, match=r"have to be copied.*elsewhere may take 1\.0 kB: raise --spool-size"):
        source.scan()
    with pytest.raises(ValueError, match="at least 1 byte"):
        WebDataset(plain, spool_size=0)


def test_a_spool_that_cannot_be_written(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(PathError, match=r"spool_dir s3://bucket/x is a URL"):
        WebDataset(plain, spool_dir="s3://bucket/x")
    (tmp_path / "file").touch()
    source = WebDataset(packed(plain, "tar.gz"), spool_dir=tmp_path / "file")
    with pytest.raises(SourceError, match=r"cannot be written .*: give another --spool-dir"):
        source.scan()


@pytest.mark.parametrize("extension", ["tar.gz", "tar.bz2", "tar.xz", "tar.zst"])
def test_a_damaged_shard_gives_what_is_before_the_damage(plain: Path, spool: Path, extension: str) -> None:
    folder = packed(plain, extension, only=2)
    path = folder / f"s-2.{extension}"
    path.write_bytes(path.read_bytes()[:-9])
    inventory = WebDataset(folder).scan()
    assert 20 <= inventory.images.sum() <= 30
    (skipped,) = [skipped for skipped in inventory.skipped if skipped.kind == "container"]
    assert skipped.item == f"s-2.{extension}"
    assert "is damaged or cut off" in skipped.reason


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("x.tar", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        ("x.tar.gz", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        ("x.tar", b"\x04\x22\x4d\x18 lz4", "compressed by lz4"),
        ("x.tar", b"PK\x03\x04", "zip file"),
        ("x.tar", b"<!DOCTYPE html><html>404</html>", "web page"),
        ("x.tar.gz", b"", "cut off"),
        ("x.tar.lz4", b"\x04\x22\x4d\x18 lz4", "a shard in a form that is not read (.lz4)"),
        ("x.tar.gz.part", b"\x1f\x8b", "unfinished download"),
    ],
)
def test_what_is_lost_is_a_container(plain: Path, name: str, data: bytes, reason: str) -> None:
    (plain / name).write_bytes(data)
    inventory = WebDataset(plain).scan()
    assert inventory.images.sum() == 30
    (skipped,) = inventory.skipped
    assert (skipped.item, skipped.kind) == (name, "container")
    assert reason in skipped.reason


def test_what_is_not_taken_is_listed(plain: Path, tmp_path: Path, jpegs: list[bytes]) -> None:
    (plain / "train.rec").touch()
    (plain / "a.jpg").write_bytes(jpegs[0])
    (plain / "README.md").touch()
    report = convert(WebDataset(plain), tmp_path / "out", workers=1)
    assert report.skipped == [
        Skipped("a.jpg", "an image in no shard", "other"),
        Skipped("train.rec", "records, not a shard: `wds-face convert recordio` reads them", "other"),
    ]
    assert (tmp_path / "out" / "skipped.tsv").read_text().startswith("a.jpg\tan image in no shard\tother\n")


WITHOUT_ZSTD = """
import sys
for name in ("compression.zstd", "backports", "backports.zstd"):
    sys.modules[name] = None
from wds_face.cli import main
main(["convert", "webdataset", sys.argv[1], sys.argv[2]])
"""


def test_a_missing_package_is_named(plain: Path, tmp_path: Path) -> None:
    folder = packed(plain, "tar.zst")
    arguments = [sys.executable, "-c", WITHOUT_ZSTD, str(folder), str(tmp_path / "out")]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.strip() == "wds-face: shards compressed by zstd need a package: pip install 'wds-face[zstd]'"


@pytest.mark.parametrize("extension", ["tar.gz", "tar.bz2", "tar.xz", "tar.zst"])
def test_several_streams_one_behind_the_other(tmp_path: Path, extension: str) -> None:
    """As pigz, pbzip2 and `cat` make them; xz may pad each with zeros."""
    data = np.random.default_rng(0).bytes(3 << 20)
    pad = bytes(4) if extension == "tar.xz" else b""
    path = tmp_path / "x"
    path.write_bytes(b"".join(COMPRESS[extension](piece) + pad for piece in (data[:1000], b"", data[1000:])))
    with path.open("rb") as file:
        compression = recognize(path.read_bytes()[:512])
        pieces = list(decompressed(file, compression))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 1 << 20
