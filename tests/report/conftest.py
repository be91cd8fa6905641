"""A data set of drawn faces as no one would have it: other sizes and formats, grey ones, odd names, a damaged image."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wds_face import ImageFolder, convert
from wds_face.report import write_report
from wds_face.synthetic import face

#: Names of the first identities.
NAMES = ("<script>alert(1)</script>", "a&b \"q\" 'r'", "Zoë\N{ZERO WIDTH SPACE}")
OPTIONS = {"p": 4, "k": 2, "samples": 60}


def broken() -> bytes:
    """A PNG that is whole, with pixels that are not."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 10, 10, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"no pixels") + chunk(b"IEND", b"")


def encoded(image: np.ndarray, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, quality=90)
    return file.getvalue()


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 identities of 1 to 3 images."""
    root = tmp_path_factory.mktemp("odd")
    for i in range(20):
        folder = root / "faces" / (NAMES[i].replace("/", "\N{FRACTION SLASH}") if i < len(NAMES) else f"p{i:02d}")
        folder.mkdir(parents=True)
        for j in range(1 + i % 3):
            image = face(i, j)
            if i == 5:
                image = image[:80, :100]
            if i == 6:
                image = np.repeat(image[..., 1:2], 3, 2)
            kind = "PNG" if i == 7 else "JPEG"
            (folder / f"{j}.{kind.lower()}").write_bytes(encoded(np.ascontiguousarray(image), kind))
    (root / "faces" / "p08" / "0.png").write_bytes(broken())
    (root / "faces" / "p09" / "cut.jpg").write_bytes(encoded(face(9, 9))[:-9])
    convert(ImageFolder(root / "faces"), root / "set", workers=1, max_skipped=1)
    return root / "set"


@pytest.fixture(scope="session")
def page(odd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on it."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(odd, path, **OPTIONS)
    return path
