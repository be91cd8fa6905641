"""The inner loops of putting a picture on faces: one pass over the pixels instead of the nine that OpenCV would
take."""

from __future__ import annotations

from math import ceil

import numpy as np

from wds_face.jit import compiled, prefetch

# Rows. Half of the time would go into waiting for texels: each row has others, and no row is read twice.
_AHEAD = 2
_LINE = 32  # texels that come together


@compiled("f8[:,::1](u1[:,:,:,::1], i8[::1], i8[:,::1])")
def mean_colors(images, which, boxes):  # type: ignore[no-untyped-def]
    """The mean colours of parts of images, from every second pixel of every second row.

    Args:
        images: uint8 [N, H, W, 3].
        which: int64 [M], the images.
        boxes: int64 [M, 4], top, bottom, left, right of each; not empty, and within the image.

    Returns:
        float64 [M, 3].
    """
    means = np.empty((len(which), 3))
    for m in range(len(which)):
        image = images[which[m]]
        top, bottom, left, right = boxes[m]
        first, second, third, count = 0, 0, 0, 0
        for row in range(top, bottom, 2):
            for column in range(left, right, 2):
                first += image[row, column, 0]
                second += image[row, column, 1]
                third += image[row, column, 2]
                count += 1
        means[m, 0], means[m, 1], means[m, 2] = first / count, second / count, third / count
    return means


@compiled(
    "void(u1[:,:,:,::1], u1[:,:,::1], u2[::1], i8[:,::1], u1[:,:,::1], i8[::1], i8[::1], i8[::1], f8[:,::1],"
    "i8[:,::1], i8[:,::1])"
)
def paste(  # type: ignore[no-untyped-def]  # noqa: PLR0912, PLR0917 (numba inlines no helpers, takes no keywords)
    images, masks, texels, places, palettes, order, which, looks, affines, rows, gains
):
    """Draw textures over images, blended by their alpha, and set masks to 0 where that is above 128.

    Args:
        images: uint8 [N, H, W, 3], changed in place.
        masks: uint8 [N, H, W], changed in place.
        texels: uint16, of all textures, 256 times alpha plus the number in the palette, each with a transparent border
            of one: see :class:`~wds_face.transforms.textures.Atlas`.
        places: int64 [M, 3], of the texture of each: where it begins, and its height and width, without the border.
        palettes: uint8 [P, 256, 3].
        order: int64 [M], in which they are drawn.
        which: int64 [M], the images.
        looks: int64 [M], the palettes.
        affines: float64 [M, 6], (xx, xy, x0, yx, yy, y0): the pixel at (column, row) shows the texel at (xx * column
            + xy * row + x0, yx * column + yy * row + y0), rounded down and counted without the border.
        rows: int64 [M, 2], the first row to look at and the one after the last, within the image.
        gains: int64 [M, 3], 256 times what colours are multiplied by.
    """
    colors = np.empty(256, np.uint32)
    for m in order:
        image, mask, palette = images[which[m]], masks[which[m]], palettes[looks[m]]
        begin, high, wide = places[m, 0], places[m, 1], places[m, 2]
        texture = texels[begin : begin + (high + 2) * (wide + 2)].reshape(high + 2, wide + 2)
        xx, xy, x0, yx, yy, y0 = affines[m]
        red, green, blue = gains[m]
        for number in range(256):
            first, second, third = palette[number, 0] * red, palette[number, 1] * green, palette[number, 2] * blue
            colors[number] = min(255, first >> 8) | min(255, second >> 8) << 8 | min(255, third >> 8) << 16
        step_x, step_y, ahead = int(xx * 65536), int(yx * 65536), int(yy * _AHEAD * 65536)  # 16.16 fixed point
        stride = max(1, int(_LINE / max(abs(xx), 1.0)))  # columns
        for row in range(rows[m, 0], rows[m, 1]):
            # The columns at which the texel lies within the texture: 0 <= slope * column + start < size in x and y.
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
            # Along a row the rounded steps drift by less than a texel, and end in the border at most.
            x = int((xx * first + xy * row + x0 + 1) * 65536)
            y = int((yx * first + yy * row + y0 + 1) * 65536)
            soon = (y + ahead) >> 16
            if 0 <= soon < high + 2:
                at = begin + soon * (wide + 2)
                for column in range(0, last - first, stride):
                    prefetch(texels, at + ((x + column * step_x) >> 16))
            pixels, visible = image[row], mask[row]
            for column in range(first, last):
                at = np.uintp(column)  # unsigned: numba counts signed ones from the end where they are negative
                texel = texture[np.uintp(y >> 16), np.uintp(x >> 16)]
                x += step_x
                y += step_y
                alpha = texel >> 8
                if alpha == 0:
                    continue
                color = colors[np.uintp(texel & 255)]
                if alpha == 255:
                    pixels[at, 0] = color & 255
                    pixels[at, 1] = color >> 8 & 255
                    pixels[at, 2] = color >> 16
                    visible[at] = 0
                else:
                    for channel in range(3):
                        mixed = (color >> 8 * channel & 255) * alpha + pixels[at, channel] * (255 - alpha)
                        pixels[at, channel] = (mixed * 257 + 32768) >> 16  # / 255, rounded
                    if alpha > 128:
                        visible[at] = 0
