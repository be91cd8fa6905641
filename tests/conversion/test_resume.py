"""Killed at any moment, a conversion goes on with the same command and ends with the same bytes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import MakeFolder, sums
from wds_face import DatasetError, ImageFolder, Options, SourceError, convert, verify
from wds_face.conversion import convert as module

COMMAND = [sys.executable, "-m", "tools.convert", "imagefolder"]
ROOT = Path(__file__).parents[2]


def run_and_kill(source: Path, dest: Path, shards: int, *options: str) -> None:
    """Start the command and kill -9 it when so many shards are there."""
    process = subprocess.Popen([*COMMAND, str(source), str(dest), *options], cwd=ROOT, stdout=subprocess.DEVNULL)
    while len(list(dest.glob("*.tar"))) < shards:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (dest / "index.json").exists(), "a killed conversion must not look complete"


@pytest.fixture
def many(make_folder: MakeFolder) -> Path:
    root = make_folder({f"{i:04d}": 1 + i % 3 for i in range(600)})
    (root / "0100" / "0000.jpg").write_bytes(b"bad")
    return root


@pytest.mark.parametrize("workers", ["1", "2"])
def test_killed_three_times(many: Path, tmp_path: Path, workers: str) -> None:
    options = ("--shard-size", "4kB", "--workers", workers)
    for shards in (10, 150, 300):
        run_and_kill(many, tmp_path / "killed", shards, *options)
        with pytest.raises(DatasetError, match="conversion has not finished"):
            verify(tmp_path / "killed")
    done = subprocess.run([*COMMAND, str(many), str(tmp_path / "killed"), *options], cwd=ROOT, check=True,
                          capture_output=True, text=True)  # fmt: skip
    assert "were finished before" in done.stdout
    convert(ImageFolder(many), tmp_path / "whole", Options(shard_size=4000), workers=1)
    assert sums(tmp_path / "killed") == sums(tmp_path / "whole")


class Killed(BaseException):
    """Stands for a kill -9 at an exact place."""


@pytest.mark.parametrize("writes", [*range(0, 14), *range(14, 60, 5)])
def test_stopped_after_any_write(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """Stop in place of the n-th file that is given its name, then go on."""
    (faces / "person 07" / "0000.jpg").write_bytes(b"bad")
    (faces / "person 07" / "0001.jpg").write_bytes(b"bad")
    options = Options(shard_size=8_000, min_images=2)
    convert(ImageFolder(faces), tmp_path / "whole", options, workers=1, max_skipped=2)
    replace, done = module.os.replace, 0

    def stop(source: object, target: object) -> None:
        nonlocal done
        if done == writes:
            raise Killed
        done += 1
        replace(source, target)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", stop)
        try:
            convert(ImageFolder(faces), tmp_path / "out", options, workers=1, max_skipped=2)
            stopped = False
        except Killed:
            stopped = True
    assert stopped == (not (tmp_path / "out" / "index.json").exists())
    convert(ImageFolder(faces), tmp_path / "out", options, workers=1, max_skipped=2)
    assert sums(tmp_path / "out") == sums(tmp_path / "whole")


def stop_after(
    shards: int,
    source: Path,
    dest: Path,
    options: Options,
    monkeypatch: pytest.MonkeyPatch,
    *,
    overwrite: bool = False,
) -> None:
    save, count = module.Workspace.save, 0

    def counting(self: object, *args: object) -> None:
        nonlocal count
        save(self, *args)  # type: ignore[arg-type]
        count += 1
        if count == shards:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module.Workspace, "save", counting)
        with pytest.raises(Killed):
            convert(ImageFolder(source), dest, options, workers=1, overwrite=overwrite)


def test_shards_that_are_done_are_not_written_again(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(shard_size=8_000)
    stop_after(3, faces, tmp_path / "out", options, monkeypatch)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")}
    assert len(times) == 3
    report = convert(ImageFolder(faces), tmp_path / "out", options, workers=1)
    assert report.written == len(report.index.shards) - 3
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_finished_shard_that_changed_since_is_written_again(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(shard_size=8_000)
    stop_after(3, faces, tmp_path / "out", options, monkeypatch)
    (tmp_path / "out" / "train-000001.tar").write_bytes(b"short")
    (tmp_path / "out" / ".convert" / "train-000002.tar.json").write_text("{")
    assert convert(ImageFolder(faces), tmp_path / "out", options, workers=1).written > 2
    assert verify(tmp_path / "out") == []


def test_strict_also_counts_what_an_earlier_run_left_out(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(shard_size=8_000)
    index = convert(ImageFolder(faces), tmp_path / "whole", options, workers=1).index
    first = next(index.classes[row["label"]] for row in index.identities if row["images"] > 1 and row["shard"] == 0)
    path = faces / first / "0000.jpg"
    path.write_bytes(b"bad" * (path.stat().st_size // 3))
    stop_after(1, faces, tmp_path / "out", options, monkeypatch)
    with pytest.raises(SourceError, match=f"{first}/0000.jpg: not an image"):
        convert(ImageFolder(faces), tmp_path / "out", options, strict=True, workers=1)


def test_other_options_do_not_mix_with_what_was_begun(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(5, faces, tmp_path / "out", Options(shard_size=4_000), monkeypatch)
    convert(ImageFolder(faces), tmp_path / "out", Options(shard_size=60_000, seed=3), workers=1)
    convert(ImageFolder(faces), tmp_path / "whole", Options(shard_size=60_000, seed=3), workers=1)
    assert sums(tmp_path / "out") == sums(tmp_path / "whole")


def test_new_images_since_are_taken_in(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(shard_size=8_000)
    stop_after(3, faces, tmp_path / "out", options, monkeypatch)
    extra = (faces / "person 00" / "0000.jpg").read_bytes()
    (faces / "person 00" / "9999.jpg").write_bytes(extra)
    assert convert(ImageFolder(faces), tmp_path / "out", options, workers=1).index.images == 67
    assert verify(tmp_path / "out") == []


def test_an_unfinished_conversion_of_another_name_is_not_mixed_in(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(1, faces, tmp_path / "out", Options(shard_size=8_000), monkeypatch)
    with pytest.raises(DatasetError, match="unfinished conversion named 'train'"):
        convert(ImageFolder(faces), tmp_path / "out", Options(name="val"), workers=1)


def test_what_killed_writers_left_is_cleared(faces: Path, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "whole", workers=1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".train-000000.tar.0123.part").write_bytes(b"half")
    convert(ImageFolder(faces), tmp_path / "out", workers=1)
    assert sums(tmp_path / "out") == sums(tmp_path / "whole")
    made = json.loads((tmp_path / "out" / "index.json").read_text())
    assert "time" not in json.dumps(made), "a manifest with a time in it could not be the same twice"


def test_a_file_that_was_repaired_since_is_read_again(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same name and size: only its time differs."""
    options = Options(shard_size=8_000)
    whole = convert(ImageFolder(faces), tmp_path / "whole", options, workers=1).index
    first = next(whole.classes[row["label"]] for row in whole.identities if row["images"] > 1)
    path = faces / first / "0000.jpg"
    good = path.read_bytes()
    path.write_bytes(good[:-2] + b"xx")
    stop_after(3, faces, tmp_path / "out", options, monkeypatch)
    path.write_bytes(good)
    convert(ImageFolder(faces), tmp_path / "out", options, workers=1)
    assert sums(tmp_path / "out") == sums(tmp_path / "whole")


def test_overwriting_goes_on_too(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(shard_size=8_000)
    convert(ImageFolder(faces), tmp_path / "out", Options(name="old"), workers=1)
    stop_after(4, faces, tmp_path / "out", options, monkeypatch, overwrite=True)
    report = convert(ImageFolder(faces), tmp_path / "out", options, workers=1, overwrite=True)
    assert report.written == len(report.index.shards) - 4
    assert not list((tmp_path / "out").glob("old-*"))
    assert convert(ImageFolder(faces), tmp_path / "out", options, workers=1, overwrite=True).written > 4


def test_overwriting_keeps_the_lock(faces: Path, tmp_path: Path) -> None:
    workspace = module.Workspace(module.open_store(tmp_path / "out"), "train")
    with workspace.locked():
        workspace.begin("plan", overwrite=True)
        assert (tmp_path / "out" / ".convert" / "lock").exists()
