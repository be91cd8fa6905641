"""Time of a verification beside the published protocol written out: ``python benchmarks/verification.py``.

    python benchmarks/verification.py [--pairs N] [--size N] [--rounds N]

The literal protocol is that of the tests, which compares every distance with every threshold in every fold, as facenet
and InsightFace do. Both normalise float32 embeddings and give accuracy, ROC and TAR at two FARs over ten folds; that
they find the same is checked first. Rounds alternate in one process with one thread, so that a busy machine slows both
alike. Times are medians, and so is the ratio, of those of the same round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.validation.protocol import assert_equal, literal, pairs
from wds_face.validation.verification import evaluate_verification


def measure(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    return times


def table(times: dict[str, list[float]]) -> str:
    lines = ["| | ms | min-max | x literal |", "|---|--:|--:|--:|"]
    for name, seconds in times.items():
        ratio = statistics.median(
            literal / ours for literal, ours in zip(times["the protocol, literally"], seconds, strict=True)
        )
        middle, least, most = (1000 * value for value in (statistics.median(seconds), min(seconds), max(seconds)))
        lines.append(f"| {name} | {middle:,.1f} | {least:,.1f}-{most:,.1f} | {ratio:,.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=6000)
    parser.add_argument("--size", type=int, default=512, help="numbers of an embedding")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    embeddings, issame = pairs(arguments.pairs, arguments.size, noise=1.0)
    assert_equal(evaluate_verification(embeddings, issame), literal(embeddings, issame))
    found = measure(
        {
            "the protocol, literally": lambda: literal(embeddings, issame),
            "wds_face": lambda: evaluate_verification(embeddings, issame),
        },
        arguments.rounds,
    )
    print(
        f"{arguments.pairs:,} pairs x {arguments.size}, 10 folds, 2 FARs, {arguments.rounds} rounds\n\n{table(found)}"
    )
