"""The counts to choose P, K and min_images by."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support import MakeFolder
from wds_face import ImageFolder, convert
from wds_face.shards.census import census


def test_counts(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"a": 1, "b": 1, "c": 3, "d": 12, "e": 3})
    counts = census(convert(ImageFolder(root), tmp_path / "out", workers=1).index, k=3)
    assert (counts["identities"], counts["images"], counts["shards"]) == (5, 20, 1)
    assert counts["bytes"] == (tmp_path / "out" / "train-000000.tar").stat().st_size
    assert counts["images_per_identity"] == {"min": 1, "median": 3.0, "mean": 4.0, "max": 12}
    assert counts["below_k"] == {"k": 3, "identities": 2, "share": 0.4, "share_of_images": 0.1}
    assert counts["histogram"] == [(1, 1, 2), (2, 2, 0), (3, 3, 2), (4, 4, 0), (5, 9, 0), (10, 19, 1)]
    assert json.loads(json.dumps(counts))["images"] == 20


def test_the_last_bin_is_open(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"a": 1001})
    counts = census(convert(ImageFolder(root), tmp_path / "out", workers=1).index)
    assert counts["histogram"][-1] == (1000, None, 1)
