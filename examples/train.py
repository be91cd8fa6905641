"""Train a small network to recognise faces, from data sets that ``wds-face convert`` made.

    python examples/train.py SHARDS --val OTHERS
    torchrun --nproc-per-node 2 examples/train.py SHARDS --val OTHERS --epochs 20 --checkpoint run/

on any number of machines, with GPUs or without. SHARDS and OTHERS, which has other identities, are folders or URLs, as
s3://bucket/faces, whose secrets are best left to the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY. Killed or
stopped, the same command goes on behind the last checkpoint, on as many ranks as there are then.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.parallel import DistributedDataParallel

from wds_face import ARCFACE_112, Augmenter, Index, MedicalMaskOcclusion, PKStream, WdsFaceError, normalize
from wds_face.stream import PKLoader
from wds_face.validation import evaluate_distances


def arcface(embeddings: Tensor, weight: Tensor, labels: Tensor, margin: float, scale: float) -> Tensor:
    """Cross entropy with a *margin* added to the angle to the right identity: Deng et al. 2019, arXiv:1801.07698.

    Args:
        embeddings, weight: ``[n, d]`` and ``[identities, d]``, of any length.
        labels: int64 ``[n]``.
    """
    cosine = F.linear(F.normalize(embeddings), F.normalize(weight))
    angle = cosine.gather(1, labels[:, None]).clamp(-1 + 1e-6, 1 - 1e-6).acos()
    right = (angle + margin).clamp(max=math.pi).cos()  # beyond pi it would rise again
    return F.cross_entropy(scale * cosine.scatter(1, labels[:, None], right), labels)


def batch_hard_triplet(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Each image with the farthest of its identity and the nearest of another in the batch, with a soft margin.

    Hermans et al. 2017, arXiv:1703.07737, eq. 5 with ln(1 + exp(x)) for its hinge, and Euclidean distances.

    Args:
        embeddings, labels: ``[n, d]``, and int64 ``[n]`` of two identities or more.
    """
    squares = embeddings.square().sum(1)
    distances = (squares[:, None] + squares - 2 * embeddings @ embeddings.T).clamp(min=1e-12).sqrt()
    same = labels[:, None] == labels
    farthest = distances.masked_fill(~same, -torch.inf).amax(1)
    nearest = distances.masked_fill(same, torch.inf).amin(1)
    return F.softplus(farthest - nearest).mean()


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Normalised by batch."""
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """Two convolutions beside a shortcut, at half the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = convolution(inputs, outputs, 3, stride=2), convolution(outputs, outputs, 3)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), convolution(inputs, outputs, 1))

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(images), inplace=True)) + self.shortcut(images))


class Recognizer(nn.Module):
    """A network of 1.1 million parameters, made for CPUs, and its loss: all that has gradients, for DDP to find.

    ArcFace's ``weight`` has a row per identity. Of millions, share them out among the ranks (Partial FC).
    """

    def __init__(self, loss: str, identities: int, scale: float, size: int = 128) -> None:
        super().__init__()
        self.network = nn.Sequential(
            *(convolution(3, 16, 3, stride=2), nn.ReLU(inplace=True)),  # 112 -> 56
            *(Residual(16, 32), Residual(32, 64), Residual(64, 128)),  # -> 28 -> 14 -> 7
            *(nn.Flatten(), nn.Linear(128 * 7 * 7, size, bias=False), nn.BatchNorm1d(size)),
        )
        self.scale = scale
        # Rows of length 1. The usual short ones turn so fast that nothing is learnt until weight and gradients settle.
        self.weight = nn.Parameter(torch.randn(identities, size) / size**0.5) if loss == "arcface" else None

    def forward(self, images: Tensor, labels: Tensor, margin: float) -> Tensor:
        embeddings = self.network(images)
        if self.weight is None:
            return batch_hard_triplet(embeddings, labels)
        return arcface(embeddings, self.weight, labels, margin, self.scale)


def network() -> nn.Module:
    """Untrained, for ``wds-face evaluate VAL --model examples.train:network --weights run/checkpoint.pt``."""
    return Recognizer("triplet", 0, 0).network


def say(text: str) -> None:
    """Print it once."""
    if dist.get_rank() == 0:
        print(text, flush=True)


def gathered(tensor: Tensor) -> Tensor:
    """What all ranks have, ``[ranks, ...]``; it is of one shape on all of them."""
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor)
    return torch.stack(parts)


