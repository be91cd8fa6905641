"""examples/train.py: it learns, and goes on where it was killed."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from examples import train
from wds_face import ImageFolder, Options, PKStream, convert, convert_pairs
from wds_face.synthetic import write_folder

ROOT = Path(__file__).parents[1]
P, K = 4, 2
Row = dict[str, Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train``, ``val`` of other people, and ``pairs`` of these: synthetic faces."""
    root = tmp_path_factory.mktemp("data")
    for seed, (name, identities) in enumerate([("train", 18), ("val", 9)]):
        write_folder(root / f"{name}-faces", identities=identities, images=(2, 6), seed=seed)
        convert(ImageFolder(root / f"{name}-faces"), root / name, Options(shard_size=100_000), workers=1)
    convert_pairs(root / "val", root / "pairs", 30, "heldout")
    return root


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One rank, and one thread: other tests run beside these."""
    monkeypatch.delenv("RANK", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def arguments(data: Path, run: Path, *more: object) -> list[str]:
    options = ["-p", P, "-k", K, "--workers", 0, "--lanes", 1, "--checkpoint", run, "--trace", run / "trace", *more]
    return [str(data / "train"), *map(str, options)]


def trace(run: Path, rank: int = 0) -> list[Row]:
    file = run / f"trace.rank{rank}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def batches(rows: list[Row], length: int) -> dict[tuple[int, int], int]:
    """Labels of each batch of each epoch; behind the last come the first again, so that ranks have as many."""
    return {(row["epoch"], row["batch"] % length): row["labels"] for row in rows}


def test_arcface_is_what_the_paper_says() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings, weight = torch.randn(7, 5, generator=generator), torch.randn(11, 5, generator=generator)
    weight[3] = embeddings[6] * 2  # an angle of 0
    weight[4] = -embeddings[5]  # of pi
    labels = torch.tensor([0, 1, 2, 10, 1, 4, 3])
    margin, scale, total = 0.5, 16.0, 0.0
    for embedding, label in zip(embeddings.tolist(), labels.tolist(), strict=True):
        logits = []
        for j, row in enumerate(weight.tolist()):
            dot = sum(a * b for a, b in zip(embedding, row, strict=True)) / math.hypot(*embedding) / math.hypot(*row)
            angle = math.acos(max(-1.0, min(1.0, dot)))
            logits.append(scale * math.cos(min(math.pi, angle + margin) if j == label else angle))
        total += math.log(sum(map(math.exp, logits))) - logits[label]
    assert train.arcface(embeddings, weight, labels, margin, scale).item() == pytest.approx(total / 7, rel=1e-4)
    embeddings.requires_grad_()
    train.arcface(embeddings, weight, labels, margin, scale).backward()
    assert torch.isfinite(embeddings.grad).all()  # type: ignore[arg-type]


def test_batch_hard_triplet_is_what_the_paper_says() -> None:
    embeddings = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    embeddings[1] = embeddings[0]  # an image that came twice
    labels, total = [3, 3, 3, 0, 0, 0, 9, 9, 9, 4, 4, 4], 0.0
    rows = embeddings.tolist()
    for a, anchor in enumerate(rows):
        farthest = max(math.dist(anchor, rows[j]) for j in range(12) if labels[j] == labels[a])
        nearest = min(math.dist(anchor, rows[j]) for j in range(12) if labels[j] != labels[a])
        total += math.log1p(math.exp(farthest - nearest))
    embeddings.requires_grad_()
    loss = train.batch_hard_triplet(embeddings, torch.tensor(labels))
    assert loss.item() == pytest.approx(total / 12, rel=1e-4)
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(embeddings.grad).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", ["arcface", "triplet"])
def test_it_learns(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], loss: str) -> None:
    options = ["--loss", loss, "--epochs", 5, "--margin", 0, "--occlusion", 0.2]
    train.main(arguments(data, tmp_path, *options, "--val", data / "pairs"))
    losses = [row["loss"] for row in trace(tmp_path)]
    assert sum(losses[-5:]) < sum(losses[:5]) * 0.8
    said = re.findall(r"heldout: verification (\S+) of 30 pairs", capsys.readouterr().out)
    assert len(said) == 5
    assert all(0.4 <= float(accuracy) <= 1 for accuracy in said)


def test_it_goes_on_to_the_bit(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    length = len(PKStream(data / "train", P, K, lanes=1))
    options: list[object] = ["--epochs", 2, "--val", data / "pairs"]
    for step in (length - 2, length, length + 3, 2 * length):  # the end of an epoch, too
        train.main(arguments(data, tmp_path / "parts", *options, "--steps", step))
    train.main(arguments(data, tmp_path / "whole", *options))
    assert [row["step"] for row in trace(tmp_path / "whole")] == list(range(1, 2 * length + 1))
    assert trace(tmp_path / "parts") == trace(tmp_path / "whole")
    capsys.readouterr()
    train.main(arguments(data, tmp_path / "parts", *options))  # its verification was missed
    train.main(arguments(data, tmp_path / "whole", *options))
    one, two = re.findall(r"verification \S+", capsys.readouterr().out)
    assert one == two
    assert trace(tmp_path / "parts") == trace(tmp_path / "whole")


def children(pid: int) -> list[int]:
    return [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the ranks in /proc")
def test_two_ranks_are_killed_and_one_goes_on(data: Path, tmp_path: Path) -> None:
    length = len(PKStream(data / "train", P, K, lanes=1))
    assert length % 2, "two ranks do not divide it"
    run, options = tmp_path / "killed", ["--epochs", 500, "--checkpoint-every", 4]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", train.__file__]
    with (tmp_path / "said").open("w") as said:
        agent = subprocess.Popen(
            [*torchrun, *arguments(data, run, *options, "--workers", 1)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(train.__file__).parents[1])},
            stdout=said,
            stderr=said,
        )
        end = time.monotonic() + 120
        while len(trace(run)) < length and agent.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        for pid in [*children(agent.pid), agent.pid]:
            os.kill(pid, signal.SIGKILL)
        agent.wait()
    before = trace(run), trace(run, 1)
    assert len(before[0]) >= length, (tmp_path / "said").read_text()[-3000:]
    saved = torch.load(run / "checkpoint.pt", weights_only=True)
    start = (saved["loader"]["epoch"], saved["loader"]["batch"])

    train.main(arguments(data, run, *options, "--steps", saved["step"] + length))
    after = trace(run)[len(before[0]) :]
    assert [row["step"] for row in after] == list(range(saved["step"] + 1, saved["step"] + length + 1))
    epoch, batch = start if start[1] < length else (start[0] + 1, 0)
    assert (after[0]["epoch"], after[0]["batch"]) == (epoch, batch)

    steps = max(row["epoch"] for row in [*before[0], *before[1], *after]) * length + length
    train.main(arguments(data, tmp_path / "whole", *options, "--steps", steps))
    whole = batches(trace(tmp_path / "whole"), length)
    assert len(whole) == steps
    found = batches([*before[0], *before[1], *after], length)
    assert found == {key: whole[key] for key in found}
    assert set(found) >= {key for key in whole if key <= (after[-1]["epoch"], after[-1]["batch"])}


def interrupt(command: list[str], run: Path, number: signal.Signals, *, group: bool) -> tuple[int, str]:
    """Send a signal to a training run that has begun. Returns its exit status and what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    end = time.monotonic() + 120
    while len(trace(run)) < 5 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    if group:  # as a terminal does
        os.killpg(process.pid, number)
    else:
        os.kill(process.pid, number)
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGTERM, True)],
    ids=["ctrl-c", "sigterm", "sigterm-to-workers-too"],
)
def test_an_interrupted_run_saves_its_last_step(
    data: Path, tmp_path: Path, number: signal.Signals, group: bool
) -> None:
    run = tmp_path / "run"
    options = ["--epochs", 500, "--checkpoint-every", 10**6]
    command = [sys.executable, train.__file__, *arguments(data, run, *options, "--workers", 1)]
    status, said = interrupt(command, run, number, group=group)
    assert status == 128 + number, said
    assert f"stopped by {number.name}: the same command continues with the next batch" in said
    assert "Traceback" not in said
    steps = len(trace(run))
    assert torch.load(run / "checkpoint.pt", weights_only=True)["step"] == steps
    train.main(arguments(data, run, *options, "--steps", steps + 3))
    train.main(arguments(data, tmp_path / "whole", *options, "--steps", steps + 3))
    assert trace(run) == trace(tmp_path / "whole")


