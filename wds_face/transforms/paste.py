"""The inner loop of pasting: one pass over the pixels instead of the nine that OpenCV would take."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

from numba import njit


def _compiled(signature: str) -> Callable[[Any], Any]:
    """``numba.njit`` at import, kept on disk for the next process where there is a folder for it."""

    def compile_(function: Any) -> Any:
        try:
            return njit(signature, cache=True)(function)
        except RuntimeError:  # neither the package's folder nor a home can be written to
            return njit(signature)(function)

    return compile_


@_compiled("void(u1[:,:,::1], u1[:,::1], u1[:,:,::1], f8, f8, f8, f8, f8, f8, i8, i8, f8, f8, f8)")
def paste(  # type: ignore[no-untyped-def]  # noqa: PLR0917 (numba takes no keywords)
    image, mask, texels, xx, xy, x0, yx, yy, y0, top, bottom, red, green, blue
):
    """Draw a texture over an image, alpha blended, and set a mask to 0 where its alpha is above 128.

    Args:
        image: uint8 [H, W, 3], changed in place.
        mask: uint8 [H, W], changed in place.
        texels: uint8 [h + 2, w + 2, 4], premultiplied RGBA in a transparent border.
        xx, xy, x0, yx, yy, y0: pixel (column, row) shows texel (xx * column + xy * row + x0, yx * column + yy * row
            + y0) rounded down, counted without the border.
        top, bottom: rows to look at, within the image.
        red, green, blue: what the texture's colours are multiplied by, in [0, 255].
    """
    high, wide = texels.shape[0] - 2, texels.shape[1] - 2
    gains = int(red * 256), int(green * 256), int(blue * 256)
    step_x, step_y = int(xx * 65536), int(yx * 65536)
    for row in range(top, bottom):
        # columns at which the texel lies within the texture: 0 <= slope * column + start < size, for x and for y
        first, last = 0, image.shape[1]
        for slope, start, size in ((xx, xy * row + x0, wide), (yx, yy * row + y0, high)):
            if slope > 1e-9:
                first = max(first, ceil(-start / slope))
                last = min(last, ceil((size - start) / slope))
            elif slope < -1e-9:
                first = max(first, ceil((size - start) / slope))
                last = min(last, ceil(-start / slope))
            elif not 0 <= start < size:
                last = first
        # 16.16 fixed point from the middle of the row's columns on would drift by less than a texel: hence the border
        x = int((xx * first + xy * row + x0 + 1) * 65536)
        y = int((yx * first + yy * row + y0 + 1) * 65536)
        for column in range(first, last):
            i, j = y >> 16, x >> 16
            x += step_x
            y += step_y
            alpha = int(texels[i, j, 3])
            if alpha == 0:
                continue
            if alpha > 128:
                mask[row, column] = 0
            rest = (255 - alpha) * 257
            for channel in range(3):
                value = (int(texels[i, j, channel]) * gains[channel]) >> 8
                if alpha < 255:
                    value += (int(image[row, column, channel]) * rest + 32768) >> 16
                image[row, column, channel] = min(value, 255)
