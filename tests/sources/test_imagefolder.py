"""Whatever lies in a folder: the images are found, the rest is named, nothing stops the run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support import MakeFolder
from wds_face import ImageFolder, SourceError, WdsFaceError
from wds_face.errors import PathError
from wds_face.pool import Workers
from wds_face.sources import Image, Inventory, Skipped

NAMELESS = "looks like an image, but its name does not end like one: rename it to take it, or move it away"


def read(inventory: Inventory) -> dict[str, list[str]]:
    """Items of each identity; what could not be read with its reason."""
    found = inventory.part(np.arange(len(inventory.names))).read()
    return {
        name: [item.item if isinstance(item, Image) else f"{item.item}: {item.reason}" for item in items]
        for name, items in zip(inventory.names, found, strict=True)
    }


def test_identities_and_images_in_the_order_of_their_names(make_folder: MakeFolder) -> None:
    root = make_folder({"b": 2, "a": 1, "C": 1})
    inventory = ImageFolder(root).scan()
    assert read(inventory) == {"C": ["C/0000.jpg"], "a": ["a/0000.jpg"], "b": ["b/0000.jpg", "b/0001.jpg"]}
    assert inventory.images.tolist() == [1, 1, 2]
    assert inventory.nbytes.tolist() == [sum(p.stat().st_size for p in (root / n).iterdir()) for n in ("C", "a", "b")]


def test_data_and_extension(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 1})
    (root / "a" / "0000.jpg").rename(root / "a" / "x.JPeG")
    ((image,),) = ImageFolder(root).scan().part(np.array([0])).read()
    assert image == Image("a/x.JPeG", "jpeg", (root / "a" / "x.JPeG").read_bytes())


def test_a_part_holds_what_was_asked_for_in_that_order(make_folder: MakeFolder) -> None:
    inventory = ImageFolder(make_folder({"a": 1, "b": 2, "c": 3})).scan()
    part = inventory.part(np.array([2, 0]))
    items = [[item.item for item in items] for items in part.read()]
    assert items == [["c/0000.jpg", "c/0001.jpg", "c/0002.jpg"], ["a/0000.jpg"]]
    assert part.fingerprint == inventory.part(np.array([2, 0])).fingerprint
    assert part.fingerprint != inventory.part(np.array([0, 2])).fingerprint


def test_everything_else_is_reported(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 1})
    (root / "a" / ".DS_Store").write_bytes(b"x")
    (root / "a" / "._0000.jpg").write_bytes(b"x")
    (root / "a" / "notes.txt").write_bytes(b"x")
    (root / "a" / "none").write_bytes(b"x")
    (root / "a" / "zero.jpg").touch()
    (root / "empty").mkdir()
    (root / "only text").mkdir()
    (root / "only text" / "a.md").write_text("x")
    (root / ".git").mkdir()
    (root / "list.txt").write_text("x")
    inventory = ImageFolder(root).scan()
    assert inventory.names == ["a"]
    assert inventory.skipped == [
        Skipped(".git", "hidden or system file", "other"),
        Skipped("a/.DS_Store", "hidden or system file", "other"),
        Skipped("a/._0000.jpg", "hidden or system file", "other"),
        Skipped("a/none", "not an image", "other"),
        Skipped("a/notes.txt", "not an image", "other"),
        Skipped("a/zero.jpg", "empty", "item"),
        Skipped("empty", "empty folder", "other"),
        Skipped("list.txt", "not an image", "other"),
        Skipped("only text/a.md", "not an image", "other"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "with.dot.s",
        "ünïcödé 名前",
        "tab\there",
        "new\nline",
        "-dash",
        "quote'\"",
        "#",
        "%41",
        "x" * 255,
        "\\",
    ],
)
def test_any_name(make_folder: MakeFolder, jpegs: list[bytes], name: str) -> None:
    root = make_folder({name: 2})
    file = root / name / (name[:251] + ".jpg")
    file.write_bytes(jpegs[0])
    inventory = ImageFolder(root).scan()
    assert inventory.names == [name]
    assert inventory.skipped == []
    assert sorted(read(inventory)[name]) == sorted(f"{name}/{path.name}" for path in (root / name).iterdir())


def test_names_that_are_not_utf8(make_folder: MakeFolder, jpegs: list[bytes]) -> None:
    root = make_folder({"a": 1})
    folder = os.fsencode(root) + b"/caf\xe9"
    os.mkdir(folder)
    with open(folder + b"/\xff.jpg", "wb") as file:
        file.write(jpegs[0])
    inventory = ImageFolder(root).scan()
    assert [os.fsencode(name) for name in inventory.names] == [b"a", b"caf\xe9"]
    assert len(read(inventory)[os.fsdecode(b"caf\xe9")]) == 1


def test_folders_within_an_identity_belong_to_it(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 1, "a/2019": 2, "a/2019/x": 1})
    assert read(ImageFolder(root).scan()) == {
        "a": ["a/0000.jpg", "a/2019/0000.jpg", "a/2019/0001.jpg", "a/2019/x/0000.jpg"]
    }


def test_links_are_followed_and_loops_are_not(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 1, "b": 1})
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to(root / "a")
    (root / "b" / "more").symlink_to(root / "a" / "0000.jpg")
    (root / "b" / "gone.jpg").symlink_to(root / "nothing")
    (root / "b" / "linked.jpg").symlink_to(root / "a" / "0000.jpg")
    (root / "c").symlink_to(root / "b")
    inventory = ImageFolder(root).scan()
    found = read(inventory)
    assert found["b"] == ["b/0000.jpg", "b/linked.jpg"]
    assert found["c"] == ["c/0000.jpg", "c/linked.jpg"]
    assert found["a"] == ["a/0000.jpg"], "a link to the root brings nobody else's images"
    loop = "symbolic link to a folder that contains it"
    assert inventory.skipped == [
        Skipped("a/self", loop, "other"),
        Skipped("a/up", loop, "other"),
        Skipped("b/gone.jpg", "unreadable (No such file or directory)", "item"),
        Skipped("b/more", NAMELESS, "item"),
        Skipped("c/gone.jpg", "unreadable (No such file or directory)", "item"),
        Skipped("c/more", NAMELESS, "item"),
    ]


@pytest.mark.parametrize(
    ("link", "kind"), [("carl", "container"), ("a/more", "container"), ("a/x.png", "item"), ("notes.txt", "other")]
)
def test_broken_links(make_folder: MakeFolder, link: str, kind: str) -> None:
    """A link without an extension stands for a folder: of an identity that is on a disk that is not mounted, say."""
    root = make_folder({"a": 1})
    (root / link).symlink_to("/nowhere/carl")
    assert ImageFolder(root).scan().skipped == [Skipped(link, "unreadable (No such file or directory)", kind)]


def test_a_file_that_goes_away_is_reported(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 3})
    inventory = ImageFolder(root).scan()
    (root / "a" / "0001.jpg").unlink()
    assert read(inventory)["a"] == ["a/0000.jpg", "a/0001.jpg: unreadable (No such file or directory)", "a/0002.jpg"]


def test_large_files_are_read_whole(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 1})
    data = np.random.default_rng(0).bytes(300_000)
    for size in (65535, 65536, 65537, 300_000):
        (root / "a" / "0000.jpg").write_bytes(data[:size])
        ((image,),) = ImageFolder(root).scan().part(np.array([0])).read()
        assert image.data == data[:size]


def test_a_file_too_large_to_be_a_face_is_not_read(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 1})
    with (root / "a" / "huge.jpg").open("wb") as file:
        file.truncate(20 << 30)  # sparse: takes no room
    inventory = ImageFolder(root).scan()
    assert inventory.images.tolist() == [1]
    assert inventory.skipped == [Skipped("a/huge.jpg", "21,474,836,480 bytes, more than 268,435,456", "item")]


UNREADABLE = """
import sys
from wds_face import ImageFolder, convert
if __name__ == "__main__":
    report = convert(ImageFolder(sys.argv[1]), sys.argv[2], workers=1, salvage=True, max_skipped=1)
    print(report.index.images, *sorted(report.skipped), sep="\\n")
