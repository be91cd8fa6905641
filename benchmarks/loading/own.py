"""wds_face, and what no system can surpass, for throughput.py: called with the settings they open the data."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from loading.child import Settings

CEILING_IMAGES = 16_384  # of each process, 85 MB: no processor keeps them in its caches


def stream(settings: Settings, *, full: bool, remote: bool = False, **options: str) -> Iterable[Any]:
    """Return a loader of ``PKStream`` as the README has it, uint8 unless *options* differ."""
    from wds_face import ARCFACE_112, Augmenter, MedicalMaskOcclusion, PKStream

    transforms = {
        "augmenter": Augmenter(crop_prob=0.1, photometric_prob=0.3, low_res_prob=0.2),
        "occlusion": MedicalMaskOcclusion(prob=0.5, ref_points=ARCFACE_112),
        "flip": 0.5,
    }
    place = (settings.url, settings.options) if remote else (f"{settings.data}/shards/faces", None)
    arguments: dict[str, Any] = {"output": "uint8", **options, **(transforms if full else {})}
    faces = PKStream(place[0], p=64, k=4, storage_options=place[1], **arguments)
    return faces.loader(settings.workers)


class Ceiling:
    """Processes that decode the same images out of their memory, over and over: how many since the last time."""

    def __init__(self, settings: Settings) -> None:
        import webdataset as wds

        urls = sorted(str(path) for path in Path(settings.data, "shards/faces").glob("*.tar"))
        samples = islice(wds.WebDataset(urls, shardshuffle=False), CEILING_IMAGES)
        self.encoded = [sample["jpg"] for sample in samples]
        self.workers = settings.workers

    def __iter__(self) -> Iterator[int]:
        context = multiprocessing.get_context("fork")
        counts = context.Array("q", self.workers, lock=False)
        team = [context.Process(target=decode_for_ever, args=(self.encoded, counts, i)) for i in range(self.workers)]
        for process in team:
            process.start()
        try:
            seen = 0
            while True:
                time.sleep(0.01)
                now = sum(counts)
                if now > seen:
                    yield now - seen
                    seen = now
        finally:
            for process in team:
                process.kill()
                process.join()


def decode_for_ever(encoded: list[bytes], counts: Any, number: int) -> None:
    import numpy as np

    from wds_face.decoding import decode

    batch = np.empty((256, 112, 112, 3), np.uint8)
    while True:
        for start in range(0, len(encoded) - 255, 256):
            for row, data in zip(batch, encoded[start : start + 256], strict=True):
                decode(data, row)
            counts[number] += 256
