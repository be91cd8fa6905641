"""What differs between the images of an identity."""

from __future__ import annotations

from typing import Final

import numpy as np

from wds_face.synthetic.template import AXIS


class Variation:
    """Pose, expression, light, background and sensor of one image, drawn from *rng*."""

    def __init__(self, rng: np.random.Generator) -> None:
        uniform = rng.uniform

        def normal(sigma: float, limit: float) -> float:
            return float(np.clip(rng.normal(0, sigma), -limit, limit))

        self.yaw: Final = normal(0.5, 1)  # to the viewer's right
        # landmarks stay on the template, so when a head turns its outline moves
        self.axis: Final = AXIS - 2.6 * self.yaw
        self.roll: Final = normal(0.6, 1.2)  # degrees
        self.shift: Final = uniform(-0.5, 0.5, 2)  # px
        self.smile: Final = min(1.0, uniform(0.0, 1.25))
        self.gap: Final = uniform(2, 6.5) if uniform() < 0.4 else 0.0  # px the lips are apart
        self.lid: Final = uniform(0.8, 1.08)  # 1: an open eye
        self.lift: Final = normal(0.7, 1.5)  # px the brows are raised
        self.gaze: Final = normal(0.6, 1.2), normal(0.25, 0.5)  # px
        self.light: Final = uniform(-0.8, 0.8), uniform(-0.75, -0.1)  # where it comes from: x, y in -1..1
        self.ambient: Final = uniform(0.36, 0.58)  # 1: light from everywhere
        self.background: Final = 255 * uniform(0.3, 0.95) * (1 - uniform(0.1, 0.45) * rng.random(3))
        warmth = normal(0.03, 0.08)
        self.gain: Final = uniform(0.88, 1.1) * np.array([1 + warmth, 1, 1 - warmth])  # exposure, white balance
        self.noise: Final = uniform(0.5, 2.6)  # grey levels
