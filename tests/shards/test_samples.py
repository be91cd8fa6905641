"""Samples of shards of any maker: key, image, identity, and why one cannot be used."""

from __future__ import annotations

import io
import tarfile

import pytest

from wds_face.errors import TarError, WdsFaceError
from wds_face.shards.label_choice import propose
from wds_face.shards.samples import SampleReader


def shard(*members: tuple[str, bytes]) -> memoryview:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return memoryview(out.getvalue())


def identities(view: memoryview, label_from: str = "auto") -> list[str]:
    return [sample.identity for sample in SampleReader(label_from).read(view)]


def test_label_in_cls() -> None:
    view = shard(("a/1.jpg", b"x"), ("a/1.cls", b"007"), ("b.cls", b" 12\n"), ("b.jpg", b"y"))
    first, second = SampleReader("cls").read(view)
    assert (first.key, first.identity, first.extension, first.problem) == ("a/1", "007", "jpg", "")
    assert (second.key, second.identity) == ("b", "12")
    assert first.image is not None
    assert bytes(view[first.image.data :][:1]) == b"x"
    assert first.end == second.start


@pytest.mark.parametrize(
    ("content", "where", "expected"),
    [
        (b'{"label": 3}', "auto", "3"),
        (b'{"label": 3.0}', "json", "3"),
        (b'{"identity": "ann", "id": 9}', "auto", "ann"),
        (b'{"label": 3, "person": "bob"}', "json:person", "bob"),
        (b'{"other": 1}', "json", ""),
        (b"[1]", "json", ""),
        (b"{", "json", ""),
        (b'{"label": null}', "json", ""),
        (b"[" * 200_000, "json", ""),
        (b'{"label": "\\ud800x"}', "json", ""),
    ],
)
def test_label_in_json(content: bytes, where: str, expected: str) -> None:
    assert identities(shard(("1.jpg", b"x"), ("1.json", content)), where) == [expected]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ann/0001.jpg", "ann"),
        ("x/ann/1.jpg", "x/ann"),
        ("Ann_Bee_0001.jpg", "Ann_Bee"),
        ("7-1.jpg", "7"),
        ("1.jpg", ""),
    ],
)
def test_label_in_the_key(name: str, expected: str) -> None:
    assert identities(shard((name, b"x"))) == [expected]


def test_auto_is_decided_once_for_all_samples() -> None:
    view = shard(("n/readme.txt", b""), ("a/1.jpg", b"x"), ("b/2.jpg", b"y"), ("b/2.json", b'{"label": 1}'))
    reading = propose("here", ["a.tar"], lambda _: view)
    assert reading.rule.spec == "json:label"
    assert [sample.problem for sample in reading.reader().read(view)] == [
        "no image",
        "no identity (looked for in json:label)",
        "",
    ]


def test_a_key_that_comes_twice_is_a_problem_wherever_it_comes() -> None:
    view = shard(("a/1.jpg", b"x"), ("a/1.jpg", b"y"), ("b/2.jpg", b"z"), ("a/1.png", b"w"))
    assert [(s.key, s.problem) for s in SampleReader().read(view)] == [
        ("a/1", ""),
        ("a/1", "duplicate key"),
        ("b/2", ""),
        ("a/1", "duplicate key"),
    ]


def test_only_plain_image_extensions_are_the_image() -> None:
    (sample,) = SampleReader().read(shard(("a/1.mask.png", b"m"), ("a/1.JPG", b"x"), ("a/1.png", b"p")))
    assert sample.image is not None
    assert sample.image.name == "a/1.JPG"
    assert sample.extension == "jpg"


def test_what_came_before_a_cut_is_read() -> None:
    view = shard(("a/1.jpg", b"x"), ("a/2.jpg", b"y" * 3000))
    reader = SampleReader().read(view[:2048])
    assert next(reader).key == "a/1"
    with pytest.raises(TarError):
        next(reader)


def test_runs() -> None:
    view = shard(("1/1.jpg", b""), ("1/2.jpg", b""), ("2/1.jpg", b""), ("1/3.jpg", b""), ("1/3.txt", b""))
    runs, problems = SampleReader("key").runs(view)
    assert [(run.label, run.images, run.offset, run.nbytes) for run in runs] == [
        (1, 2, 0, 1024),
        (2, 1, 1024, 512),
        (1, 1, 1536, 1024),
    ]
    assert problems == []
    assert SampleReader("key").runs(shard(("ann/1.jpg", b"")))[0][0].label == -1
    assert SampleReader("key").runs(shard(("x.txt", b"")))[1] == ["x: no image"]


def test_an_unknown_place_is_refused() -> None:
    with pytest.raises(WdsFaceError, match="label-from"):
        SampleReader("a/b")


def test_a_label_of_thousands_of_digits_is_a_name() -> None:
    (sample,) = SampleReader("cls").read(shard(("1.jpg", b"x"), ("1.cls", b"7" * 5000)))
    assert sample.identity == "7" * 5000
    assert SampleReader("cls").runs(shard(("1.jpg", b"x"), ("1.cls", b"7" * 5000)))[0][0].label == -1


def test_further_images_are_named() -> None:
    view = shard(("1.jpg", b"x"), ("1.png", b"y"))
    (sample,) = SampleReader("key").read(view)
    assert sample.spare == ("1.png",)
    assert "more than one image" in SampleReader("key").runs(shard(("0/1.jpg", b"x"), ("0/1.png", b"y")))[1][0]
