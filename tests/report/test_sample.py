"""A sample is random, the same each time, and bounded in what it reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.report.conftest import NAMES
from wds_face import Index
from wds_face.errors import DatasetError
from wds_face.report.sample import draw, read_sample


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_every_image_is_as_likely() -> None:
    images = np.array([1, 9, 30, 60])
    times = np.zeros(4)
    for seed in range(300):
        rows, numbers = draw(images, images * 5000, 10, rng(seed))
        assert len(set(zip(rows.tolist(), numbers.tolist(), strict=True))) == 10
        assert (numbers < images[rows]).all()
        times += np.bincount(rows, minlength=4)
    np.testing.assert_allclose(times / 3000, images / 100, atol=0.02)


def test_all_of_a_small_set() -> None:
    images = np.array([2, 1, 3])
    rows, numbers = draw(images, images * 5000, 100, rng())
    assert rows.tolist() == [0, 0, 1, 2, 2, 2]
    assert numbers.tolist() == [0, 1, 0, 0, 1, 2]


def test_what_would_be_too_much_is_taken_from_fewer_identities() -> None:
    images = np.full(1000, 100)
    nbytes = images * 10_000  # 1 MB each
    rows, numbers = draw(images, nbytes, 500, rng())
    assert len(set(zip(rows.tolist(), numbers.tolist(), strict=True))) == 500
    assert len(np.unique(rows)) == 500 * (128 << 10) // 1_000_000
    assert np.bincount(rows).max() < 30
    assert (np.diff(rows) >= 0).all()
    rows, _ = draw(images, nbytes * 1000, 500, rng())
    assert len(np.unique(rows)) == 1, "one is read whatever it takes"


def test_it_is_read_in_order_and_is_what_the_shards_have(odd: Path) -> None:
    index = Index.open(odd)
    found = list(read_sample(index, 10**6, 0))
    assert len(found) == index.images
    assert {index.classes[one.label] for one in found} >= {NAMES[1], NAMES[2]}
    shard = (odd / found[0].url).read_bytes()
    places = [shard.index(bytes(one.data)) for one in found]
    assert places == sorted(places)
    some = [(one.key, bytes(one.data)) for one in read_sample(index, 12, 3)]
    assert len(some) == 12
    assert some == [(one.key, bytes(one.data)) for one in read_sample(index, 12, 3)]
    assert some != [(one.key, bytes(one.data)) for one in read_sample(index, 12, 4)]


def test_a_shard_that_is_cut(odd: Path, tmp_path: Path) -> None:
    for file in odd.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    shard = tmp_path / "train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:20_000])
    with pytest.raises(DatasetError, match="the index says"):
        list(read_sample(Index.open(tmp_path), 50, 0))
