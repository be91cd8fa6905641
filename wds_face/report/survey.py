"""What images of a data set are like: measured on a random sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from wds_face.decoding import decode
from wds_face.images import Buffer, kind
from wds_face.report.sample import Drawn
from wds_face.shards.sizes import Sizes
from wds_face.transforms.resize import resize

U8 = NDArray[np.uint8]
Floats = NDArray[np.float64]

#: The size that images are measured at, which is also that of the stream.
SIZE = 112
SIZES = f"{SIZE}\u00a0×\u00a0{SIZE}"  #: in words

# Mean difference between the largest and the smallest colour of a pixel, below which a photograph is grey.
_GREY = 4.0


class Look(NamedTuple):
    """What is measured of an image.

    ``width``, ``height``, ``nbytes``, ``format`` are of the image as it is stored. The others are of it at 112 x 112:
    ``luma`` is the mean of 0.299 R + 0.587 G + 0.114 B, from 0 to 255, ``contrast`` its standard deviation,
    ``sharpness`` the variance of its Laplacian (4 neighbours minus 4 times the pixel), and ``grey`` is 1 where
    colours hardly differ.
    """

    width: int
    height: int
    nbytes: int
    format: str
    luma: float
    contrast: float
    sharpness: float
    grey: bool


class Specimen(NamedTuple):
    """An image that stands out: where it is, what was measured, and its pixels, at most 112 a side."""

    drawn: Drawn
    value: float
    image: U8


#: What images may stand out by: whichever has the least of it.
KINDS: dict[str, Callable[[Look], float]] = {
    "darkest": lambda look: look.luma,
    "brightest": lambda look: -look.luma,
    "blurriest": lambda look: look.sharpness,
}


@dataclass
class Survey:
    """A sample of images.

    Attributes:
        identities: how many different ones are in it.
        looks: of those that can be decoded.
        undecodable: those that cannot, without their bytes.
        extremes: by :data:`KINDS`, the most extreme first.
    """

    identities: int = 0
    looks: list[Look] = field(default_factory=list)
    undecodable: list[Drawn] = field(default_factory=list)
    extremes: dict[str, list[Specimen]] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """How many images were looked at."""
        return len(self.looks) + len(self.undecodable)

    def sizes(self) -> Sizes:
        """Return the sizes of the images that can be decoded."""
        return Sizes.of(Counter((look.width, look.height) for look in self.looks))

    def column(self, name: str) -> Floats:
        """One measure of all images that can be decoded."""
        return np.array([getattr(look, name) for look in self.looks], np.float64)


def measure(image: U8, data: Buffer) -> Look:
    """Measure an image, uint8 RGB ``[H, W, 3]``, and the bytes that it was decoded from."""
    small = cast(U8, resize(image, SIZE, SIZE))
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    spread = small.max(2).astype(np.float32) - small.min(2)
    return Look(
        *(image.shape[1], image.shape[0], len(data), kind(data) or "other"),
        *(float(luma.mean()), float(luma.std())),
        float(cv2.Laplacian(luma, cv2.CV_32F).var(dtype=np.float64)),
        bool(spread.mean() < _GREY),
    )


def survey(sample: Iterable[Drawn], *, extremes: int = 12) -> Survey:
    """Measure the images of a sample.

    Args:
        sample: the images.
        extremes: how many of each kind to keep.
    """
    found, labels = Survey(), set[int]()
    waiting: dict[str, list[tuple[float, int, Drawn]]] = {name: [] for name in KINDS}
    for number, drawn in enumerate(sample):
        labels.add(drawn.label)
        image = decode(drawn.data)
        if image is None:
            found.undecodable.append(drawn._replace(data=b""))
            continue
        look = measure(image, drawn.data)
        found.looks.append(look)
        for name, least in KINDS.items():
            value, most = least(look), waiting[name]
            if len(most) < extremes or value < most[-1][0]:
                most.append((value, number, drawn._replace(data=bytes(drawn.data))))
                most.sort(key=lambda one: one[:2])
                del most[extremes:]
    found.identities = len(labels)
    for name, most in waiting.items():
        found.extremes[name] = [Specimen(drawn, abs(value), _thumbnail(drawn.data)) for value, _, drawn in most]
    return found


def _thumbnail(data: Buffer) -> U8:
    """The pixels of an image, at most 112 a side."""
    image = decode(data)
    assert image is not None  # it was decoded before
    scale = min(1, SIZE / max(image.shape[:2]))
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])
    return cast(U8, resize(image, height, width))
