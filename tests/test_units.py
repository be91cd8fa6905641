"""Sizes as people read them."""

from __future__ import annotations

import pytest

from wds_face.units import size


@pytest.mark.parametrize(
    ("nbytes", "expected"), [(0, "0 B"), (999, "999 B"), (91_900_000, "91.9 MB"), (2 * 10**15, "2,000.0 TB")]
)
def test_for_people(nbytes: int, expected: str) -> None:
    assert size(nbytes) == expected
