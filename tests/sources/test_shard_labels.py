"""Where the labels of foreign shards come from: decided once for a source, shown, recorded, or refused."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from wds_face import Index, WdsFaceError, WebDataset, convert, verify
from wds_face.sources import Image

Members = list[tuple[str, bytes]]
IMAGE = b"\xff\xd8\xff an image\xff\xd9"


def write(folder: Path, *shards: Members) -> WebDataset:
    folder.mkdir(exist_ok=True)
    for number, members in enumerate(shards):
        with tarfile.open(folder / f"s-{number:02d}.tar", "w", format=tarfile.GNU_FORMAT) as tar:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return WebDataset(folder)


def people(source: WebDataset) -> dict[str, int]:
    inventory = source.scan()
    return dict(zip(inventory.names, inventory.images.tolist(), strict=True))


def labelled(kind: str, contents: list[bytes], key: str = "{:04d}") -> Members:
    members = []
    for number, content in enumerate(contents):
        members += [(key.format(number) + ".jpg", IMAGE), (key.format(number) + f".{kind}", content)]
    return members


def fields(**values: object) -> bytes:
    return json.dumps(values).encode()


def refusal(source: WebDataset) -> str:
    with pytest.raises(WdsFaceError) as error:
        source.scan()
    message = str(error.value)
    assert "\n" not in message
    return message


def with_label(folder: Path, label_from: str, **options: object) -> WebDataset:
    return WebDataset(folder, label_from=label_from, **options)  # type: ignore[arg-type]


def test_binary_integers_are_not_merged(tmp_path: Path) -> None:
    source = write(tmp_path, labelled("cls", [struct.pack("<i", number) for number in range(300)]))
    assert "0000: its .cls is not text (4 bytes: 00 00 00 00)" in refusal(source)
    assert "--label-from cls:int reads" in refusal(source)
    assert people(with_label(tmp_path, "cls:int")) == {str(number): 1 for number in range(300)}
    assert len(people(with_label(tmp_path, "cls:hex"))) == 300


def test_the_remedy_for_binary_labels_names_the_member_alone(tmp_path: Path) -> None:
    write(tmp_path, labelled("cls", [struct.pack("<i", number) for number in range(3)]))
    assert "--label-from cls:int reads" in refusal(with_label(tmp_path, "cls:text"))


def test_labels_apart_from_their_images(tmp_path: Path) -> None:
    members = labelled("cls", [b"0", b"0", b"1"])
    source = write(tmp_path, members[::2] + members[1::2])
    assert "labels are not next to their images (0000.cls has no image beside it)" in refusal(source)
    about = [("meta.json", fields(label="v1"))] + [(f"{number}.jpg", IMAGE) for number in range(3)]
    assert "no sample has a label" in refusal(write(tmp_path / "about", about))


def test_pickled_and_npy_labels_are_refused(tmp_path: Path) -> None:
    array = io.BytesIO()
    np.save(array, np.int64(3))
    for number, content in enumerate((pickle.dumps(3), array.getvalue(), b"a\0n\0n\0")):
        source = write(tmp_path / str(number), labelled("cls", [content] * 3))
        assert "3 labels in cls are not text" in refusal(source)
    write(tmp_path / "npy", labelled("cls.npy", [array.getvalue()] * 3))
    assert "a .cls.npy is not read; name another member" in refusal(with_label(tmp_path / "npy", "cls.npy"))


def test_names_in_latin_1_are_not_merged(tmp_path: Path) -> None:
    names = [f"Zo{chr(0xC0 + number)}".encode("latin-1") for number in range(30)]
    inventory = write(tmp_path / "s", labelled("cls", names)).scan()
    assert inventory.images.tolist() == [1] * 30
    assert inventory.notes[-1] == "30 labels are not UTF-8; their bytes are kept as they are"
    assert sorted(name.encode("utf-8", "surrogateescape") for name in inventory.names) == names


def test_a_few_labels_that_are_not_text_are_left_out(tmp_path: Path) -> None:
    source = write(tmp_path, labelled("cls", [b"%d" % (number % 7) for number in range(200)] + [b"\0\1"]))
    inventory = source.scan()
    assert inventory.images.sum() == 200
    assert [(item.item, item.kind) for item in inventory.skipped] == [("s-00.tar:0200", "item")]


@pytest.mark.parametrize("kind", ["txt", "class", "label", "person.txt", "subject_id"])
def test_any_member_can_hold_the_label(tmp_path: Path, kind: str) -> None:
    write(tmp_path, labelled(kind, [b"ann", b"bob\n", b"ann"]))
    assert people(with_label(tmp_path, kind)) == {"ann": 2, "bob": 1}


def test_nested_fields_of_json(tmp_path: Path) -> None:
    write(tmp_path, labelled("json", [fields(who={"name": name}) for name in ("ann", "bob", "ann")]))
    assert people(with_label(tmp_path, "json:who.name")) == {"ann": 2, "bob": 1}


def test_the_number_of_a_sample_is_no_person(tmp_path: Path) -> None:
    contents = [fields(id=number, person=f"p{number % 6}") for number in range(24)]
    message = refusal(write(tmp_path, labelled("json", contents)))
    assert "first sample: 0000.jpg, 0000.json; fields: id, person" in message
    assert len(people(with_label(tmp_path, "json:id"))) == 24
    assert len(people(with_label(tmp_path, "json:person"))) == 6


def test_json_without_a_label_does_not_hide_the_folder(tmp_path: Path) -> None:
    members = labelled("json", [fields(id=number, url="x") for number in range(3)], "ann/{:04d}")
    members += labelled("json", [fields(id=number) for number in range(2)], "bob/{:04d}")
    inventory = write(tmp_path, members).scan()
    assert dict(zip(inventory.names, inventory.images.tolist(), strict=True)) == {"ann": 3, "bob": 2}
    assert inventory.facts == {"label_from": "key"}


def test_what_was_decided_is_shown_and_recorded(tmp_path: Path, jpegs: list[bytes]) -> None:
    members = [(f"{i}.{kind}", data) for i in range(6) for kind, data in (("jpg", jpegs[i]), ("txt", b"%d" % (i % 2)))]
    write(tmp_path / "s", members)
    source = with_label(tmp_path / "s", "txt")
    assert source.scan().notes == ["labels from txt ('0' for s-00.tar:0)"]
    convert(source, tmp_path / "out", workers=1)
    assert Index.open(tmp_path / "out").made["source"] == {"label_from": "txt"}
    assert verify(tmp_path / "out") == []


def test_it_is_decided_for_all_shards_together(tmp_path: Path) -> None:
    by_folder = labelled("txt", [b"x"] * 3, "ann/{:04d}") + labelled("txt", [b"x"] * 3, "bob/{:04d}")
    source = write(tmp_path, by_folder, labelled("cls", [b"1", b"2"], "carl/{:04d}"))
    assert "2 samples have a label in cls, the first ones have it in key: say --label-from" in refusal(source)
    assert people(with_label(tmp_path, "key")) == {"ann": 3, "bob": 3, "carl": 2}
    message = refusal(write(tmp_path / "json", labelled("json", [fields(label=1)]), labelled("cls", [b"3"])))
    assert "say --label-from json:label or --label-from cls" in message


def test_a_label_that_is_missing_where_others_have_one(tmp_path: Path) -> None:
    inventory = write(tmp_path, [*labelled("cls", [b"1", b"2"]), ("x/9.jpg", IMAGE), ("7.jpg", IMAGE)]).scan()
    assert [(item.item, item.reason, item.kind) for item in inventory.skipped] == [
        ("s-00.tar:x/9", "no identity (looked for in cls)", "item"),
        ("s-00.tar:7", "no identity (looked for in cls)", "item"),
    ]


@pytest.mark.parametrize("field", ["identity", "class"])
def test_two_labels_that_differ(tmp_path: Path, field: str) -> None:
    members: Members = []
    for number, (label, name) in enumerate([(b"0", "ann"), (b"1", "bob"), (b"1", "ann")]):
        members += [(f"{number}.jpg", IMAGE), (f"{number}.cls", label), (f"{number}.json", fields(**{field: name}))]
    message = refusal(write(tmp_path, members[:6], members[6:]))
    assert f"labels in cls and json:{field} differ ('1' goes with 'bob' and 'ann')" in message
    assert f"--label-from cls or --label-from json:{field} (first sample: 0.jpg, 0.cls, 0.json" in message
    assert people(with_label(tmp_path, "cls")) == {"0": 1, "1": 2}
    assert people(with_label(tmp_path, f"json:{field}")) == {"ann": 2, "bob": 1}


def test_two_labels_that_say_the_same(tmp_path: Path) -> None:
    members: Members = []
    for number, (label, name) in enumerate([(b"0", "ann"), (b"1", "bob"), (b"0", "ann")]):
        content = fields(identity=name, **{"class": "face"})
        members += [(f"{number}.jpg", IMAGE), (f"{number}.cls", label), (f"{number}.json", content)]
    assert people(write(tmp_path, members)) == {"0": 2, "1": 1}
    assert "labels in json:identity and json:class differ" not in refusal(with_label(tmp_path, "json:none"))


def test_one_class_for_all_people(tmp_path: Path) -> None:
    members = labelled("cls", [b"0"] * 3, "ann/{:04d}") + labelled("cls", [b"0"] * 3, "bob/{:04d}")
    assert "labels in cls and key differ ('0' goes with 'ann' and 'bob')" in refusal(write(tmp_path, members))
    assert people(with_label(tmp_path, "key")) == {"ann": 3, "bob": 3}
    assert people(with_label(tmp_path, "cls")) == {"0": 6}


@pytest.mark.parametrize("key", ["images/{:04d}", "./images/{:04d}", "img_{:04d}"])
def test_one_folder_for_everything_is_not_one_person(tmp_path: Path, key: str) -> None:
    source = write(tmp_path, [(key.format(number) + ".jpg", IMAGE) for number in range(9)])
    message = refusal(source)
    assert "all 9 samples would be one person" in message
    assert "--label-from key" in message
    assert list(people(with_label(tmp_path, "key")).values()) == [9]


def test_a_dot_is_no_folder(tmp_path: Path) -> None:
    source = write(tmp_path, [(f"./{number:04d}.jpg", IMAGE) for number in range(9)])
    assert "no sample has a label for --label-from auto (first sample: ./0000.jpg)" in refusal(source)


def test_a_folder_a_shard_is_not_a_person_a_shard(tmp_path: Path) -> None:
    """As img2dataset writes them."""
    shards = [[(f"{shard:05d}/{shard:05d}{n:04d}.jpg", IMAGE) for n in range(4)] for shard in range(3)]
    assert "every shard would be one person of its own" in refusal(write(tmp_path, *shards))
    assert people(with_label(tmp_path, "key")) == {"00000": 4, "00001": 4, "00002": 4}


def test_keys_that_are_all_different_before_the_last_dash(tmp_path: Path) -> None:
    source = write(tmp_path, [(f"{n:08x}-{n:04x}-{n:012x}.jpg", IMAGE) for n in range(9)])
    assert "each sample would be a person of its own" in refusal(source)


def test_names_before_the_last_dash(tmp_path: Path) -> None:
    inventory = write(
        tmp_path, [(f"{name}_{n:04d}.jpg", IMAGE) for name in ("Ann_Bee", "Carl") for n in range(3)]
    ).scan()
    assert inventory.names == ["Ann_Bee", "Carl"]
    assert inventory.facts == {"label_from": "key:(.+)[_-]"}


@pytest.mark.parametrize(
    "folders",
    [["train/ann", "train/bob", "test/ann"], ["ann/frontal", "bob/frontal"], ["part1/ann", "part2/b", "part2/c"]],
)
def test_folders_in_folders(tmp_path: Path, folders: list[str]) -> None:
    source = write(tmp_path, [(f"{folder}/{n}.jpg", IMAGE) for folder in folders for n in range(3)])
    message = refusal(source)
    assert "folders in folders" in message
    assert "'key:^([^/]+)/' the first folder" in message
    assert len(people(with_label(tmp_path, "key"))) == len(folders)
    assert len(people(with_label(tmp_path, "key:^([^/]+)/"))) == 2
    last = {folder.rpartition("/")[2] for folder in folders}
    assert set(people(with_label(tmp_path, "key:([^/]+)/[^/]*$"))) == last


def test_one_folder_above_all_people(tmp_path: Path) -> None:
    source = write(tmp_path, [(f"data/{name}/{n}.jpg", IMAGE) for name in ("ann", "bob") for n in range(3)])
    assert people(source) == {"data/ann": 3, "data/bob": 3}


def test_extensions_of_two_parts(tmp_path: Path) -> None:
    members: Members = []
    for number in range(6):
        members += [(f"{number:03d}.image.jpg", IMAGE), (f"{number:03d}.label.cls", b"%d" % (number % 2))]
    inventory = write(tmp_path, members).scan()
    assert inventory.images.tolist() == [3, 3]
    assert inventory.facts == {"label_from": "label.cls", "image_from": "image.jpg"}
    assert inventory.notes == ["labels from label.cls ('0' for s-00.tar:000), images from image.jpg"]
    images = [image for items in inventory.part(np.arange(2)).read() for image in items]
    assert {image.extension for image in images if isinstance(image, Image)} == {"jpg"}


def test_several_images_of_two_parts(tmp_path: Path) -> None:
    members: Members = []
    for number in range(4):
        members += [(f"{number}.left.jpg", IMAGE), (f"{number}.right.jpg", IMAGE), (f"{number}.cls", b"%d" % number)]
    message = refusal(write(tmp_path, members))
    assert "dots in the names of images (0.left.jpg, 0.right.jpg): --image-from left.jpg takes one" in message
    assert people(with_label(tmp_path, "auto", image_from="right.jpg")) == {str(number): 1 for number in range(4)}


def test_names_with_dots(tmp_path: Path) -> None:
    members = [(f"m.01{n % 2}/m.01{n % 2}_f.{n}.jpg", IMAGE) for n in range(6)]
    assert "--dots-in-keys ends the key at the last dot" in refusal(write(tmp_path, sorted(members)))
    inventory = with_label(tmp_path, "auto", dots_in_keys=True).scan()
    assert dict(zip(inventory.names, inventory.images.tolist(), strict=True)) == {"m.010": 3, "m.011": 3}
    assert inventory.facts == {"label_from": "key", "dots_in_keys": True}


def test_a_name_with_dots_among_others(tmp_path: Path) -> None:
    members = [(f"{name}/{n}.jpg", IMAGE) for name in ("ann", "bob") for n in range(3)] + [("bob/4.b.jpg", IMAGE)]
    inventory = write(tmp_path, members).scan()
    assert inventory.images.tolist() == [3, 3]
    reason = "no image (dots in the name 4.b.jpg: see --image-from and --dots-in-keys)"
    assert [(item.item, item.reason) for item in inventory.skipped] == [("s-00.tar:bob/4", reason)]


@pytest.mark.parametrize(("one", "other"), [("7", "007"), ("10.0", "10"), ("+7", "7"), ("１", "1")])
def test_two_spellings_of_a_number(tmp_path: Path, one: str, other: str) -> None:
    source = write(tmp_path, labelled("cls", [one.encode(), other.encode(), b"99"]))
    message = refusal(source)
    assert f"labels {one!r} and {other!r} in cls are the same number" in message
    assert len(people(with_label(tmp_path, "cls:text"))) == 3
    assert list(people(with_label(tmp_path, "cls:number")).values()) == [2, 1]


def test_labels_with_a_fraction_are_kept(tmp_path: Path) -> None:
    assert people(write(tmp_path, labelled("cls", [b"10.0", b"11.0", b"10.0"]))) == {"10.0": 2, "11.0": 1}


@pytest.mark.parametrize(
    ("label_from", "options"),
    [
        ("key:(", {}),
        ("jpg", {}),
        ("auto", {"image_from": "txt"}),
        ("cls", {"image_from": "a.jpg", "dots_in_keys": True}),
    ],
)
def test_options_that_make_no_sense(label_from: str, options: dict[str, object]) -> None:
    with pytest.raises(WdsFaceError, match=r"(label|image)-from"):
        with_label(Path("x"), label_from, **options)


def test_a_member_that_nothing_has(tmp_path: Path) -> None:
    write(tmp_path, labelled("cls", [b"1", b"2"]))
    message = refusal(with_label(tmp_path, "xml"))
    assert "no sample has a label for --label-from xml (first sample: 0000.jpg, 0000.cls)" in message


def test_one_of_several_images(tmp_path: Path) -> None:
    members: Members = []
    for number in range(3):
        members += [(f"{number}.jpg", IMAGE), (f"{number}.png", IMAGE + b"mask"), (f"{number}.cls", b"%d" % number)]
    skipped = write(tmp_path, members).scan().skipped
    assert {item.reason for item in skipped} == {"second image of its sample (see --image-from)"}
    inventory = with_label(tmp_path, "cls", image_from="png").scan()
    assert inventory.skipped == []
    assert inventory.nbytes.tolist() == [len(IMAGE) + 4] * 3


def test_what_the_first_samples_do_not_show(tmp_path: Path) -> None:
    """The rule is proposed by some of them, and held against all."""
    members = [(f"{name}/{n:04d}.jpg", IMAGE) for name in ("ann", "bob") for n in range(600)]
    members += labelled("json", [fields(label=n) for n in range(2)], "carl/{:04d}")
    assert "2 samples have a label in json:label, the first ones have it in key" in refusal(write(tmp_path, members))
