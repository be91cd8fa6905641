"""``wds-face bench`` as it is typed."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import fsspec
import pytest

from tests.servers import Bucket
from tests.support import command

called = partial(command, "bench")


def test_a_table_and_what_it_means(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = multiprocessing.active_children()
    options = ["-p", 4, "--workers", "2,1", "--seconds", 0.3, "--need", 10]
    assert called(made, *options) == 0
    said, errors = capsys.readouterr()
    assert errors == "", "no progress where there is no terminal"
    lines = said.splitlines()
    assert lines[0].startswith(f"{made}: 20 identities, 66 images of ")
    assert lines[1] == "  batches of 4 x 4 = 16 images, float, all transforms"
    rows = [line.split() for line in lines if re.match(r" +\d", line)]
    assert [row[0] for row in rows] == ["1", "2"]
    assert {len(line) for line in lines[3:6]} == {len(lines[3])}, "columns stand below one another"
    assert "- What limits: " in said
    assert "- Take num_workers=1: " in said
    assert '- output="uint8" gave ' in said
    assert "loader.stats()" in said
    assert all(len(line) <= 110 for line in lines[1:])
    assert called(made, *options, "--json") == 0
    said, errors = capsys.readouterr()
    assert errors == ""
    found = json.loads(said)
    assert [one["num_workers"] for one in found["measured"]] == [1, 2]
    assert found["measured"][0]["images_per_second"] > 10
    assert (found["num_workers"], found["images"], found["p"], found["need"]) == (1, 66, 4, 10)
    assert found["uint8"]["images"] > 0
    assert multiprocessing.active_children() == before


def test_options(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--plain --dtype uint8 -p 2 -k 2 --workers 0 --seconds 0.1 --step-ms 5 --seed 3"
    assert called(made, *options.split()) == 0
    said = capsys.readouterr().out
    assert "2 x 2 = 4 images, uint8, no transforms, 5 ms for each in the loop" in said
    assert "take turns" in said
    assert "output=" not in said, "it was measured"


def test_a_slow_step_is_the_training_loop(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(made, "-p", 4, "--workers", 1, "--seconds", 0.5, "--step-ms", 80) == 0
    assert "What limits: the training loop, which takes 80 ms for a batch" in capsys.readouterr().out


def test_more_workers_as_long_as_they_help(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wds_face.pool.cpus", lambda: 6)
    assert called(made, "-p", 4, "--seconds", 3, "--step-ms", 100) == 0
    tried = re.findall(r"^ +(\d+) ", capsys.readouterr().out, re.MULTILINE)
    assert tried == ["1", "2"], "the loop takes no more"


def test_buckets_and_a_cache(
    made: Path, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bucket.folder is not None
    shutil.copytree(made, bucket.folder / "set")
    monkeypatch.setitem(fsspec.config.conf, "s3", bucket.options)
    arguments = "-p", 4, "--workers", 1, "--seconds", 0.3, "--dtype", "uint8", "--cache-dir", tmp_path / "cache"
    assert called(bucket.url("set"), *arguments) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "MB came before the clock ran" in said
    assert "from the cache, come at" in said


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "nowhere is not there: give the folder of a data set"),
        (["set", "-p", "50"], 1, "20 identities, fewer than p=50"),
        (["set", "-k", "100000000"], 1, "take a smaller p x k"),
        (["set", "--workers", "two"], 2, "write them like 1,2,4"),
        (["set", "--json", "bench.json"], 2, "unexpected extra argument (bench.json)"),
    ],
)
def test_one_line_says_what_is_wrong(
    made: Path, arguments: list[str], code: int, message: str, request: pytest.FixtureRequest
) -> None:
    monkeypatch, capsys = (request.getfixturevalue(name) for name in ("monkeypatch", "capsys"))
    monkeypatch.chdir(made.parent)
    assert called(*arguments) == code
    said, errors = capsys.readouterr()
    assert said == ""
    assert message in errors
    assert errors.count("\n") == 1


def test_an_error_of_a_worker_is_one_line(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shard in made.glob("*.tar"):
        os.truncate(shard, 1024)
    assert called(made, "-p", 4, "--workers", 1) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert errors.startswith(f"wds-face: {made}")
    assert "run `wds-face verify`" in errors


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_ctrl_c_leaves_no_worker(made: Path) -> None:
    command = [sys.executable, "-u", "-m", "wds_face", "bench", str(made), "-p", "4", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [*command, "--seconds", "60"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        end = time.monotonic() + 60
        while len(_group(process.pid)) < 3 and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, errors = process.communicate(timeout=30)
    sizes = f"{made}: 100% of the images are not 112x112 (24x24 100%); they are resized to it\n"
    assert (process.returncode, errors) == (130, f"{sizes}wds-face bench: interrupted\n")
    assert _group(process.pid) == []


def _group(leader: int) -> list[int]:
    """The processes of a group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] != "Z":
            found.append(int(folder.name))
    return found
