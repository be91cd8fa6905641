"""Sets of any kind become memfiles: the same images to the bit, whole or not there, whoever else is at it."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import SHARED, MakeFolder, sums
from tests.validation.sets import decoded, normalized, write_adaface, write_bin
from tests.validation.test_memfile import theirs_made, theirs_read
from wds_face import (
    DatasetError,
    FiveValidationDataset,
    ImageFolder,
    SourceError,
    convert,
    convert_pairs,
    convert_validation,
    get_val_data,
    get_val_pair,
    get_val_sets,
    load_bin,
    make_memmap,
    read_memmap,
)
from wds_face.validation import BENCHMARKS
from wds_face.validation.convert import convert_sets
from wds_face.validation.sets import find_sets


@pytest.fixture
def five(tmp_path: Path) -> Path:
    """A folder as faces_emore, with a .bin of each benchmark, and of one more."""
    root = tmp_path / "faces_emore"
    for number, name in enumerate([*BENCHMARKS, "vgg2_fp"]):
        write_bin(root / f"{name}.bin", pairs=4 + number, seed=number)
    (root / "property").write_text("85742,112,112")
    return root


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_bin_comes_back_to_the_bit(channels: Any, dtype: Any, tmp_path: Path) -> None:
    bins, issame = write_bin(tmp_path / "src" / "lfw.bin")
    (made,) = convert_validation(tmp_path / "src", tmp_path / "val", dtype=dtype, channels=channels)
    assert (made.name, made.kind, made.pairs, made.channels, made.written) == ("lfw", "bin", 6, channels, True)
    assert made.nbytes == 12 * 3 * 112 * 112 * (1 if dtype == "uint8" else 4)
    images, same = get_val_pair(tmp_path / "val", "lfw")
    assert (images.shape, images.dtype, images.channels) == ((12, 3, 112, 112), np.float32, channels)
    assert np.array_equal(images[:], normalized(decoded(bins, channels)))
    assert np.array_equal(images[:], normalized(load_bin(tmp_path / "src" / "lfw.bin", channels=channels)[0]))
    assert same.tolist() == issame


def test_what_is_there_stays(five: Path, tmp_path: Path) -> None:
    dest = tmp_path / "val"
    made = convert_validation(five, dest)
    assert [one.name for one in made] == [*BENCHMARKS, "vgg2_fp"], "the benchmarks first"
    before, times = sums(dest), {path: path.stat().st_mtime_ns for path in dest.rglob("*.dat*")}
    again = convert_validation(five, dest)
    assert not any(one.written for one in again)
    assert sums(dest) == before
    assert {path: path.stat().st_mtime_ns for path in dest.rglob("*.dat*")} == times
    for options in ({"channels": "bgr"}, {"dtype": "float32"}):
        with pytest.raises(DatasetError, match=r"mem_file.dat is there and has other images.*--overwrite"):
            convert_validation(five, dest, **options)  # type: ignore[arg-type]
    write_bin(five / "lfw.bin", pairs=6, seed=9)
    with pytest.raises(DatasetError, match=r"lfw.*is there and has other images"):
        convert_validation(five, dest, ["lfw"])
    assert sums(dest) == before
    convert_validation(five, dest, ["lfw"], overwrite=True)
    assert np.array_equal(get_val_pair(dest, "lfw")[0][:], normalized(load_bin(five / "lfw.bin")[0]))


def test_a_bin_by_itself_and_a_choice(five: Path, tmp_path: Path) -> None:
    assert [one.name for one in convert_validation(five / "lfw.bin", tmp_path / "one")] == ["lfw"]
    assert [one.name for one in convert_validation(five, tmp_path / "two", ["vgg2_fp", "lfw"])] == ["vgg2_fp", "lfw"]
    assert list(find_sets(tmp_path / "two")) == ["lfw", "vgg2_fp"]


def test_nothing_there(five: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not have cfp_ff, ijbc: there are agedb_30, cfp_fp, lfw"):
        convert_validation(five, tmp_path / "val", ["cfp_ff", "lfw", "ijbc"])
    with pytest.raises(SourceError, match=r"does not have a \.bin, a carray or a memfile: a set is"):
        convert_validation(tmp_path, tmp_path / "val")
    with pytest.raises(SourceError, match=r"has no lfw\.bin|does not have lfw"):
        get_val_pair(tmp_path, "lfw")
    with pytest.raises(SourceError, match="has no validation set"):
        get_val_sets(tmp_path)
    with pytest.raises(ValueError, match="dtype is uint8 or float32"):
        convert_validation(five, tmp_path / "val", dtype="int8")  # type: ignore[arg-type]
    assert not (tmp_path / "val").exists()


def test_a_damaged_set_leaves_the_others(five: Path, tmp_path: Path) -> None:
    (five / "lfw.bin").write_bytes((five / "lfw.bin").read_bytes()[:-100])
    with pytest.raises(SourceError, match=r"lfw.bin is no pickle of images, or not a whole one.*sets converted: 5"):
        convert_validation(five, tmp_path / "val")
    assert list(find_sets(tmp_path / "val")) == ["agedb_30", "cfp_fp", "cplfw", "calfw", "vgg2_fp"]


def test_every_damaged_set_is_named(five: Path, tmp_path: Path) -> None:
    (five / "lfw.bin").write_bytes((five / "lfw.bin").read_bytes()[:-100])
    write_bin(five / "ijbc.bin")
    (five / "ijbc.bin").write_bytes(
        (five / "ijbc.bin").read_bytes().replace(b"JFIF", b"\0\0\0\0").replace(b"\xff\xd8", b"ab")
    )
    made = convert_sets(five, tmp_path / "val")
    assert list(made.damaged) == ["lfw.bin", "ijbc.bin"]
    assert "image 0 (of pair 0) cannot be decoded" in made.damaged["ijbc.bin"]
    assert [one.name for one in made.converted] == ["agedb_30", "cfp_fp", "cplfw", "calfw", "vgg2_fp"]
    with pytest.raises(SourceError, match=r"lfw\.bin .*; .*ijbc\.bin"):
        convert_validation(five, tmp_path / "val")


def test_a_damaged_carray_or_list_leaves_the_others(five: Path, tmp_path: Path) -> None:
    np.save(five / "own_list.npy", np.ones(3, bool))
    (five / "own" / "meta").mkdir(parents=True)
    (five / "own" / "meta" / "sizes").write_text("no JSON")
    made = convert_sets(five, tmp_path / "val")
    assert list(made.damaged) == ["own"]
    assert len(made.converted) == 6


def test_the_file_of_all_sets_needs_all_of_them(five: Path, tmp_path: Path) -> None:
    (five / "lfw.bin").write_bytes((five / "lfw.bin").read_bytes()[:-100])
    with pytest.raises(SourceError, match="concat_validation_memfile was not written"):
        convert_validation(five, tmp_path / "val", concat=True)
    assert not (tmp_path / "val" / "concat_validation_memfile").exists()


NDARRAY = struct.pack("<QQQ", 0x112, 0, 1) + bytes(400)  # as mxnet's mean.bin begins

#: Files named .bin that are no sets.
FOREIGN = {
    "mxnet's mean.bin": NDARRAY,
    "weights": b"PK\3\4" + bytes(100),
    "a pickled dict": pickle.dumps({"mean": [1, 2]}),
    "a pickled number": pickle.dumps(7, 0),
    "old weights of torch": pickle.dumps(119547037146038801333356, 2),
    "another pickled list": pickle.dumps(["lfw", "cfp_fp"]),
    "text": b"some notes on the images",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_bin_is_passed_over(content: bytes, five: Path, tmp_path: Path) -> None:
    (five / "mean.bin").write_bytes(content)
    made = convert_sets(five, tmp_path / "val")
    assert list(made.foreign) == ["mean.bin"]
    assert "mean.bin is not a " in made.foreign["mean.bin"]
    assert not made.damaged
    assert len(made.converted) == 6
    assert len(convert_validation(five, tmp_path / "val")) == 6
    with pytest.raises(SourceError, match=r"mean\.bin"):
        convert_validation(five, tmp_path / "val", ["mean"])
    with pytest.raises(SourceError, match=r"mean\.bin"):
        convert_validation(five / "mean.bin", tmp_path / "val")


def test_training_and_evaluation_pass_a_foreign_bin_over(five: Path) -> None:
    (five / "mean.bin").write_bytes(NDARRAY)
    assert list(get_val_sets(five)) == [*BENCHMARKS, "vgg2_fp"]


@pytest.mark.parametrize(
    "content",
    [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", b"<!DOCTYPE html><html>", b"<html>"],
)
def test_what_stands_for_a_file_that_was_not_copied_is_damage(content: bytes, five: Path, tmp_path: Path) -> None:
    (five / "ijbc.bin").write_bytes(content)
    made = convert_sets(five, tmp_path / "val")
    assert list(made.damaged) == ["ijbc.bin"]
    assert len(made.converted) == 6


def test_a_benchmark_is_never_foreign(five: Path, tmp_path: Path) -> None:
    (five / "cfp_fp.bin").write_bytes(NDARRAY)
    made = convert_sets(five, tmp_path / "val")
    assert list(made.damaged) == ["cfp_fp.bin"]


def test_a_folder_with_nothing_but_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "mean.bin").write_bytes(NDARRAY)
    with pytest.raises(SourceError, match=r"a memfile that is a set \(mean\.bin is something else\)"):
        convert_validation(tmp_path, tmp_path / "val")


@pytest.mark.parametrize("protocol", range(6))
def test_sets_of_every_protocol_are_no_foreign_files(protocol: int, tmp_path: Path) -> None:
    bins, issame = write_bin(tmp_path / "a.bin", protocol=protocol)
    (tmp_path / "b.bin").write_bytes(pickle.dumps([bins, issame], protocol))
    (tmp_path / "c.bin").write_bytes(pickle.dumps((bins, np.array(issame)), protocol))
    assert list(find_sets(tmp_path)) == ["a", "b", "c"]


def test_adaface_is_used_unchanged(tmp_path: Path) -> None:
    """Its memfiles with floats in BGR, the lists, and the file of all sets."""
    wanted = {name: write_adaface(tmp_path, name, 3 + i, i) for i, name in enumerate(BENCHMARKS)}
    theirs_made(str(tmp_path / "concat_validation_memfile"), np.concatenate([images for images, _ in wanted.values()]))
    before = sums(tmp_path)
    data = get_val_data(tmp_path)
    images, lists = (data[0], data[1], data[2], data[6], data[8]), (data[3], data[4], data[5], data[7], data[9])
    for one, issame, (their_images, their_issame) in zip(images, lists, wanted.values(), strict=True):
        assert one.channels == "bgr"
        assert np.array_equal(one[:], their_images)
        assert issame.tolist() == their_issame
    sets = get_val_sets(tmp_path)
    whole = np.concatenate([images for images, _ in wanted.values()])
    for dataset in (FiveValidationDataset(sets), FiveValidationDataset(sets, tmp_path / "concat_validation_memfile")):
        assert np.array_equal(dataset.all_imgs[:], whole)
        assert dataset.channels == "bgr"
    for name in BENCHMARKS:  # without the memfiles of each
        shutil.rmtree(tmp_path / name)
    assert np.array_equal(get_val_pair(tmp_path, "lfw")[0][:], wanted["lfw"][0])
    assert np.array_equal(FiveValidationDataset(get_val_sets(tmp_path)).all_imgs[:], whole)
    assert {name: digest for name, digest in before.items() if "/" not in name} == sums(tmp_path)


def test_adaface_reads_ours(five: Path, tmp_path: Path) -> None:
    """As its get_val_pair and DataModule do: floats, BGR, a mapping for writing, all sets in one file."""
    dest = tmp_path / "val"
    convert_validation(five, dest, dtype="float32", channels="bgr", concat=True)
    whole = []
    for name in BENCHMARKS:
        assert (dest / name / "memfile").is_dir()
        whole.append(theirs_read(str(dest / name / "memfile" / "mem_file.dat")))
        issame = np.load(dest / f"{name}_list.npy")
        assert whole[-1].dtype == np.float32
        assert np.array_equal(whole[-1], normalized(load_bin(five / f"{name}.bin", channels="bgr")[0]))
        assert (issame.dtype, len(issame)) == (np.bool_, len(whole[-1]) // 2)
    assert np.array_equal(theirs_read(str(dest / "concat_validation_memfile")), np.concatenate(whole))


def test_floats_and_bytes_give_the_same(tmp_path: Path) -> None:
    """AdaFace's memfiles as bytes, in either order, and back."""
    images, _ = write_adaface(tmp_path / "a", "lfw")
    convert_validation(tmp_path / "a", tmp_path / "b")
    convert_validation(tmp_path / "b", tmp_path / "c", channels="rgb", dtype="float32")
    convert_validation(tmp_path / "c", tmp_path / "d", channels="bgr", dtype="float32")
    for folder, turn in (("b", 1), ("c", -1), ("d", 1)):
        assert np.array_equal(get_val_pair(tmp_path / folder, "lfw")[0][:], images[:, ::turn])
    size = [(tmp_path / folder / "lfw/memfile/mem_file.dat").stat().st_size for folder in "ab"]
    assert size[0] == 4 * size[1]
    assert (tmp_path / "d/lfw/memfile/mem_file.dat").read_bytes() == (
        tmp_path / "a/lfw/memfile/mem_file.dat"
    ).read_bytes()