def test_two_ranks_are_stopped_at_the_same_step(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", train.__file__]
    options = ["--epochs", 500, "--checkpoint-every", 10**6]
    _, said = interrupt([*torchrun, *arguments(data, run, *options)], run, signal.SIGTERM, group=False)
    assert "stopped by SIGTERM" in said
    steps = [len(trace(run, rank)) for rank in range(2)]
    assert steps[0] == steps[1]
    assert torch.load(run / "checkpoint.pt", weights_only=True)["step"] == steps[0]


def test_repeats_are_warned_of(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train.main(arguments(data, tmp_path / "many", "-k", 8, "--steps", 1))
    assert re.search(r"warning: \d\d% of an epoch's [\d,]+ images are repeats", capsys.readouterr().out)
    train.main(arguments(data, tmp_path / "few", "-k", 1, "--steps", 1))
    assert "warning" not in capsys.readouterr().out


def test_lightning(data: Path, tmp_path: Path) -> None:
    """examples/lightning.py trains, verifies on pairs of other people, and goes on from a checkpoint."""
    pytest.importorskip("lightning")
    command = [sys.executable, "examples/lightning.py", str(data / "train"), str(data / "pairs")]
    command += ["--batch-size", "8", "--workers", "0", "--folder", str(tmp_path / "run"), "--epochs"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    checkpoint = str(tmp_path / "run" / "last.ckpt")
    for more, verified in ((["2", "--steps", "3"], []), (["2", "--resume", checkpoint], ["0", "1"])):
        done = subprocess.run(
            [*command, *more], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        found = re.findall(r"epoch (\d)\n.*\nheldout +30 +(\d+\.\d+)", done.stdout)
        assert [epoch for epoch, _ in found] == verified
    evaluate = [
        sys.executable,
        "-m",
        "wds_face",
        "evaluate",
        str(data / "pairs"),
        "--model",
        "examples.train:network",
    ]
    said = subprocess.run(
        [*evaluate, "--weights", checkpoint], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r"heldout +30 +(\d+\.\d+)", said)[1] == found[-1][1]  # type: ignore[index]
