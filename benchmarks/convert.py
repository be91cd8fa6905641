"""Images per second of converting one image folder: wds-face beside webdataset, litdata and mosaicml-streaming.

    python benchmarks/convert.py [FOLDER] [--workers N] [--rounds N] [--only NAME ...] [--plot FILE.png]

FOLDER has one sub-folder per identity with nothing but images in it. Without it, ../shared/data/lfw_aligned_112.tar is
used if it is there, else faces drawn for the purpose. Source and output lie in the temporary folder (set TMPDIR to
measure another disk).

What is compared:
- All read the same files, which were read once before, so the disk's speed in reading does not count.
- Each conversion runs in a process of its own. The clock runs around the conversion alone: listing the folder,
  starting worker processes, writing, and the index where there is one. Imports are not counted for anybody.
- wds-face does all that it always does: it checks each image for truncation, hashes shards with SHA-256, and waits
  until they are on the disk (fsync). No other waits for the disk; only mosaicml-streaming has hashes, and they are on.
- The others get the fastest documented way that we found: workers are forked (litdata's default, spawn, would import
  torch in each), every process lists and reads its own share of the identities, and image bytes are passed on as they
  are. litdata takes an identity as the unit of work and keeps the order, which spares it a queue between processes.
- Rounds are interleaved; pending writes are flushed between conversions; the first round is not counted. Ratios are
  taken within each round, so that they hold where the machine's speed drifts.
"""

import argparse
import importlib.util
import json
import math
import multiprocessing
import operator
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

LFW = Path(__file__).resolve().parents[2] / "shared/data/lfw_aligned_112.tar"


# Each contender: (source, destination, processes, bytes of a shard). What it needs is imported before the clock starts.


def ours(src: str, dest: str, workers: int, size: int) -> float:
    """wds_face.convert with its defaults."""
    from wds_face import ImageFolder, Options, convert

    start = time.perf_counter()
    convert(ImageFolder(src), dest, Options(shard_size=size), workers=workers)
    return time.perf_counter() - start


def shardwriter(src: str, dest: str, workers: int, size: int, **options: float) -> float:
    """ShardWriter; with its defaults every member has a fractional time, which costs a PAX header each."""
    import webdataset  # noqa: F401 (imported in the parent, so that forked workers have it)

    start = time.perf_counter()
    os.mkdir(dest)
    in_shares(partial(write_tars, dest, options), src, workers)
    return time.perf_counter() - start


def write_tars(dest: str, options: dict[str, float], number: int, share: list[tuple[int, str]]) -> None:
    import webdataset

    with webdataset.ShardWriter(f"{dest}/train-{number}-%06d.tar", verbose=0, **options) as writer:
        for label, folder in share:
            for i, (name, data) in enumerate(images(folder)):
                kind = name.rpartition(".")[2].lower()
                writer.write({"__key__": f"{label:07d}/{i:06d}", kind: data, "cls": label})


def mds(src: str, dest: str, workers: int, size: int) -> float:
    """MDSWriter; several write a folder each, and merge_index joins them."""
    from streaming.base.util import merge_index

    start = time.perf_counter()
    in_shares(partial(write_mds, dest, size, workers), src, workers)
    if workers > 1:
        merge_index(dest)
    return time.perf_counter() - start


def write_mds(dest: str, size: int, workers: int, number: int, share: list[tuple[int, str]]) -> None:
    from streaming import MDSWriter

    out = f"{dest}/{number}" if workers > 1 else dest
    columns = {"image": "bytes", "label": "int"}
    with MDSWriter(columns=columns, out=out, hashes=["sha256"], size_limit=size) as writer:
        for label, folder in share:
            for _, data in images(folder):
                writer.write({"image": data, "label": label})


def litdata(src: str, dest: str, workers: int, size: int) -> float:
    """litdata.optimize."""
    from litdata import optimize

    start = time.perf_counter()
    fast = {"start_method": "fork", "keep_data_ordered": True, "verbose": False}
    optimize(lit_items, identities(src), dest, chunk_bytes=size, num_workers=workers, **fast)
    return time.perf_counter() - start


def lit_items(identity: tuple[int, str]) -> Iterator[dict[str, object]]:
    for _, data in images(identity[1]):
        yield {"image": data, "label": identity[0]}


CONTENDERS = {  # name: function, module, what it is
    "wds-face": (ours, "wds_face", "wds_face.convert"),
    "shardwriter": (shardwriter, "webdataset", "webdataset ShardWriter"),
    "shardwriter-mtime0": (partial(shardwriter, mtime=0), "webdataset", "webdataset ShardWriter(mtime=0)"),
    "litdata": (litdata, "litdata", "litdata.optimize"),
    "mds": (mds, "streaming", "mosaicml MDSWriter"),
}
BASE = "shardwriter"


def identities(src: str) -> list[tuple[int, str]]:
    """(label, folder) of each."""
    return list(enumerate(sorted(entry.path for entry in os.scandir(src) if entry.is_dir())))


def images(folder: str) -> Iterator[tuple[str, bytes]]:
    for name in sorted(os.listdir(folder)):
        with open(f"{folder}/{name}", "rb", buffering=0) as file:
            yield name, file.read()


