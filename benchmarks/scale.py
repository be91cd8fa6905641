"""How long a stream takes to begin and to resume, and how much memory its workers take, up to WebFace42M's size.

    python benchmarks/scale.py [--p N] [--k N]

Indices are drawn with WebFace42M's numbers (2,059,906 identities, 42,474,558 images, a long tail) and for parts of it,
without the images: nothing is read. Each size is measured in a process of its own: `PKStream(...)`, which opens the
index; its first planned batch; the first planned batch after `load_state_dict` in the middle of the epoch, in another
stream; a batch on average; and the memory at its peak that a spawned worker has beyond one of a tiny data set, which is
the interpreter with torch. Forked workers share the index and take less.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np

IDENTITIES, IMAGES, NBYTES = 2_059_906, 42_474_558, 7_168  # bytes of an image in a shard
SHARD = 256 << 20


def index(share: float) -> np.ndarray:
    """Images of each identity, about log-normal, 3 or more."""
    rng = np.random.default_rng(0)
    drawn = np.maximum(3.0, rng.lognormal(2.7, 0.75, int(IDENTITIES * share)))
    return np.rint(drawn * (IMAGES * share / drawn.sum())).astype(np.int64)


def write(folder: str, images: np.ndarray) -> None:
    """An index of shards that are not there."""
    from wds_face.shards.classes import write_classes
    from wds_face.shards.index import IDENTITY, Shard, write_index
    from wds_face.storage import open_store

    rows = np.zeros(len(images), IDENTITY)
    rows["label"], rows["images"], rows["nbytes"] = np.arange(len(images)), images, images * NBYTES
    ends = np.cumsum(rows["nbytes"])
    rows["shard"] = (ends - rows["nbytes"]) // SHARD
    first = np.searchsorted(rows["shard"], rows["shard"])
    rows["offset"] = ends - rows["nbytes"] - (ends - rows["nbytes"])[first]
    shards = []
    for number, at in enumerate(np.unique(first).tolist()):
        here = rows[at : np.searchsorted(rows["shard"], number, side="right")]
        shards.append(Shard(f"train-{number:06d}.tar", int(here["images"].sum()), int(here["nbytes"].sum()), "0" * 64))
    tables = {"classes.tsv": write_classes([str(label) for label in range(len(images))])}
    write_index(open_store(folder), shards, rows, tables, {"options": {"labels": "cls"}})


class Peak:
    """A stage that sends the worker's memory at its peak, in MB, instead of its batches; it holds what reads them."""

    def __init__(self, read):
        self.read = read

    def __call__(self, batches):
        self.read.reader  # noqa: B018 (makes what it needs)
        for _ in batches:
            status = Path("/proc/self/status").read_text()
            yield int(status.split("VmHWM:")[1].split()[0]) / 1024


def worker(stream) -> float:
    """The memory of a spawned worker after 20 batches."""
    import webdataset as wds
    from torch.utils.data import DataLoader

    plan = wds.DataPipeline(stream.pipeline[0], Peak(stream.pipeline[1]))
    return max(islice(DataLoader(plan, batch_size=None, num_workers=2, multiprocessing_context="spawn"), 40))


def measure(folder: str, tiny: str, p: int, k: int) -> str:
    from wds_face import PKStream

    times = [time.perf_counter()]
    stream = PKStream(folder, p=p, k=k)
    times.append(time.perf_counter())
    next(iter(stream.pipeline[0]()))
    times.append(time.perf_counter())
    total = stream.summary()["batches"]
    other = PKStream(folder, p=p, k=k)
    other.load_state_dict({**stream.state_dict(), "batch": total // 2})
    batches = iter(other.pipeline[0]())
    next(batches)
    times.append(time.perf_counter())
    count = min(500, total // 3)
    for _ in range(count):
        next(batches)
    times.append(time.perf_counter())
    start, first, middle, run = np.diff(times)
    memory = worker(PKStream(folder, p=p, k=k)) - worker(PKStream(tiny, p=p, k=k))
    rows = stream.summary()
    return (
        f"| {rows['identities']:,} | {rows['images']:,} | {rows['lanes']} | {total:,} | {start:.2f} | {first:.2f} | "
        f"{middle:.2f} | {1000 * run / count:.2f} | {memory:.0f} |"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--p", type=int, default=64)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--measure", nargs=2, help="the folders of an index and of a tiny one, in this process")
    arguments = parser.parse_args()
    if arguments.measure:
        import wds_face.stream  # noqa: F401 (torch's import is not what is measured)

        print(measure(*arguments.measure, arguments.p, arguments.k))
        sys.exit()
    print(
        "| identities | images | lanes | batches | open s | first batch s | resume in the middle s | a batch ms | "
        "a worker MB |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    with tempfile.TemporaryDirectory() as tiny:
        write(tiny, np.full(1024, 8))
        for share in (1 / 64, 1 / 16, 1 / 4, 1.0):
            with tempfile.TemporaryDirectory() as folder:
                write(folder, index(share))
                command = [sys.executable, __file__, "--p", str(arguments.p), "--k", str(arguments.k)]
                subprocess.run([*command, "--measure", folder, tiny], check=True)
