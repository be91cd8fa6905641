"""Contact sheets: what stands where, and files that are whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wds_face.sheet import contact_sheet, save_sheet

SIDE = 20


def plain_tiles(count: int, high: int = SIDE, wide: int = SIDE) -> np.ndarray:
    """Tiles of one colour each, all different and unlike paper and ink: uint8 [count, high, wide, 3]."""
    colors = np.stack([np.full(count, 255), np.arange(count) * 2, np.zeros(count)], 1).astype(np.uint8)
    return np.broadcast_to(colors[:, None, None], (count, high, wide, 3)).copy()


def places(sheet: Image.Image, tiles: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Where each one-colour tile lies on the sheet: left, top, right, bottom, exclusive."""
    pixels = np.asarray(sheet)
    boxes = []
    for tile in tiles:
        ys, xs = np.nonzero((pixels == tile[0, 0]).all(2))
        assert len(ys), "a tile is missing"
        boxes.append((int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1))
    return boxes


def rows(boxes: list[tuple[int, int, int, int]]) -> list[int]:
    """How many tiles stand in each row, from the top."""
    tops = [box[1] for box in boxes]
    assert tops == sorted(tops), "tiles are in reading order"
    return [tops.count(top) for top in sorted(set(tops))]


def ink(sheet: Image.Image, box: tuple[int, int, int, int]) -> int:
    """How many pixels in a box are dark, as only writing is."""
    return int((np.asarray(sheet.crop(box)).max(2) < 160).sum())


def test_a_plain_grid() -> None:
    tiles = plain_tiles(6)
    sheet = contact_sheet(tiles, columns=3, gap=5)
    assert sheet.mode == "RGB"
    boxes = places(sheet, tiles)
    assert rows(boxes) == [3, 3]
    assert all((right - left, bottom - top) == (SIDE, SIDE) for left, top, right, bottom in boxes)
    assert boxes[1][0] - boxes[0][2] == 5
    assert boxes[3][1] - boxes[0][3] == 5
    margin = boxes[0][0]
    assert boxes[0][1] == margin
    assert sheet.size == (boxes[5][2] + margin, boxes[5][3] + margin)


def test_pixels_are_those_of_the_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 7, 3), dtype=np.uint8)
    sheet = np.asarray(contact_sheet(images, columns=2, gap=1))
    margin = 2 * 1 + 8
    np.testing.assert_array_equal(sheet[margin : margin + 9, margin : margin + 7], images[0])
    np.testing.assert_array_equal(sheet[margin : margin + 9, margin + 8 : margin + 15], images[1])


def test_channels_first_channels_last_lists_and_tensors_are_the_same() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 10, 12, 3), dtype=np.uint8)
    labels = [3, 3, 5, 5]
    expected = contact_sheet(images, labels).tobytes()
    assert contact_sheet(images.transpose(0, 3, 1, 2), labels).tobytes() == expected
    assert contact_sheet(list(images), np.array(labels)).tobytes() == expected
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    assert contact_sheet(tensor, torch.tensor(labels)).tobytes() == expected


def test_scale_enlarges_tiles() -> None:
    tiles = plain_tiles(2, high=10, wide=16)
    left, top, right, bottom = places(contact_sheet(tiles, scale=3), tiles)[0]
    assert (right - left, bottom - top) == (48, 30)


@pytest.mark.parametrize("count", [1, 7, 48, 120])
def test_without_columns_the_sheet_is_about_4_to_3(count: int) -> None:
    sheet = contact_sheet(plain_tiles(count, 112, 112))
    assert count == 1 or 0.9 < sheet.width / sheet.height < 2


def test_a_pk_batch_stands_identity_by_identity() -> None:
    tiles = plain_tiles(48, 112, 112)
    sheet = contact_sheet(tiles, np.repeat(np.arange(12) + 40, 4), gap=4)
    boxes = places(sheet, tiles)
    assert all(count % 4 == 0 for count in rows(boxes))
    assert rows(boxes)[0] > 4, "several identities in a row"
    assert 1 < sheet.width / sheet.height < 1.8
    for first in range(0, 48, 4):
        assert len({box[1] for box in boxes[first : first + 4]}) == 1
        gaps = [boxes[i + 1][0] - boxes[i][2] for i in range(first, first + 3)]
        assert gaps == [4, 4, 4]
    assert boxes[4][0] - boxes[3][2] > 4, "more room between identities"


