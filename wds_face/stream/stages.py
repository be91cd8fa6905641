"""The stages of the stream, in webdataset's form: a callable over an iterator, each giving a batch for a batch."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import get_worker_info

from wds_face.images import Buffer
from wds_face.shards.checksums import Checks, Sums
from wds_face.shards.index import Index
from wds_face.storage.cache import Cache
from wds_face.stream.batch import Batch
from wds_face.stream.collate import Output, as_tensors, compose, finished, laid_out
from wds_face.stream.counters import Counters
from wds_face.stream.plan import Epoch
from wds_face.stream.position import Position
from wds_face.stream.ranges import open_ranges
from wds_face.stream.reader import Reader
from wds_face.stream.replacement import Replacement
from wds_face.stream.segments import Segments
from wds_face.stream.slots import Room, Sent, Slot, Space
from wds_face.transforms.batch import BatchTransform
from wds_face.transforms.fit import ToSquare

Ints = NDArray[np.int64]

# Batches that are planned ahead of the first, and how many more with each that is made, for their bytes to be there.
_AHEAD, _GROWTH = 4, 4


class Plan:
    """-> batches of this rank and worker, planned but empty.

    Args:
        images: of each row of the index.
        segments: see :func:`~wds_face.stream.plan.cut_segments`.
        seed: of all choices, together with the epoch.
        position: where to begin, and which batches to take.
        index_rows: int64, ascending: the row in the index of each row planned here; None if all rows are planned.
        options: of :class:`~wds_face.stream.plan.Epoch`.
    """

    def __init__(
        self,
        images: Ints,
        segments: Ints,
        seed: int,
        position: Position,
        *,
        index_rows: Ints | None = None,
        **options: Any,
    ) -> None:
        self.images, self.segments, self.seed, self.position, self.options = images, segments, seed, position, options
        self.index_rows = index_rows
        self._planned: tuple[int, Epoch] | None = None

    def epoch(self, number: int) -> Epoch:
        """The plan of an epoch; the latest is kept."""
        if self._planned is None or self._planned[0] != number:
            self._planned = number, Epoch(self.images, self.segments, entropy=[self.seed, number], **self.options)
        return self._planned[1]

    def __call__(self) -> Iterator[Batch]:
        number, start = self.position.begin()
        rank, world = self.position.ranks
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        epoch = self.epoch(number)
        for i in range(first, -(-(len(epoch) - start) // world), step):
            g = start + rank + world * i
            # Where the ranks do not divide what is left, the last ones begin anew, so that all have the same number.
            groups = epoch.batch(g % len(epoch))
            chosen = epoch.images_of(groups)
            if self.index_rows is not None:
                groups["row"] = self.index_rows[groups["row"]]
            yield Batch((self.seed, number, g), groups, chosen)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_planned": None}


class Read:
    """Batches -> batches with samples.

    Args:
        index: of the data set.
        rows: of it, those that are streamed.
        sums: of their bytes, uint32 ``[n]``, where bytes that are fetched are to be checked.
        segments: int64 ``[n + 1]``: the first row of each, and behind them their number.
        buffer_bytes: of segments that are kept in memory.
        counters: where reads are counted.
        cache: folder and limit of the cache, if there is one.
        index_rows: int64, ascending: the row in the index of each of *rows*; None if batches refer to *rows* directly.
        labels: int64, the label of each of *rows*; None for those of the index.
    """

    def __init__(
        self,
        index: Index,
        rows: NDArray[np.void],
        sums: Sums | None,
        segments: Ints,
        *,
        buffer_bytes: int,
        counters: Counters,
        cache: tuple[str, int | None] | None = None,
        index_rows: Ints | None = None,
        labels: Ints | None = None,
    ) -> None:
        self.index_rows = index_rows
        self.streamed_labels = labels
        self.store, self.shards, self.where = index.store, index.shards, str(index.store)
        self.rows, self.buffer_bytes, self.counters, self.cache = rows, buffer_bytes, counters, cache
        self.sums = sums
        self.labels = index.labels
        self.segments = segments
        self._reader: Reader | None = None
        self._pid = 0

    @property
    def reader(self) -> Reader:
        """The reader of this process: one that was forked has none of its parent's threads."""
        if self._reader is None or self._pid != os.getpid():
            names = [shard.name for shard in self.shards]
            checks = Checks(self.rows, self.sums) if self.sums is not None else None
            ranges = open_ranges(self.store, self.shards, checks, Cache(*self.cache) if self.cache else None)
            segments = Segments(
                *(ranges, names, self.rows, self.segments),
                labels=self.labels, where=self.where, buffer_bytes=self.buffer_bytes,
            )  # fmt: skip
            self._reader = Reader(segments, self.rows, self.index_rows, self.streamed_labels)
            self._pid = os.getpid()
        return self._reader

    def __call__(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        reader, coming, batches = self.reader, deque[Batch](), iter(batches)
        self.counters.start()
        room, more = True, _AHEAD + 1
        try:
            while True:
                while more and (room or not coming) and len(coming) <= reader.segments.ranges.depth:
                    batch = next(batches, None)
                    if batch is None:
                        break
                    room = reader.ahead(batch)
                    coming.append(batch)
                    more -= 1
                if not coming:
                    return
                batch = coming.popleft()
                reader.read(batch)
                room = reader.done(batch)
                self._count(reader, batch)
                self.counters.lap("read_seconds")
                yield batch
                more = _GROWTH
        finally:
            reader.segments.forget()

    def _count(self, reader: Reader, batch: Batch) -> None:
        self.counters.add("groups_filled", int(batch.groups["fill"].sum()))
        for name, count in reader.segments.ranges.counts().items():  # what replacements fetch counts with the next
            self.counters.add(name, count)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None}


