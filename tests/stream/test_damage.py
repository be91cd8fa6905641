"""What is damaged is replaced and told, or is an error that names the shard; never a wrong label, never a hang."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.transforms import ColorJitter, Compose

from tests.support import MakeFolder, jpeg
from wds_face import (
    Augmenter,
    DatasetError,
    ImageFolder,
    MedicalMaskOcclusion,
    OcclusionMaskWrapper,
    Options,
    PKStream,
    ToTensorWithMask,
    convert,
)
from wds_face.decoding import decode
from wds_face.shards.tar import BLOCK, Member, walk
from wds_face.stream import counters

#: Labels 0 to 11 with 5 images each, no two the same.
COUNTS = {f"person {i:02d}": 5 for i in range(12)}

FORMS: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": dict,
    "augmented": lambda: {
        "augmenter": Augmenter(0.5, 0.5, 0.5), "flip": 0.5, "occlusion": MedicalMaskOcclusion(prob=0.5)
    },
    "composed": lambda: {
        "transform": Compose([
            ColorJitter(0.3),
            MedicalMaskOcclusion(prob=0.5),
            OcclusionMaskWrapper(ColorJitter(0.2)),
            ToTensorWithMask(),
        ])
    },
}  # fmt: skip
forms = pytest.mark.parametrize("form", sorted(FORMS))
with_workers = pytest.mark.parametrize("workers", [0, 2])


@pytest.fixture(autouse=True)
def promptly(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hang is a failure, after a minute.

    When a loader goes whose workers had an error, torch waits for each of them in vain, 5 seconds if not told else.
    """
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.3)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    if multiprocessing.active_children():
        gc.collect()
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def shards(make_folder: MakeFolder, tmp_path: Path) -> Path:
    convert(ImageFolder(make_folder(COUNTS)), tmp_path / "out", Options(shard_size=30_000), workers=1)
    return tmp_path / "out"


def images_in(root: Path) -> dict[str, tuple[Path, Member]]:
    """The image members by key."""
    return {
        member.name[:-4]: (path, member)
        for path in sorted(root.glob("*.tar"))
        for member in walk(memoryview(path.read_bytes()))
        if member.name.endswith(".jpg")
    }


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def corrupt(root: Path, keys: list[str]) -> None:
    """Wipe out the first bytes of images."""
    images = images_in(root)
    for key in keys:
        overwrite(images[key][0], images[key][1].data, bytes(64))


def key_of(label: int, image: int) -> str:
    return f"{label:07d}/{image:06d}"


class Run:
    """An epoch: its batches, the keys that were read for them at first, and what was counted."""

    def __init__(self, root: Path, workers: int = 0, **options: Any) -> None:
        stream = PKStream(root, **{"p": 4, "k": 2, "image_size": 24, "seed": 3, **options})
        self.keys: list[list[str]] = []

        def note(batches: Any) -> Iterator[Any]:
            for batch in batches:
                if len(batch.samples) == len(batch.chosen.ravel()) > len(batch.chosen[0]):  # no replacement by itself
                    self.keys.append([sample["__key__"] for sample in batch.samples])
                yield batch

        stream.insert(note, after="read")
        loader = stream.loader(num_workers=workers)
        self.batches = [[tensor.numpy() for tensor in batch] for batch in loader]
        self.stats = loader.stats()

    @property
    def labels(self) -> list[list[int]]:
        return [batch[1].tolist() for batch in self.batches]

    def same(self, other: Run) -> bool:
        return len(self.batches) == len(other.batches) > 0 and all(
            np.array_equal(x, y)
            for one, two in zip(self.batches, other.batches, strict=True)
            for x, y in zip(one, two, strict=True)
        )


def decoded(root: Path) -> dict[str, NDArray[np.uint8] | None]:
    found = {}
    for key, (path, member) in images_in(root).items():
        found[key] = decode(path.read_bytes()[member.data : member.data + member.size])
    return found


def key_shown(image: NDArray[np.uint8], known: dict[str, NDArray[np.uint8] | None]) -> str:
    """Which image this is, of ``output="uint8"`` and size 24."""
    pixels = image.transpose(1, 2, 0)
    return next(key for key, array in known.items() if array is not None and np.array_equal(array, pixels))


