"""Detect and handle training frameworks that shard a loader again, count its epochs or read ahead.

A :class:`~wds_face.PKStream` gives every rank its own batches, so nothing may shard them again; and the state of a
:class:`~wds_face.stream.PKLoader` counts the batches that it has yielded, so nothing may fetch them early. Detection
imports no framework: one that is not imported yet cannot have wrapped anything.
"""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import currentframe
from typing import TYPE_CHECKING, Any

from wds_face.errors import WdsFaceError

if TYPE_CHECKING:
    from wds_face.stream.loader import PKLoader
    from wds_face.stream.stream import PKStream


class PreparedLoader:
    """Does the work of accelerate's own loaders for a :class:`~wds_face.stream.PKLoader`.

    Moves batches to the device of the ``Accelerator``, and tells gradient accumulation which batch is the last of the
    epoch. Unlike accelerate's loaders it does not fetch a batch ahead for that, since the plan knows the number.

    Args:
        loader: The loader that iterates.
        batches: Number of batches that the iteration will have.
    """

    def __init__(self, loader: PKLoader, batches: int) -> None:
        mixin: Any = import_module("accelerate.data_loader").DataLoaderStateMixin
        state = import_module("accelerate.state")

        class Progress(mixin):  # type: ignore[misc]
            """Represents the loader in accelerate's ``GradientState``."""

            gradient_state = state.GradientState()
            dataset = loader.dataset
            _drop_last = True  # the last batch is as large as the others

        self._progress = Progress()
        self._send_to_device = import_module("accelerate.utils").send_to_device
        self._device = state.PartialState().device
        self._non_blocking = loader.pin_memory
        self._left = batches

    def __enter__(self) -> PreparedLoader:
        self._progress.begin()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.end()

    def place(self, batch: Any) -> Any:
        """Move a batch to the device of the ``Accelerator``, and note whether it is the last one."""
        self._left -= 1
        self._progress.end_of_dataloader = self._left == 0
        return self._send_to_device(batch, self._device, non_blocking=self._non_blocking)


def is_prepared(loader: PKLoader) -> bool:
    """Return whether the loader went through ``Accelerator.prepare``, which sets this attribute on its result."""
    return "_is_accelerate_prepared" in vars(loader)


def refuse_accelerate_wrapper(stream: PKStream) -> None:
    """Raise an error if the stream is iterated by a loader that accelerate has built around it.

    ``DataLoaderDispatcher`` reads on rank 0 only and distributes batches that are meant for that rank alone;
    ``IterableDatasetShard`` keeps one in W batches of each rank; ``SkipDataLoader`` does not know the epoch.

    Raises:
        WdsFaceError: The message names what to do instead.
    """
    state = sys.modules.get("accelerate.state")
    if state is None:
        return
    active = state.GradientState().active_dataloader
    if active is None or not type(active).__module__.startswith("accelerate."):
        return
    dataset = getattr(active.dataset, "dataset", active.dataset)  # within an IterableDatasetShard
    if dataset is not stream:
        return
    if type(active).__name__ == "SkipDataLoader":
        raise WdsFaceError(
            "accelerate's skip_first_batches starts the stream over in another epoch: resume by "
            "loader.load_state_dict (with transformers: LoaderStateCallback and ignore_data_skip=True)"
        )
    raise WdsFaceError(
        "accelerate would shard this stream again, which gives each rank its own batches already: give "
        "accelerator.prepare the loader that stream.loader() makes; with transformers.Trainer return stream.loader() "
        "from get_train_dataloader"
    )


def refuse_ray_wrapper() -> None:
    """Raise an error if the calling generator is iterated by Ray Train's wrapper, which fetches a batch ahead.

    Raises:
        WdsFaceError: The message names what to do instead.
    """
    if "ray.train" in sys.modules and _called_from("ray.train", depth=1):
        raise WdsFaceError(
            "ray.train.torch.prepare_data_loader fetches a batch ahead, so that a resumed run would skip one: call "
            "it with move_to_device=False, and move batches to ray.train.torch.get_device()"
        )


def announced_by_fabric() -> bool:
    """Return whether the epoch that the caller has just received comes from Lightning Fabric.

    Fabric and Lightning's Trainer call samplers through the same function. The Trainer passes its epoch; Fabric passes
    the number of times that its wrapper was iterated in this process.
    """
    return _called_from("lightning.fabric.wrappers", depth=2) or _called_from("lightning_fabric.wrappers", depth=2)


def _called_from(package: str, depth: int) -> bool:
    """Return whether one of the *depth* frames above the caller's caller runs code of *package*."""
    frame = currentframe()
    for _ in range(2):
        frame = frame and frame.f_back
    for _ in range(depth):
        frame = frame and frame.f_back
        if frame is not None and str(frame.f_globals.get("__name__")).startswith(package):
            return True
    return False
