"""The same images as a folder and as records, for what both data sets must do alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.support import Make
from tests.support import MakeFolder
from wds_face.datasets import AugmentRecordDataset, CustomImageFolderDataset
from wds_face.recordio import RecordWriter, pack


@pytest.fixture(params=["folder", "records"])
def make(request: pytest.FixtureRequest, tmp_path: Path, make_folder: MakeFolder, jpegs: list[bytes]) -> Make:
    """Makes either data set."""
    if request.param == "folder":
        folder = make_folder({f"person {i}": 3 for i in range(4)}, "images")
        return lambda *arguments, **options: CustomImageFolderDataset(folder, *arguments, **options)
    with RecordWriter(tmp_path / "train.rec") as writer:
        writer.write(0, pack((2, [13.0, 17.0], 0, 0), b""))
        for i in range(12):
            writer.write(1 + i, pack((0, i // 3, 1 + i, 0), jpegs[i]))
        for i in range(4):  # the images of each identity, as InsightFace has them
            writer.write(13 + i, pack((2, [1.0 + 3 * i, 4.0 + 3 * i], 13 + i, 0), b""))
    return lambda *arguments, **options: AugmentRecordDataset(tmp_path, *arguments, **options)
