"""Pickle the batches of workers that are not in slots where an error can be raised, so that no batch is lost."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

from torch.utils.data import get_worker_info

from wds_face.errors import TransferError
from wds_face.stream.slots import Sent

#: Folder in which torch puts the tensors that it sends to another process.
SHARED_MEMORY = "/dev/shm"  # noqa: S108 (only its size is queried)


class Sending:
    """Wraps the collate function of a loader so that workers pickle its result themselves.

    torch pickles batches in a thread of the worker's queue instead, where an error is printed and the batch is lost.

    Args:
        collate_fn: Collate function of the loader.
    """

    def __init__(self, collate_fn: Callable[[Any], Any]) -> None:
        self.collate_fn = collate_fn

    def __call__(self, batch: Any) -> Any:
        """Collate a batch; in a worker, make it ready to be sent.

        Raises:
            TransferError: The batch cannot be sent.
        """
        made = self.collate_fn(batch)
        worker = get_worker_info()
        if worker is None or isinstance(made, Sent):
            return made
        try:
            return _Pickled(bytes(ForkingPickler.dumps(made)))
        except Exception as error:
            reason = _reason(error)
            raise TransferError(f"worker {worker.id} cannot send a batch to the main process: {reason}") from error


class _Pickled:
    """A pickled batch, which unpickles to the batch itself."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> Any:
        return pickle.loads, (self._data,)


def _reason(error: Exception) -> str:
    """Explain why a batch cannot be pickled, and how to fix it."""
    number = getattr(error, "errno", None)
    if number == errno.ENOSPC or "shared memory" in str(error) or "No space left" in str(error):
        return (
            f"{error}; {SHARED_MEMORY} {_free(SHARED_MEMORY)}: give the container more (docker run --shm-size=1g), or "
            "use fewer workers or a lower prefetch_factor"
        )
    if "requires_grad" in str(error):
        return f"{error}; call .detach() on it in the function that makes it"
    return f"{type(error).__name__}: {error}; a batch may only hold what can be pickled, such as detached tensors"


def _free(folder: str) -> str:
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return f"cannot be inspected ({error.strerror})"
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return f"has {free / 1e6:,.1f} MB free of {total / 1e6:,.1f} MB"
