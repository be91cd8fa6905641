"""Training frameworks on two processes: every batch once, each epoch in its order, resumed at any step; or refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers import ROOT
from wds_face import ImageFolder, Options, PKStream, convert

OPTIONS: dict[str, Any] = {"p": 5, "k": 3, "seed": 7, "lanes": 2, "image_size": 24, "flip": 0.5, "output": "uint8"}
EPOCHS = 3
Row = dict[str, Any]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, jpegs: list[bytes]) -> str:
    """Images of 37 identities: an odd number of batches, which two ranks do not divide."""
    root = tmp_path_factory.mktemp("frameworks")
    for identity in range(37):
        folder = root / "faces" / f"{identity:02d}"
        folder.mkdir(parents=True)
        for image in range(1 + identity * identity % 7):
            (folder / f"{image}.jpg").write_bytes(jpegs[(identity + image) % len(jpegs)])
    convert(ImageFolder(root / "faces"), root / "out", Options(shard_size=20_000), workers=1)
    return str(root / "out")


@pytest.fixture(scope="module")
def whole(shards: str) -> list[list[list[str]]]:
    """Of each epoch the sums of all batches, in order, the first once more if two ranks do not divide them."""
    stream = PKStream(shards, **OPTIONS)
    found = []
    for epoch in range(EPOCHS):
        stream.set_epoch(epoch)
        sums = [
            [hashlib.sha256(column.contiguous().numpy().tobytes()).hexdigest() for column in batch] for batch in stream
        ]
        found.append([*sums, sums[0]] if len(sums) % 2 else sums)
    assert len({json.dumps(epoch) for epoch in found}) == EPOCHS, "every epoch has an order of its own"
    return found


def start(jobs: list[dict[str, Any]], shards: str, folder: Path, ranks: int = 2) -> subprocess.CompletedProcess[str]:
    """Run jobs of :mod:`tests.stream.framework_job`, one after the other, on some ranks."""
    defaults = {"url": shards, "options": OPTIONS, "workers": 0, "epochs": 2, "stop": None, "resume": False}
    defaults |= {"announce": True, "checkpoint": str(folder / "checkpoint")}
    every = [{**defaults, "trace": str(folder / f"trace{number}"), **job} for number, job in enumerate(jobs)]
    command = [sys.executable, "-m"]
    if jobs[0]["kind"] != "ray":
        command += ["torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}", "-m"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FRAMEWORK_JOBS": json.dumps(every)}
    environment |= {"ACCELERATE_USE_CPU": "true", "RAY_TRAIN_V2_ENABLED": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [*command, "tests.stream.framework_job"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


def run(jobs: list[dict[str, Any]], shards: str, folder: Path, ranks: int = 2) -> list[list[Row]]:
    """Run jobs to their ends. Returns for each the rows of all ranks, in their order over all."""
    done = start(jobs, shards, folder, ranks)
    assert done.returncode == 0, done.stderr[-4000:]
    return [rows(folder, number, ranks) for number in range(len(jobs))]


def rows(folder: Path, number: int, ranks: int = 2) -> list[Row]:
    """What a job has written."""
    files = [folder / f"trace{number}.rank{rank}.jsonl" for rank in range(ranks)]
    found = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    assert len({len(rank) for rank in found}) == 1, "every rank has as many"
    return [row for step in zip(*found, strict=True) for row in step]


def refused(jobs: list[dict[str, Any]], shards: str, folder: Path, ranks: int = 2) -> str:
    """Run jobs of which the last one fails before it is given a batch. Returns what they print."""
    done = start(jobs, shards, folder, ranks)
    assert done.returncode != 0
    assert not list(folder.glob(f"trace{len(jobs) - 1}.*")), "nothing was trained on"
    return done.stdout + done.stderr


def sums(*found: list[Row]) -> list[list[str]]:
    return [row["sums"] for rows in found for row in rows]


def flat(epochs: list[list[list[str]]]) -> list[list[str]]:
    return [batch for epoch in epochs for batch in epoch]


@pytest.mark.parametrize("workers", [0, 2])
def test_accelerate(shards: str, whole: list[list[list[str]]], tmp_path: Path, workers: int) -> None:
    """`prepare` leaves the loader alone: each batch once; `save_state` after the third batch of an epoch."""
    pytest.importorskip("accelerate")
    job = {"kind": "accelerate", "workers": workers, "accumulate": 2}
    all_of_it, first, second = run([job, {**job, "stop": [1, 2]}, {**job, "resume": True}], shards, tmp_path)
    assert sums(all_of_it) == flat(whole[:2])
    assert sums(first, second) == flat(whole[:2])
    length = len(whole[0]) // 2
    assert length % 2 == 1
    synced = [row["sync"] for row in all_of_it[: 2 * length : 2]]
    assert synced == [step % 2 == 1 or step == length - 1 for step in range(length)], "the end of an epoch steps"


@pytest.mark.parametrize(("dispatch", "batch_size", "workers"), [(None, None, 0), (False, 1, 1)])
def test_accelerate_over_the_stream_itself_is_refused(
    shards: str, tmp_path: Path, dispatch: bool | None, batch_size: int | None, workers: int
) -> None:
    """By accelerate's dispatcher, which is its default for streams, and by its `IterableDatasetShard`."""
    pytest.importorskip("accelerate")
    job = {"kind": "accelerate_over_the_stream", "dispatch": dispatch, "batch_size": batch_size, "workers": workers}
    said = refused([job], shards, tmp_path)
    assert "give accelerator.prepare the loader that stream.loader() makes" in said, said[-3000:]


