"""How fast encoded images come out of shards, and pixels out of encoded images.

    python benchmarks/reading.py [FOLDER] [--rounds N]

FOLDER/<identity>/<image>.jpg; LFW if it is there, else faces drawn for the purpose.

Reading: one process, nothing is decoded, the page cache is warm unless the row says otherwise. wds_face is the stream's
first two stages, plan and read: PK batches in a random order, with the checks of headers, labels and counts;
webdataset goes through the shards one after the other. Both give dicts with key, URL, image and label. Each sample that
comes out counts, so the image of an identity that has only one counts k times; of identities of k images or more hardly
any comes twice.

Cold: the shards were dropped from the page cache (`posix_fadvise`) before each run; with and without reading ahead.

Decoding: the same images, one at a time, to RGB.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import torch
import webdataset as wds
from convert import source
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from wds_face import ImageFolder, PKStream, convert
from wds_face.decoding import decode


def seconds(run: Callable[[], int]) -> tuple[float, int]:
    begin = time.perf_counter()
    count = run()
    return time.perf_counter() - begin, count


def forget(shards: Path) -> None:
    """Drop the shards from the page cache."""
    for path in shards.glob("*.tar"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def touched(samples: list[dict]) -> int:
    """What decoding would do first: look at the bytes."""
    return sum(sample["image"][-1] > 0 for sample in samples)


def ours(shards: Path, p: int, k: int, *, ahead: bool = True, touch: bool = False, min_images: int = 1) -> int:
    plan, read = PKStream(shards, p=p, k=k, min_images=min_images).pipeline[:2]
    if not ahead:
        read.reader.ahead = lambda batch: None
    count = 0
    for batch in read(plan()):
        count += len(batch.samples)
        if touch:
            touched(batch.samples)
    return count


def theirs(shards: Path) -> int:
    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    return sum(1 for _ in wds.WebDataset(urls, shardshuffle=False))


def compare(systems: dict[str, Callable[[], int]], rounds: int, base: str, before: Callable[[], None] | None) -> None:
    rates: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(rounds):
        for name, run in systems.items():
            if before:
                before()
            took, count = seconds(run)
            rates[name].append(count / took)
    for name, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(found, rates[base], strict=True))
        spread = f"{min(found):,.0f}-{max(found):,.0f}"
        print(f"| {name} | {statistics.median(found):,.0f} | {spread} | {ratio:.1f} |", flush=True)


def decoders(batches: list[list[bytes]]) -> dict[str, Callable[[], int]]:
    """Each call decodes the next batch."""
    row = np.empty((112, 112, 3), np.uint8)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    one: dict[str, Callable[[bytes], object]] = {
        "wds_face (simplejpeg, checked, in place)": lambda data: decode(data, row),
        "simplejpeg": simplejpeg.decode_jpeg,
        "simplejpeg, fast DCT and upsampling": lambda data: simplejpeg.decode_jpeg(
            data, fastdct=True, fastupsample=True
        ),
        "OpenCV": lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), flags),
        "torchvision": lambda data: decode_jpeg(
            torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB
        ),
        "PIL": lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")),
    }

    def turns(call: Callable[[bytes], object]) -> Callable[[], int]:
        coming = cycle(batches)
        return lambda: len([call(data) is None for data in next(coming)])

    return {name: turns(call) for name, call in one.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        faces, shards = source(arguments.folder, temporary), Path(temporary, "shards")
        convert(ImageFolder(faces), shards)
        print("| reading | samples/s | min-max | x webdataset |\n|---|--:|--:|--:|")
        compare(
            {
                "wds_face, p=64, k=4": lambda: ours(shards, 64, 4),
                "wds_face, p=64, k=4, identities of 4 images or more": lambda: ours(shards, 64, 4, min_images=4),
                "wds_face, p=16, k=4": lambda: ours(shards, 16, 4),
                "webdataset.WebDataset": lambda: theirs(shards),
            },
            arguments.rounds, "webdataset.WebDataset", None,
        )  # fmt: skip
        print("\n| reading, cold | samples/s | min-max | x webdataset |\n|---|--:|--:|--:|")
        compare(
            {
                "wds_face, p=64, k=4": lambda: ours(shards, 64, 4, touch=True),
                "wds_face, p=64, k=4, not ahead": lambda: ours(shards, 64, 4, ahead=False, touch=True),
                "webdataset.WebDataset": lambda: theirs(shards),
            },
            arguments.rounds, "webdataset.WebDataset", lambda: forget(shards),
        )  # fmt: skip
        files = [path.read_bytes() for path in sorted(faces.glob("*/*.jpg"))[:2000]]
    print("\n| decoding | images/s | min-max | x OpenCV |\n|---|--:|--:|--:|")
    batches = [files[at : at + 100] for at in range(0, len(files), 100)]  # short runs, as they take turns
    compare(decoders(batches), arguments.rounds * len(batches), "OpenCV", None)
