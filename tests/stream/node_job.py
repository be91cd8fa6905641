"""Run by torchrun on each node: epochs with an all-reduce at each step, a line for each batch, and checkpoints.

The variable NODE_JOBS holds what to do one after the other, as a JSON list of: ``url``, ``options`` and
``storage_options`` of the stream, ``epochs``, ``trace`` (lines go to TRACE.rank0.jsonl and so on), ``checkpoint`` (a
file, which is gone on from if it is there), and ``pace`` (seconds of each step).
"""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.resuming import masked, steps

EVERY = 2  # steps from one checkpoint to the next


def run(job: dict[str, Any]) -> None:
    """All epochs, or what is left of them."""
    rank, world = dist.get_rank(), dist.get_world_size()
    stream = masked(job["url"], storage_options=job["storage_options"], **job["options"])
    loader = stream.loader(2, multiprocessing_context="fork")
    checkpoint, step = Path(job["checkpoint"]), 0
    if checkpoint.exists():
        saved = json.loads(checkpoint.read_text())
        loader.load_state_dict(saved["loader"])
        step = saved["steps"]
    with open(f"{job['trace']}.rank{rank}.jsonl", "a") as trace:
        for epoch in range(stream.epoch, job["epochs"]):
            loader.set_epoch(epoch)
            number = loader.state_dict()["batch"] + rank  # over all ranks
            for batch in loader:
                [made] = steps([batch], loader.state_dict)  # type: ignore[arg-type]
                line = {"epoch": epoch, "step": step, "batch": number, "sums": made.sums, "fetched": fetched(loader)}
                trace.write(json.dumps(line) + "\n")
                trace.flush()
                dist.all_reduce(ranks := torch.ones(1))  # a rank without a batch would let the others wait
                assert int(ranks) == world
                number += world
                step += 1
                if rank == 0 and step % EVERY == 0:
                    state = {"steps": step, "loader": loader.state_dict()}
                    checkpoint.with_suffix(".part").write_text(json.dumps(state))
                    checkpoint.with_suffix(".part").rename(checkpoint)
                time.sleep(job["pace"])


def fetched(loader: Any) -> int:
    """Bytes that came over the network for this rank."""
    return int(loader.stats()["bytes_fetched"])


if __name__ == "__main__":
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    for job in json.loads(os.environ["NODE_JOBS"]):
        run(job)
    dist.destroy_process_group()
