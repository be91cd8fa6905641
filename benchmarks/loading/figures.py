"""What throughput.py's table and chart say, of what was measured."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from loading.systems import BASE, CEILING, SYSTEMS

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

    def of_ceiling(self, name: str) -> float | None:
        """Of what decoding alone reaches."""
        return self.ratio(name, CEILING)

    def times(self, name: str) -> float | None:
        """As fast as webdataset does the same."""
        base = BASE.get(SYSTEMS[name].work)
        return self.ratio(name, base) if base else None

    def cells(self, name: str) -> list[str]:
        """A row of the table."""
        if name in self.failed:
            return [self.failed[name].replace("|", "/")[:160], *[""] * 6]
        runs, rates = self.runs[name], self.rates(name)
        cpu = statistics.median(run["processor"] / run["images"] * 1000 for run in runs)
        memory = (max(run["memory"] for run in runs) - self.bare) / 1e6
        of_ceiling, times = self.of_ceiling(name), self.times(name)
        return [
            f"{statistics.median(rates):,.0f}",
            f"{min(rates):,.0f}-{max(rates):,.0f}",
            "-" if of_ceiling is None else f"{of_ceiling:.2f}",
            "-" if times is None else f"{times:.1f}",
            f"{cpu:.3f}",
            "-" if name == CEILING else f"{memory:,.0f}",
            "-" if name == CEILING else f"{statistics.median(run['first'] for run in runs):.2f}",
        ]