"""


def test_folders_and_files_without_permission(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"a": 2, "b": 1})
    (root / "a" / "0001.jpg").chmod(0)
    (root / "b").chmod(0)
    command = [sys.executable, "-c", UNREADABLE, str(root), str(tmp_path / "out")]
    if os.getuid() == 0:  # root may read everything, unless it gives that up
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv to become a user who may not read")
        without = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}", *command]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    (root / "b").chmod(0o755)
    assert run.stdout.splitlines() == [
        "1",
        "Skipped(item='a/0001.jpg', reason='unreadable (Permission denied)', kind='item')",
        "Skipped(item='b', reason='unreadable folder (Permission denied)', kind='container')",
    ], run.stderr


@pytest.mark.parametrize(
    "name", [".ipynb_checkpoints", "@eaDir", "__MACOSX", ".Trash-1000", "$RECYCLE.BIN", "lost+found"]
)
def test_hidden_folders_at_every_depth(make_folder: MakeFolder, name: str) -> None:
    """With copies of images, as notebooks, Synology and macOS leave them."""
    root = make_folder({"a": 2, "a/x": 1, "b": 1, name: 1, f"a/{name}": 3, f"a/x/{name}/0000.jpg": 1})
    inventory = ImageFolder(root).scan()
    assert inventory.names == ["a", "b"]
    assert inventory.images.tolist() == [3, 1]
    hidden = sorted([name, f"a/{name}", f"a/x/{name}"])
    assert inventory.skipped == [Skipped(path, "hidden or system file", "other") for path in hidden]


@pytest.mark.parametrize("name", ["._0000.jpg", ".0000.jpg", "Thumbs.db", ".DS_Store", "desktop.ini"])
def test_hidden_files(make_folder: MakeFolder, jpegs: list[bytes], name: str) -> None:
    root = make_folder({"a": 1})
    (root / "a" / name).write_bytes(jpegs[0])
    (root / name).write_bytes(jpegs[0])
    inventory = ImageFolder(root).scan()
    assert inventory.images.tolist() == [1]
    found = sorted([name, f"a/{name}"])
    assert inventory.skipped == [Skipped(path, "hidden or system file", "other") for path in found]


def test_images_that_would_be_lost_count_as_items(make_folder: MakeFolder, jpegs: list[bytes]) -> None:
    """Beside the identity folders, or in a format that is not read."""
    root = make_folder({"a": 1})
    (root / "loose.jpg").write_bytes(jpegs[0])
    (root / "a" / "phone.HEIC").write_bytes(b"x")
    (root / "b.gif").write_bytes(b"x")
    unread = "an image format that is not read ({}): convert it to JPEG or PNG"
    assert ImageFolder(root).scan().skipped == [
        Skipped("a/phone.HEIC", unread.format(".heic"), "item"),
        Skipped("b.gif", unread.format(".gif"), "item"),
        Skipped("loose.jpg", "not in an identity folder", "item"),
    ]


def test_only_images_that_cannot_be_read(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 0, "b": 0})
    (root / "a" / "0.jpg").touch()
    (root / "b" / "0.jpg").touch()
    with pytest.raises(SourceError, match=r"holds no image that can be read: a/0\.jpg: empty \(1 more\)"):
        ImageFolder(root).scan()


@pytest.mark.parametrize(
    ("path", "message"),
    [("missing", "is not there"), ("file", "is a file"), ("s3://bucket/faces", "is a URL"), ("flat", "no sub-folders")],
)
def test_what_is_no_image_folder(tmp_path: Path, jpegs: list[bytes], path: str, message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "0.jpg").write_bytes(jpegs[0])
    with pytest.raises((SourceError, PathError), match=message) as caught:
        ImageFolder(path if "://" in path else tmp_path / path).scan()
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, WdsFaceError)


def test_workers_list_the_same(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({f"{i:04d}": 1 for i in range(600)})
    (root / "0003" / "x.txt").touch()
    alone = ImageFolder(root).scan()
    counted: list[int] = []
    with Workers(2) as team:
        together = ImageFolder(root).scan(team, counted.append)
    assert together.names == alone.names
    assert together.skipped == alone.skipped
    assert np.array_equal(together.nbytes, alone.nbytes)
    assert sum(counted) == 600


def test_a_link_to_itself_in_the_root(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 1})
    (root / "self").symlink_to("self")
    reason = "unreadable (Too many levels of symbolic links)"
    assert ImageFolder(root).scan().skipped == [Skipped("self", reason, "container")]


def test_folders_nested_without_end(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 1, "b": 1})
    folder = os.open(root / "b", os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    try:
        inventory = ImageFolder(root).scan()
    finally:  # Python cannot remove what is so deep, nor can pytest
        subprocess.run(["rm", "-rf", root / "b" / "d"], check=True)
    assert inventory.names == ["a", "b"]
    assert [item.item[:3] for item in inventory.skipped] in (["b"], ["b/d"])


def test_images_under_other_names_count_as_items(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 1, "b": 1})
    image = (root / "a" / "0000.jpg").read_bytes()
    for name in ("face", "face.jpg.1", "face.jpg~", "face.jpg_large"):
        (root / "a" / name).write_bytes(image)
    (root / "a" / "notes").write_bytes(b"blue eyes")
    os.mkfifo(root / "b" / "pipe")
    reason = NAMELESS
    assert sorted(ImageFolder(root).scan().skipped) == [
        Skipped("a/face", reason, "item"),
        Skipped("a/face.jpg.1", reason, "item"),
        Skipped("a/face.jpg_large", reason, "item"),
        Skipped("a/face.jpg~", reason, "item"),
        Skipped("a/notes", "not an image", "other"),
        Skipped("b/pipe", "not an image", "other"),
    ]


def test_backups_and_side_files_are_not_lost_images(make_folder: MakeFolder) -> None:
    root = make_folder({"ann": 2, "bert": 2})
    image = (root / "ann" / "0000.jpg").read_bytes()
    (root / "ann" / "0000.jpg_original").write_bytes(image)
    (root / "ann" / "0000.jpg~").write_bytes(image)
    (root / "ann" / "0000.pts").write_text("P1 0.3 0.4")
    (root / "bert" / "0000.lm").write_text("BMI 22")
    found = ImageFolder(root).scan()
    assert found.images.tolist() == [2, 2]
    assert {entry.kind for entry in found.skipped} == {"other"}
    assert len(found.skipped) == 4