@torch.inference_mode()
def verify(network: nn.Module, loader: PKLoader, pairs: int, device: torch.device) -> tuple[float, float]:
    """Accuracy of telling whether two images are of one person, over 10 folds, and TAR at a FAR of 0.01.

    Args:
        loader: of two images of each person, so that neighbours are genuine pairs; every rank does its share.
        pairs: genuine ones, at least, and as many impostors.
    """
    for buffer in network.buffers():
        dist.broadcast(buffer, 0)  # BatchNorm's, which each rank has moved on since the last forward
    network.eval()
    scores: list[Tensor] = []
    loader.set_epoch(0)  # the same pairs each time
    while sum(part.shape[1] for part in scores) * dist.get_world_size() < pairs:
        for images, _ in loader:
            pixels = normalize(images.to(device, non_blocking=True))
            one, two = F.normalize(network(pixels) + network(pixels.flip(3))).unflatten(0, (-1, 2)).unbind(1)
            scores.append(torch.stack([(one * two).sum(1), (one * two.roll(1, 0)).sum(1)]))
        loader.set_epoch(loader.stream.epoch + 1)
    network.train()
    genuine, impostor = gathered(torch.cat(scores, 1)).transpose(0, 1).flatten(1)
    distances = 2 - 2 * torch.stack([genuine, impostor], 1).flatten()  # squared, of embeddings of length 1
    found = evaluate_distances(distances.double().cpu().numpy(), np.tile([True, False], len(genuine)), fars=(0.01,))
    return found.accuracy, found.tar[0.01]


def loaders(args: argparse.Namespace, device: torch.device) -> tuple[PKLoader, PKLoader | None]:
    """Of batches to train on, and of pairs to verify."""
    names = "seed", "storage_options", "cache_dir", "cache_bytes"
    common: dict[str, Any] = {"output": "uint8", **{name: getattr(args, name) for name in names}}
    options = {"num_workers": args.workers, "persistent_workers": args.workers > 0, "pin_memory": device.type == "cuda"}
    augmenter = Augmenter(crop_prob=0.2, photometric_prob=0.3, low_res_prob=0.1)
    occlusion = MedicalMaskOcclusion(prob=args.occlusion, ref_points=ARCFACE_112) if args.occlusion else None
    augmented: dict[str, Any] = {"augmenter": augmenter, "occlusion": occlusion, "flip": 0.5}
    stream = PKStream(args.shards, args.p, args.k, lanes=args.lanes, **augmented, **common)
    if args.val is None:
        return stream.loader(**options), None
    pairs = PKStream(args.val, args.p, 2, epoch="identities", min_images=2, **common)
    return stream.loader(**options), pairs.loader(**options)


def save(file: Path, step: int, parts: dict[str, Any]) -> None:
    """The states of *parts*, by the first rank: they are the same on all."""
    if dist.get_rank() == 0:
        torch.save({"step": step, **{name: part.state_dict() for name, part in parts.items()}}, f"{file}.part")
        os.replace(f"{file}.part", file)


def resume(file: Path, parts: dict[str, Any]) -> int:
    """Let *parts* go on from a checkpoint, if there is one. The first rank reads it for all."""
    there = dist.get_rank() == 0 and file.exists()
    saved = [torch.load(file, map_location="cpu", weights_only=True) if there else {"step": 0}]
    dist.broadcast_object_list(saved)
    if saved[0]["step"]:
        for name, part in parts.items():
            part.load_state_dict(saved[0][name])
    return int(saved[0]["step"])


