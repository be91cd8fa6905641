"""Encoded images to pixels."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt

from wds_face.images import Buffer

# Faces were aligned by their pixels, not by what a camera noted: PIL's loaders do not turn them either.
_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


def decode(data: Buffer) -> npt.NDArray[np.uint8] | None:
    """uint8 RGB [H, W, 3]; None for what is no image."""
    if not len(data):
        return None
    try:
        return cast("npt.NDArray[np.uint8] | None", cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS))
    except cv2.error:  # it says that it has more pixels than OpenCV takes
        return None
