"""Medical masks on faces."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np

from wds_face.jit import compiled
from wds_face.transforms.checks import probability
from wds_face.transforms.forms import U8
from wds_face.transforms.paste import mean_colors, paste
from wds_face.transforms.placement import CASIA_WEBFACE, Floats, Placement, Point, checked_points
from wds_face.transforms.textures import TURNS, Atlas, built_in_kinds, level_numbers, read_kinds
from wds_face.transforms.transform import Occlusion

_BUILT = frozenset({"kinds", "_textures", "_sizes", "_atlas", "_palettes"})  # of the pictures, when it is made

_GREY = 3.0  # a face whose mean colours differ by less is a grey photograph
_SKIN = 150.0  # the grey value of a face under which masks have the brightness they are drawn in


class MedicalMaskOcclusion(Occlusion):
    """Puts a medical mask on an aligned face, and says where.

    An image comes back as (image, mask), the mask 255 where the face is visible and 0 where the medical mask's alpha is
    above 128. Without a medical mask (one time in 1 - prob) the mask is 255 everywhere.

    The three points are moved by up to 3 px each way. The picture is drawn 4 mouth widths wide and 4 times as high as
    the mouth is below the nose, times 0.95 to 1.10, turned by up to 7 degrees, centred on the nose and 25 px above it,
    and shifted by up to 5 px each way: all uniform, and in pixels of a 112 x 112 image. If the nose has come to lie off
    the middle of the mouth by more than 8 % of its width, the picture of a turned face is taken, if the kind has one,
    and placed as the others are, with its middle on the nose. Brightness follows that of the face, within +-15 %,
    colours vary by +-5 %, and a grey photograph gets a grey mask.

    What differs from the text it follows: points, offsets and the 25 px scale with the image; a mask that is
    there is added to, not erased; edges are blended by their alpha, not pasted.

    Args:
        mask_path: a picture with transparency, a list of such, or a folder of them; without it the four kinds of
            wds_face, each from the front and turned. See :func:`~wds_face.transforms.textures.read_kinds`.
        prob: how likely an image is to get a mask.
        ref_points: nose tip, left and right mouth corner as (x, y) in pixels of a 112 x 112 image. Without it
            :data:`CASIA_WEBFACE`; images aligned to the 112 x 112 template need :data:`ARCFACE_112`.
        mask_size: see :class:`Occlusion`; 7 for the feature map of the usual backbones.
        channels: ``"rgb"`` or ``"bgr"``, the order in which images come, so that blue masks are blue.
        rng: see :class:`Transform`.

    Raises:
        FileNotFoundError: there is no such picture.
        ValueError: a picture has no transparency, or an argument is out of its range.
    """

    # In order: whether, which kind, 3 points as x and y, shift as x and y, scale, angle, brightness, red, green, blue.
    draws = 16

    def __init__(
        self,
        mask_path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        prob: float = 0.5,
        ref_points: Sequence[Point] | None = None,
        *,
        mask_size: int | None = None,
        channels: str = "rgb",
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(mask_size, rng)
        self.prob = probability("prob", prob)
        self.ref_points = checked_points(CASIA_WEBFACE if ref_points is None else ref_points)
        if channels not in {"rgb", "bgr"}:
            raise ValueError(f'channels must be "rgb" or "bgr", not {channels!r}')
        self.channels = channels
        self.mask_path = mask_path
        self.kinds = built_in_kinds() if mask_path is None else tuple(read_kinds(mask_path))
        self._textures = [kind.turned(turn) for kind in self.kinds for turn in range(len(TURNS))]
        self._sizes = np.array([texture.size for texture in self._textures])
        self._atlas = Atlas(self._textures)
        colored = [texture.palette[:, :: 1 if channels == "rgb" else -1] for texture in self._textures]
        self._palettes = np.array([*colored, *(_grey(texture.palette) for texture in self._textures)])

    def __reduce__(self) -> Any:
        if self.mask_path is not None:
            return super().__reduce__()
        # Without the masks that the package has: another process reads them itself.
        state = {name: value for name, value in self.__dict__.items() if name not in _BUILT}
        return type(self), (), state

    def occlude(self, images: U8, masks: U8, draws: Floats) -> None:
        """See :meth:`Occlusion.occlude`."""
        which = np.flatnonzero(draws[:, 0] < self.prob)
        if not len(which):
            return
        picked = draws[which]
        places = Placement(self.ref_points, images.shape[2], images.shape[1], picked[:, 2 : 2 + Placement.DRAWS])
        skins = mean_colors(images, which, places.faces())
        grey = skins.max(1) - skins.min(1) < _GREY
        gains = _gains(skins, grey, picked[:, 2 + Placement.DRAWS :], self.channels == "rgb")
        textures = len(TURNS) * (picked[:, 1] * len(self.kinds)).astype(np.int64) + places.turn
        levels = level_numbers(self._sizes[textures], places.height, places.width)
        there = self._atlas.places(textures, levels)
        # Texture by texture, so that each is fetched into the cache once for all images that show it.
        order = np.argsort(there[:, 0], kind="stable")
        affines = places.affine(there[:, 1:])
        looks = textures + len(self._textures) * grey
        paste(
            images, masks, self._atlas.texels, there, self._palettes, order, which, looks, affines, places.rows, gains
        )


def _grey(palette: U8) -> U8:
    luma = cv2.cvtColor(palette[None], cv2.COLOR_RGB2GRAY)
    return cast(U8, cv2.cvtColor(luma, cv2.COLOR_GRAY2RGB)[0])


@compiled("i8[:,::1](f8[:,::1], b1[:], f8[:,:], b1)")
def _gains(skins, grey, draws, rgb):  # type: ignore[no-untyped-def]
    """256 times what the masks' colours are multiplied by, so that the light of the face falls on them: [M, 3]."""
    gains = np.empty((len(skins), 3), np.int64)
    for m in range(len(skins)):
        # Skins differ in brightness too, so a face of half the brightness is taken to be in more than half the light.
        bright = ((skins[m, 0] + skins[m, 1] + skins[m, 2]) / (3 * _SKIN)) ** 0.6
        light = min(max(bright, 0.35), 1.15) * (0.85 + 0.3 * draws[m, 0])
        for channel in range(3):
            tint = 0.95 + 0.1 * draws[m, 1 + channel if rgb else 3 - channel]
            gains[m, channel] = int(256 * light * (1.0 if grey[m] else tint))
    return gains
