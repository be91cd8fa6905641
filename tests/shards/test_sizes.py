"""The sizes of images: counted from their headers, kept in the index, and put into words."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support import command
from wds_face import Index, Options
from wds_face.conversion.convert import convert
from wds_face.conversion.workspace import Workspace
from wds_face.errors import DatasetError
from wds_face.images import ImageError, checked_size
from wds_face.shards.sizes import MOST_LISTED, Sizes, share, total
from wds_face.sources import ImageFolder


def encoded(format_: str, width: int, height: int, **options: object) -> bytes:
    pixels = np.random.default_rng(width).integers(0, 255, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format_, **options)
    return file.getvalue()


def folder_of(path: Path, sizes: list[tuple[int, int]], format_: str = "JPEG") -> Path:
    """An image folder with two images of these sizes for each identity."""
    for number, size in enumerate(sizes):
        file = path / f"p{number // 2:03d}" / f"{number % 2}.{format_.lower()}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(format_, *size))
    return path


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("size", [(1, 1), (17, 300), (300, 17), (112, 112)])
def test_the_size_is_read_from_every_format(format_: str, size: tuple[int, int]) -> None:
    data = encoded(format_, *size)
    assert checked_size(data) == size
    assert checked_size(memoryview(data), deep=True) == size


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_blocks": 1}, {"comment": b"\xff\xc0" * 9}])
def test_the_size_of_every_kind_of_jpeg(options: dict[str, object]) -> None:
    assert checked_size(encoded("JPEG", 40, 30, **options)) == (40, 30)


def test_the_size_of_a_thumbnail_does_not_count() -> None:
    data = encoded("JPEG", 40, 30)
    thumbnail = encoded("JPEG", 8, 8)
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    assert checked_size(data[:2] + segment + data[2:]) == (40, 30)


@given(st.integers(0, 700), st.integers(0, 255))
def test_a_damaged_header_is_an_error_or_a_size(place: int, value: int) -> None:
    data = bytearray(encoded("JPEG", 24, 20))
    data[place % len(data)] = value
    try:
        width, height = checked_size(bytes(data))
    except ImageError:
        return
    assert 0 <= width < 1 << 16
    assert 0 <= height < 1 << 16


def test_a_frame_header_that_the_file_cuts_short_is_an_error() -> None:
    with pytest.raises(ImageError):
        checked_size(b"\xff\xd8\xff\xc0\0\2\xff\xda\xff\xd9")


def test_an_image_without_a_frame_header_is_an_error() -> None:
    with pytest.raises(ImageError, match="damaged JPEG"):
        checked_size(b"\xff\xd8\xff\xda\0\2\xff\xd9")


def test_convert_states_the_sizes_and_records_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = [(112, 112)] * 7 + [(96, 112)] * 2 + [(250, 250), (250, 260)] + [(112, 112)]
    folder = folder_of(tmp_path / "faces", sizes)
    assert command("convert", "imagefolder", folder, tmp_path / "out", "--workers", 1) == 0
    line = "112x112 66.7%, 96x112 16.7%, 250x250 8.3%, 1 other (e.g. 250x260)"
    assert f"sizes: {line}" in capsys.readouterr().out
    index = Index.open(tmp_path / "out")
    assert index.sizes is not None
    assert index.sizes.listed == {(112, 112): 8, (96, 112): 2, (250, 250): 1, (250, 260): 1}
    assert index.sizes.not_square == 3
    assert index.sizes.other_than(112) == 4
    assert command("info", tmp_path / "out") == 0
    assert f"image sizes: {line}" in capsys.readouterr().out
    assert command("info", tmp_path / "out", "--json") == 0
    assert json.loads(capsys.readouterr().out)["sizes"]["listed"][0] == [112, 112, 8]
    assert command("convert", "imagefolder", folder, tmp_path / "out", "--workers", 1) == 0
    assert f"sizes: {line}" in capsys.readouterr().out, "also where there is nothing to do"


def test_what_is_left_out_is_not_counted(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "faces", [(30, 20)] * 4 + [(50, 50)])
    (folder / "p000" / "cut.jpeg").write_bytes(encoded("JPEG", 99, 99)[:-40])
    index = convert(ImageFolder(folder), tmp_path / "out", Options(min_images=2), workers=1, max_skipped=1).index
    assert index.sizes is not None
    assert index.sizes.listed == {(30, 20): 4}


def test_the_index_does_not_depend_on_workers_or_shards(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "faces", [(20 + number % 7, 20 + number % 5) for number in range(60)])
    made = []
    for workers, size in ((1, 20_000), (2, 20_000), (1, 10_000_000)):
        dest = tmp_path / f"{workers}-{size}"
        convert(ImageFolder(folder), dest, Options(shard_size=size), workers=workers)
        made.append(dest)
    assert (made[0] / "index.json").read_bytes() == (made[1] / "index.json").read_bytes()
    assert Index.open(made[0]).sizes == Index.open(made[2]).sizes


def test_a_run_that_goes_on_counts_what_was_written_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "faces", [(20 + number % 7, 20 + number % 5) for number in range(60)])
    options = Options(shard_size=20_000)
    whole = convert(ImageFolder(folder), tmp_path / "whole", options, workers=1)
    assert len(whole.index.shards) > 2
    save = Workspace.save
    saved = []

    def save_and_stop(workspace: Workspace, *arguments: Any) -> None:
        save(workspace, *arguments)
        saved.append(arguments)
        if len(saved) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            convert(ImageFolder(folder), tmp_path / "stopped", options, workers=1)
    report = convert(ImageFolder(folder), tmp_path / "stopped", options, workers=1)
    assert report.written == len(whole.index.shards) - 2
    assert (tmp_path / "stopped/index.json").read_bytes() == (tmp_path / "whole/index.json").read_bytes()


def test_unaligned_photographs_do_not_swell_the_index() -> None:
    counts = {(100 + number, 100): 1 for number in range(5000)} | {(112, 112): 3}
    sizes = Sizes.of(counts)
    assert len(sizes.listed) == MOST_LISTED
    assert sizes.images == 5003
    assert sizes.other_sizes == 5001 - MOST_LISTED
    assert sizes.not_square == 4999
    assert sizes.other_than(112) == 5000
    assert sizes.describe() == "112x112 <0.1%, 100x100 <0.1%, 101x100 <0.1%, 4,998 others (e.g. 102x100)"


@given(st.dictionaries(st.tuples(st.integers(1, 400), st.integers(1, 400)), st.integers(1, 1000), max_size=400))
def test_the_order_of_counting_does_not_matter(counts: dict[tuple[int, int], int]) -> None:
    sizes = Sizes.of(counts)
    assert sizes == Sizes.of(dict(reversed(counts.items())))
    halves = [dict(list(counts.items())[::2]), dict(list(counts.items())[1::2])]
    assert sizes == Sizes.of(total(halves))
    assert Sizes.from_json(json.loads(json.dumps(sizes.to_json()))) == sizes
    assert sizes.images == sum(counts.values())


@pytest.mark.parametrize(
    ("images", "of", "said"), [(0, 9, "0%"), (9, 9, "100%"), (1, 10**6, "<0.1%"), (10**6 - 1, 10**6, "99.9%")]
)
def test_shares_are_never_rounded_to_nothing_or_everything(images: int, of: int, said: str) -> None:
    assert share(images, of) == said


def test_an_index_without_sizes_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As of shards made elsewhere, or of an earlier version."""
    folder = folder_of(tmp_path / "faces", [(30, 30)] * 4)
    convert(ImageFolder(folder), tmp_path / "out", workers=1)
    for name in ("index.json", "identities.npy", "checksums.npy", "skipped.tsv"):
        (tmp_path / "out" / name).unlink()
    assert command("index", tmp_path / "out", "--workers", 1) == 0
    assert Index.open(tmp_path / "out").sizes is None
    assert command("info", tmp_path / "out") == 0
    assert "image sizes: not recorded" in capsys.readouterr().out


def test_sizes_that_were_damaged_are_an_error(tmp_path: Path) -> None:
    convert(ImageFolder(folder_of(tmp_path / "faces", [(30, 30)] * 4)), tmp_path / "out", workers=1)
    path = tmp_path / "out" / "index.json"
    manifest = json.loads(path.read_text())
    manifest["wds_face"]["sizes"] = {"listed": 7}
    del manifest["wds_face"]["sha256"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match="damaged"):
        Index.open(tmp_path / "out")
