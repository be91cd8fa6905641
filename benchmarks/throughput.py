"""How fast training batches come, of every system on the same faces and the same machine.

python benchmarks/throughput.py [--data FOLDER] [--images N] [--workers N] [--rounds N] [--seconds N]
                                [--only PATTERN ...] [--plot FILE.png] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from fnmatch import fnmatch
from pathlib import Path

import formats
import processes
from measuring import Child, Settings
from systems import BASE, CEILING, SYSTEMS

Runs = dict[str, list[dict[str, float]]]


def rounds(children: dict[str, Child], count: int, seconds: float, failed: dict[str, str]) -> Runs:
    """What every system's runs found; they take turns."""
    found: Runs = {name: [] for name in children}
    for number in range(count):
        for name, child in children.items():
            if name in failed:
                continue
            run = child.run(seconds)
            if run is None:
                failed[name] = child.error
                continue
            found[name].append({**run, "rate": run["images"] / run["seconds"]})
            print(f"round {number + 1}: {name} {found[name][-1]['rate']:,.0f} images/s", file=sys.stderr, flush=True)
    return found


def ratio(runs: Runs, name: str, base: str) -> float | None:
    """The median of the ratios within each round."""
    pairs = zip(runs[name], runs.get(base, []), strict=False)
    found = [one["rate"] / other["rate"] for one, other in pairs]
    return statistics.median(found) if found else None


def table(runs: Runs, failed: dict[str, str], bare: int) -> str:
    lines = [
        "| | images/s | min-max | of the ceiling | x webdataset | CPU s / 1,000 | worker MB | first batch, s |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    work = ""
    for name in runs | failed:
        system = SYSTEMS[name]
        if system.work != work and name != CEILING:
            work = system.work
            lines.append(f"| **{work}** | | | | | | | |")
        if name in failed:
            lines.append(f"| {system.label} | {failed[name]} | | | | | | |")
            continue
        found = runs[name]
        rates = [run["rate"] for run in found]
        cpu = statistics.median(run["processor"] / run["images"] * 1000 for run in found)
        memory = (max(run["memory"] for run in found) - bare) / 1e6
        first = statistics.median(run["first"] for run in found)
        of_ceiling, of_base = ratio(runs, name, CEILING), ratio(runs, name, BASE)
        cells = [
            f"{statistics.median(rates):,.0f}", f"{min(rates):,.0f}-{max(rates):,.0f}",
            f"{of_ceiling:.2f}", f"{of_base:.1f}" if of_base else "-", f"{cpu:.3f}",
            "-" if name == CEILING else f"{memory:,.0f}", "-" if name == CEILING else f"{first:.2f}",
        ]  # fmt: skip
        lines.append(f"| {system.label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="keep the formats there, and use those that are there"
    )
    parser.add_argument("--images", type=int, default=66_000, help="at least (default: 66,000)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: 5)")
    parser.add_argument("--seconds", type=float, default=5, help="of each run that count (default: 5)")
    parser.add_argument(
        "--only", nargs="+", metavar="PATTERN", default=["*"], help="systems; the ceiling is always there"
    )
    parser.add_argument("--plot", metavar="FILE.png", help="draw a bar chart")
    parser.add_argument("--json", metavar="FILE", help="write every figure")
    args = parser.parse_args()
    chosen = [name for name in SYSTEMS if name == CEILING or any(fnmatch(name, one) for one in args.only)]
    failed = {name: "not installed" for name in chosen if not SYSTEMS[name].here}
    with ExitStack() as stack:
        root = args.data or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        root.mkdir(parents=True, exist_ok=True)
        about = formats.prepare(root, {SYSTEMS[name].format for name in chosen if name not in failed}, args.images)
        settings = Settings(str(root), args.workers)
        children = {}
        for name in chosen:
            if name not in failed:
                children[name] = Child(name, settings)
                stack.callback(children[name].close)
                if children[name].error:
                    failed[name] = children[name].error
        bare = processes.bare()
        runs = rounds(children, args.rounds, args.seconds, failed)
    print(table(runs, failed, bare))
    if args.json:
        found = {
            "faces": about,
            "settings": {"workers": args.workers, "seconds": args.seconds},
            "bare": bare,
            "runs": runs,
        }
        Path(args.json).write_text(json.dumps(found | {"failed": failed}, indent=1))


if __name__ == "__main__":
    main()
