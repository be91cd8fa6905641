"""Images in every form that people pass around, all with the same pixels."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torchvision import tv_tensors

U8 = npt.NDArray[np.uint8]


def colored(height: int = 112, width: int = 112, seed: int = 0) -> U8:
    """Smooth colours that clip nowhere: 60 to 190."""
    coarse = np.random.default_rng(seed).integers(60, 190, (5, 5, 3), np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))


def noisy(height: int = 112, width: int = 112, seed: int = 0) -> U8:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@cache
def small_mask() -> Path:
    """A mask picture of 60 x 40: reading it takes no time, reading the twelve of wds_face takes half a second."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    picture = np.zeros((40, 60, 4), np.uint8)
    picture[4:36, 6:54] = 90, 150, 200, 255
    Image.fromarray(picture).save(folder / "small.png")
    return folder / "small.png"


def _grey(pixels: U8) -> U8:
    return np.array(Image.fromarray(pixels).convert("L"))


def _planes(pixels: U8) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _alpha(pixels: U8) -> U8:
    return np.arange(pixels.shape[0] * pixels.shape[1]).reshape(pixels.shape[:2]).astype(np.uint8)


def _transparent_palette(pixels: U8) -> Image.Image:
    image = Image.fromarray(pixels).quantize(16)
    image.info["transparency"] = bytes(range(0, 160, 10))
    return image


def _read_only(pixels: U8) -> U8:
    out = pixels.copy()
    out.flags.writeable = False
    return out


def _strided(pixels: U8) -> U8:
    room = np.zeros((pixels.shape[0] * 2, pixels.shape[1] * 3, 3), np.uint8)
    room[::2, ::3] = pixels
    return room[::2, ::3]


#: Forms in which the colours are exactly those of the array.
COLORED: dict[str, Callable[[U8], Any]] = {
    "PIL RGB": Image.fromarray,
    "PIL RGBA": lambda pixels: Image.fromarray(np.dstack([pixels, _alpha(pixels)])),
    "array": np.copy,
    "array RGBA": lambda pixels: np.dstack([pixels, _alpha(pixels)]),
    "array 16 bit": lambda pixels: pixels.astype(np.uint16) << 8 | 77,
    "array 16 bit RGBA": lambda pixels: np.dstack([pixels, _alpha(pixels)]).astype(np.uint16) << 8,
    "array read-only": _read_only,
    "array strided": _strided,
    "array reversed": lambda pixels: np.ascontiguousarray(pixels[::-1, ::-1])[::-1, ::-1],
    "array Fortran": np.asfortranarray,
    "tensor": _planes,
    "tensor not contiguous": lambda pixels: torch.from_numpy(pixels.copy()).permute(2, 0, 1),
    "tv_tensor": lambda pixels: tv_tensors.Image(_planes(pixels)),
}

#: Forms in which the grey values are exactly those of PIL's "L".
GREY: dict[str, Callable[[U8], Any]] = {
    "PIL L": lambda pixels: Image.fromarray(_grey(pixels)),
    "PIL LA": lambda pixels: Image.merge("LA", [Image.fromarray(_grey(pixels)), Image.fromarray(_alpha(pixels))]),
    "PIL I;16": lambda pixels: Image.fromarray(_grey(pixels).astype(np.uint16) << 8 | 99),
    "array [H, W]": _grey,
    "array [H, W, 1]": lambda pixels: _grey(pixels)[..., None],
    "array 16 bit [H, W]": lambda pixels: _grey(pixels).astype(np.uint16) << 8,
    "array 16 bit [H, W, 1]": lambda pixels: _grey(pixels)[..., None].astype(np.uint16) << 8,
    "tensor [1, H, W]": lambda pixels: torch.from_numpy(_grey(pixels))[None],
    "tv_tensor [1, H, W]": lambda pixels: tv_tensors.Image(torch.from_numpy(_grey(pixels))[None]),
}

#: Forms in which colours are others, because they have fewer or other ones.
CONVERTED: dict[str, Callable[[U8], Any]] = {
    "PIL 1": lambda pixels: Image.fromarray(pixels).convert("1"),
    "PIL P": lambda pixels: Image.fromarray(pixels).quantize(16),
    "PIL P with transparency": _transparent_palette,
    "PIL CMYK": lambda pixels: Image.fromarray(pixels).convert("CMYK"),
    "PIL YCbCr": lambda pixels: Image.fromarray(pixels).convert("YCbCr"),
    "PIL HSV": lambda pixels: Image.fromarray(pixels).convert("HSV"),
}

FORMS = COLORED | GREY | CONVERTED


def kind(image: Any) -> tuple[Any, ...]:
    """What must stay as it is: type, mode or number of axes and channels."""
    if isinstance(image, Image.Image):
        return "PIL", "L" if image.mode in {"1", "L", "LA", "I;16"} else "RGB"
    if isinstance(image, np.ndarray):
        return "array", image.ndim, image.shape[2:] and min(image.shape[2], 3)
    return type(image), image.shape[0]


def eight_bits(image: Any) -> bool:
    """All that transforms give back is in 8 bits."""
    if isinstance(image, Image.Image):
        return image.mode in {"L", "RGB"}
    return bool(image.dtype in (np.uint8, torch.uint8))


def pixels_of(image: Any) -> U8:
    """The pixels as uint8 [H, W, 3], or [H, W] of a grey image."""
    if isinstance(image, Image.Image):
        return np.array(image)
    if isinstance(image, torch.Tensor):
        image = image.as_subclass(torch.Tensor).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image)


def size_of(image: Any) -> tuple[int, int]:
    """Height and width."""
    if isinstance(image, Image.Image):
        return image.height, image.width
    return tuple(image.shape[-2:] if isinstance(image, torch.Tensor) else image.shape[:2])  # type: ignore[return-value]


def contents(image: Any) -> tuple[Any, ...]:
    """All there is in an image, to see whether it was changed."""
    if isinstance(image, Image.Image):
        return image.mode, image.size, image.tobytes(), dict(image.info)
    array = image.as_subclass(torch.Tensor).numpy() if isinstance(image, torch.Tensor) else image
    return array.shape, array.dtype, array.strides, array.tobytes()