def train(args: argparse.Namespace, device: torch.device) -> None:
    """All epochs, or those that are left."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(args.seed)
    identities = 1 + int(Index.open(args.shards, args.storage_options).identities["label"].max())
    recognizer = Recognizer(args.loss, identities, args.scale).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(recognizer.parameters(), args.lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    loader, pairs = loaders(args, device)
    parts = {"recognizer": recognizer, "optimizer": optimizer, "loader": loader}
    checkpoint = Path(args.checkpoint, "checkpoint.pt")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    step = resume(checkpoint, parts)
    if step:
        say(f"{checkpoint}: going on behind step {step}, {loader.state_dict()}")
    if step >= args.steps:
        return
    model = DistributedDataParallel(recognizer)
    say(f"{ranks} ranks on {device.type}: {loader.stream.summary(args.workers)}")
    for epoch in range(loader.stream.epoch, args.epochs):
        loader.set_epoch(epoch)
        batch = loader.state_dict()["batch"]  # over all ranks; the end, if only the validation was left to do
        losses: list[Tensor] = []
        begin = time.perf_counter()
        for images, labels, *_ in loader:  # and masks, for a network that learns to find what is occluded
            progress = (epoch + batch / (len(loader) * ranks)) / args.epochs  # however many ranks there are
            for group in optimizer.param_groups:
                group["lr"] = args.lr * min(progress / 0.05, 0.5 + 0.5 * math.cos(math.pi * progress))
            pixels = normalize(images.to(device, non_blocking=True))
            loss = model(pixels, labels.to(device, non_blocking=True), args.margin * min(progress / 0.2, 1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            losses.append(loss.detach())
            speed = len(losses) * len(labels) * ranks / (time.perf_counter() - begin)
            if args.trace:
                row = {"epoch": epoch, "step": step, "batch": batch + rank, "loss": loss.item()}
                with open(f"{args.trace}.rank{rank}.jsonl", "a") as file:
                    file.write(json.dumps({**row, "labels": zlib.crc32(labels.numpy())}) + "\n")
            batch += ranks
            if step % args.print_every == 0:
                recent = torch.stack(losses[-args.print_every :]).mean()
                say(f"epoch {epoch}  step {step}  loss {recent:.3f}  {speed:,.0f} images/s")
            if step % args.checkpoint_every == 0 or step >= args.steps:
                save(checkpoint, step, parts)
            if step >= args.steps:
                return
        save(checkpoint, step, parts)
        if losses:
            mean = gathered(torch.stack(losses).mean()).mean()
            say(f"epoch {epoch} done  loss {mean:.3f}  {speed:,.0f} images/s  {loader.stats()}")
        if pairs:
            begin = time.perf_counter()
            accuracy, accepts = verify(recognizer.network, pairs, args.val_pairs, device)
            say(f"  verification {accuracy:.3f}  TAR at FAR 0.01 {accepts:.3f}  {time.perf_counter() - begin:.1f} s")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """What to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("shards", metavar="SHARDS")
    add("--val", metavar="OTHERS", help="verify on these after each epoch")
    add("--val-pairs", type=int, default=1000, metavar="N", help="of one person, and as many of two (%(default)s)")
    add("-p", type=int, default=16, help="identities in each rank's batch (%(default)s)")
    add("-k", type=int, default=4, help="images of each (%(default)s)")
    add("--epochs", type=int, default=10, help="which the learning rate falls over (%(default)s)")
    add("--steps", type=int, default=sys.maxsize, metavar="N", help="stop behind so many; more of them go on")
    add("--loss", choices=("arcface", "triplet"), default="arcface", help="(%(default)s)")
    add("--margin", type=float, default=0.3, help="ArcFace's: 0.5 for much data (%(default)s)")
    add("--scale", type=float, default=16, help="ArcFace's: 64 for much data (%(default)s)")
    add("--lr", type=float, help="highest learning rate (0.1 for arcface, 0.02 for triplet)")
    add("--occlusion", type=float, default=0.0, metavar="PROB", help="of medical masks (%(default)s)")
    add("--seed", type=int, default=0, help="(%(default)s)")
    add("--lanes", type=int, help="of PKStream")
    add("--workers", type=int, default=1, metavar="N", help="loading processes of each rank (%(default)s)")
    add("--storage-options", type=json.loads, metavar="JSON", help="of fsspec")
    add("--cache-dir", metavar="FOLDER", help="keep what is read from a URL here")
    add("--cache-bytes", type=int, metavar="N", help="at most so much of it")
    add("--checkpoint", default="run", metavar="FOLDER", help="of checkpoint.pt, which is gone on from (%(default)s)")
    add("--checkpoint-every", type=int, default=100, metavar="N", help="steps (%(default)s), and each epoch")
    add("--print-every", type=int, default=20, metavar="N", help="steps (%(default)s)")
    add("--trace", metavar="FILE", help="write a line for each step to FILE.rank0.jsonl, and so on")
    args = parser.parse_args(argv)
    args.lr = args.lr or {"arcface": 0.1, "triplet": 0.02}[args.loss]
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    alone: dict[str, Any] = {} if "RANK" in os.environ else {"store": dist.HashStore(), "rank": 0, "world_size": 1}
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", **alone)
    try:
        train(args, device)
    except KeyboardInterrupt:
        say("stopped: the same command goes on behind the last checkpoint")
        sys.exit(130)
    except WdsFaceError as error:
        sys.exit(f"error: {error}")
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
