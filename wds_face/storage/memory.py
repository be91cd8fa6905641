"""Memory for what is fetched: large pieces come again, and what does not goes back to the operating system at once.

Pieces of a megabyte that malloc gives come and go among small ones that stay, and take half as much again in the end;
fresh ones from the system take longer to be touched for the first time than all else that is done with their bytes.
"""

from __future__ import annotations

import mmap
from collections import deque
from contextlib import suppress
from weakref import finalize

import numpy as np

_LARGE = 128 << 10
_ROUND = 64 << 10  # so that pieces of about the same size are of the same
_SPARE = 2 << 20  # bytes that nobody has

_FLAGS = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}

# Threads take and give as they like, and a finalizer may come in between anything: so no lock, but atomic steps. copy()
# is one; tuple() is not, as it may begin with a collection of garbage.
_spare: deque[mmap.mmap] = deque()


def memory(nbytes: int) -> memoryview:
    """So many bytes to write to, of any content; they are free when the last view of them is gone."""
    if nbytes < _LARGE:
        return memoryview(bytearray(max(0, nbytes)))
    size = -(-nbytes // _ROUND) * _ROUND
    for block in _spare.copy():
        if len(block) == size:
            with suppress(ValueError):  # another thread was faster
                _spare.remove(block)
                break
    else:
        block = mmap.mmap(-1, size, **_FLAGS)
    array = np.frombuffer(block, np.uint8, nbytes)
    finalize(array, _give_back, block).atexit = False
    return array.data


def _give_back(block: mmap.mmap) -> None:
    _spare.append(block)
    while sum(map(len, _spare.copy())) > _SPARE:
        with suppress(IndexError):
            _spare.popleft()
