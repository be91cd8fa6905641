"""What each transform does to the same faces, in one picture, with the mask beside each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from wds_face.sheet import INK, LINE, PAPER, SOFT_INK, fit
from wds_face.transforms import (
    ARCFACE_112,
    CASIA_WEBFACE,
    Augmenter,
    MedicalMaskOcclusion,
    Occlusion,
    RandomErasing,
    RandomOcclusion,
    RandomSizedRectCrop,
    SyntheticOcclusionMask,
)
from wds_face.transforms.placement import Point
from wds_face.transforms.resize import resize

U8 = npt.NDArray[np.uint8]

#: Presets of reference points by name.
POINTS: dict[str, Sequence[Point]] = {"arcface": ARCFACE_112, "casia": CASIA_WEBFACE}


class Exhibit(NamedTuple):
    """A column of the gallery: a name, what is under it, and a callable of uint8 [H, W, 3] -> an image or a pair."""

    name: str
    note: str
    transform: Callable[[U8], Any]


def exhibits(points: str, rng: np.random.Generator) -> list[Exhibit]:
    """Every transform of wds_face, each always applied, and at the end a whole training pipeline.

    Args:
        points: ``"arcface"`` or ``"casia"``, see :data:`POINTS`.
        rng: of all choices.
    """
    augment, occlude = Augmenter(rng=rng), MedicalMaskOcclusion(ref_points=POINTS[points], rng=rng)
    return [
        Exhibit("original", "", lambda image: image),
        Exhibit("Augmenter", "crop", Augmenter(1, 0, 0, rng=rng)),
        Exhibit("Augmenter", "photometric", Augmenter(0, 1, 0, rng=rng)),
        Exhibit("Augmenter", "low resolution", Augmenter(0, 0, 1, rng=rng)),
        Exhibit("Augmenter.adaface()", "all three", Augmenter.adaface(1, 1, 1, rng=rng)),
        Exhibit("RandomSizedRectCrop", "", RandomSizedRectCrop(112, 112, rng=rng)),
        *(
            Exhibit("MedicalMaskOcclusion", f"points of {name}", MedicalMaskOcclusion(None, 1, POINTS[name], rng=rng))
            for name in POINTS
        ),
        Exhibit("SyntheticOcclusionMask", "mask 7 x 7", SyntheticOcclusionMask(1, rng=rng)),
        Exhibit("RandomOcclusion", "", _with_mask(RandomOcclusion(rng=rng))),
        Exhibit("RandomErasing", "", _with_mask(RandomErasing(1, rng=rng))),
        Exhibit("training", f"10 / 30 / 20 %, mask 50 %, {points}", lambda image: occlude(augment(image))),
    ]


def _with_mask(occlusion: Occlusion) -> Callable[[U8], Any]:
    """An occlusion that returns a mask only to who gave it one."""
    return lambda image: occlusion((image, np.full(image.shape[:2], 255, np.uint8)))


def gallery(
    faces: Sequence[U8], columns: Sequence[Exhibit], *, size: int = 112, scale: int = 1, title: str = ""
) -> Image.Image:
    """A row for each of *faces*, a column for each of *columns*, and their masks beside them.

    Args:
        faces: uint8 [H, W, 3] RGB; resized to *size* first.
        columns: see :func:`exhibits`.
        size: of the images in pixels.
        scale: how many times to enlarge them.
        title: a line above all.

    Returns:
        An RGB image.

    Raises:
        ValueError: there are no faces.
    """
    if not faces:
        raise ValueError("a gallery needs at least one face")
    rows = [[_tiles(column.transform(resize(face, size, size))) for column in columns] for face in faces]
    tile, gap = size * scale, 4
    font = ImageFont.load_default(size=max(11, round(0.11 * tile)))
    line = round(1.5 * font.size)  # type: ignore[union-attr]
    lefts, left = [], 3 * gap
    for cells in rows[0]:
        lefts.append(left)
        left += len(cells) * (tile + gap) + 4 * gap
    top = 3 * gap + (2 * line if title else 0)
    below = top + 2 * line + gap
    sheet = Image.new("RGB", (left, below + len(rows) * (tile + gap) + 2 * gap), PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        big = ImageFont.load_default(size=round(1.4 * font.size))  # type: ignore[union-attr]
        draw.text((lefts[0], 3 * gap), fit(draw, title, big, left - 6 * gap), INK, big)
    for column, start, cells in zip(columns, lefts, rows[0], strict=True):
        room = len(cells) * (tile + gap) + 3 * gap
        draw.text((start, top), fit(draw, column.name, font, room), INK, font)
        draw.text((start, top + line), fit(draw, column.note, font, room), SOFT_INK, font)
    for number, row in enumerate(rows):
        for start, cells in zip(lefts, row, strict=True):
            for place, cell in enumerate(cells):
                enlarged = cv2.resize(cell, (tile, tile), interpolation=cv2.INTER_NEAREST if place else cv2.INTER_CUBIC)
                picture = Image.fromarray(enlarged)
                x, y = start + place * (tile + gap), below + number * (tile + gap)
                sheet.paste(picture, (x, y))
                if place:  # masks are white on white where nothing is occluded
                    draw.rectangle((x, y, x + tile - 1, y + tile - 1), outline=LINE)
    return sheet


def _tiles(result: Any) -> list[U8]:
    """An image, and its mask in grey if it has one."""
    if not isinstance(result, tuple):
        return [result]
    image, mask = result
    grey = mask if mask.dtype == np.uint8 else np.rint(255 * mask).astype(np.uint8)
    return [image, np.repeat(grey[..., None], 3, 2)]