def test_one_caption_for_each_identity() -> None:
    tiles = plain_tiles(8, 112, 112)
    sheet = contact_sheet(tiles, [7, 7, 8, 8, 9, 9, 123, 123], columns=4)
    boxes = places(sheet, tiles)
    written = [ink(sheet, (left, top - 17, right, top)) > 0 for left, top, right, _ in boxes]
    assert written == [True, False] * 4
    bare = contact_sheet(tiles, columns=4)
    assert ink(bare, (0, 0, *bare.size)) == 0
    other = contact_sheet(tiles, [7, 7, 8, 8, 9, 9, 124, 124], columns=4)
    assert other.size == sheet.size
    assert other.tobytes() != sheet.tobytes(), "the number is in the caption"


def test_columns_hold_whole_identities() -> None:
    tiles = plain_tiles(18)
    labels = np.repeat(["ann", "bob", "cy", "di", "ed", "flo"], 3)
    assert rows(places(contact_sheet(tiles, labels, columns=7), tiles)) == [6, 6, 6]
    assert rows(places(contact_sheet(tiles, labels, columns=3), tiles)) == [3] * 6
    assert rows(places(contact_sheet(tiles, labels, columns=2), tiles)) == [2] * 9  # too few: a plain grid


@pytest.mark.parametrize("labels", [[1, 1, 2, 2, 2, 3], [1, 2, 3, 4, 5, 6], [1] * 6], ids=["uneven", "single", "one"])
def test_other_labels_are_captions_of_a_plain_grid(labels: list[int]) -> None:
    tiles = plain_tiles(6, 60, 60)
    sheet = contact_sheet(tiles, labels, columns=3)
    boxes = places(sheet, tiles)
    assert rows(boxes) == [3, 3]
    assert boxes[1][0] - boxes[0][2] == 4
    assert all(ink(sheet, (left, top - 17, right, top)) > 0 for left, top, right, _ in boxes)


def test_a_long_caption_stays_over_its_image() -> None:
    tiles = plain_tiles(2, 60, 60)
    sheet = contact_sheet(tiles, ["a very long name " * 5, "b"], columns=1)
    (left, top, right, _), _ = places(sheet, tiles)
    assert ink(sheet, (left, top - 17, right, top)) > 0
    assert ink(sheet, (right, 0, sheet.width, sheet.height)) == 0


def test_a_title_stands_above_all() -> None:
    tiles = plain_tiles(4, 112, 112)
    without, sheet = contact_sheet(tiles), contact_sheet(tiles, title="Four tiles")
    assert sheet.width == without.width
    assert sheet.height > without.height
    top = places(sheet, tiles)[0][1]
    assert ink(sheet, (0, 0, sheet.width, top)) > 50
    assert ink(sheet, (0, top, *sheet.size)) == 0


@pytest.mark.parametrize(
    ("images", "arguments", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), {}, "images must be uint8, got float32"),
        (np.zeros((8, 8, 3), np.uint8), {}, r"got \[8, 8, 3\]"),
        (np.zeros((2, 8, 8, 1), np.uint8), {}, r"got \[2, 8, 8, 1\]"),
        (np.zeros((0, 8, 8, 3), np.uint8), {}, r"at least one, got \[0, 8, 8, 3\]"),
        (plain_tiles(2), {"labels": [1]}, r"labels must be one per image, 2, got shape \[1\]"),
        (plain_tiles(2), {"labels": [[1], [2]]}, r"got shape \[2, 1\]"),
        (plain_tiles(2), {"labels": [0.5, 1.5]}, "labels must be integers or strings, got float64"),
        (plain_tiles(2), {"columns": 0}, "columns >= 1"),
        (plain_tiles(2), {"scale": 0}, "scale >= 1"),
        (plain_tiles(2), {"gap": -1}, "gap >= 0"),
    ],
)
def test_refusals_say_why_in_one_line(images: np.ndarray, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        contact_sheet(images, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("b.JPG", "JPEG")])
def test_save_sheet_writes_the_sheet_and_leaves_nothing_else(tmp_path: Path, name: str, kind: str) -> None:
    tiles = plain_tiles(6)
    (tmp_path / name).write_bytes(b"older")
    save_sheet(tmp_path / name, tiles, [1, 1, 2, 2, 3, 3], columns=4, title="t")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with Image.open(tmp_path / name) as stored:
        assert stored.format == kind
        expected = contact_sheet(tiles, [1, 1, 2, 2, 3, 3], columns=4, title="t")
        assert stored.size == expected.size
        if kind == "PNG":
            assert stored.convert("RGB").tobytes() == expected.tobytes()


def test_a_failed_save_keeps_the_older_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sheet.png"
    path.write_bytes(b"older")

    def full(self: Image.Image, file: object, *args: object, **kwargs: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        save_sheet(str(path), plain_tiles(2))
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["sheet", "sheet.xyz"])
def test_save_sheet_refuses_a_name_that_is_no_picture(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"try \.png or \.jpg"):
        save_sheet(tmp_path / name, plain_tiles(2))
    assert not list(tmp_path.iterdir())
