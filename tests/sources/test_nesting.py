"""At which depth identities lie: clear trees need no option, the others are refused with both readings."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import MakeFolder, command
from wds_face import ImageFolder, Index, Options, SourceError, convert, verify
from wds_face.pool import Workers
from wds_face.sources import Image, Inventory, Skipped
from wds_face.synthetic import write_folder


def items(inventory: Inventory) -> dict[str, list[str]]:
    """The paths of the images of each identity."""
    found = inventory.part(np.arange(len(inventory.names))).read()
    return {
        name: [image.item for image in images if isinstance(image, Image)]
        for name, images in zip(inventory.names, found, strict=True)
    }


def scan(root: Path, depth: int | None = None) -> Inventory | SourceError:
    """What a scan returns or raises."""
    try:
        return ImageFolder(root, identity_depth=depth).scan()
    except SourceError as error:
        return error


PEOPLE = [f"person {i:02d}" for i in range(12)]


def test_images_directly_in_the_folders(make_folder: MakeFolder) -> None:
    inventory = ImageFolder(make_folder(dict.fromkeys(PEOPLE, 2))).scan()
    assert inventory.names == PEOPLE
    assert inventory.facts == {"identity_depth": 1}
    assert inventory.notes == []


def test_one_folder_too_high(tmp_path: Path) -> None:
    write_folder(tmp_path / "data" / "lfw", identities=12, images=(1, 3), seed=0)
    right = ImageFolder(tmp_path / "data" / "lfw").scan()
    high = ImageFolder(tmp_path / "data").scan()
    assert high.names == right.names
    assert high.images.tolist() == right.images.tolist()
    assert high.facts == {"identity_depth": 2}
    assert len(high.notes) == 1
    assert "data/lfw is the only folder with images: each of its 12 sub-folders is an identity" in high.notes[0]


def test_two_folders_too_high(make_folder: MakeFolder) -> None:
    root = make_folder({f"sets/lfw/{name}": 1 for name in PEOPLE})
    inventory = ImageFolder(root).scan()
    assert inventory.names == PEOPLE
    assert inventory.facts == {"identity_depth": 3}


def test_real_faces_one_folder_too_high(lfw: Path) -> None:
    inventory = ImageFolder(lfw.parent).scan()
    assert len(inventory.names) == 5_749
    assert inventory.images.sum() == 13_233
    assert inventory.names == ImageFolder(lfw).scan().names


def test_a_split_level_is_refused_with_both_readings(make_folder: MakeFolder) -> None:
    people = {f"train/{name}": 2 for name in PEOPLE[:8]} | {f"test/{name}": 1 for name in PEOPLE[8:]}
    root = make_folder(people, "data")
    with pytest.raises(SourceError) as caught:
        ImageFolder(root).scan()
    assert str(caught.value) == (
        f"{root} can be read as 2 identities ('test', 'train') with --identity-depth 1, or as 12 identities "
        f"('person 00', 'person 01', …) with --identity-depth 2: choose one, or give {root}/train alone"
    )
    deep = ImageFolder(root, identity_depth=2).scan()
    assert deep.names == PEOPLE
    assert deep.facts == {"identity_depth": 2}
    held = "splits are read together: test (4 identities, 4 images), train (8 identities, 16 images)"
    assert any(held in note for note in deep.notes)
    assert ImageFolder(root, identity_depth=1).scan().names == ["test", "train"]


def test_a_person_in_several_splits_is_one_identity_and_a_note_says_so(make_folder: MakeFolder) -> None:
    root = make_folder({"train/ann": 2, "train/bob": 1, "test/ann": 1, "val/bob": 1, "val/cid": 1})
    with pytest.raises(SourceError, match=r"or as 3 identities \('ann', 'bob', …\)"):
        ImageFolder(root).scan()
    inventory = ImageFolder(root, identity_depth=2).scan()
    assert items(inventory) == {
        "ann": ["test/ann/0000.jpg", "train/ann/0000.jpg", "train/ann/0001.jpg"],
        "bob": ["train/bob/0000.jpg", "val/bob/0000.jpg"],
        "cid": ["val/cid/0000.jpg"],
    }
    assert inventory.notes == [
        "splits are read together: test (1 identity, 1 image), train (2 identities, 3 images), "
        "val (2 identities, 2 images); to hold one back, give the others alone",
        "2 names are in more than one split, and each is one identity: 'ann', 'bob'",
    ]


def test_the_same_number_in_two_sets_stays_two_identities(make_folder: MakeFolder) -> None:
    root = make_folder({"ms1m/0": 1, "ms1m/1": 1, "glint/0": 1, "glint/1": 1, "glint/2": 1})
    with pytest.raises(SourceError, match=r"2 identities .* or as 5 identities \('glint/0', 'glint/1', …\)"):
        ImageFolder(root).scan()
    assert ImageFolder(root, identity_depth=2).scan().names == ["glint/0", "glint/1", "glint/2", "ms1m/0", "ms1m/1"]


def test_frontal_and_profile_are_variants_of_a_person(make_folder: MakeFolder) -> None:
    """As CFP has them, with one person who has frontal images only."""
    root = make_folder(
        {f"{i:03d}/{view}": 2 for i in range(12) for view in ("frontal", "profile")} | {"012/frontal": 1}
    )
    inventory = ImageFolder(root).scan()
    assert len(inventory.names) == 13
    assert inventory.images.tolist() == [4] * 12 + [1]
    assert items(inventory)["003"] == [
        "003/frontal/0000.jpg",
        "003/frontal/0001.jpg",
        "003/profile/0000.jpg",
        "003/profile/0001.jpg",
    ]
    (note,) = inventory.notes
    assert note.startswith("12 identities have sub-folders ('frontal', 'profile') whose images are theirs")


def test_numbered_sessions_are_variants_of_a_person(make_folder: MakeFolder) -> None:
    root = make_folder({f"{name}/{session:02d}": 1 for i, name in enumerate(PEOPLE) for session in range(1 + i % 4)})
    assert ImageFolder(root).scan().names == PEOPLE


def test_cfp_one_folder_too_high(make_folder: MakeFolder) -> None:
    root = make_folder({f"Images/{i:03d}/{view}": 1 for i in range(12) for view in ("frontal", "profile")})
    (root / "Protocol").mkdir()
    (root / "Protocol" / "split.txt").write_text("x")
    inventory = ImageFolder(root).scan()
    assert len(inventory.names) == 12
    assert inventory.facts == {"identity_depth": 2}


AMBIGUOUS: dict[str, tuple[dict[str, int], str]] = {
    "unlike names below each": (
        {f"{name}/{video}": 1 for i, name in enumerate("abcdefgh") for video in (f"v{i}x", f"v{i}y")},
        r"8 identities \('a', 'b', …\) with --identity-depth 1, or as 16 identities",
    ),
    "the same people with and without masks": (
        {f"{kind}/{name}": 1 for kind in ("masked", "plain") for name in PEOPLE},
        r"2 identities \('masked', 'plain'\) with --identity-depth 1, or as 24 identities",
    ),
    "a folder of people among people": (
        dict.fromkeys(PEOPLE, 1) | {f"more/{name}": 1 for name in "abc"},
        r"13 identities .* or as 3 identities .* --identity-depth 2 \(12 images above these left out\)",
    ),
    "a few folders in one": ({"ann/frontal": 1, "ann/profile": 1}, r"1 identity \('ann'\) .* or as 2 identities"),
    "splits with the same people, more than sets": (
        {f"{split}/{name}": 1 for split in ("train", "test", "val") for name in "ab"},
        r"3 identities \('test', 'train', …\) .* or as 2 identities \('a', 'b'\)",
    ),
    "many people below a picture": (
        {"train": 1, "test": 1} | {f"{split}/{name}": 1 for split in ("train", "test") for name in PEOPLE},
        r"2 identities .* or as 12 identities .* \(2 images above these left out\)",
    ),
    "people below a lone folder with images": (
        {"all": 10} | {f"all/{name}": 1 for name in PEOPLE},
        r"1 identity \('all'\) .* or as 12 identities",
    ),
    "splits below a lone folder": (
        {f"lfw/{split}/{name}": 1 for split in ("train", "test") for name in PEOPLE},
        r"2 identities .* --identity-depth 2, or as 12 identities .* --identity-depth 3",
    ),
    "people two levels below": (
        {f"{part}/imgs/{name}": 1 for part in ("p1", "p2") for name in PEOPLE},
        r"2 identities .* --identity-depth 1, or as 24 identities .* --identity-depth 3",
    ),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_is_ambiguous_is_refused(make_folder: MakeFolder, case: str) -> None:
    counts, message = AMBIGUOUS[case]
    with pytest.raises(SourceError, match=message) as caught:
        ImageFolder(make_folder(dict(sorted(counts.items())))).scan()
    assert "\n" not in str(caught.value)


def test_a_person_with_few_folders_of_their_own(make_folder: MakeFolder) -> None:
    """Images directly in the folder settle it."""
    inventory = ImageFolder(make_folder({"a": 1, "a/2019": 2, "a/2020": 1, "b": 1})).scan()
    assert inventory.names == ["a", "b"]
    assert inventory.notes == []


def test_a_folder_in_a_folder_of_a_person(make_folder: MakeFolder) -> None:
    """Unpacked twice: there is one reading only."""
    assert ImageFolder(make_folder({"a/a": 2, "b": 1})).scan().names == ["a", "b"]


def test_images_above_the_identities_are_listed(make_folder: MakeFolder, jpegs: list[bytes]) -> None:
    root = make_folder({f"lfw/{name}": 1 for name in PEOPLE})
    (root / "lfw" / "cover.jpg").write_bytes(jpegs[0])
    (root / "cover.jpg").write_bytes(jpegs[0])
    inventory = ImageFolder(root).scan()
    assert inventory.names == PEOPLE
    reason = "not in an identity folder"
    assert inventory.skipped == [Skipped("cover.jpg", reason, "item"), Skipped("lfw/cover.jpg", reason, "item")]


def test_an_order_like_that_of_torchvision(make_folder: MakeFolder) -> None:
    from torchvision.datasets import ImageFolder as Torchvision

    root = make_folder({"a": 2, "a/x": 1, "a/x-y": 1, "a/x/z": 1, "b": 1, "b/2": 1, "b/10": 1})
    wanted = [str(Path(path).relative_to(root)) for path, _ in Torchvision(root).samples]
    assert list(itertools.chain(*items(ImageFolder(root).scan()).values())) == wanted


@pytest.mark.parametrize("depth", [3, 7])
def test_a_depth_without_images(make_folder: MakeFolder, depth: int) -> None:
    root = make_folder({"a": 1, "a/x": 1})
    with pytest.raises(SourceError, match=f"no images at --identity-depth {depth}: they lie at most 2 folders deep"):
        ImageFolder(root, identity_depth=depth).scan()


def test_the_root_as_the_only_identity(make_folder: MakeFolder) -> None:
    inventory = ImageFolder(make_folder({"ann": 2, "ann/x": 1}) / "ann", identity_depth=0).scan()
    assert items(inventory) == {"ann": ["0000.jpg", "0001.jpg", "x/0000.jpg"]}


def test_a_negative_depth() -> None:
    with pytest.raises(ValueError, match="identity_depth is -1"):
        ImageFolder("x", identity_depth=-1)


def test_the_depth_is_recorded_and_another_is_another_data_set(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({f"{split}/{name}": 2 for split in ("train", "test") for name in "abc"})
    report = convert(ImageFolder(root, identity_depth=2), tmp_path / "out", Options(min_images=2), workers=1)
    assert report.index.classes == ["a", "b", "c"]
    assert report.index.images == 12
    assert verify(tmp_path / "out") == []
    manifest = json.loads((tmp_path / "out" / "index.json").read_text())
    assert manifest["wds_face"]["made"]["source"] == {"identity_depth": 2}
    assert any("read together" in note for note in report.notes)


def test_on_the_command_line(make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder({f"{split}/{name}": 1 for split in ("train", "test") for name in PEOPLE})
    assert command("convert", "imagefolder", root, tmp_path / "out") == 1
    assert "with --identity-depth 1, or as 12 identities" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert command("preview", root, "-o", tmp_path / "x.png") == 1
    assert "with --identity-depth 1, or as 12 identities" in capsys.readouterr().err
    assert command("convert", "imagefolder", root, tmp_path / "out", "--identity-depth", 2) == 0
    told = capsys.readouterr().out
    assert "12 identities, 24 images" in told
    assert "note: splits are read together" in told
    assert command("preview", root, "-o", tmp_path / "x.png", "--identity-depth", 2, "-n", 30) == 0
    told = capsys.readouterr().out
    assert "12 faces" in told
    assert "note: splits are read together" in told
    assert len(Index.open(tmp_path / "out").classes) == 12


NAMES = st.sampled_from(["a", "b", "train", "test", "frontal", "0", "@eaDir"])
TREES = st.dictionaries(st.lists(NAMES, max_size=4).map(tuple), st.integers(1, 2), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(tree=TREES, depth=st.none() | st.integers(0, 4))
def test_every_image_is_taken_or_listed_once(tree: dict[tuple[str, ...], int], depth: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path, images in tree.items():
            root.joinpath(*path).mkdir(parents=True, exist_ok=True)
            for i in range(images):
                root.joinpath(*path, f"{i}.jpg").write_bytes(b"x")
        inventory = scan(root, depth)
        if isinstance(inventory, SourceError):
            assert "\n" not in str(inventory)
            return
        every = {str(path.relative_to(root)) for path in root.rglob("*.jpg")}
        hidden = {path for path in every if "@eaDir" in path.split("/")}
        taken = Counter(itertools.chain(*items(inventory).values()))
        listed = Counter(skipped.item for skipped in inventory.skipped if skipped.kind == "item")
        assert taken + listed == Counter(every - hidden)
        assert len(set(inventory.names)) == len(inventory.names)
        assert inventory.images.sum() == len(taken)
        assert inventory.nbytes.sum() == len(taken)


@settings(max_examples=60, deadline=None)
@given(
    people=st.lists(st.text("abcdef", min_size=1, max_size=4), min_size=2, max_size=12, unique=True),
    above=st.lists(st.sampled_from(["data", "imgs", "lfw"]), max_size=2),
)
def test_people_with_images_are_found_or_refused_never_merged(people: list[str], above: list[str]) -> None:
    """However many folders too high, each person is an identity, or nothing is taken."""
    with tempfile.TemporaryDirectory() as folder:
        for name in people:
            person = Path(folder, *above, name)
            person.mkdir(parents=True)
            (person / "0.jpg").write_bytes(b"x")
        inventory = scan(Path(folder))
        if isinstance(inventory, SourceError):
            assert above
            assert len(people) < 10
            assert f"{len(people)} identities" in str(inventory)
        else:
            assert inventory.names == sorted(people)


def test_a_wide_tree_is_shared_by_workers(make_folder: MakeFolder) -> None:
    root = make_folder({f"imgs/{i:03d}": 1 for i in range(150)})
    (root / "imgs" / "007" / "x.txt").touch()
    counted: list[int] = []
    with Workers(2) as team:
        together = ImageFolder(root).scan(team, counted.append)
    alone = ImageFolder(root).scan()
    assert together.names == alone.names == [f"{i:03d}" for i in range(150)]
    assert together.skipped == alone.skipped == [Skipped("imgs/007/x.txt", "not an image", "other")]
    assert sum(counted) == 150


def test_each_folder_is_listed_once(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding the depth adds no pass over the files."""
    root = make_folder({f"imgs/{i:03d}/{view}": 1 for i in range(80) for view in ("frontal", "profile")})
    listed: Counter[str] = Counter()
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.update([str(path)]) or scandir(path))
    assert len(ImageFolder(root).scan().names) == 80
    assert max(listed.values()) == 1
    assert len(listed) == 1 + 1 + 80 + 160


