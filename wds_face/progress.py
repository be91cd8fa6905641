"""The progress bar: on a terminal only, so that logs and scripts stay clean."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


class _Bar(tqdm):  # type: ignore[misc]
    monitor_interval = 0  # no watching thread: a process with threads is not forked


def bar(what: str, total: int | None, show: bool) -> Any:
    """A tqdm bar that counts images, with images/s and the time left.

    Args:
        what: the word in front.
        total: images in all, None if that is not known.
        show: False for no bar at all; with True there is one if standard error is a terminal.
    """
    return _Bar(total=total, desc=what, unit=" images", smoothing=0.05, disable=None if show else True)
