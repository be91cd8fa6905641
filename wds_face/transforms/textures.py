"""Mask pictures: from files to textures at the sizes that they are pasted in."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from wds_face.transforms.forms import U8

#: The masks that come with the package, drawn by assets/masks.py: ``<kind>-<turn>.png``.
BUILT_IN = Path(__file__).with_name("masks")

TURNS = ("front", "left", "right")

_FILES = frozenset({".png", ".webp"})
_STEP = 1.25  # between the levels of a pyramid
_DENSITY = 2.0  # texels to a pixel, at least


class Texture:
    """A picture with transparency, in a pyramid of sizes.

    A level has two to two and a half texels to a pixel and is smoothed over one pixel. The nearest texel is then the
    average around a point at most a quarter of a pixel away: as good as interpolation, and faster.

    Args:
        rgba: uint8 [H, W, 4], alpha not multiplied in.
    """

    def __init__(self, rgba: U8) -> None:
        self.rgba = rgba
        self._levels: dict[tuple[int, str], U8] = {}

    def level(self, width: float, height: float, look: str) -> U8:
        """The level for pasting at *width* x *height* pixels: premultiplied RGBA in a transparent border of one texel.

        *look* is ``"rgb"``, ``"bgr"`` for that order, or ``"grey"``.
        """
        high, wide = self.rgba.shape[:2]
        ratio = _DENSITY * math.sqrt(width * height / (wide * high))
        number = min(0, math.ceil(math.log(ratio, _STEP)))  # 0 is the picture itself: it is never enlarged
        if (number, look) not in self._levels:
            self._levels[number, look] = self._level(_STEP**number, look)
        return self._levels[number, look]

    def _level(self, scale: float, look: str) -> U8:
        high, wide = (max(1, round(side * scale)) for side in self.rgba.shape[:2])
        alpha = self.rgba[..., 3:].astype(np.float32) / 255
        color = self.rgba[..., :3].astype(np.float32)
        if look == "grey":
            color = np.repeat(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
        elif look == "bgr":
            color = color[..., ::-1]
        texels = np.concatenate([color * alpha, alpha * 255], 2)
        texels = cv2.resize(texels, (wide, high), interpolation=cv2.INTER_AREA)
        tap = np.array([0.25, 0.5, 0.25], np.float32)
        texels = cv2.sepFilter2D(texels, -1, tap, tap, borderType=cv2.BORDER_REPLICATE)
        return np.pad(np.rint(texels).astype(np.uint8), ((1, 1), (1, 1), (0, 0)))


class Kind:
    """A kind of mask: seen from the front, and maybe on a face turned to the image's left or right.

    Args:
        turns: textures by turn; ``front`` must be there.
    """

    def __init__(self, name: str, turns: dict[str, Texture]) -> None:
        self.name = name
        self._turns = turns

    def turned(self, turn: str) -> Texture:
        """The texture for a turn; from the front where there is none for it."""
        return self._turns.get(turn) or self._turns["front"]


def read_kinds(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Kind]:
    """The kinds of mask in a file, in a list of files, or in a folder (its .png and .webp files, by name).

    Files named ``<kind>-front``, ``<kind>-left`` and ``<kind>-right`` are one kind.

    Raises:
        FileNotFoundError: there is nothing there.
        ValueError: a file is no picture, has no transparency, or none of its pixels is opaque.
    """
    files = list(_files(paths))
    kinds: dict[str, dict[str, Texture]] = {}
    for file in files:
        name, _, turn = file.stem.rpartition("-")
        if not name or turn not in TURNS:
            name, turn = file.stem, "front"
        kinds.setdefault(name, {})[turn] = Texture(_read(file))
    for name, turns in kinds.items():
        if "front" not in turns:
            raise ValueError(f"mask {name!r} has only turned pictures: add {name}-front.png")
    return [Kind(name, turns) for name, turns in kinds.items()]


def _files(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Iterable[Path]:
    if not isinstance(paths, (str, os.PathLike)):
        if not paths:
            raise ValueError("mask_path is an empty list")
        return (Path(path) for path in paths)
    path = Path(paths)
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in _FILES)
    if not files:
        raise FileNotFoundError(f"no .png or .webp file in the mask folder {path}")
    return files


def _read(file: Path) -> U8:
    try:
        with Image.open(file) as image:
            if not image.has_transparency_data:
                raise ValueError(f"the mask picture {file} has no transparency: it needs an alpha channel, as PNG has")
            rgba = cast(U8, np.array(image.convert("RGBA")))
    except FileNotFoundError:
        raise FileNotFoundError(f"no mask picture {file}; leave mask_path out for those of wds_face") from None
    except (UnidentifiedImageError, IsADirectoryError) as error:
        raise ValueError(f"the mask picture {file} cannot be read: {error}") from None
    if rgba[..., 3].max() <= 128:
        raise ValueError(f"the mask picture {file} is transparent everywhere")
    return rgba