@forms
def test_an_image_takes_the_place_of_another_and_nothing_else_changes(shards: Path, form: str) -> None:
    before = Run(shards, **FORMS[form]())
    broken = {key_of(0, 2), key_of(3, 0), key_of(3, 4), key_of(7, 1)}
    corrupt(shards, sorted(broken))
    after = Run(shards, **FORMS[form]())
    assert after.labels == before.labels
    assert after.keys == before.keys
    for keys, one, two in zip(before.keys, before.batches, after.batches, strict=True):
        for number, key in enumerate(keys):
            for x, y in zip(one, two, strict=True):
                assert key in broken or np.array_equal(x[number], y[number])
            assert key not in broken or not np.array_equal(one[0][number], two[0][number])
    replaced = sum(key in broken for keys in before.keys for key in keys)
    assert replaced >= len(broken)
    assert (after.stats["images_replaced"], after.stats["identities_replaced"]) == (replaced, 0)
    assert before.stats["images_replaced"] == 0
    assert Run(shards, 2, **FORMS[form]()).same(after)
    assert Run(shards, 2, **FORMS[form]()).stats["images_replaced"] == replaced


def test_it_is_another_image_of_the_same_identity(shards: Path) -> None:
    known = decoded(shards)
    broken = [key_of(label, image) for label in range(6) for image in (1, 3)]
    corrupt(shards, broken)
    run = Run(shards, k=3, output="uint8")
    assert any(key in broken for keys in run.keys for key in keys)
    for keys, (images, labels) in zip(run.keys, run.batches, strict=True):
        shown = [key_shown(image, known) for image in images]
        assert [int(key[:7]) for key in shown] == labels.tolist()
        assert not set(shown) & set(broken)
        assert all(one == two for one, two in zip(keys, shown, strict=True) if one not in broken)
        for group in range(4):
            assert len(set(shown[3 * group : 3 * group + 3])) == 3, "three of five can be had, and are different"


@pytest.mark.parametrize("form", ["plain", "composed"])
def test_each_damaged_image_is_told_once(shards: Path, form: str, caplog: pytest.LogCaptureFixture) -> None:
    broken = [key_of(0, 2), key_of(7, 1)]
    places = images_in(shards)
    corrupt(shards, broken)
    stream = PKStream(shards, p=4, k=2, image_size=24, **FORMS[form]())
    with caplog.at_level(logging.WARNING, "wds_face"):
        for number in range(3):
            stream.set_epoch(number)
            list(stream)
    assert stream.stats()["images_replaced"] >= 6
    told = sorted(record.getMessage() for record in caplog.records if record.name == "wds_face")
    assert len(told) == 2
    for key in broken:
        assert len([line for line in told if key in line and places[key][0].name in line]) == 1


def test_workers_tell_it_once_between_them(shards: Path) -> None:
    """In a process of its own, as workers write to its standard error."""
    broken = [key_of(0, 2), key_of(7, 1)]
    corrupt(shards, broken)
    code = """if True:
        import sys
        from wds_face import PKStream

        stream = PKStream(sys.argv[1], p=4, k=2, image_size=24)
        loader = stream.loader(3)
        for epoch in range(3):
            loader.set_epoch(epoch)
            list(loader)
        print(stream.stats()["images_replaced"])
    """
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, shards], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) >= 6
    told = [line for line in run.stderr.splitlines() if "cannot be decoded" in line]
    assert sorted(next(key for key in broken if key in line) for line in told) == broken


def test_what_replaces_an_image_goes_through_the_stages_before(shards: Path) -> None:
    """A stage that makes images readable, and labels its own, sees each sample once."""

    def hidden(batches: Any) -> Iterator[Any]:
        for batch in batches:
            for sample in batch.samples:
                sample["image"] = bytes(byte ^ 255 for byte in sample["image"])
            yield batch

    def relabelled(batches: Any) -> Iterator[Any]:
        for batch in batches:
            for sample in batch.samples:
                sample["image"] = bytes(byte ^ 255 for byte in sample["image"])
                sample["cls"] += 1000
            yield batch

    corrupt(shards, [key_of(0, 2), *(key_of(7, image) for image in range(5))])
    options: dict[str, Any] = {"p": 4, "k": 2, "image_size": 24, "output": "uint8"}
    plain, stream = PKStream(shards, **options), PKStream(shards, **options)
    stream.insert(hidden, after="read")
    stream.insert(relabelled, after="read")
    for (images, labels), (same, before) in zip(stream, plain, strict=True):
        assert torch.equal(labels, before + 1000)
        assert torch.equal(images, same)
    for name in counters.COUNTS:
        assert stream.stats()[name] == plain.stats()[name], name
    assert stream.stats()["identities_replaced"] > 0


