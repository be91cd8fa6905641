"""What comes in the place of an image that cannot be decoded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from wds_face.decoding import decode
from wds_face.errors import DatasetError
from wds_face.stream.batch import Batch, Sample
from wds_face.stream.counters import Counters

# Identities that are tried before it is clear that it is not the images.
_TRIES = 1000

_log = logging.getLogger("wds_face")


class Replacement:
    """Another image of the same identity; where it has none, another identity.

    Args:
        on_error: ``"replace"``, or ``"raise"`` to stop at the first.
        counters: where it is counted.
    """

    def __init__(self, on_error: str, counters: Counters) -> None:
        self._raise, self._counters = on_error == "raise", counters
        #: stages that samples go through before they are decoded, and what replaces them as well
        self.stages: list[Callable[[Iterable[Batch]], Iterator[Batch]]] = []

    def __call__(self, batch: Batch, number: int) -> NDArray[np.uint8]:
        """Replace sample *number* of a batch; its pixels, uint8 RGB [H, W, 3].

        Raises:
            DatasetError: the stream is to stop, or there is nothing to replace it with.
        """
        sample = batch.samples[number]
        problem = f"{sample['__url__']}: {sample['__key__']} cannot be decoded"
        if self._raise or batch.reader is None:
            raise DatasetError(f"{problem}; on_error='replace' takes another image of the identity instead")
        if self._counters.first_time(problem):
            _log.warning("%s: another image takes its place", problem)
        self._counters.add("images_replaced")
        if (image := self._spare(batch, number)) is not None:
            return image
        # No image of the identity can be decoded, so this is the first of its group: all of it is replaced.
        k = batch.chosen.shape[1]
        begin = number // k * k
        for group in islice(batch.reader.neighbours(batch, number), _TRIES):
            batch.samples[begin : begin + k] = self._through(batch, begin, group)
            image = decode(batch.samples[number]["image"])
            if image is None:
                image = self._spare(batch, number)
            if image is not None:
                self._counters.add("identities_replaced")
                return image
        raise DatasetError(f"{problem}, nor any image of the identities that follow: run `wds-face verify --deep`")

    def _spare(self, batch: Batch, number: int) -> NDArray[np.uint8] | None:
        assert batch.reader is not None
        for spare in batch.reader.spares(batch, number):
            (sample,) = self._through(batch, number, [spare])
            image = decode(sample["image"])
            if image is not None:
                batch.samples[number] = sample
                return image
        return None

    def _through(self, batch: Batch, number: int, samples: list[Sample]) -> list[Sample]:
        """What the stages make of samples that take the places from *number* on."""
        group, place = divmod(number, batch.chosen.shape[1])
        chosen = batch.chosen[[group], place : place + len(samples)]
        part = Batch(batch.entropy, batch.groups[[group]], chosen, samples, reader=batch.reader)
        for stage in self.stages:
            (part,) = stage(iter([part]))
        return part.samples
