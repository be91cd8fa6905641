"""The harness of resuming: what every rank of a job streams, in a fresh process, as one sequence of sums."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

from torch.utils.data import DataLoader

from wds_face import Augmenter, MedicalMaskOcclusion, PKStream

MedicalMaskOcclusion()  # reads the masks, which processes of the fork server then have


class Job(NamedTuple):
    """How many ranks and workers stream what, from which state on."""

    url: str
    options: dict[str, Any]
    world: int = 1
    workers: int = 0
    epoch: int = 0
    state: str = "null"  # JSON, as in a checkpoint


class Step(NamedTuple):
    """A batch: sha256 of its tensors, its labels, and the loader's state behind it, as JSON."""

    sums: tuple[str, ...]
    labels: tuple[int, ...]
    state: str


def streamed(job: Job) -> list[list[Step]]:
    """The steps of each rank."""
    return [_rank(job, rank) for rank in range(job.world)]


def merged(ranks: list[list[Step]]) -> list[Step]:
    """The steps of all ranks in their order over all: those of a step one after the other."""
    assert len({len(steps) for steps in ranks}) == 1, "every rank has as many"
    return [step for steps in zip(*ranks, strict=True) for step in steps]


def fresh(jobs: list[Job], processes: int = 2) -> list[list[list[Step]]]:
    """Each job in a process of its own, which has streamed nothing before."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.resuming"])
    with ProcessPoolExecutor(processes, mp_context=context, max_tasks_per_child=1) as pool:
        return list(pool.map(streamed, jobs))


def masked(url: str, **options: Any) -> PKStream:
    """A stream with everything that is random about an image."""
    return PKStream(
        url,
        augmenter=Augmenter(0.5, 0.5, 0.5),
        occlusion=MedicalMaskOcclusion(prob=0.5),
        flip=0.5,
        output="uint8",
        **{"image_size": 24, **options},
    )


def steps(loader: DataLoader[Any], state: Callable[[], dict[str, Any]]) -> list[Step]:
    """What a loader yields."""
    found = []
    for batch in loader:
        sums = tuple(hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest() for tensor in batch)
        found.append(Step(sums, tuple(batch[1].tolist()), json.dumps(state())))
    return found


def _rank(job: Job, rank: int) -> list[Step]:
    stream = masked(job.url, rank=rank, world_size=job.world, **job.options)
    # in a process of a fork server, workers would come from another one, which imports everything first
    loader = stream.loader(job.workers, multiprocessing_context="fork" if job.workers else None)
    if job.state != "null":
        loader.load_state_dict(json.loads(job.state))
    loader.set_epoch(job.epoch)
    return steps(loader, loader.state_dict)
