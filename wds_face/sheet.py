"""Contact sheets: many small images in one picture, identity by identity where a batch is laid out that way."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from wds_face.location import local_path

__all__ = ["contact_sheet", "save_sheet"]

PAPER = (249, 248, 245)
INK = (38, 40, 44)
SOFT_INK = (98, 100, 106)
LINE = (205, 203, 198)
_ASPECT = 4 / 3


def _tiles(images: Any) -> npt.NDArray[np.uint8]:
    """*images* as uint8 [N, H, W, 3]."""
    if hasattr(images, "cpu"):  # a tensor, maybe on a GPU
        images = images.cpu()
    array = np.asarray(images)
    if array.dtype != np.uint8:
        raise ValueError(f"images must be uint8, got {array.dtype}")
    if array.ndim != 4 or 3 not in (array.shape[1], array.shape[3]) or 0 in array.shape:
        raise ValueError(f"images must be [N, 3, H, W] or [N, H, W, 3] and at least one, got {list(array.shape)}")
    return array.transpose(0, 2, 3, 1) if array.shape[1] == 3 else array


def _names(labels: Any, count: int) -> list[int | str]:
    if hasattr(labels, "cpu"):
        labels = labels.cpu()
    array = np.asarray(labels)
    if array.shape != (count,):
        raise ValueError(f"labels must be one per image, {count}, got shape {list(array.shape)}")
    if array.dtype.kind not in "iuU":
        raise ValueError(f"labels must be integers or strings, got {array.dtype}")
    names: list[int | str] = array.tolist()
    return names


def fit(draw: ImageDraw.ImageDraw, text: str, font: Any, width: int) -> str:
    """*text*, shortened until it is at most *width* px wide."""
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "...", font=font) > width:
        text = text[:-1]
    return text + "..." if text else ""


def contact_sheet(
    images: Any,
    labels: Sequence[int] | Sequence[str] | Any | None = None,
    *,
    columns: int | None = None,
    scale: int = 1,
    gap: int = 4,
    title: str | None = None,
) -> Image.Image:
    """Lay out *images* on one sheet.

    Where *labels* come in runs of one length K > 1, as those of a PK batch do, the K images of a run stand side by
    side under one caption, with more room between runs.  Otherwise the sheet is a plain grid, each image under its
    label if there are any.

    Args:
        images: uint8 [N, 3, H, W] or [N, H, W, 3], RGB: an array, a tensor, or a sequence of images.
        labels: N integers or strings.
        columns: images per row; with runs, of which as many whole ones as fit stand in a row.  Less than K gives
            the plain grid.  Without it the sheet is about as wide as 4:3.
        scale: how many times to enlarge the images, 1 or more.
        gap: pixels between images.
        title: a line above all.

    Returns:
        An RGB image.

    Raises:
        ValueError: if a shape, type, length or number is not one of these.
    """
    tiles = _tiles(images)
    names = None if labels is None else _names(labels, len(tiles))
    if scale < 1 or gap < 0 or (columns is not None and columns < 1):
        raise ValueError(f"need scale >= 1, gap >= 0, columns >= 1, got {scale}, {gap} and {columns}")
    wide, high = tiles.shape[2] * scale, tiles.shape[1] * scale
    size = min(max(round(0.11 * wide), 11), 24)
    font, big = ImageFont.load_default(size=size), ImageFont.load_default(size=round(1.6 * size))

    runs = [len(list(run)) for _, run in groupby(names or [])]
    per = runs[0] if len(runs) > 1 and len(set(runs)) == 1 and (columns or runs[0]) >= runs[0] else 1
    gutter = 3 * gap + 8 if per > 1 else gap
    step_x = per * (wide + gap) - gap + gutter
    step_y = high + gutter + (round(1.6 * size) if names else 0)
    count = math.ceil(len(tiles) / per)

    def shape(across: int) -> float:
        """How far from 4:3 the sheet is with that many groups in a row."""
        return abs(math.log(across * step_x / (math.ceil(count / across) * step_y) / _ASPECT))

    across = min(count, columns // per) if columns else min(range(1, count + 1), key=shape)
    margin = 2 * gap + 8
    top = margin + (round(2.4 * size) if title else 0)
    sheet = Image.new(
        "RGB",
        (2 * margin + across * step_x - gutter, top + math.ceil(count / across) * step_y - gutter + margin),
        PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((margin, margin), fit(draw, title, big, sheet.width - 2 * margin), INK, big)
    for i, tile in enumerate(tiles):
        group, place = divmod(i, per)
        x, y = margin + group % across * step_x, top + group // across * step_y
        if names:
            if not place:
                text = f"identity {names[i]}" if per > 1 and isinstance(names[i], int) else str(names[i])
                draw.text((x, y), fit(draw, text, font, step_x - gutter), SOFT_INK, font)
            y += step_y - gutter - high
        picture = Image.fromarray(np.ascontiguousarray(tile))
        sheet.paste(picture.resize((wide, high), Image.Resampling.BICUBIC), (x + place * (wide + gap), y))
    return sheet


def save_sheet(path: str | os.PathLike[str], images: Any, labels: Any | None = None, **kwargs: Any) -> None:
    """Write the :func:`contact_sheet` of *images* to *path*, whole or not at all.

    Args:
        path: where to, in a folder that exists; the suffix says which format, such as ``.png`` or ``.jpg``.
        images: see :func:`contact_sheet`.
        labels: see :func:`contact_sheet`.
        kwargs: see :func:`contact_sheet`.

    Raises:
        PathError: if *path* is a URL.
        ValueError: if the suffix names no image format, or from :func:`contact_sheet`.
    """
    kind_of(path)  # before the work
    save_picture(path, contact_sheet(images, labels, **kwargs))


def save_picture(path: str | os.PathLike[str], picture: Image.Image) -> None:
    """Write a picture, whole or not at all; see :func:`save_sheet`."""
    path = local_path(path, "path")
    kind = kind_of(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")  # in the same folder, for os.replace
    try:
        with draft.open("xb") as file:
            picture.save(file, kind, quality=92)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def kind_of(path: str | os.PathLike[str]) -> str:
    """PIL's name of the format that the suffix of *path* stands for.

    Raises:
        PathError: it is a URL.
        ValueError: it stands for none that can be written.
    """
    path = local_path(path, "path")
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise ValueError(f"cannot write images named {path.suffix or path.name!r}; try .png or .jpg")
    return str(kind)
