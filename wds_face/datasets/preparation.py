"""From a decoded image to what a data set returns: channels, augmenter, transform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PIL import Image

from wds_face import decoding
from wds_face.datasets.snapshot import Snapshot
from wds_face.transforms import Augmenter
from wds_face.transforms.forms import image_array

#: Formats that map-style data sets read. Records of other tools sometimes hold a GIF, which a conversion refuses.
FORMATS = (*decoding.FORMATS, "GIF")

#: What Pillow raises on a damaged image. An OSError with an ``errno`` is the file system's.
UNDECODABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def choose_augmenter(
    augmenter: Augmenter | None, *, crop_prob: float, photometric_prob: float, low_res_prob: float
) -> Augmenter | None:
    """The augmenter that was given, or one with these probabilities, or None where all are 0.

    Raises:
        ValueError: both were given, or a probability outside [0, 1].
    """
    wanted = any((crop_prob, photometric_prob, low_res_prob))
    if augmenter is not None and wanted:
        raise ValueError("give either an augmenter or augmentation probabilities: the augmenter has its own")
    if not wanted:
        return augmenter
    return Augmenter(crop_prob=crop_prob, photometric_prob=photometric_prob, low_res_prob=low_res_prob)


def reverse_channels(image: Any) -> Any:
    """RGB to BGR and back; a PIL image or uint8 array ``[H, W, 3]`` in the same form."""
    pixels, back = image_array(image)
    return back(pixels[..., ::-1].copy())


def prepare(
    image: Any,
    target: Any,
    augmenter: Augmenter | None,
    transform: Callable[[Any], Any] | None,
    snapshot: Snapshot | None,
) -> tuple[Any, ...]:
    """(sample, target), or (sample, target, mask) where the transform returns a tuple of image and mask."""
    if augmenter is not None:
        image = augmenter.augment(image)
    if snapshot is not None:
        snapshot.take(image)
    if transform is None:
        return image, target
    result = transform(image)
    if isinstance(result, tuple) and len(result) == 2:
        return result[0], target, result[1]
    return result, target
