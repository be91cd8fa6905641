"""Every layout of face records: images are grouped by their own labels, index records are left aside."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from wds_face import Options, RecordIO, SourceError, convert, verify
from wds_face.recordio import MAGIC, RecordWriter, pack
from wds_face.sources import Image, Inventory, Skipped

Label = float | list[float]
DATA = Path(__file__).parents[1] / "recordio" / "data"


def write(folder: Path, records: list[tuple[int, Label, bytes]], name: str = "train.rec") -> Path:
    """Records of (key, label, image), as ``mxnet.recordio.pack`` writes them."""
    folder.mkdir(exist_ok=True)
    with RecordWriter(folder / name) as writer:
        for key, label, data in records:
            writer.write(key, pack((0, label, key, 0), data))
    return folder


def images(inventory: Inventory) -> dict[str, list[bytes]]:
    parts = inventory.part(np.arange(len(inventory.names))).read()
    return {
        name: [bytes(item.data) for item in items if isinstance(item, Image)]
        for name, items in zip(inventory.names, parts, strict=True)
    }


def test_the_classic_layout(tmp_path: Path, jpegs: list[bytes]) -> None:
    """face2rec2: header at key 0, images with two labels, identity-range records at the end."""
    records: list[tuple[int, Label, bytes]] = [(0, [5.0, 7.0], b"")]
    records += [(1 + i, [float(i // 2), 1.0], jpegs[i]) for i in range(4)]
    records += [(5, [1.0, 3.0], b""), (6, [3.0, 5.0], b"")]
    inventory = RecordIO(write(tmp_path / "r", records)).scan()
    assert images(inventory) == {"0": jpegs[:2], "1": jpegs[2:4]}
    assert inventory.skipped == []
    assert inventory.nbytes.tolist() == [sum(map(len, jpegs[:2])), sum(map(len, jpegs[2:4]))]


def test_header_written_last() -> None:
    inventory = RecordIO(DATA / "insight.rec").scan()
    assert inventory.names == ["0", "1", "2"]
    assert inventory.images.tolist() == [3, 1, 2]
    assert inventory.skipped == []


def test_an_image_at_key_zero_is_an_image(tmp_path: Path, jpegs: list[bytes]) -> None:
    """im2rec and others have no header; some images carry 237 labels, the first being the identity."""
    long = [4.0, -1.0, *([0.5] * 235)]
    records: list[tuple[int, Label, bytes]] = [(0, 4.0, jpegs[0]), (1, [4.0, 1.0], jpegs[1]), (2, long, jpegs[2])]
    assert images(RecordIO(write(tmp_path / "r", records)).scan()) == {"4": jpegs[:3]}


def test_labels_in_any_order_and_with_gaps(tmp_path: Path, jpegs: list[bytes]) -> None:
    labels = [30.0, 2.0, 30.0, 16777217.0, 2.5, 2.0]
    records: list[tuple[int, Label, bytes]] = [(7 * i, label, jpegs[i]) for i, label in enumerate(labels)]
    found = images(RecordIO(write(tmp_path / "r", records)).scan())
    assert found == {
        "2": [jpegs[1], jpegs[5]],
        "2.5": [jpegs[4]],
        "30": [jpegs[0], jpegs[2]],
        "16777216": [jpegs[3]],  # all that float32 keeps of it
    }
    assert list(found) == ["2", "2.5", "30", "16777216"]


def test_float32_ranges_above_two_to_the_24_are_not_believed(tmp_path: Path, jpegs: list[bytes]) -> None:
    """The header's range is rounded to 16777216, below its true start: keys of images are compared as float32 too."""
    first = 2**24 + 1
    records: list[tuple[int, Label, bytes]] = [
        (0, [float(first), float(first + 1)], b""),
        (1, 0.0, jpegs[0]),
        (2**24, 0.0, jpegs[1]),
        (first, [1.0, 9.0], b""),
    ]
    inventory = RecordIO(write(tmp_path / "r", records)).scan()
    assert images(inventory) == {"0": jpegs[:2]}
    assert inventory.skipped == []


def test_without_an_index(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "r", [(0, [9.0, 9.0], b""), *((i, float(i % 2), jpegs[i]) for i in range(1, 7))])
    expected = images(RecordIO(folder).scan())
    (folder / "train.idx").unlink()
    assert images(RecordIO(folder).scan()) == expected == {"0": jpegs[2:7:2], "1": jpegs[1:7:2]}


def test_payloads_of_several_parts(tmp_path: Path, jpegs: list[bytes]) -> None:
    """The magic number on a 4-byte boundary splits a record; the image must come out whole."""
    magic = struct.pack("<I", MAGIC)
    at = len(jpegs[0]) // 2 // 4 * 4
    data = jpegs[0][:at] + magic + jpegs[0][at:] + magic
    for index in (True, False):
        folder = write(tmp_path / "r", [(0, 0.0, data), (1, 1.0, jpegs[1])])
        if not index:
            (folder / "train.idx").unlink()
        assert images(RecordIO(folder).scan()) == {"0": [data], "1": [jpegs[1]]}


def test_an_image_record_with_nothing_in_it_is_reported(tmp_path: Path, jpegs: list[bytes]) -> None:
    records: list[tuple[int, Label, bytes]] = [
        (0, [4.0, 5.0], b""),
        (1, [0.0, 1.0], jpegs[0]),
        (2, [0.0, 1.0], b""),
        (3, 1.0, b""),
        (4, [1.0, 3.0], b""),
    ]
    inventory = RecordIO(write(tmp_path / "r", records)).scan()
    assert [item.reason for item in inventory.skipped] == ["empty", "empty"]


