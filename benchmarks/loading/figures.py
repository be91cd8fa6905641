"""What throughput.py's table and chart say, of what was measured."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from loading.systems import BASE, CEILING

Runs = dict[str, list[dict[str, float]]]  # of each system, one of each round: see measuring.py


@dataclass(frozen=True)
class Figures:
    """Of runs; of the systems that failed, and why; and of the memory of a process that does nothing."""

    runs: Runs
    failed: dict[str, str]
    bare: int

    def rates(self, name: str) -> list[float]:
        """Images per second of each run."""
        return [run["images"] / run["seconds"] for run in self.runs.get(name, [])]

    def ratio(self, name: str, base: str) -> float | None:
        """The median of the ratios within each round."""
        pairs = zip(self.rates(name), self.rates(base), strict=False)  # who failed has fewer
        found = [one / other for one, other in pairs]
        return statistics.median(found) if found else None

    def cells(self, name: str) -> list[str]:
        """A row of the table."""
        if name in self.failed:
            return [self.failed[name].replace("|", "/")[:160], *[""] * 6]
        runs, rates = self.runs[name], self.rates(name)
        cpu = statistics.median(run["processor"] / run["images"] * 1000 for run in runs)
        memory = (max(run["memory"] for run in runs) - self.bare) / 1e6
        of_ceiling, of_base = self.ratio(name, CEILING), self.ratio(name, BASE)
        return [
            f"{statistics.median(rates):,.0f}",
            f"{min(rates):,.0f}-{max(rates):,.0f}",
            "-" if of_ceiling is None else f"{of_ceiling:.2f}",
            "-" if of_base is None else f"{of_base:.1f}",
            f"{cpu:.3f}",
            "-" if name == CEILING else f"{memory:,.0f}",
            "-" if name == CEILING else f"{statistics.median(run['first'] for run in runs):.2f}",
        ]
