"""Input for the tests: small folders of real JPEG files, and the shared face data where it is there."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.support import SHARED, MakeFolder, jpeg


@pytest.fixture(scope="session")
def jpegs() -> list[bytes]:
    """Sixty different JPEG files."""
    return [jpeg(number) for number in range(60)]


@pytest.fixture
def make_folder(tmp_path: Path, jpegs: list[bytes]) -> MakeFolder:
    """``make_folder({"anna": 3, "bob": 1})`` writes an image folder and returns its path."""

    def make(counts: dict[str, int], name: str = "faces") -> Path:
        root = tmp_path / name
        number = 0
        for identity, images in counts.items():
            (root / identity).mkdir(parents=True)
            for i in range(images):
                (root / identity / f"{i:04d}.jpg").write_bytes(jpegs[number % len(jpegs)])
                number += 1
        return root

    return make


@pytest.fixture
def faces(make_folder: MakeFolder) -> Path:
    """Twenty identities with 1 to 6 images, 66 in all."""
    return make_folder({f"person {i:02d}": 1 + i % 6 for i in range(20)})


@pytest.fixture(scope="session")
def lfw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of 5,749 real identities, where the shared data is there."""
    archive = SHARED / "data" / "lfw_aligned_112.tar"
    if not archive.is_file():
        pytest.skip("the shared face data is not here")
    root = tmp_path_factory.mktemp("lfw")
    with tarfile.open(archive) as tar:
        tar.extractall(root, filter="data")
    return root / "lfw_aligned_112"


@pytest.fixture(scope="session")
def lfw_rec() -> Path:
    """A folder with real records, where the shared data is there."""
    folder = SHARED / "data" / "lfw_rec"
    if not folder.is_dir():
        pytest.skip("the shared face data is not here")
    return folder
