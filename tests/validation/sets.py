"""Validation sets to test on: small faces of noise, as files that others would have written."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wds_face.errors import SourceError
from wds_face.validation.memfile import make_memmap


def jpeg(number: int, size: int = 112) -> bytes:
    """A JPEG of smooth noise."""
    pixels = np.random.default_rng(number).integers(0, 255, (7, 7, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def write_bin(path: Path, pairs: int = 6, seed: int = 0, size: int = 112, protocol: int = 4) -> tuple[list[bytes], Any]:
    """InsightFace's ``.bin``; its images and pairs."""
    bins = [jpeg(1000 * seed + number, size) for number in range(2 * pairs)]
    issame = [bool((number + seed) % 3) for number in range(pairs)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps((bins, issame), protocol))
    return bins, issame


def decoded(bins: list[bytes], channels: str = "rgb") -> NDArray[np.uint8]:
    """What OpenCV makes of them: ``[n, 3, height, width]``."""
    images = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in bins]
    return np.stack(images).transpose(0, 3, 1, 2)[:, :: 1 if channels == "bgr" else -1]


def normalized(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What torchvision's ToTensor and Normalize make of them, written out."""
    return (images.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)


def write_adaface(root: Path, name: str, pairs: int = 6, seed: int = 0) -> tuple[NDArray[np.float32], list[bool]]:
    """A set as AdaFace's code leaves it: floats, BGR, and nothing about channels."""
    bins, issame = write_bin(root / "tmp.bin", pairs, seed)
    (root / "tmp.bin").unlink()
    images = normalized(decoded(bins, "bgr"))
    folder = root / name / "memfile"
    folder.mkdir(parents=True)
    make_memmap(folder / "mem_file.dat", images)
    np.save(root / f"{name}_list.npy", np.array(issame))
    return images, issame


def refused(error: BaseException) -> bool:
    """Whether an error is one line that a user can act on."""
    return isinstance(error, SourceError) and "\n" not in str(error)
