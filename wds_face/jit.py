"""Loops that numba compiles, where numpy and OpenCV would take many passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(signature: Any) -> Callable[[Any], Any]:
    """``numba.njit`` at import, kept on disk for the next process where there is a folder for it.

    Args:
        signature: of the function, or a list of them; it is not compiled for other types.
    """

    def compile_(function: Any) -> Any:
        try:
            return njit(signature, cache=True)(function)
        except Exception:  # no folder can be written to, the disk is full, or what is there is damaged
            return njit(signature)(function)

    return compile_