@pytest.mark.parametrize(
    "names",
    [["images"], ["train", "test"], ["Faces_112"], ["img_align_celeba"], ["images_1", "images_2"], ["images", "masks"]],
)
def test_splits_and_collections_are_no_people(make_folder: MakeFolder, names: list[str]) -> None:
    root = make_folder(dict.fromkeys(names, 3))
    with pytest.raises(
        SourceError, match=r"not look like (names of people|the name of a person): .* --identity-depth 1 to"
    ):
        ImageFolder(root).scan()
    assert sorted(ImageFolder(root, identity_depth=1).scan().names) == sorted(names)


def test_a_person_may_be_called_val(make_folder: MakeFolder) -> None:
    assert ImageFolder(make_folder({"val": 2, "ann": 2})).scan().names == ["ann", "val"]


def test_every_depth_is_offered(make_folder: MakeFolder) -> None:
    root = make_folder(
        {f"{top}/{split}/{top}{split}{i}": 2 for top in "xy" for split in ("train", "test") for i in range(3)}
    )
    with pytest.raises(SourceError, match=r"--identity-depth 1, .* --identity-depth 2, or as 12 .* --identity-depth 3"):
        ImageFolder(root).scan()


def test_hidden_folders_alone_are_named(make_folder: MakeFolder) -> None:
    with pytest.raises(SourceError, match=r"has no sub-folders with images; \.ann and 1 more, hidden, is not searched"):
        ImageFolder(make_folder({".ann": 2, ".bert": 1})).scan()
