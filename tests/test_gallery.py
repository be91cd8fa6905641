"""The gallery: a row for each face, a column for each transform, masks beside the images."""

from __future__ import annotations

import numpy as np
import pytest

import wds_face
from wds_face.gallery import Exhibit, exhibits, gallery


def faces(count: int, size: int = 112) -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 256, (size, size, 3), dtype=np.uint8) for i in range(count)]


def places(sheet: np.ndarray, tile: np.ndarray) -> list[tuple[int, int]]:
    """Where *tile* stands on the sheet: left, top."""
    high, wide = tile.shape[:2]
    candidates = zip(*np.nonzero((sheet[: -high + 1, : -wide + 1] == tile[0, 0]).all(2)), strict=True)
    return [(x, y) for y, x in candidates if np.array_equal(sheet[y : y + high, x : x + wide], tile)]


def test_images_and_masks_stand_in_rows_and_columns() -> None:
    def half(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mask = np.full(image.shape[:2], 255, np.uint8)
        mask[:56] = 0
        return 255 - image, mask

    images = faces(3)
    columns = [Exhibit("as it is", "", lambda image: image), Exhibit("half", "with mask", half)]
    sheet = np.asarray(gallery(images, columns, title="title"))
    where = [places(sheet, image)[0] for image in images]
    assert len({x for x, _ in where}) == 1
    assert [y for _, y in where] == sorted({y for _, y in where})
    for image, (left, top) in zip(images, where, strict=True):
        ((x, y),) = places(sheet, 255 - image)
        assert y == top
        assert x > left + 112
        mask = sheet[top + 1 : top + 111, x + 116 + 1 : x + 116 + 111]
        assert (mask[:54] == 0).all()
        assert (mask[56:] == 255).all()
    assert sheet[: where[0][1]].min() < 120, "captions stand above"


def test_every_transform_is_there() -> None:
    names = {exhibit.name.partition(".")[0] for exhibit in exhibits("arcface", np.random.default_rng(0))}
    made = {"Augmenter", *(name for name in wds_face.__all__ if name.startswith("Random") and "Sampler" not in name)}
    made |= {name for name in wds_face.__all__ if "Occlusion" in name and "Wrapper" not in name}
    assert names == made | {"original", "training"}


def test_the_seed_decides() -> None:
    def drawn(seed: int) -> bytes:
        return gallery(faces(2), exhibits("casia", np.random.default_rng(seed))).tobytes()

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_faces_of_other_sizes_and_enlarging() -> None:
    columns = exhibits("arcface", np.random.default_rng(0))
    small, large = gallery(faces(1, 40), columns), gallery(faces(1, 200), columns, scale=2)
    assert large.width > 1.8 * small.width


def test_no_faces() -> None:
    with pytest.raises(ValueError, match="at least one face"):
        gallery([], exhibits("arcface", np.random.default_rng(0)))