def test_a_set_in_its_own_place(tmp_path: Path) -> None:
    images, _ = write_adaface(tmp_path, "lfw")
    with pytest.raises(DatasetError, match="--overwrite"):
        convert_validation(tmp_path, tmp_path)
    convert_validation(tmp_path, tmp_path, overwrite=True)
    assert read_memmap(tmp_path / "lfw/memfile/mem_file.dat").dtype == np.uint8
    assert np.array_equal(get_val_pair(tmp_path, "lfw")[0][:], images)


def test_carrays(tmp_path: Path) -> None:
    """As AdaFace's convert.py leaves them: <name>/ and <name>_list.npy."""
    from tests.validation.test_carray import written

    bins, issame = write_bin(tmp_path / "lfw.bin")
    (tmp_path / "lfw.bin").unlink()
    images = normalized(decoded(bins, "bgr"))
    written(tmp_path / "src" / "lfw", images)
    np.save(tmp_path / "src" / "lfw_list", np.array(issame))
    (made,) = convert_validation(tmp_path / "src", tmp_path / "val")
    assert (made.kind, made.channels) == ("carray", "bgr")
    assert np.array_equal(get_val_pair(tmp_path / "val", "lfw")[0][:], images)
    assert np.array_equal(get_val_pair(tmp_path / "src", "lfw", use_memfile=False)[0][:], images)
    assert not (tmp_path / "src" / "lfw" / "memfile").exists()
    assert np.array_equal(get_val_pair(tmp_path / "src", "lfw")[0][:], images), "made beside it"
    assert (tmp_path / "src" / "lfw" / "memfile" / "mem_file.dat").is_file()