@forms
@pytest.mark.parametrize("images", [1, 3])
def test_an_identity_of_which_nothing_is_left_is_replaced_by_another(
    make_folder: MakeFolder, tmp_path: Path, form: str, images: int
) -> None:
    root = make_folder({**COUNTS, "person 05": images})
    convert(ImageFolder(root), tmp_path / "out", Options(shard_size=30_000), workers=1)
    before = Run(tmp_path / "out", **FORMS[form]())
    corrupt(tmp_path / "out", [key_of(5, image) for image in range(images)])
    after = Run(tmp_path / "out", **FORMS[form]())
    count = 0
    for old, new, one, two in zip(before.labels, after.labels, before.batches, after.batches, strict=True):
        assert 5 not in new
        assert len(set(new)) == 4
        assert new[::2] == new[1::2]
        for number, label in enumerate(old):
            assert label == 5 or label == new[number]
            for x, y in zip(one, two, strict=True):
                assert label == 5 or np.array_equal(x[number], y[number])
        count += 5 in old
    assert count > 0
    assert after.stats["identities_replaced"] == count
    assert Run(tmp_path / "out", 2, **FORMS[form]()).same(after)


def test_the_labels_of_another_identity_are_those_of_its_images(make_folder: MakeFolder, tmp_path: Path) -> None:
    convert(ImageFolder(make_folder({**COUNTS, "person 05": 1, "person 09": 1})), tmp_path / "out", workers=1)
    known = decoded(tmp_path / "out")
    corrupt(tmp_path / "out", [key_of(5, 0), key_of(9, 0)])
    for seed in range(3):
        run = Run(tmp_path / "out", p=6, seed=seed, output="uint8")
        for images, labels in run.batches:
            assert [int(key_shown(image, known)[:7]) for image in images] == labels.tolist()
            assert len(set(labels.tolist())) == 6
        lost = [key for keys in run.keys for key in keys[::2] if key in (key_of(5, 0), key_of(9, 0))]
        assert run.stats["identities_replaced"] == len(lost) >= 2


@with_workers
@pytest.mark.parametrize("form", ["plain", "composed"])
@pytest.mark.parametrize("p", [4, 12])
def test_nothing_is_left_at_all(shards: Path, form: str, workers: int, p: int) -> None:
    corrupt(shards, list(images_in(shards)))
    with pytest.raises(DatasetError, match=r"train-\d+\.tar: \d{7}/\d{6} cannot be decoded, nor any image of"):
        Run(shards, workers, p=p, **FORMS[form]())


@with_workers
@forms
def test_whoever_wants_to_be_told_is(shards: Path, form: str, workers: int) -> None:
    corrupt(shards, [key_of(7, 1)])
    name = images_in(shards)[key_of(7, 1)][0].name
    with pytest.raises(DatasetError, match=f"{name}: {key_of(7, 1)} cannot be decoded.*on_error='replace'"):
        Run(shards, workers, on_error="raise", **FORMS[form]())


@with_workers
def test_a_header_that_claims_too_many_pixels(shards: Path, workers: int) -> None:
    before = Run(shards, output="uint8")
    path, member = images_in(shards)[key_of(7, 1)]
    data = path.read_bytes()
    frame = data.index(b"\xff\xc0", member.data)
    overwrite(path, frame + 5, (60_000).to_bytes(2, "big") * 2)
    tracemalloc.start()
    try:
        begin = time.monotonic()
        after = Run(shards, workers, output="uint8")
        assert time.monotonic() - begin < 20
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert after.labels == before.labels
    assert after.stats["images_replaced"] == sum(key == key_of(7, 1) for keys in before.keys for key in keys) > 0


def flipped(path: Path) -> None:
    member = list(walk(memoryview(path.read_bytes())))[3]
    overwrite(path, member.start + 3, b"\xff")


def renamed_member(path: Path) -> None:
    """Not an image any longer, with a right checksum."""
    data = bytearray(path.read_bytes())
    member = next(iter(walk(memoryview(data))))
    at = member.start + len(member.name) - 3
    data[at : at + 3] = b"txt"
    field = slice(member.start + 148, member.start + 156)
    data[field] = b" " * 8
    data[field] = b"%06o\0 " % sum(data[member.start : member.start + BLOCK])
    path.write_bytes(data)


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def zeroed(path: Path) -> None:
    overwrite(path, 0, bytes(path.stat().st_size))


