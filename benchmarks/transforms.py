"""Images per second on one core: decoding only, with the full training transforms, and with these done literally.

    python benchmarks/transforms.py [FOLDER] [--images N] [--batch N] [--rounds N] [--plot FILE.png]

FOLDER has images in it or below. Without it, ../shared/data/lfw_aligned_112.tar is used if it is there, else faces
drawn for the purpose. The bytes are in memory before the clock starts.

The transforms are those of the mission: crop 0.1, photometric 0.3, low resolution 0.2, flip 0.5, medical mask 0.5.

- decode: to a uint8 batch [N, 112, 112, 3], as the stream does it.
- full: the same with all transforms, and the masks [N, 112, 112]: the stream with output="uint8".
- full, float: and normalised to float32, masks too: the stream with output="float".
- composed: a torchvision Compose of wds_face's per-image callables over PIL images, to stacked float tensors.
- literal: PIL and torchvision as the mission's text has it (literal.py), to stacked float tensors.

Everything runs in one process with one thread, batch by batch in turn, so that ratios hold where the machine's speed
drifts; the first round is not counted. Ratios are medians of those of the same batch in the same round.
"""

import argparse
import io
import random
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from literal import literal_transform
from PIL import Image
from torchvision.transforms import Compose, Normalize, RandomHorizontalFlip

from wds_face import Augmenter, MedicalMaskOcclusion, OcclusionMaskWrapper, ToTensorWithMask
from wds_face.stream.collate import Output, finished
from wds_face.transforms.batch import BatchTransform

LFW = Path(__file__).resolve().parents[2] / "shared/data/lfw_aligned_112.tar"
SUFFIXES = {".jpg", ".jpeg", ".png"}
LABELS = {
    "decode": "decode only, to a uint8 batch",
    "full": "wds_face, all transforms, uint8",
    "full, float": "wds_face, and normalised to float32",
    "composed": "wds_face's callables in a Compose, from PIL",
    "literal": "PIL and torchvision, literally",
}


def contenders() -> dict[str, Callable[[list[bytes], int], object]]:
    """Functions of the encoded images of a batch and a seed."""
    decode = BatchTransform()
    full = BatchTransform(Augmenter(0.1, 0.3, 0.2), MedicalMaskOcclusion(prob=0.5), flip=0.5)
    composed = Compose([
        Augmenter(0.1, 0.3, 0.2),
        RandomHorizontalFlip(),
        MedicalMaskOcclusion(prob=0.5),
        ToTensorWithMask(),
        OcclusionMaskWrapper(Normalize(mean=[0.5] * 3, std=[0.5] * 3)),
    ])  # fmt: skip
    literal = literal_transform()

    def floats(encoded: list[bytes], seed: int) -> object:
        return finished(*full(encoded, np.random.default_rng(seed)), Output())

    def each(transform: Callable[[Image.Image], tuple[torch.Tensor, torch.Tensor]]) -> Callable[..., object]:
        def run(encoded: list[bytes], seed: int) -> object:
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            pairs = [transform(Image.open(io.BytesIO(data)).convert("RGB")) for data in encoded]
            return tuple(torch.stack(parts) for parts in zip(*pairs, strict=True))

        return run

    return {
        "decode": lambda encoded, seed: decode(encoded, np.random.default_rng(seed)),
        "full": lambda encoded, seed: full(encoded, np.random.default_rng(seed)),
        "full, float": floats,
        "composed": each(composed),
        "literal": each(literal),
    }


def measure(images: list[bytes], batch: int, rounds: int) -> dict[str, list[float]]:
    """Microseconds per image of each contender, of each batch in each round."""
    found: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for start in range(0, len(images) - batch + 1, batch):
            for name, run in RUNS.items():
                begin = time.perf_counter()
                run(images[start : start + batch], 1000 * number + start)
                if number:
                    found.setdefault(name, []).append((time.perf_counter() - begin) / batch * 1e6)
    return found


def encoded_images(folder: Path | None, count: int) -> tuple[str, list[bytes]]:
    """What they are, and the bytes of *count* images."""
    if folder is None and LFW.exists():
        with tarfile.open(LFW) as archive:
            members = sorted((member for member in archive if member.isfile()), key=lambda member: member.name)
            return "LFW, aligned", [archive.extractfile(member).read() for member in members[:count]]
    with tempfile.TemporaryDirectory() as temporary:
        if folder is None:
            from wds_face.synthetic import write_folder

            write_folder(f"{temporary}/faces", identities=count // 8, images=(8, 8))
        files = sorted(file for file in Path(folder or temporary).rglob("*") if file.suffix.lower() in SUFFIXES)
        return str(folder or "synthetic faces"), [file.read_bytes() for file in files[:count]]


def table(found: dict[str, list[float]]) -> str:
    """Medians, and the ratios to decoding and to the literal way."""
    lines = ["| | us per image | images/s | of decode only | x literal |", "|---|--:|--:|--:|--:|"]
    for name, costs in found.items():
        of_decode = statistics.median(np.divide(found["decode"], costs))
        of_literal = statistics.median(np.divide(found["literal"], costs))
        middle = statistics.median(costs)
        lines.append(f"| {LABELS[name]} | {middle:,.0f} | {1e6 / middle:,.0f} | {of_decode:.2f} | {of_literal:.1f} |")
    return "\n".join(lines)


def plot(path: str, title: str, found: dict[str, list[float]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = sorted(found, key=lambda name: -statistics.median(found[name]))  # the fastest on top
    rates = [1e6 / statistics.median(found[name]) for name in rows]
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.5 * len(rows)), layout="constrained")
    colors = ["#1f6feb" if "full" in name else "#b8c0cc" for name in rows]
    bars = axes.barh([LABELS[name] for name in rows], rates, color=colors, height=0.64)
    axes.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=4)
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("images/s, one core")
    axes.margins(x=0.1)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--plot")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    name, images = encoded_images(arguments.folder, arguments.images)
    RUNS = contenders()
    costs = measure(images, arguments.batch, arguments.rounds)
    title = f"{len(images):,} images ({name}, {sum(map(len, images)) / len(images) / 1000:.1f} kB), one core"
    print(f"{title}, batches of {arguments.batch}, {arguments.rounds} rounds\n\n{table(costs)}")
    if arguments.plot:
        plot(arguments.plot, title, costs)
