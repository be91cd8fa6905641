"""Shards of any maker, in any order, are regrouped by identity."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
import webdataset as wds

from wds_face import Options, SourceError, WdsFaceError, WebDataset, convert, verify
from wds_face.pool import Workers
from wds_face.sources import Image, Inventory, Skipped


def images(inventory: Inventory) -> dict[str, list[bytes]]:
    parts = inventory.part(np.arange(len(inventory.names))).read()
    return {
        name: [bytes(item.data) for item in items if isinstance(item, Image)]
        for name, items in zip(inventory.names, parts, strict=True)
    }


def write(folder: Path, shards: list[list[tuple[str, dict[str, object]]]], **options: object) -> Path:
    folder.mkdir(exist_ok=True)
    for number, samples in enumerate(shards):
        with wds.TarWriter(str(folder / f"s-{number:02d}.tar"), **options) as writer:
            for key, fields in samples:
                writer.write({"__key__": key, **fields})
    return folder


@pytest.fixture
def scattered(tmp_path: Path, jpegs: list[bytes]) -> Path:
    """Three shards in which every identity comes everywhere."""
    return write(
        tmp_path / "s",
        [[(f"{i:04d}", {"jpg": jpegs[i], "cls": 10 + i % 4}) for i in range(n, 30, 3)] for n in range(3)],
    )


def expected(jpegs: list[bytes]) -> dict[str, list[bytes]]:
    order = [i for n in range(3) for i in range(n, 30, 3)]
    return {str(10 + c): [jpegs[i] for i in order if i % 4 == c] for c in range(4)}


def test_regrouped_by_cls(scattered: Path, jpegs: list[bytes]) -> None:
    inventory = WebDataset(str(scattered)).scan()
    assert images(inventory) == expected(jpegs)
    assert inventory.skipped == []


def test_workers_list_the_same(scattered: Path, jpegs: list[bytes]) -> None:
    with Workers(2) as team:
        assert images(WebDataset(str(scattered)).scan(team)) == expected(jpegs)


def test_conversion_of_them(scattered: Path, tmp_path: Path, jpegs: list[bytes]) -> None:
    report = convert(WebDataset(str(scattered)), tmp_path / "out", Options(shard_size=9000), workers=2)
    assert report.index.classes == ["10", "11", "12", "13"]
    assert verify(tmp_path / "out") == []
    found = list(wds.WebDataset([str(p) for p in sorted((tmp_path / "out").glob("*.tar"))], shardshuffle=False))
    assert sorted((int(s["cls"]), s["jpg"]) for s in found) == sorted((i % 4, jpegs[i]) for i in range(30))


def test_plain_and_pax_shards_are_the_same_source(tmp_path: Path, jpegs: list[bytes]) -> None:
    samples: list[tuple[str, dict[str, object]]] = [(f"{i}", {"jpg": jpegs[i], "cls": i % 2}) for i in range(6)]
    plain = write(tmp_path / "plain", [samples], mtime=0)
    pax = write(tmp_path / "pax", [samples])
    assert (plain / "s-00.tar").stat().st_size < (pax / "s-00.tar").stat().st_size
    assert images(WebDataset(str(plain)).scan()) == images(WebDataset(str(pax)).scan())


def test_by_json_and_by_key(tmp_path: Path, jpegs: list[bytes]) -> None:
    people = ["zoe", "ann", "zoe"]
    by_json = write(
        tmp_path / "json", [[(f"{i}", {"jpg": jpegs[i], "json": {"person": name}}) for i, name in enumerate(people)]]
    )
    wanted = {"ann": [jpegs[1]], "zoe": [jpegs[0], jpegs[2]]}
    assert images(WebDataset(str(by_json), label_from="json:person").scan()) == wanted
    by_key = write(tmp_path / "key", [[(f"{name}/{i}", {"jpg": jpegs[i]}) for i, name in enumerate(people)]])
    assert images(WebDataset(str(by_key)).scan()) == wanted


def test_numbers_are_ordered_as_numbers_and_names_as_names(tmp_path: Path, jpegs: list[bytes]) -> None:
    numbers = write(tmp_path / "n", [[(f"{i}", {"jpg": jpegs[i], "cls": i}) for i in (10, 9, 100 % 60, 2)]])
    assert WebDataset(str(numbers)).scan().names == ["2", "9", "10", "40"]
    mixed = write(
        tmp_path / "m", [[(f"{i}", {"jpg": jpegs[0], "cls": name}) for i, name in enumerate(["10", "9", "a"])]]
    )
    assert WebDataset(str(mixed)).scan().names == ["10", "9", "a"]


@pytest.mark.parametrize("pattern", ["s-{00..02}.tar", "s-01.tar", ""])
def test_ways_to_name_shards(scattered: Path, pattern: str) -> None:
    url = f"{scattered}/{pattern}" if pattern else str(scattered)
    assert WebDataset(url).scan().images.sum() == (10 if pattern == "s-01.tar" else 30)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("s-{00..05}.tar", r"s-03\.tar is not there \(3 missing\)"), ("no", "no is not there: give a folder of shards")],
)
def test_shards_that_are_not_there(scattered: Path, pattern: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        WebDataset(f"{scattered}/{pattern}").scan()


def test_from_any_file_system(scattered: Path, tmp_path: Path, jpegs: list[bytes]) -> None:
    memory = fsspec.filesystem("memory")
    for path in scattered.iterdir():
        memory.pipe_file(f"/source/{path.name}", path.read_bytes())
    try:
        assert images(WebDataset("memory://source").scan()) == expected(jpegs)
        convert(WebDataset("memory://source"), tmp_path / "out", workers=1)
        assert verify(tmp_path / "out") == []
    finally:
        memory.store.clear()


def test_an_object_that_goes_away_is_reported(scattered: Path) -> None:
    memory = fsspec.filesystem("memory")
    for path in scattered.iterdir():
        memory.pipe_file(f"/source/{path.name}", path.read_bytes())
    try:
        inventory = WebDataset("memory://source").scan()
        inventory.release(Workers(1))  # as on another machine, which has no copies yet
        memory.rm_file("/source/s-01.tar")
        items = [item for part in inventory.part(np.arange(4)).read() for item in part]
    finally:
        memory.store.clear()
    lost = [item for item in items if isinstance(item, Skipped)]
    assert len(lost) == 10
    assert all(item.item.startswith("s-01.tar") and item.reason.startswith("unreadable") for item in lost)
    assert {item.kind for item in lost} == {"container"}


def test_what_cannot_be_used_is_reported(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(
        tmp_path / "s",
        [
            [
                ("1", {"jpg": jpegs[1], "cls": 1}),
                ("2", {"txt": "no image", "cls": 1}),
                ("3", {"jpg": jpegs[3]}),
                ("1", {"jpg": jpegs[4], "cls": 1}),
            ],
            [("9", {"jpg": jpegs[9], "cls": 1})] * 3,
        ],
        mtime=0,
    )
    cut = (folder / "s-01.tar").read_bytes()
    (folder / "s-01.tar").write_bytes(cut[:-1536])
    inventory = WebDataset(str(folder)).scan()
    assert images(inventory) == {"1": [jpegs[1], jpegs[9]]}
    found = {item.item: item.reason for item in inventory.skipped}
    assert found["s-00.tar:2"] == "no image"
    assert found["s-00.tar:3"] == "no identity (looked for in cls)"
    assert found["s-00.tar:1"] == "duplicate key"
    assert found["s-01.tar:9"] == "duplicate key"


def test_a_shard_that_is_cut_off_gives_what_is_whole(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "s", [[(f"{i}", {"jpg": jpegs[i], "cls": 0}) for i in range(4)]], mtime=0)
    path = folder / "s-00.tar"
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"3.jpg")])
    inventory = WebDataset(str(folder)).scan()
    assert inventory.images.tolist() == [3]
    damage = [item for item in inventory.skipped if item.kind == "container"]
    assert len(damage) == 1
    assert damage[0].reason.startswith("damaged tar: the archive is cut off at byte")


def test_a_shard_that_cannot_be_opened_does_not_stop_the_others(scattered: Path) -> None:
    (scattered / "s-03.tar").symlink_to(scattered / "gone")
    inventory = WebDataset(str(scattered)).scan()
    assert inventory.images.sum() == 30
    assert inventory.skipped == [Skipped("s-03.tar", "unreadable (No such file or directory)", "container")]


def test_nothing_that_can_be_used(tmp_path: Path) -> None:
    folder = write(tmp_path / "s", [[("1", {"txt": "x"})]])
    with pytest.raises(SourceError, match="holds no sample with an image"):
        WebDataset(str(folder)).scan()


def test_a_place_for_labels_that_is_unknown() -> None:
    with pytest.raises(WdsFaceError, match="label-from"):
        WebDataset("x", label_from="x m l")


FEW_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
from wds_face import WebDataset, convert
report = convert(WebDataset(sys.argv[1]), sys.argv[2], workers=1)
print(report.index.images, len(report.skipped))
"""


