"""What throughput.py compares: the rows of its table."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import own
import peers
from measuring import Settings

P, K = 64, 4
BATCH = P * K
ALL, DECODE = "all transforms", "decode only"


@dataclass(frozen=True)
class System:
    """A row.

    Args:
        label: of the row.
        work: what is done to an image; groups the rows.
        format: of :mod:`formats`.
        module: that must be there.
        make: opens the data; called with the number of an epoch, the result gives an iterable of its batches.
        output: dtype of the images.
    """

    label: str
    work: str
    format: str
    module: str
    make: Callable[[Settings], Callable[[int], Iterable[Any]]]
    output: str = "float32"

    @property
    def here(self) -> bool:
        """Whether it is installed."""
        return importlib.util.find_spec(self.module) is not None

    def epochs(self, settings: Settings) -> Iterator[Iterable[Any]]:
        """One epoch after another."""
        epoch = self.make(settings)
        return (epoch(number) for number in count())


SYSTEMS = {
    "ceiling": System("ceiling: decoding alone", DECODE, "shards", "simplejpeg", own.ceiling, "uint8"),
    "ours-uint8": System("wds_face, uint8", ALL, "shards", "wds_face", partial(own.stream, full=True), "uint8"),
    "ours-float": System("wds_face, float", ALL, "shards", "wds_face", partial(own.stream, full=True, output="float")),
    "webdataset-literal": System(
        "webdataset, the mission's transforms", ALL, "shards", "webdataset", peers.webdataset_literal
    ),
    "ours-uint8-decode": System("wds_face, uint8", DECODE, "shards", "wds_face", own.stream, "uint8"),
    "ours-float-decode": System("wds_face, float", DECODE, "shards", "wds_face", partial(own.stream, output="float")),
}
CEILING, BASE = "ceiling", "webdataset-literal"


def check(system: System, batch: Any) -> None:
    """Is the batch what the row says?"""
    if isinstance(batch, int):
        return
    images, labels, *masks = batch
    least, most = images.min().item(), images.max().item()
    normalised = -1 <= least < -0.5 and 0.5 < most <= 1
    assert len(images) == BATCH, f"{len(images)} images"
    assert sorted(images.shape[1:]) == [3, 112, 112], f"images {tuple(images.shape)}"
    assert str(images.dtype).removeprefix("torch.") == system.output, f"images are {images.dtype}"
    assert normalised if system.output == "float32" else most > 200, f"images from {least} to {most}"
    assert len(set(labels.reshape(-1).tolist())) > 1, "one label"
    assert len(labels) == BATCH, f"{len(labels)} labels"
    assert len(masks) == (system.work == ALL), f"{len(masks)} masks"
    for mask in masks:
        occluded = (mask.reshape(BATCH, -1).min(1).values < 1).float().mean().item()
        assert tuple(mask.shape) == (BATCH, 1, 112, 112), f"masks {tuple(mask.shape)}"
        assert mask.dtype == images.dtype, f"masks are {mask.dtype}"
        assert mask.max() == 1, "nothing is visible"
        assert 0.25 < occluded < 0.75, f"{occluded:.2f} are occluded"
