"""Train a small network to recognise faces, on shards that ``wds-face convert`` made.

    wds-face convert imagefolder faces/ shards/
    wds-face convert validation shards/ val/ --pairs 2000 --max-images 4
    python examples/train.py shards/ --val val/ --min-images 5 --epochs 3
    torchrun --nproc-per-node 2 examples/train.py shards/ --val val/ --min-images 5 --checkpoint run/

It runs on any number of machines, with GPUs or without. The shards are a folder or a URL such as s3://bucket/faces;
leave its secrets to the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY). Ctrl-C and SIGTERM, which spot
instances and schedulers send, save a checkpoint after the current step. The same command then continues with the next
batch, on any number of ranks; after kill -9 it continues from the last checkpoint that was saved.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
import zlib
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from wds_face import (
    ARCFACE_112,
    Augmenter,
    FiveValidationDataset,
    MedicalMaskOcclusion,
    PKStream,
    WdsFaceError,
    embed,
    evaluate_benchmarks,
    get_val_sets,
    normalize,
)
from wds_face.stream import PKLoader

# Share of repeated images in an epoch above which a warning is printed.
REPEATS = 0.1
# Seconds after the first signal from which another one ends the run at once. Within them it is taken for the same
# signal, since torchrun forwards a signal to ranks that have received it already.
IMPATIENT = 5.0


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


def gathered_mean(value: Tensor) -> float:
    """Return the mean of a number over all ranks."""
    dist.all_reduce(value)
    return value.item() / dist.get_world_size()


class Interruption:
    """Note SIGINT and SIGTERM within a ``with`` block, for the training loop to stop between two steps.

    Attributes:
        received: Number of the signal, None until one arrives.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.received is None:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > IMPATIENT:
            raise KeyboardInterrupt
        self.received = number

    def agreed(self) -> bool:
        """Return whether any rank was interrupted; all ranks agree, so that none waits for one that has stopped."""
        flag = torch.tensor(self.received or 0)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        self.received = int(flag) or None
        return self.received is not None


def ignore_signals(_: int) -> None:
    """Ignore signals in a worker: a terminal sends Ctrl-C to all processes, and the main process handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def verify(network: nn.Module, loader: DataLoader[Any], names: dict[str, int]) -> None:
    """Print the accuracy on all validation sets, by the protocol of LFW. Each rank embeds its share of the images.

    Args:
        loader: Batches of this rank, as :func:`wds_face.embed` takes them.
        names: Numbers of the sets by name.
    """
    begin = time.perf_counter()
    for buffer in network.buffers():
        dist.broadcast(buffer, 0)  # BatchNorm's, which each rank has moved on since the last forward
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, embed(network, loader))
    columns = [torch.cat([torch.from_numpy(column) for column in part]) for part in zip(*parts, strict=True)]
    for name, result in evaluate_benchmarks(*columns, names=names).items():
        took = time.perf_counter() - begin
        say(f"  {name}: verification {result.accuracy:.3f} of {result.pairs:,} pairs, {took:.1f} s")


def validation(args: argparse.Namespace) -> tuple[DataLoader[Any], dict[str, int]] | None:
    """Return the loader of this rank's validation images, and the numbers of the sets by name."""
    if args.val is None:
        return None
    dataset = FiveValidationDataset(get_val_sets(args.val, channels="rgb"))
    sampler: DistributedSampler[Any] = DistributedSampler(dataset, shuffle=False)
    return DataLoader(dataset, batch_size=args.p * args.k, sampler=sampler), dataset.dataname_to_idx


def warn_of_repeats(stream: PKStream) -> None:
    """Warn if many images of an epoch are repeats."""
    plan = stream.summary()
    places = len(stream) * dist.get_world_size() * stream.batch_size
    repeats = 1 - plan["images"] / places
    if repeats > REPEATS:
        say(
            f"warning: {repeats:.0%} of an epoch's {places:,} images are repeats, mostly of identities with too few "
            f"images: use a smaller -k, or leave out identities with --min-images"
        )


def training(args: argparse.Namespace, device: torch.device) -> PKLoader:
    """Return the loader of batches to train on."""
    stream = PKStream(
        args.shards,
        args.p,
        args.k,
        augmenter=Augmenter(crop_prob=0.2, photometric_prob=0.3, low_res_prob=0.1),
        occlusion=MedicalMaskOcclusion(prob=args.occlusion, ref_points=ARCFACE_112) if args.occlusion else None,
        flip=0.5,
        output="uint8",
        min_images=args.min_images,
        lanes=args.lanes,
        seed=args.seed,
        storage_options=args.storage_options,
        cache_dir=args.cache_dir,
        cache_bytes=args.cache_bytes,
    )
    return stream.loader(
        num_workers=args.workers,
        persistent_workers=args.workers > 0,
        pin_memory=device.type == "cuda",
        worker_init_fn=ignore_signals,
    )


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


