"""What workers send that does not lie in slots: pickled where an error is raised, so that no batch is lost."""

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

#: Where torch puts the tensors of a batch that another process is to have.
SHARED_MEMORY = "/dev/shm"  # noqa: S108 (it is only asked how large it is)


class Sending:
    """The collate function of a loader, whose workers pickle what it makes.

    torch pickles in a thread of the worker's queue instead, where an error is printed and the batch is lost.

    Args:
        collate_fn: of the loader.
    """

    def __init__(self, collate_fn: Callable[[Any], Any]) -> None:
        self.collate_fn = collate_fn

    def __call__(self, batch: Any) -> Any:
        """Return what the collate function makes of a batch, in a worker ready to be sent.

        Raises:
            TransferError: It cannot be sent.
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
    """A batch on its way, which unpickles as what it holds."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> Any:
        return pickle.loads, (self._data,)


def _reason(error: Exception) -> str:
    """Explain why a batch cannot be pickled, and what to do."""
    number = getattr(error, "errno", None)
    if number == errno.ENOSPC or "shared memory" in str(error) or "No space left" in str(error):
        return (
            f"{error}; {SHARED_MEMORY} {_free(SHARED_MEMORY)}: give the container more (docker run --shm-size=1g), or "
            "take fewer workers or a lower prefetch_factor"
        )
    if "requires_grad" in str(error):
        return f"{error}; let what makes it end with .detach()"
    return (
        f"{type(error).__name__}: {error}; batches may only hold what can be pickled, tensors without a gradient best"
    )


def _free(folder: str) -> str:
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return f"cannot be looked at ({error.strerror})"
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return f"has {free / 1e6:,.1f} MB free of {total / 1e6:,.1f} MB"
