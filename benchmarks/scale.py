"""How long an epoch takes to plan, and how much memory, as data sets grow to the size of WebFace42M.

    python benchmarks/scale.py [--p N] [--k N] [--lanes N] [--window N]

Index rows are drawn with WebFace42M's numbers (2,059,906 identities, 42,474,558 images, a long tail) and parts of it.
Each size is planned in a process of its own: the plan's start, its first batch, a batch in the middle of the epoch as
after resuming there, and a batch on average along a lane. Memory is what the process has beyond what it had before the
index.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np

IDENTITIES, IMAGES, NBYTES = 2_059_906, 42_474_558, 7_000  # bytes of an image in a shard


def index(share: float) -> np.ndarray:
    """Images of each identity, about log-normal, 3 or more."""
    rng = np.random.default_rng(0)
    drawn = np.maximum(3.0, rng.lognormal(2.7, 0.75, int(IDENTITIES * share)))
    return np.rint(drawn * (IMAGES * share / drawn.sum())).astype(np.int64)


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(share: float, p: int, k: int, lanes: int, window: int) -> str:
    from wds_face.stream.plan import Epoch, cut_segments

    before = megabytes()
    images = index(share)
    nbytes = images * NBYTES
    times = [time.perf_counter()]
    segments = cut_segments(np.cumsum(nbytes) // (256 << 20), nbytes, 8 << 20)
    epoch = Epoch(images, segments, p=p, k=k, every=True, lanes=lanes, window=window, entropy=[0, 0])
    times.append(time.perf_counter())
    epoch.images_of(epoch.batch(0))
    times.append(time.perf_counter())
    epoch.images_of(epoch.batch(len(epoch) // 2))
    times.append(time.perf_counter())
    count = min(200, epoch.length)
    for n in range(count):
        epoch.images_of(epoch.batch(n * lanes))
    times.append(time.perf_counter())
    start, first, middle, run = np.diff(times)
    return (
        f"| {len(images):,} | {images.sum():,} | {len(segments) - 1:,} | {len(epoch):,} | {start:.3f} | {first:.3f} | "
        f"{middle:.3f} | {1000 * run / count:.2f} | {megabytes() - before:.0f} |"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--p", type=int, default=64)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--lanes", type=int, default=32)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--share", type=float, help="plan only this share of WebFace42M, in this process")
    arguments = parser.parse_args()
    numbers = arguments.p, arguments.k, arguments.lanes, arguments.window
    if arguments.share:
        print(measure(arguments.share, *numbers))
        sys.exit()
    print("| identities | images | segments | batches | start s | first s | middle s | a batch ms | MB |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    for share in (1 / 64, 1 / 16, 1 / 4, 1.0):
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--share", str(share)], check=True)
