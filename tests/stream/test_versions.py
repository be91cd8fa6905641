"""A shard is another one when its version is, which servers tell in many ways or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.google import Google, google
from tests.plain import PlainServer
from tests.stream.noise import digest, stream, sum_of
from tests.support import jpeg
from wds_face import ImageFolder, convert


@pytest.fixture
def gs(made: Path, tmp_path: Path) -> Iterator[PlainServer]:
    """``gs://bucket/set``."""
    shutil.copytree(made, tmp_path / "served" / "bucket" / "set")
    with google(tmp_path / "served") as server:
        yield server


@pytest.mark.parametrize("cached", [False, True])
def test_two_interfaces_with_stamps_of_their_own(
    cached: bool, gs: PlainServer, wanted: list[str], tmp_path: Path
) -> None:
    more = {"cache_dir": tmp_path / "cache"} if cached else {}
    for _ in range(2):
        one = stream("gs://bucket/set", {"patience": 5}, **more)
        assert digest(one, epochs=2) == wanted
        assert one.stats()["retries"] == 0
    assert Google.signed > 0


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("cut", [0, 50_000])
def test_another_way_has_to_be_taken_in_the_middle(
    cut: int, cached: bool, gs: PlainServer, wanted: list[str], tmp_path: Path
) -> None:
    """Of the stream, or of a range."""
    more: dict[str, Any] = {"cache_dir": tmp_path / "cache"} if cached else {}
    one = stream("gs://bucket/set", {"patience": 5, "requests": 1}, buffer_bytes=600 << 10, **more)
    batches = iter(one.loader())
    found = [sum_of(next(batches))]
    gs.refuses, gs.cut = not cut, cut
    found += [sum_of(batch) for batch in batches]
    assert gs.refuses
    assert found == wanted[: len(one)]


def faces(folder: Path, first: int) -> ImageFolder:
    """Images of one size in bytes, which others have too."""
    for number in range(24):
        data = jpeg(first + number)
        room = 3000 - len(data) - 4
        file = folder / f"{number // 3:02d}" / f"{number % 3}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data[:2] + b"\xff\xfe" + (room + 2).to_bytes(2, "big") + bytes(room) + data[2:])
    return ImageFolder(folder)


def test_a_cache_knows_another_conversion_where_no_server_tells(tmp_path: Path) -> None:
    options: dict[str, Any] = {"p": 4, "k": 2, "cache_dir": tmp_path / "cache"}
    layouts, sums = [], []
    with PlainServer(tmp_path, tells=False) as server:
        for first in (0, 100):
            convert(faces(tmp_path / str(first), first), tmp_path / "set", overwrite=True, workers=1)
            layouts.append((tmp_path / "set" / "identities.npy").read_bytes())
            sums.append(digest(stream(server.url("set"), **options)))
            assert sums[-1] == digest(stream(str(tmp_path / "set"), p=4, k=2))
    assert layouts[0] == layouts[1]
    assert sums[0] != sums[1]
