"""Mask pictures: from files to textures at the sizes that they are pasted in."""

from __future__ import annotations

import math
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from wds_face.location import local_path
from wds_face.transforms.forms import U8
from wds_face.transforms.placement import Floats, Ints

Texels = npt.NDArray[np.uint16]

#: The masks that come with the package, drawn by assets/masks.py: ``<kind>-<turn>.png``.
BUILT_IN = Path(__file__).with_name("masks")

TURNS = ("front", "left", "right")  #: by :attr:`Placement.turn`

# Names of pictures of turned faces, in the schemes of wds_face and of MaskTheFace.
_TURNED = re.compile(rf"(?P<kind>.+)[-_](?P<turn>{'|'.join(TURNS)})", re.IGNORECASE)

_FILES = frozenset({".png", ".webp"})
_STEP = 1.25  # between the levels of a pyramid
_FAINT = 8  # alphas so near to 0 and 255 are: nobody sees it, and a third of the pixels to blend are of this kind
_DENSITY = 2.0  # texels to a pixel, at least: with 1.5, one mask in 300 is more than a pixel off


class Texture:
    """A picture with transparency, in 256 colours and a pyramid of sizes.

    A level has 2 to 2.5 texels to a pixel and is smoothed over one pixel. The nearest texel is then the average
    around a point at most a quarter of a pixel away: about as good as interpolation, and faster. A texel is two bytes,
    as the time goes into fetching texels, and tinting 256 colours is less than tinting pixels.

    Args:
        rgba: uint8 [H, W, 4], alpha not multiplied in.
    """

    def __init__(self, rgba: U8) -> None:
        self.size = rgba.shape[:2]  #: height and width
        premultiplied = rgba.copy()
        premultiplied[..., :3] = np.rint(rgba[..., :3] * (rgba[..., 3:] / np.float32(255)))
        # Hardly anything of it is needed more than once: a tenth of the memory in every worker.
        self._packed = zlib.compress(premultiplied.data, 1)
        small = -max(0, math.ceil(math.log(max(self.size) / 256, _STEP)))  # large enough to choose colours from
        self._palette = Image.fromarray(self._scaled(small)[0]).quantize(256, Image.Quantize.MEDIANCUT)
        numbers = np.array(self._palette.getpalette(), np.uint8)
        self.palette: U8 = np.zeros((256, 3), np.uint8)  #: RGB
        self.palette.reshape(-1)[: len(numbers)] = numbers

    def level(self, number: int) -> Texels:
        """A level of the size that :func:`level_sizes` says.

        uint16 [h + 2, w + 2], 256 times alpha plus the number in the palette, in a transparent border of one.
        """
        color, alpha = self._scaled(number)
        numbers = Image.fromarray(color).quantize(palette=self._palette, dither=Image.Dither.NONE)
        return np.pad(alpha.astype(np.uint16) << 8 | np.asarray(numbers), 1)

    def _scaled(self, number: int) -> tuple[U8, U8]:
        """RGB and alpha of a level; where it is transparent, the mean colour."""
        high, wide = level_sizes(np.array(self.size), np.array(number)).astype(int).tolist()
        picture = np.frombuffer(zlib.decompress(self._packed), np.uint8).reshape(*self.size, 4)
        texels = cv2.resize(picture, (wide, high), interpolation=cv2.INTER_AREA).astype(np.float32)
        tap = np.array([0.25, 0.5, 0.25], np.float32)
        smooth = cv2.sepFilter2D(texels, -1, tap, tap, borderType=cv2.BORDER_REPLICATE).reshape(high, wide, 4)
        color, alpha = smooth[..., :3], smooth[..., 3:]
        seen = color * 255 / np.maximum(alpha, 1)
        seen = np.where(alpha < 1, color.sum((0, 1)) * 255 / max(alpha.sum(), 1), seen)
        clear = np.rint(alpha[..., 0])
        clear[clear < _FAINT], clear[clear > 255 - _FAINT] = 0, 255
        return np.clip(np.rint(seen), 0, 255).astype(np.uint8), clear.astype(np.uint8)


_growing = Lock()  # threads may share transforms


class Atlas:
    """The levels of some textures, as far as they were asked for, one behind the other for ``paste``.

    Attributes:
        texels: uint16, of all of them.
    """

    def __init__(self, textures: Sequence[Texture]) -> None:
        self._textures = textures
        self._places: Ints = np.full((len(textures), 1, 3), -1)
        self.texels: Texels = np.empty(0, np.uint16)
        self._used = 0

    def places(self, textures: Ints, levels: Ints) -> Ints:
        """int64 [M, 3], of textures [M] at levels [M]: where each begins, and its height and width without border."""
        with _growing:
            if -levels.min(initial=0) >= self._places.shape[1]:
                more = np.full((len(self._textures), 1 - levels.min() - self._places.shape[1], 3), -1)
                self._places = np.concatenate([self._places, more], 1)
        found: Ints = self._places[textures, -levels]
        if found[:, 0].min(initial=0) >= 0:
            return found
        with _growing:
            for texture, level in zip(textures.tolist(), levels.tolist(), strict=True):
                if self._places[texture, -level, 0] < 0:
                    self._places[texture, -level] = self._added(self._textures[texture].level(level))
        return self.places(textures, levels)

    def _added(self, level: Texels) -> tuple[int, int, int]:
        begin, self._used = self._used, self._used + level.size
        if self._used > len(self.texels):
            more = np.empty(max(self._used, 2 * len(self.texels)), np.uint16)
            more[:begin] = self.texels[:begin]
            self.texels = more
        self.texels[begin : self._used] = level.ravel()
        return begin, level.shape[0] - 2, level.shape[1] - 2