def test_more_shards_than_a_process_may_have_files_open(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "s", [[(f"{n}", {"jpg": jpegs[n % 60], "cls": n % 7})] for n in range(300)])
    command = [sys.executable, "-c", FEW_FILES, str(folder), str(tmp_path / "out")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["300", "0"]


def test_a_lack_of_file_handles_is_no_bad_file(
    scattered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory = WebDataset(str(scattered)).scan()

    def no_more(*_: object) -> memoryview:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("wds_face.storage.local._mapped", no_more)
    with pytest.raises(OSError, match="Too many open files"):
        images(inventory)


def test_shards_that_are_replaced_are_read_anew(tmp_path: Path, jpegs: list[bytes]) -> None:
    """In one process, where the old ones are still mapped; sizes and offsets are the same."""
    same = [data.ljust(2000, b"\0") for data in jpegs]
    for turn in range(2):
        write(tmp_path / "s", [[(f"{i}", {"jpg": same[i + 10 * turn], "cls": 0}) for i in range(5)]], mtime=0)
        convert(WebDataset(str(tmp_path / "s")), tmp_path / f"out{turn}", workers=1)
        found = wds.WebDataset(str(tmp_path / f"out{turn}" / "train-000000.tar"), shardshuffle=False)
        assert [sample["jpg"] for sample in found] == same[10 * turn : 10 * turn + 5]
        (tmp_path / "s" / "s-00.tar").unlink()


def test_further_images_of_a_sample_are_reported(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "s", [[("a", {"jpg": jpegs[0], "png": b"p", "cls": 0})]])
    inventory = WebDataset(str(folder)).scan()
    assert inventory.images.tolist() == [1]
    assert inventory.skipped == [Skipped("s-00.tar:a.png", "second image of its sample (see --image-from)")]


def test_somebody_elses_classes_are_not_names(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "s", [[("a", {"jpg": jpegs[0], "cls": 3})]])
    (folder / "classes.tsv").write_text("name\tid\n")
    assert WebDataset(str(folder)).scan().names == ["3"]


@pytest.mark.parametrize("content", [bytes(10240), bytes(30000)], ids=["empty", "never written"])
def test_a_shard_without_files_is_not_passed_over(scattered: Path, tmp_path: Path, content: bytes) -> None:
    (scattered / "s-03.tar").write_bytes(content)
    with pytest.raises(SourceError, match=r"s-03\.tar: holds no files"):
        convert(WebDataset(str(scattered)), tmp_path / "out", workers=1)
    assert not (tmp_path / "out" / "index.json").exists()
