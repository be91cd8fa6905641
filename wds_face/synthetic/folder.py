"""A population of synthetic faces as a folder of JPEG files."""

from __future__ import annotations

import os

import cv2
import numpy as np

from wds_face.location import local_path
from wds_face.synthetic.portrait import face


def write_folder(
    root: str | os.PathLike[str],
    *,
    identities: int = 200,
    images: int | tuple[int, int] = (2, 16),
    seed: int = 0,
    quality: int = 95,
) -> int:
    """Write a population as JPEG files, ``ROOT/person_0000/0000.jpg`` and so on.

    Args:
        root: the folder, made if need be.  Files of the same name are replaced, others stay.
        identities: how many people, at least 1.
        images: pictures of each: a number, or an inclusive range ``(least, most)`` out of which each person's is
            drawn with a long tail, many people near the least and few near the most.  At least 1.
        seed: see :func:`face`.  A person's pictures do not depend on how many people there are.
        quality: JPEG's, 1..100.

    Returns:
        How many images were written.

    Raises:
        PathError: if *root* is a URL.
        ValueError: if an argument is out of its range.
    """
    base = local_path(root, "root")
    least, most = images if isinstance(images, tuple) else (images, images)
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    if identities < 1:
        raise ValueError(f"identities must be at least 1, got {identities}")
    if not 1 <= least <= most:
        raise ValueError(f"images must be at least 1, or a range (least, most) of such, got {images}")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be in 1..100, got {quality}")
    written = 0
    for identity in range(identities):
        folder = base / f"person_{identity:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        chance = np.random.default_rng([seed, identity, 0, 1]).random()
        count = least + int((most - least + 1) * chance**3)
        for image in range(count):
            picture = face(identity, image, seed=seed)[:, :, ::-1]  # OpenCV writes BGR
            _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
            (folder / f"{image:04d}.jpg").write_bytes(jpeg.tobytes())
        written += count
    return written
