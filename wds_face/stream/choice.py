"""Which of an identity's images go together: a shuffle for each identity, made when asked for and never kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from wds_face.jit import compiled

_INTS, _WORD = types.int64[::1], types.uint64


@compiled(_WORD(_WORD))
def _mixed(state: Any) -> Any:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every bit of the result depends on every bit."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@compiled(types.void(_WORD, types.int64, types.int64, types.int64, _INTS))
def shuffle(key: Any, row: Any, images: Any, first: Any, out: Any) -> None:
    """The first images of a row in the order that *key* gives it (Fisher and Yates, with SplitMix64).

    Args:
        key: of the epoch.
        row: of the index.
        images: of the row.
        first: how many are wanted.
        out: int64 ``[images]``; ``out[:first]`` is the result.
    """
    for i in range(images):
        out[i] = i
    state = _mixed(key + _mixed(np.uint64(row) + np.uint64(0x9E3779B97F4A7C15)))
    for i in range(min(first, images - 1)):
        state += np.uint64(0x9E3779B97F4A7C15)
        left = np.uint64(images - i)
        j = i + np.int64(((_mixed(state) >> np.uint64(32)) * left) >> np.uint64(32))
        out[i], out[j] = out[j], out[i]


@compiled(types.void(_WORD, _INTS, _INTS, _INTS, types.int64[:, ::1]))
def choose(key: Any, rows: Any, groups: Any, images: Any, out: Any) -> None:
    """The images of some groups, different ones in each as far as there are.

    Group i of an identity has images i * k to (i + 1) * k - 1 of its order. What is missing in the last comes from the
    beginning of the order, and where there are fewer than k images all of them come again.

    Args:
        key: of the epoch.
        rows: int64 ``[n]``, of the index.
        groups: int64 ``[n]``, the number of each.
        images: int64 ``[n]``, of each row.
        out: int64 ``[n, k]``, the result.
    """
    k = out.shape[1]
    order = np.empty(images.max(), np.int64)
    for n in range(len(rows)):
        total, begin = images[n], groups[n] * k
        shuffle(key, rows[n], total, begin + k, order)
        for i in range(k):
            out[n, i] = order[(begin + i) % total] if total >= k else order[i % total]
