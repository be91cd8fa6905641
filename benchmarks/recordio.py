"""Reading speed of wds_face.recordio beside real mxnet 1.9.1: ``python benchmarks/recordio.py [FILE.rec]``.

Every record is read by key and unpacked, by both in one process. wds_face hands out a view of the mapped file where
mxnet copies, so its time is also given with the image copied out into bytes. Rounds alternate, so that a busy machine
slows all alike, and the file is in the page cache. Where mxnet is missing the script runs itself again in .venv-mxnet.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = Path(os.environ.get("WDS_FACE_MXNET") or ROOT / ".venv-mxnet")
REAL = ROOT.parent / "shared" / "data" / "lfw_rec" / "train.rec"
ROUNDS = 15

sys.path.insert(0, str(ROOT))  # wds_face.recordio needs numpy only, which mxnet's environment has

Loop = Callable[[Iterable[int]], None]


def synthetic(rec: Path) -> Path:
    """5,000 records of 5 kB."""
    from wds_face.recordio import RecordWriter, pack

    with RecordWriter(rec) as writer:
        for key in range(5000):
            writer.write(key, pack((0, key // 10, key, 0), random.randbytes(5000)))
    return rec


def loops(rec: Path) -> tuple[list[int], dict[str, Loop]]:
    """The keys of a file and the ways to read it, checked to read the same."""
    import mxnet as mx

    from wds_face.recordio import RecordReader, unpack

    ours = RecordReader(rec)
    theirs = mx.recordio.MXIndexedRecordIO(str(rec.with_suffix(".idx")), str(rec), "r")

    def wds_face(keys: Iterable[int]) -> None:
        for key in keys:
            unpack(ours.read(key))

    def wds_face_copied(keys: Iterable[int]) -> None:
        for key in keys:
            bytes(unpack(ours.read(key))[1])

    def mxnet(keys: Iterable[int]) -> None:
        for key in keys:
            mx.recordio.unpack(theirs.read_idx(key))

    keys = ours.keys.tolist()
    assert keys == theirs.keys
    assert all(ours.read(key) == theirs.read_idx(key) for key in keys)
    return keys, {"wds_face": wds_face, "wds_face, copied": wds_face_copied, "mxnet 1.9.1": mxnet}


def measure(keys: list[int], ways: dict[str, Loop]) -> dict[str, float]:
    """Median seconds per record of each way, over alternating rounds."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter()
            way(keys)
            times[name].append((time.perf_counter() - start) / len(keys))
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def report(rec: Path) -> None:
    keys, ways = loops(rec)
    print(
        f"\n{rec.name}: {len(keys):,} records, {rec.stat().st_size / len(keys) / 1000:.1f} kB each, {ROUNDS} rounds\n"
    )
    print("| order | reader | us/record | records/s | speed |")
    print("|---|---|---:|---:|---:|")
    shuffled = random.Random(0).sample(keys, len(keys))
    for order, chosen in (("sequential", keys), ("random", shuffled)):
        medians = measure(chosen, ways)
        for name, seconds in medians.items():
            factor = medians["mxnet 1.9.1"] / seconds
            print(f"| {order} | {name} | {seconds * 1e6:.2f} | {1 / seconds:,.0f} | {factor:.1f}x |")


def main() -> None:
    try:
        import mxnet  # noqa: F401
    except ImportError:
        python, ready = ENVIRONMENT / "bin" / "python", ENVIRONMENT / ".ready"
        if Path(sys.prefix).resolve() == ENVIRONMENT.resolve() or not python.exists():
            reason = ready.read_text().strip() if ready.is_file() else ""
            sys.exit(f"no mxnet to compare with: {reason or 'make .venv-mxnet/.ready sets it up'}")
        os.execv(python, [str(python), __file__, *sys.argv[1:]])
    if len(sys.argv) > 1 or REAL.is_file():
        report(Path(sys.argv[1]) if len(sys.argv) > 1 else REAL)
    else:
        with tempfile.TemporaryDirectory() as folder:
            report(synthetic(Path(folder) / "synthetic.rec"))


if __name__ == "__main__":
    main()
