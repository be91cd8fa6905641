"""What several of these tests need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from wds_face import WdsFaceError

#: ``make(transform, output_dir=…)``: a data set of 12 images, three of each of four identities.
Make = Callable[..., Any]


def complaint(loader: Iterable[Any]) -> WdsFaceError:
    """What a loader raises. Without its traceback, which keeps the workers waiting until they are collected."""
    try:
        list(loader)
    except WdsFaceError as error:
        return error.with_traceback(None)
    raise AssertionError("nothing was raised")
