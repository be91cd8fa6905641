"""A data set for commands to look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from wds_face import ImageFolder, convert


@pytest.fixture
def made(faces: Path, tmp_path: Path) -> Path:
    convert(ImageFolder(faces), tmp_path / "set", workers=1)
    return tmp_path / "set"