DAMAGE: dict[str, Callable[[Path], None]] = {
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut between members": lambda path: os.truncate(path, path.stat().st_size - 2 * BLOCK - 1024),
    "without its end": lambda path: os.truncate(path, path.stat().st_size - 2 * BLOCK),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: os.truncate(path, path.stat().st_size + BLOCK),
    "removed": Path.unlink,
    "a folder": made_a_folder,
    "zeroed": zeroed,
    "a flipped byte in a header": flipped,
    "an image that is none": renamed_member,
}


@with_workers
@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_a_damaged_shard_is_named(shards: Path, damage: str, workers: int) -> None:
    path = sorted(shards.glob("*.tar"))[1]
    DAMAGE[damage](path)
    with pytest.raises(DatasetError, match=path.name):
        Run(shards, workers)


@with_workers
def test_shards_of_the_same_size_that_changed_places(tmp_path: Path, workers: int) -> None:
    for i in range(8):
        (tmp_path / "faces" / f"{i}").mkdir(parents=True)
        (tmp_path / "faces" / f"{i}" / "a.jpg").write_bytes(jpeg(i)[:-2].ljust(1000, b"\0") + b"\xff\xd9")
    convert(ImageFolder(tmp_path / "faces"), tmp_path / "out", Options(shard_size=1), workers=1)
    one, two = sorted((tmp_path / "out").glob("*.tar"))[2:4]
    assert one.stat().st_size == two.stat().st_size
    Run(tmp_path / "out")
    one.rename(tmp_path / "x")
    two.rename(one)
    (tmp_path / "x").rename(two)
    with pytest.raises(DatasetError, match=rf"({one.name}|{two.name}): identity \d has an image with label \d"):
        Run(tmp_path / "out", workers)


def copied(path: Path) -> None:
    """The same bytes, size and time, in another file."""
    shutil.copy2(path, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def other_bytes(path: Path) -> None:
    path.with_suffix(".new").write_bytes(path.read_bytes() + bytes(BLOCK))
    os.replace(path.with_suffix(".new"), path)


@with_workers
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (copied, "was replaced while it was read"),
        (other_bytes, r"has \d+ bytes, the index says \d+"),
        (DAMAGE["cut in half"], r"has \d+ bytes, the index says \d+"),
        (Path.unlink, "cannot be read"),
    ],
    ids=["the same size", "another size", "cut in place", "removed"],
)
def test_a_shard_that_changes_while_it_is_read(
    shards: Path, change: Callable[[Path], None], message: str, workers: int
) -> None:
    stream = PKStream(shards, p=4, k=1, image_size=24)
    assert len(stream) > 12, "more than workers make ahead"
    batches = iter(stream.loader(num_workers=workers))
    next(batches)
    time.sleep(0.5 * bool(workers))  # what they make ahead is made: one that reads what is cut just then is killed
    path = sorted(shards.glob("*.tar"))[1]
    change(path)
    begin = time.monotonic()
    with pytest.raises(DatasetError, match=f"{path.name} {message}"):
        list(batches)
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("persistent", [False, True])
def test_a_worker_that_is_killed_is_noticed(shards: Path, persistent: bool) -> None:
    loader = PKStream(shards, p=4, k=1, image_size=24).loader(num_workers=2, persistent_workers=persistent)
    others = set(multiprocessing.active_children())
    batches = iter(loader)
    next(batches)
    worker, *_ = set(multiprocessing.active_children()) - others
    assert worker.pid is not None

    def go_on(pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        time.sleep(10)  # torch's handler of SIGCHLD raises at any moment: not while a batch comes out of a pipe
        list(batches)

    begin = time.monotonic()
    with pytest.raises(RuntimeError, match=r"DataLoader worker .*killed"):
        go_on(worker.pid)
    assert time.monotonic() - begin < 8, "the signal ends the sleep"


def test_a_damaged_data_set_can_be_read_again_once_it_is_whole(shards: Path) -> None:
    before = Run(shards)
    path = sorted(shards.glob("*.tar"))[1]
    path.rename(path.with_suffix(".away"))
    with pytest.raises(DatasetError, match=path.name):
        Run(shards)
    path.with_suffix(".away").rename(path)
    assert Run(shards).same(before)


def test_damage_where_nobody_looks_does_no_harm(make_folder: MakeFolder, tmp_path: Path) -> None:
    """Nobody decodes the images of an identity that is left out."""
    convert(ImageFolder(make_folder({**COUNTS, "person 05": 1})), tmp_path / "out", workers=1)
    before = Run(tmp_path / "out", min_images=2)
    corrupt(tmp_path / "out", [key_of(5, 0)])
    after = Run(tmp_path / "out", min_images=2)
    assert after.same(before)
    assert after.stats["images_replaced"] == 0