def test_a_label_that_is_no_number_is_reported(tmp_path: Path, jpegs: list[bytes]) -> None:
    inventory = RecordIO(write(tmp_path / "r", [(0, float("nan"), jpegs[0]), (1, 1.0, jpegs[1])])).scan()
    assert inventory.skipped == [Skipped("train.rec at byte 0", "label is not a number")]


def test_keys_and_lines_that_come_twice_in_a_trusted_index(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "r", [(1, 0.0, jpegs[0]), (2, 0.0, jpegs[1]), (2, 1.0, jpegs[2])])
    lines = (folder / "train.idx").read_text()
    (folder / "train.idx").write_text(lines + "9\t0\n")
    inventory = RecordIO(folder, idx="trust").scan()
    assert images(inventory) == {"0": [jpegs[0]], "1": [jpegs[2]]}
    reasons = sorted((item.reason.split(" of ")[0], item.kind) for item in inventory.skipped)
    assert reasons == [("duplicate key", "container"), ("not in the .idx", "other"), ("second key", "container")]


def test_records_that_a_trusted_index_does_not_name(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "r", [(i, 0.0, jpegs[i]) for i in range(4)])
    lines = (folder / "train.idx").read_text().splitlines(keepends=True)
    (folder / "train.idx").write_text(lines[1] + lines[2])
    inventory = RecordIO(folder, idx="trust").scan()
    assert images(inventory) == {"0": jpegs[1:3]}
    assert [(item.reason, item.kind) for item in inventory.skipped] == [("not in the .idx", "other")] * 2


@pytest.mark.parametrize("index", [True, False])
def test_a_truncated_file_loses_only_its_last_record(tmp_path: Path, jpegs: list[bytes], index: bool) -> None:
    folder = write(tmp_path / "r", [(i, float(i), jpegs[i]) for i in range(4)])
    whole = (folder / "train.rec").read_bytes()
    (folder / "train.rec").write_bytes(whole[:-40])
    if not index:
        (folder / "train.idx").unlink()
    inventory = RecordIO(folder).scan()
    assert images(inventory) == {str(i): [jpegs[i]] for i in range(3)}
    (skipped,) = inventory.skipped
    assert "at byte" in skipped.item
    assert "broken record" in skipped.reason
    assert skipped.kind == "container"


@pytest.mark.parametrize("index", [True, False])
def test_damage_in_the_middle_loses_only_that_record(tmp_path: Path, jpegs: list[bytes], index: bool) -> None:
    folder = write(tmp_path / "r", [(i, float(i), jpegs[i]) for i in range(4)])
    second = int((folder / "train.idx").read_text().splitlines()[1].split("\t")[1])
    data = bytearray((folder / "train.rec").read_bytes())
    data[second] ^= 255
    (folder / "train.rec").write_bytes(data)
    if not index:
        (folder / "train.idx").unlink()
    inventory = RecordIO(folder).scan()
    assert images(inventory) == {str(i): [jpegs[i]] for i in (0, 2, 3)}
    (skipped,) = inventory.skipped
    assert skipped.item == f"train.rec at byte {second}"
    assert skipped.kind == "container"


def test_the_property_file_is_compared(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "r", [(0, 0.0, jpegs[0]), (1, 1.0, jpegs[1])])
    for content, notes in (("2,112,112\n", 0), ("360232,112,112\n", 1), ("", 0), ("x", 0)):
        (folder / "property").write_text(content)
        assert len(RecordIO(folder).scan().notes) == notes


def test_which_file(tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = write(tmp_path / "r", [(0, 0.0, jpegs[0])], "only.rec")
    assert RecordIO(folder).scan().names == ["0"]
    write(tmp_path / "r", [(0, 1.0, jpegs[0])], "train.rec")
    assert RecordIO(folder).scan().names == ["1"]
    assert RecordIO(folder / "only.rec").scan().names == ["0"]
    (folder / "train.rec").rename(folder / "other.rec")
    with pytest.raises(SourceError, match=r"2 \.rec files"):
        RecordIO(folder).scan()


@pytest.mark.parametrize("content", [None, b"", b"not a record file at all, but long enough"])
def test_what_is_no_record_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.rec"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=r"x\.rec"):
        RecordIO(path).scan()
    with pytest.raises(SourceError, match=r"no \.rec file"):
        RecordIO(tmp_path).scan() if content is None else RecordIO(tmp_path.parent / tmp_path.name / "..").scan()


def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path, jpegs: list[bytes]) -> None:
    same = [data.ljust(2000, b"\0") for data in jpegs]
    for turn in range(2):
        folder = write(tmp_path / "r", [(i, 0.0, same[i + 10 * turn]) for i in range(4)])
        assert images(RecordIO(folder).scan()) == {"0": same[10 * turn : 10 * turn + 4]}


def test_real_records(lfw_rec: Path, tmp_path: Path) -> None:
    report = convert(RecordIO(lfw_rec), tmp_path / "out", workers=2)
    assert (len(report.index.identities), report.index.images) == (400, 1631)
    assert report.skipped == []
    assert report.notes == []
    assert verify(tmp_path / "out", deep=True) == []


def test_record_images_arrive_byte_for_byte(tmp_path: Path, jpegs: list[bytes]) -> None:
    import webdataset as wds

    records: list[tuple[int, Label, bytes]] = [(i, float(i % 3), jpegs[i]) for i in range(12)]
    convert(RecordIO(write(tmp_path / "r", records)), tmp_path / "out", Options(min_images=2), workers=1)
    found = list(wds.WebDataset(str(tmp_path / "out" / "train-000000.tar"), shardshuffle=False))
    assert sorted((int(s["cls"]), s["jpg"]) for s in found) == sorted((i % 3, jpegs[i]) for i in range(12))
