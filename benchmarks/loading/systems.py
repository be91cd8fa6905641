"""The rows of throughput.py's table."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from loading import own, peers, samples
from loading.child import Settings

ALL, DECODE = "all transforms", "decode only"


@dataclass(frozen=True)
class System:
    """A row.

    Args:
        label: of the row.
        work: what is done to an image; groups the rows.
        format: of formats.py.
        module: that must be there.
        make: opens the data; the result gives the batches of an epoch each time it is iterated over.
        output: dtype of the images.
    """

    label: str
    work: str
    format: str
    module: str
    make: Callable[[Settings], Iterable[Any]]
    output: str = "uint8"

    @property
    def here(self) -> bool:
        """Whether it is installed."""
        try:
            return importlib.util.find_spec(self.module) is not None
        except ModuleNotFoundError:  # what it is a part of
            return False


def ours(label: str, work: str, **options: Any) -> System:
    output = "float32" if options.get("output") == "float" else "uint8"
    make = partial(own.stream, full=work == ALL, **options)
    return System(f"wds_face, {label}", work, "shards", "wds_face", make, output)


def peer(
    label: str, work: str, make: Callable[..., Any], sample: Callable[[], Any], form: str, **options: Any
) -> System:
    """Of peers.py, with a function of samples.py."""
    module = {"webdataset": "webdataset", "imagefolder": "torchvision", "litdata": "litdata", "mosaic": "streaming"}

    def opened(settings: Settings) -> Iterable[Any]:
        return make(settings, form, sample(), **options)

    return System(label, work, form, module[make.__name__], opened, "float32" if work == ALL else "uint8")


SYSTEMS = {
    "ceiling": System("ceiling: processes that decode, nothing else", "", "shards", "simplejpeg", own.Ceiling),
    "ours-uint8": ours("uint8", ALL),
    "ours-float": ours("float", ALL, output="float"),
    "ours-uint8-last": ours("uint8, channels last", ALL, memory_format="channels_last"),
    "ours-float-last": ours("float, channels last", ALL, output="float", memory_format="channels_last"),
    "ours-s3-uint8": ours("uint8, from S3", ALL, remote=True),
    "ours-s3-float": ours("float, from S3", ALL, remote=True, output="float"),
    "webdataset-literal": peer("webdataset", ALL, peers.webdataset, samples.literal, "shards", decoder="pil"),
    "webdataset-callables": peer(
        "webdataset with wds_face's callables", ALL, peers.webdataset, samples.callables, "shards", decoder="pil"
    ),
    "imagefolder-literal": peer("torchvision ImageFolder", ALL, peers.imagefolder, samples.literal, "folder"),
    "litdata-literal": peer("litdata", ALL, peers.litdata, samples.literal, "litdata"),
    "mosaic-literal": peer("mosaicml-streaming", ALL, peers.mosaic, samples.literal, "mds-jpeg"),
    "ours-uint8-decode": ours("uint8", DECODE),
    "ours-float-decode": ours("float", DECODE, output="float"),
    "ours-uint8-last-decode": ours("uint8, channels last", DECODE, memory_format="channels_last"),
    "ours-float-last-decode": ours("float, channels last", DECODE, output="float", memory_format="channels_last"),
    "ours-s3-uint8-decode": ours("uint8, from S3", DECODE, remote=True),
    "ours-s3-float-decode": ours("float, from S3", DECODE, remote=True, output="float"),
    "webdataset-decode": peer(
        "webdataset, by its rgb8", DECODE, peers.webdataset, samples.as_it_is, "shards", decoder="rgb8"
    ),
    "webdataset-simplejpeg": peer("webdataset, by simplejpeg", DECODE, peers.webdataset, samples.simplejpeg, "shards"),
    "imagefolder-decode": peer("torchvision ImageFolder", DECODE, peers.imagefolder, samples.pixels, "folder"),
    "litdata-decode": peer("litdata, by its Image", DECODE, peers.litdata, samples.as_it_is, "litdata-image"),
    "litdata-simplejpeg": peer("litdata, by simplejpeg", DECODE, peers.litdata, samples.simplejpeg, "litdata"),
    "mosaic-decode": peer("mosaicml-streaming, by its jpeg", DECODE, peers.mosaic, samples.pixels, "mds-jpeg"),
    "mosaic-simplejpeg": peer("mosaicml-streaming, by simplejpeg", DECODE, peers.mosaic, samples.simplejpeg, "mds"),
    "dali-decode": System("DALI on the CPU", DECODE, "record", "nvidia.dali", partial(peers.Dali, normalise=False)),
    "dali": System(
        "DALI on the CPU, flipped, float",
        DECODE,
        "record",
        "nvidia.dali",
        partial(peers.Dali, normalise=True),
        "float32",
    ),
}
CEILING = "ceiling"
BASE = {ALL: "webdataset-literal", DECODE: "webdataset-decode"}  # webdataset with the same work
S3 = tuple(name for name in SYSTEMS if name.startswith("ours-s3"))


def check(system: System, batch: Any) -> None:
    """Is the batch what the row says?"""
    if isinstance(batch, int):
        return
    images, labels, *masks = batch
    least, most = images.min().item(), images.max().item()
    normalised = -1 <= least < -0.5 and 0.5 < most <= 1
    assert len(images) == peers.BATCH, f"{len(images)} images"
    assert sorted(images.shape[1:]) == [3, 112, 112], f"images {tuple(images.shape)}"
    assert str(images.dtype).removeprefix("torch.") == system.output, f"images are {images.dtype}"
    assert normalised if system.output == "float32" else most > 200, f"images from {least} to {most}"
    assert len(set(labels.reshape(-1).tolist())) > 1, "one label"
    assert len(labels) == peers.BATCH, f"{len(labels)} labels"
    assert len(masks) == (system.work == ALL), f"{len(masks)} masks"
    for mask in masks:
        occluded = (mask.reshape(peers.BATCH, -1).min(1).values < 1).float().mean().item()
        assert tuple(mask.shape) == (peers.BATCH, 1, 112, 112), f"masks {tuple(mask.shape)}"
        assert mask.dtype == images.dtype, f"masks are {mask.dtype}"
        assert mask.max() == 1, "nothing is visible"
        assert 0.25 < occluded < 0.75, f"{occluded:.2f} are occluded"
