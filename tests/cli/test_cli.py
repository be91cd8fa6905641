"""The command line as a user types it: what it prints, its exit codes, one line for a mistake."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.support import MakeFolder, sums

ROOT = Path(__file__).parents[2]


def wds_face(*arguments: object, module: str = "wds_face") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def fails(code: int, *arguments: object) -> str:
    """The one line that the command says when it fails."""
    run = wds_face(*arguments)
    assert run.returncode == code, run.stderr
    (line,) = run.stderr.splitlines()
    assert "Traceback" not in line
    return line


def test_a_whole_session(faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = wds_face("convert", "imagefolder", faces, out)
    assert run.returncode == 0
    assert run.stderr == "", "no progress bar where there is no terminal"
    assert f"{faces} -> {out}: 20 identities, 66 images, 1 shard" in run.stdout
    assert re.search(r"\d images/s", run.stdout)
    assert "complete already" in wds_face("convert", "imagefolder", faces, out).stdout
    run = wds_face("verify", out, "--deep")
    assert (run.returncode, run.stdout) == (0, f"{out}: ok (1 shard, {run.stdout.split('shard, ')[1]}")
    assert "66 images, every image decoded" in run.stdout
    assert "identities            20" in wds_face("info", out).stdout
    assert json.loads(wds_face("info", out, "--json", "-k", 2).stdout)["below_k"]["identities"] == 4
    (out / "train-000000.tar").write_bytes(b"x")
    run = wds_face("verify", out)
    assert run.returncode == 1
    assert run.stdout.startswith("train-000000.tar: has 1 bytes, the index says")


def test_preview(faces: Path, tmp_path: Path) -> None:
    wds_face("convert", "imagefolder", faces, tmp_path / "out", "-q")
    (faces / "person 00" / "0000.jpg").write_bytes(b"no image")  # is passed over
    for src, name in ((faces, "a.png"), (tmp_path / "out", "b.jpg")):
        run = wds_face("preview", src, "-o", tmp_path / name, "-n", "3", "--seed", "5")
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout == f"{tmp_path / name}: 3 faces of {src}\n"
        assert (tmp_path / name).stat().st_size > 10_000


def test_from_a_checkout_it_is_the_same_converter(faces: Path, tmp_path: Path) -> None:
    assert wds_face("imagefolder", faces, tmp_path / "a", module="tools.convert").returncode == 0
    assert wds_face("convert", "imagefolder", faces, tmp_path / "b").returncode == 0
    assert sums(tmp_path / "a") == sums(tmp_path / "b")


def test_the_installed_command(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("wds-face")
    run = subprocess.run([script, "--version"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout.startswith("wds-face, version ")


def test_regroup_index_verify(faces: Path, tmp_path: Path) -> None:
    assert wds_face("convert", "imagefolder", faces, tmp_path / "a", "--labels", "key", "-q").stdout == ""
    run = wds_face("convert", "webdataset", tmp_path / "a", tmp_path / "b", "--name", "val", "--shard-size", "20kB")
    assert "20 identities, 66 images" in run.stdout
    for path in (tmp_path / "b").iterdir():
        if path.suffix != ".tar":
            path.unlink()
    assert "20 identities, 66 images" in wds_face("index", tmp_path / "b").stdout
    assert wds_face("verify", tmp_path / "b").returncode == 0


def test_what_is_left_out_is_listed(faces: Path, tmp_path: Path) -> None:
    (faces / "person 00" / "a b\t.txt").touch()
    (faces / "person 00" / "cut.jpg").write_bytes((faces / "person 00" / "0000.jpg").read_bytes()[:-5])
    line = fails(1, "convert", "imagefolder", faces, tmp_path / "out")
    assert "1 of 67 images cannot be read (1.5%), more than --max-skipped 1% allows; nothing is published" in line
    assert "1 × truncated JPEG (person 00/cut.jpg)" in line
    assert not (tmp_path / "out" / "index.json").exists()
    run = wds_face("convert", "imagefolder", faces, tmp_path / "out", "--max-skipped", "2%")
    words = "left out 1 image that cannot be read and 1 other file, listed in"
    assert f"{words} {tmp_path}/out/skipped.tsv" in run.stdout
    assert "(1 shard was finished before)" in run.stdout
    assert "complete already" not in run.stdout
    assert (tmp_path / "out" / "skipped.tsv").read_text() == (
        "person 00/a b\\t.txt\tnot an image\tother\nperson 00/cut.jpg\ttruncated JPEG\titem\n"
    )
    again = wds_face("convert", "imagefolder", faces, tmp_path / "out", "--max-skipped", "1")
    assert words in again.stdout
    assert "it was complete already; nothing to do" in again.stdout
    assert "1 of 67 images" in fails(1, "convert", "imagefolder", faces, tmp_path / "out", "--max-skipped", "0")


def test_dry_run_writes_nothing(faces: Path, tmp_path: Path) -> None:
    (faces / "person 00" / "x.txt").touch()
    run = wds_face("convert", "imagefolder", faces, tmp_path / "out", "--dry-run", "--min-images", "2")
    assert "would write 16 identities, 62 images" in run.stdout
    assert "person 00/x.txt: not an image" in run.stdout
    assert "would leave out 4 identities with too few images and 1 other file" in run.stdout
    assert not (tmp_path / "out").exists()


def test_dry_run_fails_where_the_conversion_would(faces: Path, tmp_path: Path) -> None:
    (faces / "person 00" / "empty.jpg").touch()
    run = wds_face("convert", "imagefolder", faces, tmp_path / "out", "--dry-run")
    assert run.returncode == 1
    assert "would leave out 1 image that cannot be read\n  person 00/empty.jpg: empty\n" in run.stdout
    assert run.stderr.startswith(f"wds-face: {faces}: 1 of 67 images cannot be read (1.5%)")
    again = wds_face("convert", "imagefolder", faces, tmp_path / "out", "--dry-run", "--max-skipped", "2%")
    assert again.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["convert", "imagefolder", "{tmp}/none", "{tmp}/out"], 1, "none is not there: give the folder"),
        (["convert", "recordio", "{tmp}/none", "{tmp}/out"], 1, "give a .rec file"),
        (["convert", "webdataset", "{tmp}/empty", "{tmp}/out"], 1, "holds no .tar files"),
        (["convert", "webdataset", "{tmp}", "{tmp}/out", "--label-from", "json:"], 1, "it must be auto, cls, json"),
        (["convert", "imagefolder", "{faces}", "nonsense://x/y"], 1, "nonsense"),
        (["convert", "imagefolder", "{faces}", "/proc/out"], 1, "/proc/out"),
        (["convert", "imagefolder", "{faces}", "{faces}/out"], 1, "within the source"),
        (["convert", "imagefolder", "{faces}", "{tmp}/out", "--name", "../x"], 1, "letters, digits"),
        (["convert", "imagefolder", "{faces}", "{tmp}/out", "--min-images", "9"], 1, "no identity has 9 images"),
        (["verify", "{tmp}/none"], 1, "none is not there: give the folder of a data set"),
        (["info", "{tmp}/none"], 1, "none is not there: give the folder of a data set"),
        (["index", "{tmp}/empty"], 1, "holds no .tar files"),
        (["preview", "{tmp}/none", "-o", "{tmp}/a.png"], 1, "give a folder of images, a .rec file, or shards"),
        (["preview", "{tmp}/empty", "-o", "{tmp}/a.png"], 1, "has no sub-folders with images"),
        (["preview", "{faces}", "-o", "{tmp}/a.xyz"], 2, "named '.xyz'; try .png"),
        (["preview", "{faces}", "-o", "{tmp}/none/a.png"], 2, "there is no folder"),
        (["preview", "{faces}", "-n", "0"], 2, "--faces"),
        (["preview", "{faces}", "-o", "s3://b/a.png"], 2, "s3://b/a.png is a URL: give a path on this machine"),
        (["info", "simplecache::x"], 2, "write ./simplecache::x for the path"),
        (["info", "s3:/bucket/x"], 2, "write s3://"),
        (["info", ""], 2, "it is empty"),
        (["index", "{tmp}/none"], 1, "none is not there: give a folder of shards"),
        (["convert", "imagefolder", "{faces}"], 2, "Missing argument 'DEST'"),
        (["convert", "imagefolder", "{faces}", "{tmp}/out", "--shard-size", "big"], 2, "write it like 64MB"),
        (["convert", "imagefolder", "{faces}", "{tmp}/out", "--workers", "0"], 2, "--workers"),
        (["convert", "imagefolder", "{faces}", "{tmp}/out", "--max-skipped", "5 %%"], 2, "write it as a share like 1%"),
        (["convert", "imagefolder", "{faces}", "{tmp}/out", "--strict", "--salvage"], 1, "contradict each other"),
        (["convert", "lmdb", "a", "b"], 2, "No such command 'lmdb'"),
        (["verfy"], 2, "Did you mean"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    faces: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    line = fails(code, *(word.format(tmp=tmp_path, faces=faces) for word in arguments))
    assert message in line
    assert line.startswith("wds-face")


def test_strict(faces: Path, tmp_path: Path) -> None:
    (faces / "person 01" / "0000.jpg").write_bytes(b"")
    assert "strict: person 01/0000.jpg: empty" in fails(1, "convert", "imagefolder", faces, tmp_path / "o", "--strict")


@pytest.mark.parametrize(
    "command",
    [[], ["convert"], ["convert", "imagefolder"], ["convert", "recordio"], ["convert", "webdataset"], ["verify"],
     ["index"], ["info"]],
)  # fmt: skip
def test_help_has_examples(command: list[str]) -> None:
    run = wds_face(*command, "--help")
    assert run.returncode == 0
    if command != ["convert"]:
        assert "  wds-face " in run.stdout


@pytest.fixture
def many(make_folder: MakeFolder) -> Path:
    return make_folder({f"{i:04d}": 3 for i in range(700)})


def test_interrupted_with_ctrl_c(many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "wds_face", "convert", "imagefolder", str(many), str(out), "--shard-size", "4kB"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while len(list(out.glob(".convert/*.json"))) < 20:  # what it knows to be finished: shards are there before
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.strip() == "wds-face: interrupted; the same command goes on from here"
    run = wds_face("convert", "imagefolder", many, out, "--shard-size", "4kB")
    assert "were finished before" in run.stdout


def test_progress_on_a_terminal(many: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    command = [sys.executable, "-m", "wds_face", "convert", "imagefolder", str(many), str(tmp_path / "out")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=theirs, stderr=theirs, close_fds=True)
    os.close(theirs)
    shown = b""
    while process.poll() is None or select.select([ours], [], [], 0.2)[0]:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:
                break
    os.close(ours)
    text = shown.decode()
    assert re.search(r"writing: 100%.* 2100/2100 .*images/s", text)
    assert "scanning: 2100 images" in text


def test_a_closed_pipe_is_no_traceback(faces: Path, tmp_path: Path) -> None:
    wds_face("convert", "imagefolder", faces, tmp_path / "out")
    script = f"{sys.executable} -m wds_face info {tmp_path}/out | true"
    run = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stderr == ""
