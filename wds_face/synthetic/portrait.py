"""Faces: an identity before the camera."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from wds_face.synthetic.canvas import GRID, SCALE, SIDE, Array, Canvas, enlarge
from wds_face.synthetic.features import paint_beard, paint_eyes, paint_glasses, paint_mouth, paint_nose
from wds_face.synthetic.hair import hair
from wds_face.synthetic.head import paint_head
from wds_face.synthetic.look import Look
from wds_face.synthetic.variation import Variation


@lru_cache(maxsize=256)
def _look(seed: int, identity: int) -> Look:
    """The look of an identity, drawn once for all its images."""
    return Look(np.random.default_rng([seed, identity]))


def _scene(look: Look, variation: Variation) -> Array:
    """The face before a background, uint8 [SIDE, SIDE, 3]."""
    fall = (
        0.9 - 0.25 * ((GRID[:, None] - 56) - variation.light[0] * (GRID - 56)) / 112
    )  # of the light on the background
    canvas = Canvas(enlarge(fall) * variation.background.astype(np.float32)[:, None, None])
    back, front, colors = hair(look, variation)
    if look.style.sides > 62:  # it shows beside the neck
        canvas.blend(back, colors // 2)
    paint_head(canvas, look, variation, front)
    if look.moustache:
        paint_beard(canvas, look, variation)
    paint_nose(canvas, look, variation)
    paint_mouth(canvas, look, variation)
    paint_eyes(canvas, look, variation)
    if look.frame is not None:
        paint_glasses(canvas, look.frame, look)
    canvas.blend(front, colors)
    return np.asarray(cv2.merge(list(np.clip(canvas.pixels, 0, 255).astype(np.uint8))))


def _photograph(scene: Array, variation: Variation, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The picture a camera takes of a scene."""
    # posed and reduced in one step: bilinear between pixels is the mean of 2x2, as INTER_AREA's
    middle = (SIDE - 1) / 2
    pose: Array = cv2.getRotationMatrix2D((middle, middle), variation.roll, 1 / SCALE)
    pose[:, 2] += 55.5 - middle + variation.shift
    picture: Array = cv2.warpAffine(scene, pose, (112, 112), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    picture = cv2.transform(picture, np.column_stack([np.diag(variation.gain), 124 - 120 * variation.gain]))
    noise = rng.standard_normal((112, 112), np.float32) * np.float32(variation.noise)
    return np.asarray(np.clip(picture + cv2.merge([noise, noise, noise]), 0, 255).astype(np.uint8))


def face(identity: int, image: int = 0, *, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Draw one aligned face.

    Args:
        identity: whose face, from 0.
        image: which picture of that person, from 0.
        seed: another seed is another population, from 0.

    Returns:
        uint8 [112, 112, 3], RGB.  Eyes, nose tip and mouth corners are within about 2 px of
        :data:`~wds_face.synthetic.ARCFACE_112`.  The same numbers always give the same picture.

    Raises:
        ValueError: if a number is negative.
    """
    if min(identity, image, seed) < 0:
        raise ValueError(f"identity, image and seed must not be negative, got {identity}, {image} and {seed}")
    rng = np.random.default_rng([seed, identity, image + 1])  # numpy pads with zeros: image 0 would repeat the look's
    variation = Variation(rng)
    return _photograph(_scene(_look(seed, identity), variation), variation, rng)


def faces(identity: int, images: int, *, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Draw the pictures 0 .. *images* - 1 of one identity: uint8 [images, 112, 112, 3], RGB; see :func:`face`."""
    out = np.empty((images, 112, 112, 3), np.uint8)
    for image in range(images):
        out[image] = face(identity, image, seed=seed)
    return out