def test_skipping_by_accelerate_is_refused(shards: str, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    said = refused([{"kind": "skip_first_batches"}], shards, tmp_path, ranks=1)
    assert "resume by loader.load_state_dict" in said, said[-3000:]


def test_fabric(shards: str, whole: list[list[list[str]]], tmp_path: Path) -> None:
    """Fabric tells the sampler how often it was iterated, which is not the epoch where a run is resumed."""
    pytest.importorskip("lightning")
    kinds = [{"kind": "fabric", "announce": announce, "epochs": EPOCHS} for announce in (True, False)]
    kinds[1]["workers"] = 1
    for number, job in enumerate(kinds):
        kinds[number] = {**job, "checkpoint": str(tmp_path / f"checkpoint{number}")}
    jobs = [
        {**job, **more}
        for job in kinds
        for more in ({"stop": [1, 2]}, {"resume": True}, {"stop": [0, "end"]}, {"resume": True})
    ]
    found = run(jobs, shards, tmp_path)
    for place in (0, 4):
        assert sums(*found[place : place + 2]) == flat(whole), "from the middle of an epoch"
        assert sums(found[place + 2]) == whole[0]
        assert sums(*found[place + 2 : place + 4]) == flat(whole), "from the end of one"


def test_lightning_without_a_data_module(shards: str, whole: list[list[list[str]]], tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    job = {"kind": "lightning", "workers": 1}
    assert sums(*run([{**job, "stop": [1, 2]}, {**job, "resume": True}], shards, tmp_path)) == flat(whole[:2])


def test_transformers(shards: str, whole: list[list[list[str]]], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    job = {"kind": "transformers", "ignore_data_skip": True, "prepare": False}
    prepared = {**job, "prepare": True, "workers": 1, "checkpoint": str(tmp_path / "prepared")}
    jobs = [{**one, **more} for one in (job, prepared) for more in ({"stop": [1, 2]}, {"resume": True})]
    found = run(jobs, shards, tmp_path)
    assert sums(*found[:2]) == flat(whole[:2])
    assert sums(*found[2:]) == flat(whole[:2])


def test_transformers_that_would_skip_is_refused(shards: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    job = {"kind": "transformers", "prepare": False, "ignore_data_skip": False}
    said = refused([{**job, "stop": [0, 1]}, {**job, "resume": True}], shards, tmp_path, ranks=1)
    assert "TrainingArguments(ignore_data_skip=True)" in said, said[-3000:]


def test_transformers_over_the_stream_itself_is_refused(shards: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    said = refused([{"kind": "transformers_over_the_stream"}], shards, tmp_path, ranks=1)
    assert "return stream.loader() from get_train_dataloader" in said, said[-3000:]


def test_ray_train(shards: str, whole: list[list[list[str]]], tmp_path: Path) -> None:
    pytest.importorskip("ray.train")
    job = {"kind": "ray", "move_to_device": False, "workers": 1}
    jobs = [{**job, "stop": [1, 2]}, {**job, "resume": True}, {**job, "move_to_device": True}]
    said = refused(jobs, shards, tmp_path)
    assert sums(rows(tmp_path, 0), rows(tmp_path, 1)) == flat(whole[:2])
    assert "call it with move_to_device=False" in said, said[-3000:]
