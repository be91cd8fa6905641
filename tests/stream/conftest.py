"""The data set of noise, on disk and in a bucket."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.servers import Bucket
from tests.stream.noise import digest, stream
from wds_face import ImageFolder, Options, convert


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 identities with 1 to 6 images of noise: 12 MB, which are 40 segments in 3 shards."""
    root = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for identity in range(120):
        (root / f"{identity:03d}").mkdir()
        for image in range(1 + identity % 6):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (112, 112, 3), np.uint8)).save(file, "JPEG", quality=98)
            (root / f"{identity:03d}" / f"{image}.jpg").write_bytes(file.getvalue())
    return root


@pytest.fixture(scope="session")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set on disk."""
    dest = tmp_path_factory.mktemp("made") / "set"
    convert(ImageFolder(folder), dest, Options(shard_size=4 << 20), workers=1)
    return dest


@pytest.fixture
def remote(bucket: Bucket, made: Path) -> Bucket:
    """The data set in a bucket, as ``set``."""
    assert bucket.folder is not None
    shutil.copytree(made, bucket.folder / "set")
    return bucket


@pytest.fixture(scope="session")
def wanted(made: Path) -> list[str]:
    """The sums of the batches of two epochs, from disk."""
    return digest(stream(str(made)), epochs=2)