def set_learning_rate(optimizer: torch.optim.Optimizer, highest: float, progress: float) -> None:
    """Raise the rate linearly over the first twentieth of a run, then lower it by a cosine. *progress* is 0 to 1."""
    for group in optimizer.param_groups:
        group["lr"] = highest * min(progress / 0.05, 0.5 + 0.5 * math.cos(math.pi * progress))


def write_trace(prefix: str, labels: Tensor, row: dict[str, Any]) -> None:
    """Append a line about one step of this rank to a file of its own."""
    with open(f"{prefix}.rank{dist.get_rank()}.jsonl", "a") as file:
        file.write(json.dumps({**row, "labels": zlib.crc32(labels.numpy())}) + "\n")


def train(args: argparse.Namespace, device: torch.device, interruption: Interruption) -> None:
    """Run all epochs, or those that are left until an interruption."""
    rank = dist.get_rank()
    ranks = dist.get_world_size()
    torch.manual_seed(args.seed)
    loader = training(args, device)
    verified = validation(args)
    recognizer = Recognizer(args.loss, loader.num_classes, args.scale).to(device)
    recognizer = recognizer.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(recognizer.parameters(), args.lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    parts = {"recognizer": recognizer, "optimizer": optimizer, "loader": loader}
    checkpoint = Path(args.checkpoint, "checkpoint.pt")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    step = resume(checkpoint, parts)
    if step:
        say(f"{checkpoint}: continuing after step {step}, {loader.state_dict()}")
    if step >= args.steps:
        return
    model = DistributedDataParallel(recognizer)
    say(f"{ranks} ranks on {device.type}: {loader.stream.summary(args.workers)}")
    warn_of_repeats(loader.stream)
    for epoch in range(loader.stream.epoch, args.epochs):
        loader.set_epoch(epoch)
        batch = loader.state_dict()["batch"]  # over all ranks; the end, if only the validation was left to do
        losses: list[Tensor] = []
        begin = time.perf_counter()
        for images, labels, *_ in loader:  # and masks, for a network that learns to find what is occluded
            progress = (epoch + batch / (len(loader) * ranks)) / args.epochs  # however many ranks there are
            set_learning_rate(optimizer, args.lr, progress)
            pixels = normalize(images.to(device, non_blocking=True))
            loss = model(pixels, labels.to(device, non_blocking=True), args.margin * min(progress / 0.2, 1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            losses.append(loss.detach())
            speed = len(losses) * len(labels) * ranks / (time.perf_counter() - begin)
            if args.trace:
                write_trace(
                    args.trace, labels, {"epoch": epoch, "step": step, "batch": batch + rank, "loss": loss.item()}
                )
            batch += ranks
            if step % args.print_every == 0:
                recent = torch.stack(losses[-args.print_every :]).mean()
                say(f"epoch {epoch}  step {step}  loss {recent:.3f}  {speed:,.0f} images/s")
            stop = interruption.agreed()
            if stop or step % args.checkpoint_every == 0 or step >= args.steps:
                save(checkpoint, step, parts)
            if stop or step >= args.steps:
                return
        save(checkpoint, step, parts)
        if losses:
            mean = gathered_mean(torch.stack(losses).mean())
            say(f"epoch {epoch} done  loss {mean:.3f}  {speed:,.0f} images/s  {loader.stats()}")
        if verified:
            verify(recognizer.network, *verified)
        if interruption.agreed():  # during the verification, with the checkpoint saved
            return


def parse(argv: list[str] | None) -> argparse.Namespace:
    """What to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("shards", metavar="SHARDS")
    add("--val", metavar="FOLDER", help="validation sets to verify on after each epoch: memfiles, or .bin files")
    add("--min-images", type=int, default=1, metavar="N", help="leave out identities with fewer (%(default)s)")
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
    # flags are agreed on by gloo, so that no step waits for a GPU
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", **alone)
    try:
        with Interruption() as interruption:
            train(args, device, interruption)
        if interruption.received is not None:
            name = signal.Signals(interruption.received).name
            say(f"stopped by {name}: the same command continues with the next batch")
            sys.exit(128 + interruption.received)
    except KeyboardInterrupt:
        say("stopped at once: the same command continues from the last checkpoint")
        sys.exit(130)
    except WdsFaceError as error:
        sys.exit(f"error: {error}")
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