def in_shares(write, src: str, workers: int) -> None:
    """write(number, share) for each process's share of the identities."""
    found = identities(src)
    if workers == 1:
        return write(0, found)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        for done in [pool.submit(write, i, found[i::workers]) for i in range(workers)]:
            done.result()


def members(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return archive.getnames()


def count(dest: Path) -> int:
    """Images in an output, whoever wrote it."""
    if tars := list(dest.glob("*.tar")):
        return sum(not name.endswith(".cls") for path in tars for name in members(path))
    index = json.loads((dest / "index.json").read_text())
    return sum(part.get("samples") or part.get("chunk_size") for part in index.get("shards") or index["chunks"])


def measure(name: str, src: Path, expected: int, workers: int, size: int) -> tuple[float, int]:
    """Seconds of one conversion, and bytes of its output."""
    with tempfile.TemporaryDirectory() as temporary:
        os.sync()
        dest = Path(temporary) / "out"
        call = [sys.executable, __file__, "--in-process", name, str(src), str(dest), str(workers), str(size)]
        env = {**os.environ, "DATA_OPTIMIZER_CACHE_FOLDER": f"{temporary}/cache"}
        run = subprocess.run(call, check=False, capture_output=True, text=True, env=env)
        if run.returncode:
            sys.exit(f"{name} failed:\n{run.stdout}{run.stderr}")
        if (found := count(dest)) != expected:
            sys.exit(f"{name} wrote {found} images of {expected}")
        return float(run.stdout.split()[-1]), sum(path.stat().st_size for path in dest.rglob("*") if path.is_file())


def source(folder: Path | None, temporary: str) -> Path:
    if folder:
        return folder
    if LFW.exists():
        with tarfile.open(LFW) as archive:
            archive.extractall(temporary, filter="data")
        return Path(temporary) / "lfw_aligned_112"
    from wds_face.synthetic import write_folder

    write_folder(f"{temporary}/faces", identities=600, images=(1, 24))
    return Path(temporary) / "faces"


def ratios(rates: dict[str, list[float]]) -> dict[str, float]:
    """How many times as fast as ShardWriter each is; empty without it."""
    base = rates.get(BASE, [])
    return {name: statistics.median(map(operator.truediv, runs, base)) for name, runs in rates.items() if base}


def plot(path: str, title: str, rates: dict[str, list[float]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = sorted(rates, key=lambda name: statistics.median(rates[name]))
    medians = [statistics.median(rates[name]) for name in rows]
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.5 * len(rows)), layout="constrained")
    colors = ["#1f6feb" if name == "wds-face" else "#b8c0cc" for name in rows]
    axes.barh([CONTENDERS[name][2] for name in rows], medians, color=colors, height=0.64)
    times = ratios(rates)
    for y, (name, median) in enumerate(zip(rows, medians, strict=True)):
        low, high = min(rates[name]), max(rates[name])
        axes.plot([low, high], [y, y], color="#3b4250", linewidth=1.2, marker="|", markersize=7)
        text = f"{median:,.0f}" + (f"   {times[name]:.1f}×" if times else "")
        axes.annotate(text, (max(high, median), y), (8, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_xlim(0, 1.3 * max(map(max, rates.values())))
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.set_xlabel("images/s: median, slowest and fastest run" + "; × ShardWriter" * bool(times), fontsize=9)
    axes.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=9, color="#d0d5dd")
    axes.grid(axis="x", color="#e5e8ee")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#d0d5dd")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="image folder with a sub-folder per identity")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds after the warm-up (default: 5)")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="contenders")
    parser.add_argument("--plot", metavar="FILE.png", help="draw a bar chart")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        src = source(args.folder, temporary)
        sizes = [len(data) for _, folder in identities(str(src)) for _, data in images(folder)]  # warms the cache too
        shard = min(max(sum(sizes) // 64, 8 << 20), 256 << 20)  # what wds-face takes by default
        title = f"{len(sizes):,} images of {sum(sizes) / len(sizes) / 1000:.1f} kB"
        title += f", {args.workers} process" + ("es" if args.workers > 1 else "")
        here = [name for name in args.only if importlib.util.find_spec(CONTENDERS[name][1])]
        rates: dict[str, list[float]] = {name: [] for name in here}
        growth: dict[str, float] = {}
        for number in range(args.rounds + 1):
            for name in here:
                seconds, nbytes = measure(name, src, len(sizes), args.workers, shard)
                growth[name] = nbytes / sum(sizes)
                if number:
                    rates[name].append(len(sizes) / seconds)
    times = ratios(rates)
    print(f"Converting {title}, median of {args.rounds} rounds\n")
    print("| | images/s | min-max | × ShardWriter | output / image bytes |\n|---|--:|--:|--:|--:|")
    for name in args.only:
        what, runs = CONTENDERS[name][2], rates.get(name)
        if not runs:
            print(f"| {what} | not installed | | | |")
            continue
        middle = statistics.median(runs)
        cells = (
            f"{middle:,.0f} | {min(runs):,.0f}-{max(runs):,.0f} | {times.get(name, math.nan):.2f} | {growth[name]:.2f}"
        )
        print(f"| {what} | {cells} |")
    if args.plot:
        plot(args.plot, f"Converting {title}", rates)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in-process"]:
        contender, given = sys.argv[2], sys.argv[3:]
        print(CONTENDERS[contender][0](given[0], given[1], int(given[2]), int(given[3])))
    else:
        main()