_settled: set[int] = set()  # processes


def _settle() -> None:
    """What a worker needs once.

    One thread for OpenCV, as torch has: there are other workers. What was imported is not looked through for garbage
    again and again, which takes as long as reading. What the parent freed is freed here, too: 10 MB of s3fs and others.
    """
    if get_worker_info() is not None and os.getpid() not in _settled:
        _settled.add(os.getpid())
        cv2.setNumThreads(0)  # with 1, one that was forked waits for the parent's threads for ever
        with suppress(OSError, AttributeError, TypeError):  # only glibc has it
            ctypes.CDLL(None).malloc_trim(0)
        gc.freeze()
        atexit.register(gc.unfreeze)


class Transform:
    """Samples -> images and masks.

    Args:
        apply: decodes, augments, flips and occludes a batch.
        replacement: of images that cannot be decoded.
        room: where batches are made.
        counters: where time is counted.
    """

    def __init__(self, apply: BatchTransform, replacement: Replacement, room: Room, counters: Counters) -> None:
        self.apply, self.replacement, self.room, self.counters = apply, replacement, room, counters
        self._full: NDArray[np.uint8] | None = None

    def __call__(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        _settle()
        self.room.begin()
        for batch in batches:
            self.counters.lap("transform_seconds")  # a stage of one's own
            encoded: list[Buffer] = [*batch.encoded]
            if len(encoded) != batch.chosen.size:
                raise TypeError(f"a stage left {len(encoded)} samples in a batch of {batch.chosen.size}")

            def replace(number: int, batch: Batch = batch, encoded: list[Buffer] = encoded) -> NDArray[np.uint8]:
                image = self.replacement(batch, number)
                encoded[:] = batch.encoded  # there may be another identity now
                return image

            batch.space = space = self.room.claim(len(encoded))
            self.apply.decode(encoded, space.pixels, replace)
            self.counters.lap("decode_seconds")
            batch.images = space.pixels
            batch.masks = self.apply.change(space.pixels, self._visible(space), batch.rng(0))
            self.counters.lap("transform_seconds")
            yield batch

    def _visible(self, space: Space) -> NDArray[np.uint8] | None:
        """Where masks of the images' size go: out with them, or to where smaller ones are made of them."""
        if self.apply.occlusion is None or self.apply.occlusion.mask_size is None:
            return space.visible
        if self._full is None or self._full.shape != space.pixels.shape[:3]:
            self._full = np.empty(space.pixels.shape[:3], np.uint8)
        return self._full


class Compose:
    """Samples -> what a callable of PIL images makes of them.

    Args:
        transform: returns a tensor, or a tensor and its mask.
        channels: ``"rgb"`` or ``"bgr"``, as it wants its images.
        to_square: Brings images to the size that *transform* expects.
        replacement: of images that cannot be decoded.
        counters: where time is counted, that of decoding with it.
    """

    def __init__(
        self,
        transform: Callable[[Image.Image], Any],
        channels: str,
        to_square: ToSquare,
        replacement: Replacement,
        counters: Counters,
    ) -> None:
        self.transform = transform
        self.channels = channels
        self.to_square = to_square
        self.replacement = replacement
        self.counters = counters

    def __call__(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        _settle()
        for batch in batches:
            batch.images, batch.masks = compose(batch, self.transform, self.channels, self.to_square, self.replacement)
            self.counters.lap("transform_seconds")
            yield batch


class Collate:
    """Batches -> ``(images, labels)`` or ``(images, labels, masks)``, as :class:`~wds_face.PKStream` describes them.

    What lies in a slot goes out as :class:`~wds_face.stream.slots.Sent`, of which torch's loader makes that.

    Args:
        output: Format of images and masks.
        counters: where batches are counted.
    """

    def __init__(self, output: Output, counters: Counters) -> None:
        self.output, self.counters = output, counters

    def __call__(self, batches: Iterable[Batch]) -> Iterator[tuple[torch.Tensor, ...] | Sent]:
        for batch in batches:
            self.counters.lap("transform_seconds")  # a stage of one's own
            made = self._made(batch)
            self.counters.add("batches")
            self.counters.lap("collate_seconds")
            yield made
            self.counters.lap("idle_seconds")

    def _made(self, batch: Batch) -> tuple[torch.Tensor, ...] | Sent:
        if batch.gone:
            raise TypeError("a stage gave a batch twice, whose memory others use by now")
        batch.gone = True
        images, masks = batch.images, batch.masks
        if isinstance(images, np.ndarray) and images.dtype == np.uint8 and isinstance(masks, np.ndarray | None):
            return self._filled(batch, images, masks)
        tensors = [one for one in (images, masks) if isinstance(one, torch.Tensor)]
        if len(tensors) != (images is not None) + (masks is not None) or not tensors:
            raise TypeError("a stage must leave images and masks arrays, uint8 images, or make both tensors")
        if any(one.requires_grad for one in tensors):
            raise TypeError("images and masks must not require a gradient: let what makes them end with .detach()")
        dense = [laid_out(one, self.output.memory_format) for one in tensors]
        if isinstance(batch.space, Slot):  # which they may still look into
            dense = [one.clone() if one is tensor else one for one, tensor in zip(dense, tensors, strict=True)]
            batch.space.free()
        return dense[0], torch.from_numpy(batch.labels), *dense[1:]

    def _filled(
        self, batch: Batch, images: NDArray[np.uint8], masks: NDArray[Any] | None
    ) -> tuple[torch.Tensor, ...] | Sent:
        labels, space = batch.labels, batch.space
        goes = np.dtype(np.float32 if self.output.dtype == "float" else np.uint8)
        dtype = None if masks is None else goes if masks.dtype == np.uint8 else masks.dtype
        if space is not None and not space.fits(images, masks, dtype):  # a stage of one's own made them otherwise
            images, masks = images.copy(), None if masks is None else masks.copy()
            if isinstance(space, Slot):
                space.free()
            space = None
        made = finished(images, masks, self.output, space)
        if not isinstance(space, Slot):
            return as_tensors(made[0], labels, made[1])
        space.labels[:] = labels
        return space.send()
