"""Where the landmarks of an aligned face are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ARCFACE_112: npt.NDArray[np.float32] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""ArcFace's alignment template for 112x112 faces: float32 [5, 2], (x, y) in pixels; read-only.

In this order: left eye, right eye, nose tip, left mouth corner, right mouth corner; left is the viewer's left.
"""
ARCFACE_112.setflags(write=False)

AXIS = 56.0  # x of a frontal head's axis
