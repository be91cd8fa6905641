"""``wds-face report`` as it is typed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import fsspec
import pytest

from tests.servers import Bucket
from tests.support import command


def report(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wds_face", "report", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


called = partial(command, "report")


def test_a_page_is_written(made: Path, tmp_path: Path) -> None:
    run = report("set", "-k", "2", cwd=tmp_path)
    sizes = "set: 100% of the images are not 112x112 (24x24 100%); they are resized to it\n"
    assert (run.returncode, run.stderr) == (0, sizes), "no bar where there is no terminal"
    assert run.stdout.startswith("report.html: a report on set, ")
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "66 images of 20 identities" in page


def test_its_options(made: Path, tmp_path: Path) -> None:
    page = tmp_path / "other.html"
    options = "-p 4 -k 4 --epoch identities --samples 10 --seed 3 --points casia"
    assert called(made, "-o", page, *options.split()) == 0
    assert f"wds-face report {made} {options}" in page.read_text()


def test_from_a_bucket(made: Path, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bucket.folder is not None
    shutil.copytree(made, bucket.folder / "set")
    monkeypatch.setitem(fsspec.config.conf, "s3", bucket.options)
    url = bucket.url("set")
    assert called(url, "-o", tmp_path / "page.html") == 0
    assert url in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none"], 1, "none is not there: give the folder of a data set"),
        (["memory://me:hunter2@host/x"], 1, "memory://host/x has no index.json"),
        (["nonsense://x"], 1, "nonsense"),
        (["set", "-o", "none/report.html"], 2, "there is no folder none"),
        (["set", "-o", "set"], 2, "is a directory"),
        (["set", "-p", "0"], 2, "-p"),
        (["set", "--samples", "0"], 2, "--samples"),
        (["set", "--points", "other"], 2, "--points"),
        ([], 2, "Missing argument 'URL'"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    made: Path,
    tmp_path: Path,
    *,
    arguments: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert called(*arguments) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("wds-face")
    assert message in line
    assert "hunter2" not in line
    assert not (tmp_path / "report.html").exists()


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert called("--help") == 0
    assert "  wds-face report " in capsys.readouterr().out
