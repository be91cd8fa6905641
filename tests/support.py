"""What several tests need: small JPEG files, sums of a folder, the place of the shared data."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from wds_face.cli import main

#: Makes an image folder: ``make_folder({"anna": 3, "bob": 1})``.
MakeFolder = Callable[..., Path]

SHARED = Path(__file__).parents[2] / "shared"


def jpeg(number: int, size: int = 24) -> bytes:
    """A small JPEG that differs from those of other numbers."""
    pixels = np.random.default_rng(number).integers(0, 255, (4, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def sums(folder: Path) -> dict[str, str]:
    """sha256 of every file in a folder, hidden ones included."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def command(*arguments: object) -> int:
    """The exit code of ``wds-face`` in this process, where importing torch takes no time."""
    try:
        main(list(map(str, arguments)))
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
