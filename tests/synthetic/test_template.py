"""The alignment template."""

from __future__ import annotations

import numpy as np
import pytest

from wds_face.synthetic import ARCFACE_112


def test_the_template_is_arcfaces_and_read_only() -> None:
    assert ARCFACE_112.shape == (5, 2)
    assert ARCFACE_112.dtype == np.float32
    np.testing.assert_allclose(ARCFACE_112[0], (38.2946, 51.6963), rtol=1e-6)
    np.testing.assert_allclose(ARCFACE_112[4], (70.7299, 92.2041), rtol=1e-6)
    with pytest.raises(ValueError, match="read-only"):
        ARCFACE_112[0, 0] = 0
