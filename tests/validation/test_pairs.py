"""Pairs of one's own: of the people they are said to be, and never twice."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from tests.support import MakeFolder, jpeg
from wds_face import ImageFolder, Options, SourceError, convert, draw_pairs
from wds_face.decoding import decode


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Thirty people with 1 to 5 images, all different."""
    number = itertools.count()
    for who in range(30):
        (tmp_path / "faces" / f"{who:02d}").mkdir(parents=True)
        for image in range(1 + who % 5):
            (tmp_path / "faces" / f"{who:02d}" / f"{image}.jpg").write_bytes(jpeg(next(number)))
    convert(ImageFolder(tmp_path / "faces"), tmp_path / "shards", Options(shard_size=20_000), workers=1)
    return tmp_path / "shards"


def owners(shards: Path) -> dict[bytes, tuple[int, int]]:
    """Person and images of each image's pixels."""
    found = {}
    for folder in sorted((shards.parent / "faces").iterdir()):
        files = sorted(folder.iterdir())
        for file in files:
            image = decode(file.read_bytes())
            assert image is not None
            found[image.tobytes()] = int(folder.name), len(files)
    return found


@pytest.mark.parametrize(("max_images", "pairs"), [(None, 60), (3, 40)])
def test_they_are_who_they_are_said_to_be(shards: Path, max_images: int | None, pairs: int) -> None:
    images, issame = draw_pairs(shards, pairs, max_images=max_images, image_size=24)
    whose = owners(shards)
    pixels = images.pixels(0, 2 * pairs).transpose(0, 2, 3, 1)
    seen = set()
    for number, same in enumerate(issame):
        one, two = (np.ascontiguousarray(pixels[2 * number + i]).tobytes() for i in range(2))
        assert one != two
        assert (whose[one][0] == whose[two][0]) == same
        assert max_images is None or max(whose[one][1], whose[two][1]) <= max_images
        seen.add(frozenset((one, two)))
    assert len(seen) == pairs
    assert issame.tolist() == [True, False] * (pairs // 2), "every fold has both kinds"


def test_the_seed_decides(shards: Path) -> None:
    first, again, other = (draw_pairs(shards, 40, seed=seed, image_size=24)[0].pixels(0, 80) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_all_that_there_are(shards: Path) -> None:
    """Six people have 2 images, 3, 4 and 5: 6 * (1 + 3 + 6 + 10) pairs of one person."""
    images, issame = draw_pairs(shards, 239, image_size=24)
    assert issame.sum() == 120
    assert len(images) == 478
    with pytest.raises(SourceError, match="120 pairs of one person and 121 of two were found: ask for fewer than 242"):
        draw_pairs(shards, 242)
    with pytest.raises(
        SourceError, match="0 pairs of one person and 5 of two were found of people with at most 1 images"
    ):
        draw_pairs(shards, 10, max_images=1)


def test_one_person(make_folder: MakeFolder, tmp_path: Path) -> None:
    convert(ImageFolder(make_folder({"anna": 4})), tmp_path / "out", workers=1)
    with pytest.raises(SourceError, match="2 pairs of one person and 0 of two"):
        draw_pairs(tmp_path / "out", 4)
