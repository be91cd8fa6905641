"""The ROC of verification results, drawn."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from importlib import import_module

import numpy as np

from wds_face.errors import WdsFaceError
from wds_face.location import local_path
from wds_face.validation.verification import Floats, Verification

_LEAST = 1e-4  # of the FAR axis: benchmarks have some thousands of impostor pairs


def require_matplotlib() -> None:
    """Check that ROCs can be drawn.

    Raises:
        WdsFaceError: matplotlib is not installed.
    """
    try:
        import_module("matplotlib.figure")
    except ImportError:
        raise WdsFaceError("matplotlib is not installed: pip install 'wds-face[plot]'") from None


def save_roc(path: str | os.PathLike[str], results: Mapping[str, Verification]) -> None:
    """Draw the ROC of all sets and write it to *path*, whole or not at all.

    The FAR is logarithmic, from 1e-4 to 1. A curve is a staircase: the most genuine pairs that a threshold accepts
    which does not exceed that FAR. It is dotted below the least FAR that there is, that of one impostor pair. A dot
    marks the mean of the thresholds that the accuracy is measured at.

    Args:
        path: where to, in a folder that exists; the suffix says which format, such as ``.png``, ``.svg`` or ``.pdf``.
        results: by name, at least one.

    Raises:
        PathError: if *path* is a URL.
        ValueError: if there are no results, or the suffix names no format of matplotlib.
        WdsFaceError: if matplotlib is not installed.
    """
    path = local_path(path, "path")
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 (optional)
    from matplotlib.figure import Figure  # noqa: PLC0415

    if not results:
        raise ValueError("there are no results to draw")
    figure = Figure(figsize=(7, 5), layout="constrained")  # not pyplot's, whose state is the user's
    kind, kinds = path.suffix[1:].lower(), FigureCanvasAgg(figure).get_supported_filetypes()
    if kind not in kinds:
        raise ValueError(f"{path.name}: the suffix must be one of {', '.join(sorted(kinds))}")

    axes = figure.add_subplot()
    lowest = 0.98
    for name, result in results.items():
        far, tar = _staircase(result)
        lowest = min(lowest, tar[0])
        first = int((far > _LEAST).argmax())  # the last is 1
        label = f"{name}, {100 * result.accuracy:.2f} %"
        (line,) = axes.plot(far[first:], tar[first:], drawstyle="steps-post", linewidth=1.5, label=label)
        color = line.get_color()
        axes.plot(far[: first + 1], tar[: first + 1], ":", drawstyle="steps-post", linewidth=1.5, color=color)
        at = int(np.abs(result.roc_thresholds - result.thresholds.mean()).argmin())
        axes.plot(max(result.fpr[at], _LEAST), result.tpr[at], "o", markersize=5, color=color, clip_on=False)
    axes.set_xscale("log")
    axes.set_xlim(_LEAST, 1)
    axes.set_ylim(max(0.0, lowest - 0.05 * (1 - lowest)), 1 + 0.02 * (1 - lowest))
    axes.set_xlabel("FAR: impostor pairs accepted")
    axes.set_ylabel("TAR: genuine pairs accepted")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="best", title="accuracy; a dot is at its threshold", framealpha=0.9)

    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")  # in the same folder, for os.replace
    try:
        with draft.open("xb") as file:
            figure.savefig(file, format=kind, dpi=150)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _staircase(result: Verification) -> tuple[Floats, Floats]:
    """FAR from 1e-4 to 1, each once, and the highest TAR of a threshold that does not exceed it."""
    far = np.maximum(np.append(result.fpr, 1.0), _LEAST)
    tar = np.append(result.tpr, 1.0)
    last = np.append(far[1:] > far[:-1], True)  # of the thresholds with the same FAR; TAR does not fall
    return far[last], tar[last]
