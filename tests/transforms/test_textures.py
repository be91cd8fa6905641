"""Mask pictures: those of wds_face, and how those of others are read."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from wds_face.transforms import MedicalMaskOcclusion
from wds_face.transforms.textures import BUILT_IN, TURNS, Texture, level_numbers, level_sizes, read_kinds

U8 = npt.NDArray[np.uint8]


def write(path: Path, color: tuple[int, int, int] = (90, 150, 200), mode: str = "RGBA") -> Path:
    path.parent.mkdir(exist_ok=True)
    image = Image.new("RGBA", (30, 20), (*color, 255))
    image.putpixel((0, 0), (*color, 0))  # WebP leaves out an alpha channel of nothing but 255
    image.convert(mode).save(path)
    return path


# Built in


def test_four_kinds_from_three_sides() -> None:
    files = {path.stem for path in BUILT_IN.glob("*.png")}
    kinds = {stem.rpartition("-")[0] for stem in files}
    assert len(kinds) == 4
    assert files == {f"{kind}-{turn}" for kind in kinds for turn in TURNS}


@pytest.mark.parametrize("path", sorted(BUILT_IN.glob("*.png")), ids=lambda path: path.stem)
def test_built_in_pictures_are_large_and_transparent_around_a_mask(path: Path) -> None:
    with Image.open(path) as picture:
        assert picture.mode == "RGBA"
        assert picture.width >= 512
        alpha = np.array(picture.getchannel("A"))
    assert 0.3 < (alpha > 128).mean() < 0.95
    assert (alpha == 0).any()
    high, wide = alpha.shape
    assert (alpha[int(high * 0.4) : int(high * 0.7), int(wide * 0.4) : int(wide * 0.6)] == 255).all(), "over the mouth"


def test_built_in_pictures_differ_by_kind_and_turn() -> None:
    small = {path.stem: np.array(Image.open(path).convert("RGBA").resize((40, 30))) for path in BUILT_IN.glob("*.png")}
    names = sorted(small)
    for number, name in enumerate(names):
        for other in names[number + 1 :]:
            assert np.abs(small[name].astype(int) - small[other]).mean() > 2, (name, other)


def test_kinds_are_read_with_all_their_turns() -> None:
    kinds = read_kinds(BUILT_IN)
    assert [kind.name for kind in kinds] == sorted(kind.name for kind in kinds)
    for kind in kinds:
        assert len({id(kind.turned(turn)) for turn in range(3)}) == 3


# Reading


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_every_mode_with_an_alpha_channel_is_read(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    image = Image.new("RGBA", (30, 20), (90, 90, 90, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    if mode == "PA":
        quantized = image.quantize(4)
        assert "transparency" in quantized.info or quantized.mode == "P"
        quantized.save(path)
    else:
        image.convert(mode).save(path)
    (kind,) = read_kinds(path)
    assert kind.turned(0).size == (20, 30)


def test_webp_is_read(tmp_path: Path) -> None:
    (kind,) = read_kinds(write(tmp_path / "mask.webp"))
    assert kind.name == "mask"


def test_a_folder_is_read_by_name(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "c-front.png", "c-left.png", "d.WEBP"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no mask")
    assert [kind.name for kind in read_kinds(tmp_path)] == ["a", "b", "c", "d"]
    assert [kind.name for kind in read_kinds(str(tmp_path))] == ["a", "b", "c", "d"]


def test_a_list_is_read_in_its_order(tmp_path: Path) -> None:
    paths = [write(tmp_path / "z.png"), str(write(tmp_path / "a.png"))]
    assert [kind.name for kind in read_kinds(paths)] == ["z", "a"]


def test_turns_that_are_missing_are_seen_from_the_front(tmp_path: Path) -> None:
    (kind,) = read_kinds([write(tmp_path / "m-front.png"), write(tmp_path / "m-right.png")])
    assert kind.turned(0) is kind.turned(1)
    assert kind.turned(2) is not kind.turned(0)


MASK_THE_FACE = ["KN95", "N95", "cloth", "gas", "surgical", "surgical_blue", "surgical_green"]


def test_names_of_mask_the_face_are_turns(tmp_path: Path) -> None:
    for name in MASK_THE_FACE:
        for turn in ("", "_left", "_right"):
            write(tmp_path / f"{name}{turn}.png")
    kinds = read_kinds(tmp_path)
    assert [kind.name for kind in kinds] == MASK_THE_FACE
    for kind in kinds:
        assert len({id(kind.turned(turn)) for turn in range(3)}) == 3


def test_a_turn_of_mask_the_face_is_that_of_ours(tmp_path: Path) -> None:
    """In both, *left* is a face whose nose lies to the left of the picture."""
    paths = [
        write(tmp_path / "N95.png"),
        write(tmp_path / "N95_left.png", (255, 0, 0)),
        write(tmp_path / "N95_right.png"),
    ]
    (kind,) = read_kinds(paths)
    assert kind.turned(TURNS.index("left")).palette[:, 0].max() == 255
    assert kind.turned(TURNS.index("right")).palette[:, 0].max() == 90


@pytest.mark.parametrize("name", ["N95_left", "N95-LEFT", "N95_Right"])
def test_turns_are_read_in_any_case(name: str, tmp_path: Path) -> None:
    (kind,) = read_kinds([write(tmp_path / "N95.png"), write(tmp_path / f"{name}.png")])
    assert kind.name == "N95"


@pytest.mark.parametrize("name", ["left", "_left", "leftover", "a_leftish", "left_a", "aleft"])
def test_other_names_are_kinds(name: str, tmp_path: Path) -> None:
    (kind,) = read_kinds(write(tmp_path / f"{name}.png"))
    assert kind.name == name


def test_two_pictures_of_one_turn_are_one_clear_error(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{name}.png") for name in ("N95", "N95_left", "N95-left")]
    with pytest.raises(ValueError, match="two mask pictures of 'N95' from the left"):
        read_kinds(paths)


def test_only_turned_pictures_of_mask_the_face_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mask 'N95' has only turned pictures: add N95-front\.png or N95\.png"):
        read_kinds(write(tmp_path / "N95_left.png"))


def test_files_of_one_name_in_two_folders_are_two_kinds(tmp_path: Path) -> None:
    paths = [write(tmp_path / "blue" / "mask.png", (0, 0, 255)), write(tmp_path / "red" / "mask.png", (255, 0, 0))]
    assert len(read_kinds(paths)) == 2


def test_a_kind_without_a_front_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mask 'm' has only turned pictures: add m-front\.png"):
        read_kinds([write(tmp_path / "m-left.png")])


def test_a_name_that_is_only_a_turn_is_a_kind(tmp_path: Path) -> None:
    (kind,) = read_kinds(write(tmp_path / "front.png"))
    assert kind.name == "front"


def test_pictures_without_alpha_are_refused_by_name(tmp_path: Path) -> None:
    for mode in ("RGB", "L", "1"):
        with pytest.raises(ValueError, match=r"plain\.png has no transparency"):
            read_kinds(write(tmp_path / "plain.png", mode=mode))


# Levels


def test_levels_are_never_enlarged_and_have_texels_enough() -> None:
    sizes = np.array([[40, 60], [400, 600], [4000, 6000]])
    for height, width in ((1.0, 1.0), (20.0, 30.0), (80.0, 120.0), (800.0, 1200.0)):
        numbers = level_numbers(sizes, np.full(3, height), np.full(3, width))
        made = level_sizes(sizes, numbers)
        assert (made <= sizes).all()
        assert ((made[:, 0] >= 2 * height) | (made == sizes).all(1)).all(), "two texels to a pixel"
        assert (made.prod(1) <= (2.5 * height + 1) * (2.5 * width + 1)).all(), "and two and a half at most"


@pytest.mark.parametrize("number", [0, -1, -5, -20])
def test_a_level_has_its_size_and_a_transparent_border(number: int) -> None:
    texture = Texture(np.full((60, 90, 4), 255, np.uint8))
    level = texture.level(number)
    high, wide = level_sizes(np.array([60, 90]), np.array(number)).astype(int)
    assert level.shape == (high + 2, wide + 2)
    assert (level[1:-1, 1:-1] >> 8 == 255).all(), "what is opaque stays so to its edge"
    for edge in (level[0], level[-1], level[:, 0], level[:, -1]):
        assert not (edge >> 8).any()


def test_colors_are_those_of_the_picture() -> None:
    rgba = np.zeros((120, 160, 4), np.uint8)
    rgba[..., 3] = 255
    rgba[:, :80, :3], rgba[:, 80:, :3] = (200, 40, 60), (30, 90, 210)
    texture = Texture(rgba)
    for number in (0, -2, -4):
        level = texture.level(number)
        left, right = (texture.palette[level[level.shape[0] // 2, column] & 255] for column in (4, -5))
        assert np.abs(left.astype(int) - (200, 40, 60)).max() <= 3
        assert np.abs(right.astype(int) - (30, 90, 210)).max() <= 3


def test_what_is_transparent_lends_no_color_to_the_edge(tmp_path: Path) -> None:
    # green where nothing is seen: a fringe of it would mean that alpha was not multiplied in
    picture = np.zeros((200, 300, 4), np.uint8)
    picture[...] = 0, 255, 0, 0
    picture[30:170, 40:260] = 200, 200, 200, 255
    Image.fromarray(picture).save(tmp_path / "own.png")
    out, _ = MedicalMaskOcclusion(tmp_path / "own.png", 1, rng=np.random.default_rng(0))(
        np.full((112, 112, 3), 150, np.uint8)
    )
    assert np.ptp(out.astype(int), 2).max() <= 2


def test_two_pictures_of_one_kind_from_one_side_are_one_clear_error(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / "a-front.png")
    with pytest.raises(ValueError, match="two mask pictures of 'a' from the front"):
        read_kinds(tmp_path)


def test_masks_of_the_package_are_not_sent_to_other_processes() -> None:
    assert len(pickle.dumps(MedicalMaskOcclusion())) < 10_000
    image = np.full((112, 112, 3), 120, np.uint8)
    ours = MedicalMaskOcclusion(prob=1, channels="bgr", rng=np.random.default_rng(1))
    theirs = pickle.loads(pickle.dumps(ours))
    assert np.array_equal(ours(image)[0], theirs(image)[0])


@pytest.mark.parametrize(
    ("alpha", "drawn"), [(1, 0), (7, 0), (8, 8), (100, 100), (247, 247), (248, 255), (254, 255), (255, 255)]
)
def test_what_is_hardly_seen_is_transparent_and_what_hardly_shines_through_is_not(alpha: int, drawn: int) -> None:
    picture = np.full((20, 30, 4), 90, np.uint8)
    picture[..., 3] = alpha
    assert set((Texture(picture).level(0)[1:-1, 1:-1] >> 8).ravel().tolist()) == {drawn}