def level_numbers(sizes: Ints, heights: Floats, widths: Floats) -> Ints:
    """Which levels of pictures of *sizes* [M, 2] to paste at these pixels: 0 the picture, -1 the next smaller, ..."""
    ratio = _DENSITY * np.sqrt(heights * widths / sizes.prod(1))
    numbers: Ints = np.minimum(0, np.ceil(np.log(ratio) / math.log(_STEP))).astype(np.int64)
    return numbers


def level_sizes(sizes: Ints, numbers: Ints) -> Floats:
    """[..., 2], the heights and widths in texels of levels, without their border, of pictures of *sizes* [..., 2]."""
    return np.ceil(sizes * _STEP ** numbers.astype(float)[..., None])


class Kind:
    """A kind of mask: seen from the front, and maybe on a face turned to the image's left or right.

    Args:
        turns: textures by turn; ``front`` must be there.
    """

    def __init__(self, name: str, turns: dict[str, Texture]) -> None:
        self.name = name
        self._turns = turns

    def turned(self, turn: int) -> Texture:
        """The texture for one of :data:`TURNS`, by its number; from the front where there is none for it."""
        return self._turns.get(TURNS[turn]) or self._turns["front"]


@cache
def built_in_kinds() -> tuple[Kind, ...]:
    """The kinds of mask that come with the package, read once in a process."""
    return tuple(read_kinds(BUILT_IN))


def read_kinds(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Kind]:
    """The kinds of mask in a file, in a list of files, or in a folder (its .png and .webp files, by name).

    Files named ``<kind>-front`` or ``<kind>``, ``<kind>-left`` and ``<kind>-right`` are one kind. ``_``
    may replace ``-``, as in the names of MaskTheFace's templates, such as ``N95.png`` and ``N95_left.png``. In both
    schemes, *left* means a face whose nose points to the left of the picture.

    Raises:
        FileNotFoundError: there is nothing there.
        PathError: a path is a URL.
        ValueError: a file is no picture, has no transparency, or none of its pixels is opaque; or a kind
            has two pictures of the same turn, or none from the front.
    """
    kinds: dict[Path, dict[str, Texture]] = {}
    for file in _files(paths):
        name, turn = _kind_and_turn(file.stem)
        if turn in (turns := kinds.setdefault(file.parent / name, {})):
            raise ValueError(f"two mask pictures of {name!r} from the {turn}: {file} and another")
        turns[turn] = Texture(_read(file))
    for path, turns in kinds.items():
        if "front" not in turns:
            front = f"{path.name}-front.png or {path.name}.png"
            raise ValueError(f"mask {path.name!r} has only turned pictures: add {front}")
    return [Kind(path.name, turns) for path, turns in kinds.items()]


def _kind_and_turn(stem: str) -> tuple[str, str]:
    match = _TURNED.fullmatch(stem)
    if match is None:
        return stem, "front"
    return match["kind"], match["turn"].lower()


def _files(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Iterable[Path]:
    if not isinstance(paths, (str, os.PathLike)):
        if not isinstance(paths, Iterable):
            raise TypeError(f"mask_path must be a path, a list of paths or a folder, not {paths!r}")
        if not (listed := [local_path(path, "mask_path") for path in paths]):
            raise ValueError("mask_path is an empty list")
        return listed
    path = local_path(paths, "mask_path")
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in _FILES)
    if not files:
        raise FileNotFoundError(f"no .png or .webp file in the mask folder {path}")
    return files


def _read(file: Path) -> U8:
    try:
        with Image.open(file) as image:
            image.load()  # some formats know only then whether they have transparency
            transparent = image.has_transparency_data
            rgba = cast(U8, np.array(image.convert("RGBA")))
    except FileNotFoundError:
        raise FileNotFoundError(f"no mask picture {file}; leave mask_path out for those of wds_face") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"the mask picture {file} cannot be read: {error}") from None
    if not transparent:
        raise ValueError(f"the mask picture {file} has no transparency: it needs an alpha channel, as PNG has")
    if rgba[..., 3].max() <= 128:
        raise ValueError(f"the mask picture {file} is transparent everywhere")
    return rgba
