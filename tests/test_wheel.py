"""What `pip install` gets is all there: the masks too, which are no Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

USE = """
import numpy, wds_face
image, mask = wds_face.MedicalMaskOcclusion(prob=1)(numpy.full((112, 112, 3), 128, numpy.uint8))
print(wds_face.__file__, int((mask == 0).sum()))
"""


def test_the_wheel_brings_its_masks(tmp_path: Path) -> None:
    source, installed = tmp_path / "source", tmp_path / "installed"
    shutil.copytree(ROOT / "wds_face", source / "wds_face", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    masks = sorted(path.name for path in (ROOT / "wds_face/transforms/masks").iterdir())
    assert sorted(path.name for path in (installed / "wds_face/transforms/masks").iterdir()) == masks
    run = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    where, occluded = run.stdout.split()
    assert Path(where).is_relative_to(installed)
    assert int(occluded) > 2000
