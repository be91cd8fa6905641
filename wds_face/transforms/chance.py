"""Where the transforms take their random numbers from."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import get_worker_info


class Chance:
    """Uniform numbers in [0, 1) from an explicit generator, or without one from torch's.

    torch seeds its generator in every worker anew, so without an explicit one nothing has to be done. An explicit
    generator is copied into every worker, where all copies would say the same: there it is joined with the worker's
    seed.

    Args:
        rng: the generator; None for torch's.
    """

    def __init__(self, rng: np.random.Generator | None = None) -> None:
        if rng is not None and not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy Generator, such as numpy.random.default_rng(0), not {rng!r}")
        self._rng = rng
        self._worker: tuple[int, np.random.Generator] | None = None  # seed, and the generator it was joined to

    def draw(self, count: int) -> list[float]:
        """The next *count* numbers."""
        if self._rng is None:
            numbers: list[float] = torch.rand(count, dtype=torch.float64, device="cpu").tolist()
            return numbers
        rng, worker = self._rng, get_worker_info()
        if worker is not None:
            if self._worker is None or self._worker[0] != worker.seed:
                state = rng.integers(1 << 32, size=4, dtype=np.uint64)
                self._worker = worker.seed, np.random.default_rng([*map(int, state), worker.seed])
            rng = self._worker[1]
        drawn: list[float] = rng.random(count).tolist()
        return drawn
