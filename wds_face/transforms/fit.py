"""Turn an image of any width and height into a square one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from wds_face.transforms.forms import U8
from wds_face.transforms.resize import resize

Fit = Literal["stretch", "crop", "pad"]

#: The values of :func:`fit_to_square`.
FITS: tuple[Fit, ...] = ("stretch", "crop", "pad")

#: Value of the pixels that ``"pad"`` adds. Aligned faces, too, are black where the photograph ended.
PAD_COLOUR = 0


def fit_to_square(image: U8, out: U8, fit: Fit) -> None:
    """Resize an image to a square.

    - ``"stretch"`` resizes width and height independently to the side of the square; proportions change.
    - ``"crop"`` cuts the largest centred square out of the image and resizes it; what lies outside is lost.
    - ``"pad"`` resizes the image to fit in, centres it, and fills the rest with black.

    Args:
        image: uint8 [H, W, 3].
        out: Output, uint8 [side, side, 3]. Must not share memory with *image*.
        fit: One of :data:`FITS`.
    """
    side = out.shape[0]
    height, width = image.shape[:2]
    if fit == "stretch" or height == width:
        out[...] = resize(image, side, side)
    elif fit == "crop":
        inner = min(height, width)
        top = (height - inner) // 2
        left = (width - inner) // 2
        out[...] = resize(image[top : top + inner, left : left + inner], side, side)
    else:
        longer = max(height, width)
        rows = max(1, round(height * side / longer))
        columns = max(1, round(width * side / longer))
        top = (side - rows) // 2
        left = (side - columns) // 2
        out[...] = PAD_COLOUR
        out[top : top + rows, left : left + columns] = resize(image, rows, columns)


class ToSquare:
    """Brings images to one size, the first step of every transform.

    Args:
        side: Width and height in pixels.
        fit: See :func:`fit_to_square`.
        on_other_size: Called with height and width of each image that is not of this size.

    Raises:
        ValueError: *fit* is not one of :data:`FITS`.
    """

    def __init__(
        self, side: int, fit: Fit = "stretch", on_other_size: Callable[[int, int], None] | None = None
    ) -> None:
        self.side = side
        self.fit = checked_fit(fit)
        self.on_other_size = on_other_size

    def __call__(self, image: U8, out: U8) -> None:
        """Write *image*, uint8 [H, W, 3], to *out*, uint8 [side, side, 3]."""
        if image.shape != out.shape and self.on_other_size is not None:
            self.on_other_size(*image.shape[:2])
        fit_to_square(image, out, self.fit)


def checked_fit(fit: str) -> Fit:
    """Return *fit* if it is one of :data:`FITS`.

    Raises:
        ValueError: It is not.
    """
    if fit not in FITS:
        raise ValueError(f'fit is "stretch", "crop" or "pad", not {fit!r}')
    return fit
