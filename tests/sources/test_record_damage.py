"""A record file that is not whole, or whose index is another's, never gives a part of its images without a word."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.recordio.conftest import mxnet  # noqa: F401 (a fixture)
from tests.recordio.support import Mxnet, starts
from tests.sources.test_records import Label, write
from tests.support import command, jpeg, sums
from wds_face import Options, RecordIO, SourceError, convert
from wds_face.git_lfs import POINTER
from wds_face.sources import IdxUse, Skipped

LFS = POINTER + b"\noid sha256:4665a5ea423c2713d436b5ee50593a9640e0018c1550b5a0002f74190d6caea8\nsize 12345\n"
PEOPLE = 5
EACH = 4


def classic(folder: Path, number: int = 0) -> Path:
    """Records in InsightFace's layout: a header, twenty images of five people, five identity ranges."""
    total = PEOPLE * EACH
    records: list[tuple[int, Label, bytes]] = [(0, [total + 1.0, total + 1.0 + PEOPLE], b"")]
    records += [(1 + i, [float(i // EACH), 1.0], jpeg(number + i)) for i in range(total)]
    for person in range(PEOPLE):
        first = 1.0 + person * EACH
        records.append((1 + total + person, [first, first + EACH], b""))
    return write(folder, records)


def plain(folder: Path, number: int = 0) -> Path:
    """Records as im2rec writes them: images only, from key 0 on."""
    return write(folder, [(i, float(i // EACH), jpeg(number + i)) for i in range(PEOPLE * EACH)])


LAYOUTS = pytest.mark.parametrize("layout", [classic, plain])


def refused(folder: Path, dest: Path, match: str, idx: IdxUse = "check") -> SourceError:
    """The error of a conversion that publishes nothing, not even where everything may be skipped."""
    with pytest.raises(SourceError, match=match) as caught:
        convert(RecordIO(folder, idx=idx), dest, workers=1, max_skipped=1.0)
    assert "\n" not in str(caught.value)
    assert not dest.exists()
    return caught.value


# --- an index that does not fit


@LAYOUTS
def test_an_index_of_another_file(layout: object, tmp_path: Path) -> None:
    assert callable(layout)
    folder = layout(tmp_path / "r")
    other = layout(tmp_path / "other", 100)
    (folder / "train.idx").write_bytes((other / "train.idx").read_bytes())
    match = r"train\.idx: does not belong to train\.rec: \d+ of 20 records are not in it, .* lines point to no record"
    error = refused(folder, tmp_path / "out", match)
    assert "Say --idx ignore to read train.rec without its .idx" in str(error)
    assert "or say --salvage" in str(error)
    reports = [
        convert(RecordIO(folder), tmp_path / "salvaged", workers=1, salvage=True),
        convert(RecordIO(folder, idx="ignore"), tmp_path / "ignored", workers=1),
    ]
    assert [report.index.images for report in reports] == [20, 20]
    assert [[entry.kind for entry in report.skipped] for report in reports] == [["container"], []]
    facts = [json.loads((report.index.store.local / "index.json").read_text()) for report in reports]  # type: ignore[operator]
    assert [fact["wds_face"]["made"]["source"] for fact in facts] == [{"idx": "ignored"}] * 2


def test_an_index_that_lacks_images(tmp_path: Path) -> None:
    """Of a hold-out set, say: it is refused, or decides where it is trusted."""
    folder = classic(tmp_path / "r")
    lines = (folder / "train.idx").read_text().splitlines(keepends=True)
    (folder / "train.idx").write_text("".join(lines[:9] + lines[17:]))
    refused(folder, tmp_path / "out", r"train\.idx: does not belong to train\.rec: 8 of 20 records are not in it\.")
    report = convert(RecordIO(folder, idx="trust"), tmp_path / "out", workers=1, max_skipped=0)
    assert report.index.images == 12
    assert {entry.kind for entry in report.skipped} == {"other"}


def test_an_index_without_the_records_that_are_no_images(tmp_path: Path) -> None:
    folder = classic(tmp_path / "r")
    lines = (folder / "train.idx").read_text().splitlines(keepends=True)
    (folder / "train.idx").write_text("".join(lines[1:21]))
    inventory = RecordIO(folder).scan()
    assert inventory.images.tolist() == [EACH] * PEOPLE
    assert inventory.skipped == []
    assert inventory.facts == {"idx": "used"}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{last}\t{middle}\n", "1 of its 21 lines points to no record"),
        ("{last}\t-8\n", "1 of its 21 lines points to no record"),
        ("3\t{fifth}\n", "2 of its 21 lines repeat another's"),
        ("77\t{fifth}\n", "1 of its 21 lines repeats another's"),
    ],
)
def test_an_index_with_a_line_too_many(tmp_path: Path, line: str, fault: str) -> None:
    folder = plain(tmp_path / "r")
    begins = starts(folder / "train.rec")
    text = line.format(last=len(begins), middle=begins[3] + 8, fifth=begins[5])
    with (folder / "train.idx").open("a") as file:
        file.write(text)
    refused(folder, tmp_path / "out", re.escape(fault))
    assert RecordIO(folder).scan().images.sum() == 20, "what is salvaged is read without it"


@pytest.mark.parametrize("content", [b"", b"garbage", b"0\t0\n1", LFS])
def test_an_index_that_is_none(tmp_path: Path, content: bytes) -> None:
    folder = plain(tmp_path / "r")
    (folder / "train.idx").write_bytes(content)
    error = refused(folder, tmp_path / "out", r"train\.idx: ")
    assert ("git lfs pull" in str(error)) == (content is LFS)
    assert convert(RecordIO(folder), tmp_path / "out", workers=1, salvage=True).index.images == 20


def test_a_record_file_that_is_a_git_lfs_pointer(tmp_path: Path) -> None:
    folder = plain(tmp_path / "r")
    (folder / "train.rec").write_bytes(LFS)
    for salvage in (False, True):
        with pytest.raises(ValueError, match=r"train\.rec: a Git LFS pointer, not the file itself: run `git lfs pull`"):
            convert(RecordIO(folder), tmp_path / "out", workers=1, salvage=salvage)


# --- a file that is cut off


@LAYOUTS
def test_a_file_cut_in_half(layout: object, tmp_path: Path) -> None:
    assert callable(layout)
    folder = layout(tmp_path / "r")
    rec = folder / "train.rec"
    rec.write_bytes(rec.read_bytes()[: rec.stat().st_size // 2])
    refused(folder, tmp_path / "out", r"train\.rec is damaged, nothing is published: train\.rec: cut off at byte \d+")
    report = convert(RecordIO(folder), tmp_path / "out", workers=1, salvage=True)
    assert 0 < report.index.images < 20
    assert {entry.kind for entry in report.skipped} == {"container"}


def test_a_header_without_identity_ranges(tmp_path: Path) -> None:
    """They hold no images, so that nothing is lost."""
    images: list[tuple[int, Label, bytes]] = [(1 + i, [float(i // 4), 1.0], jpeg(i)) for i in range(12)]
    folder = write(tmp_path / "r", [(0, [13.0, 16.0], b""), *images])
    for idx in ("check", "ignore"):
        inventory = RecordIO(folder, idx=idx).scan()  # type: ignore[arg-type]
        assert inventory.skipped == []
        assert inventory.images.tolist() == [4, 4, 4]


@LAYOUTS
def test_a_file_cut_between_two_records(layout: object, tmp_path: Path) -> None:
    """The index goes on past the end."""
    assert callable(layout)
    folder = layout(tmp_path / "r")
    cut = starts(folder / "train.rec")[10]
    rec = folder / "train.rec"
    rec.write_bytes(rec.read_bytes()[:cut])
    refused(folder, tmp_path / "out", rf"train\.rec: cut off at byte {cut}: train\.idx lists 1\d more records")


def test_without_an_index_the_header_tells(tmp_path: Path) -> None:
    folder = classic(tmp_path / "r")
    cut = starts(folder / "train.rec")[10]
    rec = folder / "train.rec"
    rec.write_bytes(rec.read_bytes()[:cut])
    for idx in ("ignore", "check"):
        match = rf"train\.rec: cut off at byte {cut}: its header announces 20 images, 9 are there"
        refused(folder, tmp_path / "out", match, idx)  # type: ignore[arg-type]
        (folder / "train.idx").unlink(missing_ok=True)


def test_an_index_made_of_a_cut_file_does_not_hide_the_cut(tmp_path: Path) -> None:
    """As mxnet's rec2idx makes it: it fits the file, and the header announces more."""
    folder = classic(tmp_path / "r")
    begins = starts(folder / "train.rec")
    rec = folder / "train.rec"
    rec.write_bytes(rec.read_bytes()[: begins[10]])
    (folder / "train.idx").write_text("".join(f"{key}\t{at}\n" for key, at in enumerate(begins[:10])))
    refused(folder, tmp_path / "out", rf"cut off at byte {begins[10]}: its header announces 20 images, 9 are there")


def test_two_files_joined_into_one_are_refused(tmp_path: Path) -> None:
    """Label 0 of one is not label 0 of the other."""
    folder = classic(tmp_path / "r")
    other = classic(tmp_path / "other", 100)
    (folder / "train.idx").unlink()
    with (folder / "train.rec").open("ab") as joined:
        joined.write((other / "train.rec").read_bytes())
    refused(
        folder, tmp_path / "out", r"train\.rec: holds 40 images, its header announces 20: .* convert each on its own"
    )
    with pytest.raises(SourceError, match="convert each on its own"):
        convert(RecordIO(folder), tmp_path / "out", workers=1, salvage=True)


def test_another_record_file_in_the_folder_is_listed(tmp_path: Path) -> None:
    folder = classic(tmp_path / "r")
    shutil.copy(folder / "train.rec", folder / "val.rec")
    report = convert(RecordIO(folder), tmp_path / "out", workers=1)
    assert report.skipped == [Skipped("val.rec", "another record file", "other")]
    assert report.index.images == 20


def test_the_property_file_counts_where_nothing_else_tells(tmp_path: Path) -> None:
    folder = plain(tmp_path / "r")
    cut = starts(folder / "train.rec")[2 * EACH]
    (folder / "property").write_text("5,112,112\n")
    whole = RecordIO(folder, idx="ignore").scan()
    assert (whole.skipped, whole.notes) == ([], [])
    rec = folder / "train.rec"
    rec.write_bytes(rec.read_bytes()[:cut])
    match = r"train\.rec: may be cut off: the property file announces 5 identities, the images of train\.rec have 2"
    refused(folder, tmp_path / "out", match, "ignore")
    (folder / "train.idx").write_text("".join((folder / "train.idx").read_text().splitlines(keepends=True)[: 2 * EACH]))
    fitting = RecordIO(folder).scan()
    assert fitting.skipped == [], "the index shows that the file is whole, so that the number is wrong"
    assert fitting.notes == ["the property file announces 5 identities, the images of train.rec have 2"]


def test_items_are_no_damage_to_the_file(tmp_path: Path) -> None:
    """Records that are framed well and hold nothing that can be used."""
    good: list[tuple[int, Label, bytes]] = [(i, float(i % 3), jpeg(i)) for i in range(6)]
    folder = write(tmp_path / "r", [*good, (6, float("nan"), jpeg(6)), (7, 1.0, b"")])
    from wds_face.recordio import RecordWriter, pack

    with RecordWriter(folder / "train.rec") as writer:
        for key, label, data in good:
            writer.write(key, pack((0, label, key, 0), data))
        writer.write(6, pack((0, float("nan"), 6, 0), jpeg(6)))
        writer.write(7, pack((0, 1.0, 7, 0), b""))
        writer.write(8, b"short")
    for idx in ("check", "trust", "ignore"):
        inventory = RecordIO(folder, idx=idx).scan()  # type: ignore[arg-type]
        assert [entry.kind for entry in inventory.skipped] == ["item"] * 3
        assert inventory.images.sum() == 6
    with pytest.raises(SourceError, match="3 of 9 images cannot be read"):
        convert(RecordIO(folder), tmp_path / "out", workers=1)
    assert convert(RecordIO(folder), tmp_path / "out", workers=1, max_skipped=3).index.images == 6


# --- any cut, any damage


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each layout."""
    root = tmp_path_factory.mktemp("both")
    return {"classic": classic(root / "classic"), "plain": plain(root / "plain")}


def check_prefix(folder: Path, scratch: Path, cut: int, idx: bool) -> None:
    """A prefix of a file gives all of its images, or damage that names a byte."""
    whole = (folder / "train.rec").read_bytes()
    begins = starts(folder / "train.rec")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    (scratch / "train.rec").write_bytes(whole[:cut])
    if idx:
        shutil.copy(folder / "train.idx", scratch)
    inventory = None
    with suppress(SourceError):
        inventory = RecordIO(scratch).scan()
    if inventory is None:
        second_image = starts(folder / "train.rec")[2 if folder.name == "classic" else 1]
        assert cut < second_image, "refused as a whole although there are images in it"
        return
    damage = [entry for entry in inventory.skipped if entry.kind == "container"]
    if damage:
        assert any(re.search(r"at byte \d+", f"{entry.item} {entry.reason}") for entry in damage)
        return
    only_padding = any(0 <= begin - cut <= 3 for begin in [*begins, len(whole)])
    headless = folder.name == "plain"
    if idx:
        assert len(whole) - cut <= 3
    else:
        assert only_padding
    if idx or not headless:
        assert inventory.images.sum() == PEOPLE * EACH


def test_any_prefix_at_a_record(both: dict[str, Path], tmp_path: Path) -> None:
    for folder in both.values():
        for begin in [*starts(folder / "train.rec"), (folder / "train.rec").stat().st_size]:
            for cut in range(max(begin - 4, 0), min(begin + 12, (folder / "train.rec").stat().st_size) + 1):
                for idx in (True, False):
                    check_prefix(folder, tmp_path / "cut", cut, idx)


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from(["classic", "plain"]), st.booleans())
def test_any_prefix(
    both: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, layout: str, idx: bool
) -> None:
    folder = both[layout]
    cut = data.draw(st.integers(0, (folder / "train.rec").stat().st_size))
    check_prefix(folder, tmp_path_factory.getbasetemp() / "prefix", cut, idx)


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from(["classic", "plain"]))
def test_any_index(
    both: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, layout: str
) -> None:
    """Lines that are dropped, repeated or changed: the index still fits every image, or it is reported."""
    folder = both[layout]
    scratch = tmp_path_factory.getbasetemp() / "index"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    shutil.copy(folder / "train.rec", scratch)
    lines = [tuple(map(int, line.split("\t"))) for line in (folder / "train.idx").read_text().splitlines()]
    size = (folder / "train.rec").stat().st_size
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["drop", "repeat", "key", "offset"]))
        key, offset = lines[place]
        if change == "drop":
            del lines[place]
        elif change == "repeat":
            lines.append((key, offset))
        elif change == "key":
            lines[place] = (data.draw(st.integers(0, 40)), offset)
        else:
            lines[place] = (key, data.draw(st.integers(-9, size + 99)))
    (scratch / "train.idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in lines))
    inventory = RecordIO(scratch).scan()
    assert inventory.images.sum() == PEOPLE * EACH, "the record file is whole, so that nothing is lost"
    begins = starts(folder / "train.rec")
    listed = [offset for _, offset in lines]
    keys = [key for key, _ in lines]
    image_rows = slice(1, 21) if layout == "classic" else slice(None)
    fits = set(begins[image_rows]) <= set(listed) <= set(begins) and len(set(keys)) == len(keys) == len(set(listed))
    damage = [entry for entry in inventory.skipped if entry.kind == "container"]
    if not damage:
        assert fits
    elif fits:  # only a header that moved to another key, or keys that it does not know
        assert "its header announces" in damage[0].reason


@settings(deadline=None, max_examples=100)
@given(st.data(), st.sampled_from(["classic", "plain"]), st.booleans())
@example(None, "plain", False)
def test_any_damage_to_the_framing(
    both: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject | None, layout: str, idx: bool
) -> None:
    """The magic number of one record is gone."""
    folder = both[layout]
    scratch = tmp_path_factory.getbasetemp() / "framing"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(folder, scratch)
    if not idx:
        (scratch / "train.idx").unlink()
    begins = starts(folder / "train.rec")
    begin = begins[3] if data is None else data.draw(st.sampled_from(begins))
    content = bytearray((scratch / "train.rec").read_bytes())
    content[begin] ^= 255
    (scratch / "train.rec").write_bytes(content)
    damage = [entry for entry in RecordIO(scratch).scan().skipped if entry.kind == "container"]
    assert [entry.item for entry in damage] == [f"train.rec at byte {begin}"]


# --- by real mxnet


def test_files_by_real_mxnet(mxnet: Mxnet, tmp_path: Path) -> None:  # noqa: F811
    """mxnet itself reads the half of a cut file without a word."""
    from wds_face.recordio import pack

    (tmp_path / "r").mkdir()
    records = [(key, pack((0, float(key // 4), key, 0), jpeg(key))) for key in range(12)]
    rec = mxnet.write(tmp_path / "r" / "train.rec", records)
    assert RecordIO(rec).scan().skipped == []
    cut = starts(rec)[6]
    rec.write_bytes(rec.read_bytes()[:cut])
    assert len(mxnet.scan(rec)) == 6
    assert RecordIO(rec).scan().skipped == [
        Skipped("train.rec", f"cut off at byte {cut}: train.idx lists 6 more records", "container")
    ]


def test_real_records(lfw_rec: Path, tmp_path: Path) -> None:
    """An index of another file, and half of a file, of real faces."""
    shutil.copytree(lfw_rec, tmp_path / "r", copy_function=shutil.copyfile)
    rec = tmp_path / "r" / "train.rec"
    begins = starts(rec)
    whole = rec.read_bytes()
    rec.write_bytes(whole[: begins[800]])
    refused(tmp_path / "r", tmp_path / "out", rf"cut off at byte {begins[800]}: train\.idx lists 1,232 more records")
    rec.write_bytes(whole)
    shifted = [begins[0], *(begin + 4 for begin in begins[1:])]
    rec.with_suffix(".idx").write_text("".join(f"{key}\t{begin}\n" for key, begin in enumerate(shifted)))
    refused(tmp_path / "r", tmp_path / "out", "1,631 of 1,631 records are not in it, 2,031 of its 2,032 lines point")
    assert RecordIO(rec, idx="ignore").scan().images.sum() == 1631


# --- the command


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = classic(tmp_path / "r")
    other = classic(tmp_path / "other", 300)
    shutil.copy(other / "train.idx", folder)
    for dry in ([], ["--dry-run"]):
        assert command("convert", "recordio", folder, tmp_path / "out", *dry) == 1
        printed = capsys.readouterr()
        assert "train.idx: does not belong to train.rec" in printed.err
        assert len(printed.err.splitlines()) == 1
        assert ("would leave out 1 damaged part of a container" in printed.out) == bool(dry)
        assert not (tmp_path / "out").exists()
    assert command("convert", "recordio", folder, tmp_path / "salvaged", "--salvage", "--workers", 1) == 0
    assert "left out 1 damaged part of a container, listed in" in capsys.readouterr().out
    assert command("convert", "recordio", folder, tmp_path / "ignored", "--idx", "ignore", "--workers", 1) == 0
    assert "left out" not in capsys.readouterr().out
    (folder / "train.idx").unlink()
    assert command("convert", "recordio", folder, tmp_path / "without", "--workers", 1) == 0
    shards = [sums(tmp_path / name)["train-000000.tar"] for name in ("salvaged", "ignored", "without")]
    assert len(set(shards)) == 1


def test_options_do_not_depend_on_what_may_be_left_out() -> None:
    """They decide the bytes, so that a conversion that was refused goes on with a higher limit."""
    assert not {"salvage", "max_skipped", "strict"} & set(vars(Options()))
