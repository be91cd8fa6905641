"""A population as a folder of JPEG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wds_face.synthetic import face, write_folder


def read_all(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_write_folder(tmp_path: Path) -> None:
    count = write_folder(tmp_path / "faces", identities=12, images=(2, 5), seed=4)
    files = read_all(tmp_path / "faces")
    assert count == len(files)
    per_person = [sum(name.startswith(f"person_{person:04d}/") for name in files) for person in range(12)]
    assert sum(per_person) == count, "nothing but person_0000 .. person_0011"
    assert min(per_person) >= 2
    assert max(per_person) <= 5
    for person, images in enumerate(per_person):
        for image in range(images):
            with Image.open(tmp_path / "faces" / f"person_{person:04d}" / f"{image:04d}.jpg") as jpeg:
                assert jpeg.format == "JPEG"
                stored = np.asarray(jpeg.convert("RGB")).astype(int)
            assert np.abs(stored - face(person, image, seed=4)).mean() < 6  # JPEG's loss; BGR would be 20 and more


def test_write_folder_repeats_itself_and_a_longer_one_starts_the_same(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", identities=3, images=(1, 3))
    write_folder(tmp_path / "b", identities=3, images=(1, 3))
    write_folder(tmp_path / "c", identities=5, images=(1, 3))
    write_folder(tmp_path / "d", identities=3, images=(1, 3), seed=1)
    small, longer = read_all(tmp_path / "a"), read_all(tmp_path / "c")
    assert small == read_all(tmp_path / "b")
    assert len(longer) > len(small)
    assert small.items() <= longer.items()
    assert small != read_all(tmp_path / "d")


def test_write_folder_has_a_long_tail_and_spans_its_range(tmp_path: Path) -> None:
    write_folder(tmp_path, identities=60, images=(1, 4), quality=50)
    counts = np.array([len(list(folder.iterdir())) for folder in tmp_path.iterdir()])
    assert set(counts.tolist()) == {1, 2, 3, 4}
    assert (counts == 1).sum() > 2 * (counts == 4).sum()


def test_write_folder_with_a_fixed_number_and_a_quality(tmp_path: Path) -> None:
    assert write_folder(str(tmp_path / "low"), identities=2, images=2, quality=10) == 4
    assert write_folder(tmp_path / "high", identities=2, images=2, quality=100) == 4
    low, high = read_all(tmp_path / "low"), read_all(tmp_path / "high")
    assert list(low) == [f"person_000{person}/000{image}.jpg" for person in (0, 1) for image in (0, 1)]
    assert all(2 * len(low[name]) < len(high[name]) for name in low)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"identities": 0}, "identities must be at least 1, got 0"),
        ({"images": 0}, "images must be at least 1"),
        ({"images": (0, 3)}, "images must be at least 1"),
        ({"images": (5, 4)}, r"got \(5, 4\)"),
        ({"quality": 0}, r"quality must be in 1\.\.100, got 0"),
        ({"quality": 101}, r"quality must be in 1\.\.100, got 101"),
        ({"seed": -1}, "must not be negative"),
    ],
)
def test_write_folder_refuses(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        write_folder(tmp_path / "faces", **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "faces").exists(), "refused before anything is written"
