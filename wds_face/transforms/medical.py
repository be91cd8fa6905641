"""Medical masks on faces."""

from __future__ import annotations

import os
from collections.abc import Sequence

import cv2
import numpy as np

from wds_face.transforms.checks import probability
from wds_face.transforms.forms import U8
from wds_face.transforms.paste import paste
from wds_face.transforms.placement import CASIA_WEBFACE, Placement, Point, checked_points
from wds_face.transforms.textures import BUILT_IN, read_kinds
from wds_face.transforms.transform import Draws, Occlusion

_GREY = 3.0  # a face whose mean colours differ by less is a grey photograph
_SKIN = 150.0  # the grey value of a face under which masks have the brightness they are drawn in


class MedicalMaskOcclusion(Occlusion):
    """Puts a medical mask on an aligned face, and says where.

    An image comes back as (image, mask), the mask 255 where the face is visible and 0 where the medical mask's alpha is
    above 128. Without a medical mask (one time in 1 - prob) the mask is 255 everywhere.

    The three points are moved by up to 3 px each way. The picture is drawn 4 mouth widths wide and 4 times as high as
    the mouth is below the nose, times 0.95 to 1.10, turned by up to 7 degrees, centred on the nose and 25 px above
    it, and
    shifted by up to 5 px each way: all uniform, and in pixels of a 112 x 112 image. If the nose has come to lie off the
    middle of the mouth, the picture of a turned face is taken. Brightness follows that of the face, within +-15 %,
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
        self.kinds = read_kinds(BUILT_IN if mask_path is None else mask_path)

    def occlude(self, image: U8, mask: U8, draws: Draws) -> None:
        """See :meth:`Occlusion.occlude`."""
        if draws[0] >= self.prob:
            return
        high, wide = mask.shape
        kind = self.kinds[int(draws[1] * len(self.kinds))]
        place = Placement(self.ref_points, wide, high, draws[2:12])
        skin = _skin(image, place)
        grey = max(skin) - min(skin) < _GREY
        texels = kind.turned(place.turn).level(place.width, place.height, "grey" if grey else self.channels)
        affine = place.affine(texels.shape[1] - 2, texels.shape[0] - 2)
        paste(image, mask, texels, *affine, *place.rows, *_gains(skin, grey, draws[12:]))


def _skin(image: U8, place: Placement) -> tuple[float, float, float]:
    """The mean colour around nose and mouth; of the whole image where these lie outside."""
    left, right = place.nose_x - place.mouth / 2, place.nose_x + place.mouth / 2
    top, bottom = place.nose_y - place.height / 8, place.nose_y + place.height / 4
    face = image[max(0, int(top)) : max(0, int(bottom)), max(0, int(left)) : max(0, int(right))]
    first, second, third, _ = cv2.mean(face if face.size else image)
    return first, second, third


def _gains(skin: tuple[float, float, float], grey: bool, draws: Draws) -> tuple[float, float, float]:
    """What the mask's colours are multiplied by, so that the same light falls on it as on the face."""
    # Skins differ in brightness too, so a face of half the brightness is taken to be in more than half the light.
    light = min(max((sum(skin) / 3 / _SKIN) ** 0.6, 0.35), 1.15) * (0.85 + 0.3 * draws[0])
    if grey:
        return light, light, light
    first, second, third = (light * (0.95 + 0.1 * draw) for draw in draws[1:4])
    return first, second, third