def test_channels_that_do_not_fit(tmp_path: Path) -> None:
    write_adaface(tmp_path, "lfw")
    with pytest.raises(DatasetError, match=r"the images of lfw are bgr, not rgb: make them with `wds-face convert"):
        get_val_pair(tmp_path, "lfw", channels="rgb")
    assert get_val_pair(tmp_path, "lfw", channels="bgr")[0].channels == "bgr"
    write_bin(tmp_path / "cfp_fp.bin")
    assert get_val_pair(tmp_path, "cfp_fp", channels="bgr")[0].channels == "bgr", "made as it is asked for"


def test_what_adaface_left_half_written(tmp_path: Path) -> None:
    """It makes the file at its full size, and fills it."""
    images, _ = write_adaface(tmp_path, "lfw")
    half = images.copy()
    half[5:] = 0
    make_memmap(tmp_path / "lfw/memfile/mem_file.dat", half)
    with pytest.raises(DatasetError, match="was left half-written"):
        get_val_pair(tmp_path, "lfw")
    (tmp_path / "lfw/memfile/mem_file.dat.conf").unlink()
    bins, _ = write_bin(tmp_path / "lfw.bin")
    assert np.array_equal(get_val_pair(tmp_path, "lfw")[0][:], normalized(decoded(bins))), "made again"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "lfw_list.npy").unlink(), "has no lfw.bin|does not have lfw"),
        (lambda root: np.save(root / "lfw_list.npy", np.ones(4, bool)), "lfw has 12 images for 4 pairs: make it again"),
        (lambda root: (root / "lfw_list.npy").write_bytes(b"no"), "is no array of truth values"),
        (lambda root: np.save(root / "lfw_list.npy", np.array([os.system, 1, 2])), "is no array of truth values"),
        (lambda root: os.truncate(root / "lfw/memfile/mem_file.dat", 100), "has 100 bytes, where its .conf says"),
    ],
)
def test_damage_is_told_in_one_line(change: Any, message: str, tmp_path: Path) -> None:
    write_bin(tmp_path / "src" / "lfw.bin")
    convert_validation(tmp_path / "src", tmp_path / "val")
    change(tmp_path / "val")
    with pytest.raises((DatasetError, SourceError), match=message) as caught:
        get_val_pair(tmp_path / "val", "lfw")
    assert "\n" not in str(caught.value)


