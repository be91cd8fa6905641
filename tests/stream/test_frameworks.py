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


def run(jobs: list[dict[str, Any]], shards: str, folder: Path, ranks: int = 2) -> list[list[Row]]:
    """Run jobs of :mod:`tests.stream.framework_job`, one after the other, on some ranks.

    Returns for each the rows of all ranks, in their order over all. One that is refused is given no batch.
    """
    defaults = {"url": shards, "options": OPTIONS, "workers": 0, "epochs": 2, "stop": None, "resume": False}
    defaults |= {"announce": True, "refused": False, "checkpoint": str(folder / "checkpoint")}
    every = [{**defaults, "trace": str(folder / f"trace{number}"), **job} for number, job in enumerate(jobs)]
    command = [sys.executable, "-m"]
    if jobs[0]["kind"] != "ray" and ranks > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}", "-m"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FRAMEWORK_JOBS": json.dumps(every)}
    environment |= {"ACCELERATE_USE_CPU": "true", "RAY_TRAIN_V2_ENABLED": "1", "HF_HUB_OFFLINE": "1"}
    environment["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "240"
    done = subprocess.run(
        [*command, "tests.stream.framework_job"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return [[] if job["refused"] else rows(folder, number, ranks) for number, job in enumerate(every)]


def rows(folder: Path, number: int, ranks: int = 2) -> list[Row]:
    """What a job has written."""
    files = [folder / f"trace{number}.rank{rank}.jsonl" for rank in range(ranks)]
    found = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    assert len({len(rank) for rank in found}) == 1, "every rank has as many"
    return [row for step in zip(*found, strict=True) for row in step]


def reason(folder: Path, number: int) -> str:
    """Why a job was refused, before it was given a batch."""
    assert not list(folder.glob(f"trace{number}.rank*")), "nothing was trained on"
    return (folder / f"trace{number}.refused").read_text()


def sums(*found: list[Row]) -> list[list[str]]:
    return [row["sums"] for rows in found for row in rows]


def flat(epochs: list[list[list[str]]]) -> list[list[str]]:
    return [batch for epoch in epochs for batch in epoch]


def test_accelerate(shards: str, whole: list[list[list[str]]], tmp_path: Path) -> None:
    """`prepare` leaves the loader alone: each batch once; `save_state` after the third batch of an epoch."""
    pytest.importorskip("accelerate")
    jobs = []
    for workers in (0, 2):
        job = {"kind": "accelerate", "workers": workers, "accumulate": 2, "checkpoint": str(tmp_path / f"{workers}")}
        jobs += [job, {**job, "stop": [1, 2]}, {**job, "resume": True}]
    found = run(jobs, shards, tmp_path)
    for all_of_it, first, second in (found[:3], found[3:]):
        assert sums(all_of_it) == flat(whole[:2])
        assert sums(first, second) == flat(whole[:2])
        length = len(whole[0]) // 2
        assert length % 2 == 1
        synced = [row["sync"] for row in all_of_it[: 2 * length : 2]]
        assert synced == [step % 2 == 1 or step == length - 1 for step in range(length)], "the end of an epoch steps"


def test_loaders_around_the_stream_are_refused(shards: str, tmp_path: Path) -> None:
    """Of accelerate, by its dispatcher, its default for streams, and by its `IterableDatasetShard`; of transformers."""
    pytest.importorskip("transformers")
    over = {"kind": "accelerate_over_the_stream", "refused": True}
    ours = {"kind": "transformers", "prepare": False, "ignore_data_skip": False}
    jobs: list[dict[str, Any]] = [
        {**over, "dispatch": None, "batch_size": None},
        {**over, "dispatch": False, "batch_size": 1, "workers": 1},
        {"kind": "skip_first_batches", "refused": True},
        {"kind": "transformers_over_the_stream", "refused": True},
        {**ours, "stop": [0, 1]},
        {**ours, "resume": True, "refused": True},
    ]
    run(jobs, shards, tmp_path, ranks=1)
    for number in (0, 1):
        assert "give accelerator.prepare the loader that stream.loader() makes" in reason(tmp_path, number)
    assert "resume by loader.load_state_dict" in reason(tmp_path, 2)
    assert "return stream.loader() from get_train_dataloader" in reason(tmp_path, 3)
    assert "TrainingArguments(ignore_data_skip=True)" in reason(tmp_path, 5)


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


def test_ray_train(shards: str, whole: list[list[list[str]]], tmp_path: Path) -> None:
    pytest.importorskip("ray.train")
    job = {"kind": "ray", "move_to_device": False, "workers": 1}
    wrapped = {**job, "move_to_device": True, "refused": True}
    found = run([{**job, "stop": [1, 2]}, {**job, "resume": True}, wrapped], shards, tmp_path)
    assert sums(*found[:2]) == flat(whole[:2])
    assert "call it with move_to_device=False" in reason(tmp_path, 2)
