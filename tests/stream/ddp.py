"""Run by torchrun: training steps with a gradient all-reduce, on a stream, or on plain webdataset.

torchrun --nproc_per_node 2 tests/stream/ddp.py stream|webdataset SHARDS OUT
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import webdataset as wds

from wds_face import PKStream, pk_batched
from wds_face.decoding import decode

EPOCHS = 3


def batches(kind: str, shards: str, epoch: int) -> Any:
    if kind == "stream":
        loader = stream.loader(2)
        loader.set_epoch(epoch)
        return loader
    urls = sorted(str(path) for path in Path(shards).glob("*.tar"))
    dataset = wds.WebDataset(urls, shardshuffle=False, nodesplitter=wds.split_by_node).compose(pk_batched(p=5, k=3))
    return (
        (
            torch.stack([torch.from_numpy(decode(sample["jpg"])).permute(2, 0, 1) / 255.0 for sample in batch]),  # type: ignore[arg-type]
            torch.tensor([int(sample["cls"]) for sample in batch]),
        )
        for batch in dataset
    )


if __name__ == "__main__":
    kind, shards, out = sys.argv[1:]
    stream = PKStream(shards, p=5, k=3, image_size=24, lanes=1) if kind == "stream" else None  # type: ignore[assignment]
    dist.init_process_group("gloo", timeout=timedelta(seconds=15))
    rank = dist.get_rank()
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 24 * 24, 1000))
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    seen: list[list[list[int]]] = []
    for epoch in range(EPOCHS):
        seen.append([])
        for images, labels in batches(kind, shards, epoch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            seen[-1].append(labels.tolist())
    Path(out, f"{rank}.json").write_text(json.dumps(seen))
    dist.destroy_process_group()