CODE = """
import sys
from wds_face import get_val_sets
sets = get_val_sets(sys.argv[1])
print({name: float(images[:].sum()) for name, (images, _) in sets.items()})
"""


def started(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", CODE, str(root)], stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once(five: Path) -> None:
    processes = [started(five) for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    assert len(set(said)) == 1
    wanted = {name: float(normalized(load_bin(five / f"{name}.bin")[0]).sum()) for name in find_sets(five)}
    assert str(wanted) == said[0].strip()
    assert list(five.rglob(".*")) == []


def test_killed_at_any_moment(tmp_path: Path) -> None:
    root = tmp_path / "src"
    for number, name in enumerate(["lfw", "cfp_fp"]):
        write_bin(root / f"{name}.bin", pairs=400, seed=number)
    for wait in (0.0, 0.05):
        shutil.rmtree(root / "lfw", ignore_errors=True)
        process = started(root)
        while not list(root.glob("*/memfile")) and process.poll() is None:
            time.sleep(0.002)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    for left in root.rglob(".*.part"):
        os.utime(left, (0, 0))  # or another machine might still be writing it
    sets = get_val_sets(root)
    for name, (images, issame) in sets.items():
        there, same = load_bin(root / f"{name}.bin")
        assert np.array_equal(images.pixels(0, len(images)), there)
        assert np.array_equal(issame, same)
    assert list(root.rglob(".*")) == [], "and what was left is gone"


def test_what_another_machine_writes_stays(tmp_path: Path) -> None:
    """Its locks may not be seen here; what it writes is young."""
    write_bin(tmp_path / "lfw.bin")
    young, old = (tmp_path / "lfw" / "memfile" / f".mem_file.dat.{name}.part" for name in ("young", "old"))
    young.parent.mkdir(parents=True)
    young.touch()
    old.touch()
    os.utime(old, (0, 0))
    get_val_pair(tmp_path, "lfw")
    assert (young.exists(), old.exists()) == (True, False)


def test_a_file_of_all_sets_that_is_damaged(five: Path, tmp_path: Path) -> None:
    dest = tmp_path / "val"
    convert_validation(five, dest, list(BENCHMARKS), concat=True)
    for name in find_sets(dest):
        shutil.rmtree(dest / name)
    assert list(find_sets(dest)) == list(BENCHMARKS)
    os.truncate(dest / "concat_validation_memfile", 100)
    for call in (lambda: get_val_sets(dest), lambda: get_val_pair(dest, "lfw")):
        with pytest.raises(DatasetError, match=r"concat_validation_memfile has 100 bytes, where its \.conf says"):
            call()


def test_images_of_arrays_go_to_other_processes(tmp_path: Path) -> None:
    bins, issame = write_bin(tmp_path / "lfw.bin")
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps(([np.frombuffer(data, np.uint8) for data in bins], issame)))
    images, _ = get_val_pair(tmp_path, "lfw", use_memfile=False)
    assert np.array_equal(pickle.loads(pickle.dumps(images))[:], images[:])


def test_pairs_of_ones_own(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder({f"{i:02d}": 1 + i % 5 for i in range(30)})
    convert(ImageFolder(folder), tmp_path / "shards", workers=1)
    made = convert_pairs(tmp_path / "shards", tmp_path / "val", 40, "own", max_images=3, image_size=24)
    assert (made.name, made.kind, made.pairs) == ("own", "shards", 40)
    assert not convert_pairs(tmp_path / "shards", tmp_path / "val", 40, "own", max_images=3, image_size=24).written
    with pytest.raises(DatasetError, match="--overwrite"):
        convert_pairs(tmp_path / "shards", tmp_path / "val", 40, "own", max_images=3, image_size=24, seed=1)
    assert get_val_pair(tmp_path / "val", "own")[1].tolist() == [True, False] * 20


def test_a_real_one(tmp_path: Path) -> None:
    path = SHARED / "fixtures" / "small_lfw.bin"
    if not path.is_file():
        pytest.skip("the shared fixtures are not here")
    convert_validation(path, tmp_path)
    images, issame = get_val_pair(tmp_path, "small_lfw")
    assert np.array_equal(images[:], normalized(load_bin(path)[0]))
    assert issame.tolist() == [True] * 10
