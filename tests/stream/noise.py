"""A data set of noise, which no server compresses, and sums of what is streamed of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from tests.faults import FaultProxy
from wds_face import PKStream

P, K = 8, 2

Proxies = Callable[..., FaultProxy]


def stream(url: str, options: dict[str, Any] | None = None, **more: Any) -> PKStream:
    """One of small batches."""
    more = {"p": P, "k": K, "flip": 0.5, "output": "uint8", "image_size": 32, "lanes": 2, **more}
    return PKStream(url, storage_options=options, **more)


def digest(one: PKStream, workers: int = 0, epochs: int = 1, **options: Any) -> list[str]:
    """A sum of each batch."""
    found = []
    loader = one.loader(workers, **options)
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        found += [sum_of(batch) for batch in loader]
    return found


def sum_of(batch: Any) -> str:
    """Of one batch."""
    images, labels = batch
    return hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()
