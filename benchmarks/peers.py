"""Other systems for throughput.py, each as a competent user of it would write it.

Called with the settings they open the data. Samples are tuples (image, label) or (image, label, mask).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from measuring import Settings

BATCH = 256


class Literal:
    """The mission's transforms, from a PIL image and its label."""

    def __init__(self) -> None:
        from literal import literal_transform

        self.transform = literal_transform()

    def __call__(self, image: Any, label: int) -> tuple[Any, int, Any]:
        image, mask = self.transform(image)
        return image, label, mask


def webdataset(settings: Settings, decoder: Any, sample: Callable[[Any, int], tuple[Any, ...]]) -> Any:
    """Shards shuffled, and 1,000 samples at a time; batches are made in the workers, as its documentation says."""
    import webdataset as wds

    urls = sorted(str(path) for path in Path(settings.data, "shards/faces").glob("*.tar"))
    faces = wds.WebDataset(urls, shardshuffle=len(urls)).shuffle(1000)
    if decoder:
        faces = faces.decode(decoder)
    faces = faces.to_tuple("jpg", "cls").map(lambda pair: sample(*pair)).batched(BATCH, partial=False)
    loader = wds.WebLoader(faces, batch_size=None, num_workers=settings.workers)
    return lambda number: loader


def webdataset_literal(settings: Settings) -> Callable[[int], Iterable[Any]]:
    return webdataset(settings, "pil", Literal())
