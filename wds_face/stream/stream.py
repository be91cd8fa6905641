"""A data set as a stream of PK batches."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from math import ceil
from typing import Any, Literal

import numpy as np
import torch
import webdataset as wds
from PIL import Image
from torch.utils.data import get_worker_info

from wds_face.errors import DatasetError
from wds_face.location import local_path
from wds_face.shards.index import IDENTITIES, Index
from wds_face.storage.cache import Cache
from wds_face.stream.collate import Output, memory_format_of
from wds_face.stream.counters import Counters
from wds_face.stream.labels import Labels
from wds_face.stream.lanes import (
    advice,
    default_lanes,
    default_window,
    epoch_length,
    packed_size,
    segment_size,
    summary,
)
from wds_face.stream.loader import PKLoader
from wds_face.stream.other_sizes import OtherSizes
from wds_face.stream.plan import cut_segments
from wds_face.stream.position import Position
from wds_face.stream.replacement import Replacement
from wds_face.stream.slots import AVAILABLE, Part, Room, Slots
from wds_face.stream.stages import Collate, Compose, Plan, Read, Transform
from wds_face.stream.wrappers import refuse_accelerate_wrapper
from wds_face.transforms import Augmenter, Occlusion
from wds_face.transforms.batch import BatchTransform
from wds_face.transforms.checks import count
from wds_face.transforms.fit import Fit, ToSquare, checked_fit

_log = logging.getLogger("wds_face")


class PKStream(wds.DataPipeline):  # type: ignore[misc]
    """Batches of p identities x k images from a data set that ``wds-face convert`` made.

    Yields ``(images, labels)``, or with an occlusion ``(images, labels, masks)``, identity by identity:

    - images ``[p * k, 3, size, size]``: float32 in [-1, 1], or uint8;
    - labels int64 ``[p * k]``;
    - masks ``[p * k, 1, size, size]``, or of the occlusion's ``mask_size``: 1 visible and 0 occluded, float32, or uint8
      where images are.

    Every batch has p different identities, and k different images of each that has as many. All ranks have the same
    number of batches. Seed and epoch decide every batch, to the bit, whatever the number of workers; with the same
    *lanes* their order over all ranks is the same for any number of ranks. See :meth:`state_dict` for going on.

    It is a ``webdataset.DataPipeline`` of the stages in :mod:`wds_face.stream.stages`: see :meth:`insert`. Its
    ``repeat``, ``with_epoch`` and ``with_length`` know nothing of epochs and states: use :meth:`set_epoch`.

    Args:
        url: the data set's folder, a path or an fsspec URL.
        p: identities in a batch.
        k: images of each.
        epoch: ``"images"``: every image comes once, and again only to fill an identity's last k or the last batches;
            ``"identities"``: every identity comes once, with k images of its own.
        augmenter: changes images first. It, too, sees RGB, and draws from the stream's seed, not from an ``rng`` of
            its own.
        occlusion: puts something in front of them last.
        flip: how likely an image is to be flipped left to right.
        transform: instead of these three, a callable of a PIL image that returns a tensor, or a tensor and its mask.
            What it draws from torch's, numpy's and Python's global generators is seeded for it.
        seed: of all choices, together with the number of the epoch.
        lanes: sequences of batches that an epoch is made of, batch g of lane g % lanes. By default as many as the data
            fill, 48 at most. Readers (ranks x workers) should divide it: each byte is then read once.
        window: segments, of 2 MB or less, that a lane mixes at a time; by default as many as hold 8 p identities, 64 at
            least.
        buffer_bytes: of images that each worker keeps in memory, those included that it has asked for ahead. Local
            files are mapped, and take none.
        rank, world_size: which batches are for this process; by default what torch.distributed, or else the variables
            RANK and WORLD_SIZE say when an iteration begins.
        output: ``"float"``, or ``"uint8"`` for images to be normalised on the device, with :func:`wds_face.normalize`.
        channels: ``"rgb"`` or ``"bgr"``, the order in which images go out; a *transform* is given them in this order.
        memory_format: Memory format of the images: ``"contiguous"``, which supports ``images.view(len(images), -1)``,
            or ``"channels_last"``, for networks converted to it; ``torch.contiguous_format`` and
            ``torch.channels_last`` are accepted too. Values and shapes are the same.
        image_size: Width and height of the images in a batch, in pixels. Images of other sizes are brought to it before
            anything else; one log line states how many there are and how they are handled.
        fit: How images are brought to *image_size*: ``"stretch"`` resizes width and height independently, which changes
            the proportions of images that are not square; ``"crop"`` resizes the largest centred square; ``"pad"``
            resizes the whole image to fit, and fills the rest with black. Occlusions are placed on the result. A state
            may be resumed with another *fit*.
        on_error: ``"replace"`` an image that cannot be decoded by another of its identity, or ``"raise"``.
        min_images: Leave out identities with fewer images.
        labels: ``"index"`` yields the labels of the data set; ``"compact"`` yields 0 to n - 1 for the n identities that
            are streamed, in the order of their labels. Defaults to compact if *min_images* leaves identities out. See
            :attr:`num_classes` and :attr:`classes`.
        storage_options: of fsspec; see :class:`~wds_face.storage.remote.RemoteStore` for what else they may hold.
        cache_dir: a folder on a local disk, for what is fetched from a store that is not local. The workers and
            processes of a machine share it, and what does not change is not fetched again, in later epochs and runs.
        cache_bytes: its limit, which it never exceeds: what was used least recently goes. By default nine tenths of
            what is free.

    Raises:
        DatasetError: there is no complete data set, or it has fewer than p identities.
        ValueError: an argument is out of its range, or *transform* comes with what it replaces.
    """

    #: Whether a :class:`~wds_face.stream.PKLoader` is about to iterate the stream, or to start workers that will.
    in_own_loader = False

    def __init__(
        self,
        url: str | os.PathLike[str],
        p: int,
        k: int,
        *,
        epoch: Literal["images", "identities"] = "images",
        augmenter: Augmenter | None = None,
        occlusion: Occlusion | None = None,
        flip: float = 0.0,
        transform: Callable[[Image.Image], Any] | None = None,
        seed: int = 0,
        lanes: int | None = None,
        window: int | None = None,
        buffer_bytes: int = 192 << 20,
        rank: int | None = None,
        world_size: int | None = None,
        output: Literal["float", "uint8"] = "float",
        channels: Literal["rgb", "bgr"] = "rgb",
        memory_format: Literal["contiguous", "channels_last"] | torch.memory_format = "contiguous",
        image_size: int = 112,
        fit: Fit = "stretch",
        on_error: Literal["replace", "raise"] = "replace",
        min_images: int = 1,
        labels: Literal["compact", "index"] | None = None,
        storage_options: dict[str, Any] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        p, k, min_images = count("p", p), count("k", k), count("min_images", min_images)
        buffer_bytes, image_size = count("buffer_bytes", buffer_bytes), count("image_size", image_size)
        if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 1 << 32:
            raise ValueError(f"seed must be a whole number from 0 to 2**32 - 1, not {seed!r}")
        for name, value, allowed in (
            ("epoch", epoch, ("images", "identities")),
            ("output", output, ("float", "uint8")),
            ("channels", channels, ("rgb", "bgr")),
            ("on_error", on_error, ("replace", "raise")),
        ):
            if value not in allowed:
                raise ValueError(f'{name} is "{allowed[0]}" or "{allowed[1]}", not {value!r}')
        goes = Output(output, channels, memory_format_of(memory_format))
        fit = checked_fit(fit)
        if transform is not None:
            _check_transform(transform, replaced=(augmenter, occlusion, flip))
        cache = None if cache_dir is None else (_cache_folder(cache_dir), cache_bytes)
        if cache_bytes is not None:
            count("cache_bytes", cache_bytes)
            if cache is None:
                raise ValueError("cache_bytes is the limit of a cache_dir: give that too")
        index = Index.open(url, storage_options)
        if index.store.local is not None:
            cache = None  # it is on a disk already
        elif cache is not None:
            Cache(*cache)  # says at once if it cannot be written
        kept = index.identities["images"] >= min_images
        rows = index.identities[kept]
        index_rows = None if kept.all() else np.flatnonzero(kept)
        self._labels = Labels(index, kept, labels)
        sums = None if index.store.local is not None or index.checksums is None else index.checksums[kept]
        if len(rows) < p:
            least = f" with {min_images} images or more" if min_images > 1 else ""
            raise DatasetError(f"{index.store} has {len(rows)} identities{least}, fewer than p={p}")
        images, every = rows["images"].astype(np.int64), epoch == "images"
        lanes = default_lanes(images, p, k, every) if lanes is None else count("lanes", lanes)
        segments = cut_segments(rows["shard"], rows["nbytes"], segment_size(int(rows["nbytes"].sum()), lanes))
        window = default_window(images, segments, p) if window is None else count("window", window)
        self.position, self.counters = Position(rank, world_size), Counters()
        # What two streams must have in common for one to go on where the other was.
        self._same = {
            "data": index.tables[IDENTITIES]["sha256"][:16],
            **{"of": epoch, "p": p, "k": k, "seed": int(seed), "lanes": lanes, "window": window},
            "min_images": min_images,
            "labels": self._labels.kind,
        }
        self.store, self._images, self._batches = index.store, images, epoch_length(images, p, k, every, lanes) * lanes
        nbytes = packed_size(int(rows["nbytes"].sum()), int(images.sum()), index.labels)
        self._mixed = min(nbytes // lanes, nbytes // (len(segments) - 1) * window)
        # None where it costs nothing to read twice: from a disk
        self._buffer_bytes = None if cache is not None or index.store.local is not None else buffer_bytes
        self._replacement = replacement = Replacement(on_error, self.counters)
        self.room = Room([] if transform else _parts(p * k, image_size, occlusion, goes))
        other_sizes = OtherSizes(str(index.store), image_size, fit, self.counters)
        other_sizes.log_recorded(index.sizes)
        stage: Transform | Compose
        if transform is None:
            apply = BatchTransform(augmenter, occlusion, flip, image_size, fit=fit, on_other_size=other_sizes)
            stage = Transform(apply, replacement, self.room, self.counters)
        else:
            to_square = ToSquare(image_size, fit, other_sizes)
            stage = Compose(transform, channels, to_square, replacement, self.counters)
        super().__init__(
            Plan(
                images,
                segments,
                int(seed),
                self.position,
                index_rows=index_rows,
                p=p,
                k=k,
                every=every,
                lanes=lanes,
                window=window,
            ),
            Read(
                index,
                rows,
                sums,
                segments,
                buffer_bytes=buffer_bytes,
                counters=self.counters,
                cache=cache,
                index_rows=index_rows,
                labels=self._labels.of(rows["label"].astype(np.int64)),
            ),
            stage,
            Collate(goes, self.counters),
        )

    def __len__(self) -> int:
        """Batches of a whole epoch for this rank; every rank has as many."""
        return self.batches_from(0)

    def batches_from(self, batch: int) -> int:
        """Return the number of this rank's batches in an epoch from *batch* on, which is counted over all ranks."""
        return ceil((self._batches - batch) / self.position.ranks[1])

    def slots(self, workers: int, each: int) -> Slots | None:
        """Shared memory for the batches of a loader's workers, so many of each; None where they take torch's way.

        That is where what they are is not known, or where others than the loader see what comes out of the last stage.
        """
        if not AVAILABLE or not self._plain or not self.room.parts:
            return None
        try:
            return Slots(self.room.parts, workers, each)
        except OSError as error:  # a container may not allow it
            _log.info("%s: batches take torch's way to the main process (%s)", self.store, error)
            return None

    def __iter__(self) -> Iterator[Any]:
        if not self.in_own_loader:
            refuse_accelerate_wrapper(self)
        return self._count(super().__iter__())

    def _count(self, batches: Iterator[Any]) -> Iterator[Any]:
        begun = None
        for done, batch in enumerate(batches, 1):
            begun = begun or self.position.begun
            self.position.reach(begun, done)
            yield batch

    @property
    def _plain(self) -> bool:
        """Whether the stream yields exactly the planned batches, in the form that its own last stage gives them."""
        whole = self.repetitions == 1 and self.nsamples <= 0
        return isinstance(self.pipeline[-1], Collate) and type(self).__iter__ is PKStream.__iter__ and whole

    def planned(self, start: int) -> int | None:
        """Return the number of this rank's batches in an iteration that begins at batch *start* of the epoch.

        Returns None if a custom last stage decides the number.
        """
        return self.batches_from(start) if self._plain else None

    @property
    def batch_size(self) -> int:
        """Images of a batch: p * k."""
        return int(self._same["p"] * self._same["k"])

    @property
    def num_classes(self) -> int:
        """Number of classes, the rows of a classifier's weight; every label is smaller."""
        return self._labels.num_classes

    @property
    def classes(self) -> list[str]:
        """The original name of each label. The file of names is read on first access.

        Raises:
            DatasetError: The file is missing or damaged.
        """
        return self._labels.classes

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration runs, or the one in progress."""
        return self.position.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration runs; each has its own order.

        After :meth:`load_state_dict`, setting the epoch of that state goes on in it, and another begins at its start.
        """
        if count("epoch", epoch, least=0) >= 1 << 62:
            raise ValueError(f"epoch must be below 2**62, not {epoch}")
        self.position.set(int(epoch))

    def state_dict(self, done: int | None = None) -> dict[str, Any]:
        """What :meth:`load_state_dict` takes: a small JSON-able dict, the same on every rank.

        Args:
            done: batches that this rank has taken in this epoch since it began or was resumed; by default those that
                this process made. A :class:`~wds_face.stream.PKLoader` counts for itself; with workers in any other
                loader, say it.
        """
        epoch, batch = self.position.next(done)
        state = {"format": 1, **self._same, "epoch": epoch, "batch": min(batch, self._batches)}
        worker = get_worker_info()
        if worker is not None and worker.num_workers > 1:  # torchdata keeps a state for each worker
            state |= {"readers": [self.position.ranks[1], worker.num_workers]}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next iteration begin with the batch behind those of *state*, on any number of ranks and workers.

        Nothing of what came before is read. The iterations after it begin at 0 again; those of another loader with
        workers do so once :meth:`set_epoch` has chosen another epoch.

        Raises:
            ValueError: it is the state of another stream; the message says what differs.
        """
        if not isinstance(state, dict) or state.get("format") != 1 or not {"epoch", "batch"} <= state.keys():
            raise ValueError("this is not the state of a PKStream")
        own = dict(self._same)
        state = {"labels": "index", **state}  # older states have no labels
        if "readers" in state:
            worker = get_worker_info()
            own["readers"] = [self.position.ranks[1], worker.num_workers if worker else 1]
        for name, value in own.items():
            if state.get(name) != value and name == "labels":
                raise ValueError(
                    f"the state is of {state.get(name)} labels, this stream has {value} labels: give "
                    f"labels={state.get(name)!r}"
                )
            if state.get(name) != value:
                what = {"data": "data set", "of": "kind of epoch", "readers": "ranks and workers"}.get(name, name)
                raise ValueError(f"the state is of another {what}: {state.get(name)!r}, this stream has {value!r}")
        epoch, batch = count("epoch", state["epoch"], least=0), count("batch", state["batch"], least=0)
        if batch > self._batches:
            raise ValueError(f"the state is at batch {batch} of an epoch of {self._batches}: it was changed")
        self.position.set(epoch, batch)

    def loader(self, num_workers: int = 0, **options: Any) -> PKLoader:
        """A torch ``DataLoader`` over the batches, with ``set_epoch``, ``state_dict`` and ``load_state_dict``.

        Args:
            num_workers: processes.
            options: of ``DataLoader``.
        """
        if options.pop("batch_size", None) is not None or not options.pop("in_order", True):
            raise ValueError(
                "batch_size and in_order=False are not for this loader: batches are made by p and k, in order"
            )
        plan = self.summary(num_workers)
        _log.info("%s: %s", self.store, ", ".join(f"{name} {value}" for name, value in plan.items()))
        for said in self.advice(num_workers):
            _log.warning("%s: %s", self.store, said)
        return PKLoader(self, batch_size=None, num_workers=num_workers, **options)

    def summary(self, num_workers: int = 0) -> dict[str, int]:
        """What an epoch will be, counted before it begins; see :func:`wds_face.stream.lanes.summary`."""
        same = self._same
        return summary(
            *(self._images, same["p"], same["k"], same["of"] == "images", same["lanes"]),
            mixed=self._mixed,
            world_size=self.position.ranks[1],
            num_workers=num_workers,
        )

    def advice(self, num_workers: int = 0) -> list[str]:
        """What to change about what :meth:`summary` says; nothing if all is well. :meth:`loader` logs it."""
        return advice(self.summary(num_workers), self._buffer_bytes)

    def stats(self) -> dict[str, int | float]:
        """What happened since the stream was made, in all workers; see :mod:`wds_face.stream.counters`."""
        return self.counters.totals()

    def insert(
        self, stage: Callable[[Iterable[Any]], Iterator[Any]], *, after: Literal["plan", "read", "transform"]
    ) -> None:
        """Put a stage of one's own behind one of the stream's.

        Args:
            stage: a callable over an iterator of :class:`~wds_face.stream.Batch`, which gives a batch for a batch.
            after: ``"plan"``: nothing is read yet; ``"read"``: it has samples, and what replaces one goes through the
                stage by itself; ``"transform"``: images and masks. Of several, the first comes first.
        """
        names = {Plan: "plan", Read: "read", Transform: "transform", Compose: "transform", Collate: "collate"}
        own = [names.get(type(one), "") for one in self.pipeline]
        if after not in own[:-1]:
            raise ValueError(f"after is one of plan, read, transform, not {after!r}")
        place = next(i for i in range(own.index(after) + 1, len(own)) if own[i])  # behind those that are there already
        self.pipeline.insert(place, stage)
        if after == "read":
            self._replacement.stages.append(stage)


def _cache_folder(cache_dir: str | os.PathLike[str]) -> str:
    """Return the absolute path of a cache, as workers may start in another folder."""
    return str(local_path(cache_dir, "cache_dir").expanduser().absolute())


def _check_transform(transform: object, replaced: Iterable[object]) -> None:
    """Raise an error if a transform cannot be called, or is given together with the options that it replaces."""
    if not callable(transform):
        raise TypeError(f"transform must be a callable of a PIL image, not {transform!r}")
    if any(replaced):
        raise ValueError("transform replaces augmenter, occlusion and flip: give it, or them")


def _parts(count: int, size: int, occlusion: Occlusion | None, output: Output) -> list[Part]:
    """Return the tensors of a batch of *count* images."""
    dtype = torch.float32 if output.dtype == "float" else torch.uint8
    parts = [Part((count, 3, size, size), dtype, output.memory_format), Part((count,), torch.int64)]
    if occlusion is None:
        return parts
    cells = occlusion.mask_size
    masks = Part((count, 1, cells, cells), torch.float32) if cells else Part((count, 1, size, size), dtype)
    return [*parts, masks]
