"""What all commands have in common: help, --json, -q, paths, and numbers with their nouns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from tests.support import command
from tests.validation.sets import write_bin
from wds_face.cli.main import cli

ROOT = Path(__file__).parents[2]


def program(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    line = [sys.executable, "-m", "wds_face", *arguments]
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    """All commands that do something, by their words."""
    found: dict[tuple[str, ...], click.Command] = {}
    for name, one in group.commands.items():
        found |= commands(one, (*path, name)) if isinstance(one, click.Group) else {(*path, name): one}
    return found


@pytest.mark.parametrize("words", [[], ["convert"]])
def test_without_a_command_it_prints_its_help(words: list[str]) -> None:
    run = program(*words)
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("Usage: ")
    assert "Commands:" in run.stderr
    assert run.stderr == program(*words, "--help").stdout


@pytest.mark.parametrize("words", commands())
def test_every_command_takes_json_and_quiet(words: tuple[str, ...]) -> None:
    options = {name: one for one in commands()[words].params for name in one.opts}
    for name, short in (("--json", None), ("--quiet", "-q")):
        assert isinstance(options[name], click.Option)
        assert options[name].is_flag
        assert short is None or options[short] is options[name]


def test_an_option_means_the_same_everywhere() -> None:
    seen: dict[str, set[str]] = {}
    for one in commands().values():
        for option in one.params:
            for name in option.opts:
                if name in ("-k", "--json", "--quiet", "--names", "--seed", "--points") and isinstance(
                    option, click.Option
                ):
                    seen.setdefault(name, set()).add(str(option.help))
                if name in ("-o", "--output"):
                    assert set(option.opts) == {"-o", "--output"}
                    assert option.type.name == "file"
    assert {name: len(helps) for name, helps in seen.items()} == dict.fromkeys(seen, 1)


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a data set, ``set``, of 20 identities, faces, a validation set and its embeddings."""
    monkeypatch.chdir(tmp_path)
    write_bin(tmp_path / "val" / "lfw.bin", pairs=20)
    np.save(tmp_path / "e.npy", np.random.default_rng(0).normal(size=(40, 8)))
    return tmp_path


RUNS = {
    "info": (["info", "set"], {"identities": 20}),
    "verify": (["verify", "set", "--workers", "1"], {"ok": True, "problems": [], "images": 66}),
    "index": (["index", "set", "--overwrite", "--workers", "1"], {"identities": 20, "images": 66, "shards": 1}),
    "preview": (["preview", "set", "-n", "2"], {"output": "preview.png", "faces": 2}),
    "report": (["report", "set", "--samples", "5"], {"output": "report.html"}),
    "bench": (["bench", "set", "-p", "4", "--workers", "0", "--seconds", "0.1", "--plain"], {"images": 66}),
    "evaluate": (["evaluate", "val", "--embeddings", "e.npy"], {}),
    "validation": (["convert", "validation", "val", "out"], {"dest": "out"}),
    "imagefolder": (["convert", "imagefolder", "faces", "out", "--workers", "1"], {"identities": 20, "images": 66}),
    "webdataset": (["convert", "webdataset", "set", "out", "--workers", "1"], {"identities": 20, "shards": 1}),
    "dry run": (["convert", "imagefolder", "faces", "out", "--workers", "1", "--dry-run"], {"dry_run": True}),
}


@pytest.mark.parametrize("name", RUNS)
def test_json_is_all_that_is_printed(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, wanted = RUNS[name]
    assert command(*words, "--json") == 0
    said, errors = capsys.readouterr()
    found: dict[str, Any] = json.loads(said)
    assert said.count("\n") == 1
    assert errors == ""
    assert found.items() >= wanted.items()


@pytest.mark.parametrize("name", RUNS)
def test_quiet_prints_nothing(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(*RUNS[name][0], "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_problems_as_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "set" / "train-000000.tar").write_bytes(b"x")
    assert command("verify", "set", "--json", "--workers", "1") == 1
    said, errors = capsys.readouterr()
    found = json.loads(said)
    assert not found["ok"]
    assert found["problems"][0]["file"] == "train-000000.tar"
    assert "set: 1 problem found" in errors


@pytest.mark.parametrize(
    "words",
    [
        *(["info", "none"], ["verify", "none"], ["index", "none"], ["bench", "none"], ["report", "none"]),
        *(
            ["preview", "none"],
            ["evaluate", "none", "--embeddings", "e.npy"],
            ["convert", "imagefolder", "none", "out"],
        ),
        *(["convert", "recordio", "none", "out"], ["convert", "webdataset", "none", "out"]),
        *(["convert", "webdataset", "none/x.tar", "out"], ["convert", "validation", "none", "out"]),
        ["convert", "validation", "none", "out", "--pairs", "4"],
    ],
)
def test_a_missing_path_is_said_to_be_missing(words: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(*words) in (1, 2)
    said, errors = capsys.readouterr()
    assert said == ""
    assert errors.count("\n") == 1
    assert "none" in errors
    assert "is not there" in errors or "does not exist" in errors
    assert not (here / "out").exists()


URL = "s3://me:hunter2@bucket/x"


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "imagefolder", URL, "out"],
        ["convert", "recordio", URL, "out"],
        ["convert", "webdataset", "set", "out", "--spool-dir", URL],
        ["convert", "validation", "val", URL],
        ["preview", "set", "-o", f"{URL}.png"],
        ["report", "set", "-o", URL],
        ["bench", "set", "--cache-dir", URL],
        ["evaluate", URL, "--embeddings", "e.npy"],
        ["evaluate", "val", "--embeddings", URL],
        ["evaluate", "val", "--model", "net:ready", "--weights", URL],
        ["evaluate", "val", "--embeddings", "e.npy", "--save", URL],
        ["evaluate", "val", "--embeddings", "e.npy", "--roc", f"{URL}.png"],
    ],
)
def test_urls_are_refused_where_only_paths_are_taken(
    words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in here.iterdir())
    assert command(*words) == 2
    said, errors = capsys.readouterr()
    assert said == ""
    assert errors.count("\n") == 1
    assert "is a URL: give a path on this machine" in errors
    assert "hunter2" not in errors
    assert sorted(path.name for path in here.iterdir()) == before


def test_a_report_of_more_identities_than_there_are(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("report", "set", "-p", "21") == 1
    assert capsys.readouterr().err == "wds-face: set has 20 identities, fewer than p=21\n"
    assert not (here / "report.html").exists()


def test_a_roc_without_matplotlib(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set is damaged, so that the line about matplotlib must come before the work."""
    (here / "val" / "lfw.bin").write_bytes(b"x")
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert command("evaluate", "val", "--embeddings", "e.npy", "--roc", "roc.png") == 1
    assert "pip install 'wds-face[plot]'" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    run = program(_WDS_FACE_COMPLETE=f"{shell}_source")
    assert run.returncode == 0
    assert "_WDS_FACE_COMPLETE" in run.stdout


def test_completion_of_words() -> None:
    def completed(line: str, number: int) -> list[str]:
        run = program(_WDS_FACE_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(number))
        return run.stdout.split()

    assert completed("wds-face ver", 1) == ["plain,verify"]
    assert completed("wds-face info sh", 2) == ["file,sh"]
