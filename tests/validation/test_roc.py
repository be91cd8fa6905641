"""The picture of the ROC."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.validation.protocol import (
    columns,
    pairs,
)
from wds_face.errors import WdsFaceError
from wds_face.validation.roc import save_roc
from wds_face.validation.scores import evaluate_benchmarks
from wds_face.validation.verification import (
    evaluate_verification,
)


def test_roc_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    before = "matplotlib.pyplot" in sys.modules
    save_roc(tmp_path / "roc.png", evaluate_benchmarks(**columns()))
    with Image.open(tmp_path / "roc.png") as picture:
        assert picture.format == "PNG"
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 10
    perfect = evaluate_verification(*pairs(200, 64, 0.01))
    save_roc(str(tmp_path / "roc.svg"), {"perfect": perfect})
    assert "<svg" in (tmp_path / "roc.svg").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["roc.png", "roc.svg"]
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_roc_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    results = evaluate_benchmarks(**columns())
    with pytest.raises(ValueError, match=r"roc.xyz: the suffix must be one of .*png"):
        save_roc(tmp_path / "roc.xyz", results)
    with pytest.raises(ValueError, match="no results"):
        save_roc(tmp_path / "roc.png", {})

    def fail(figure: Figure, file: Any, **_: Any) -> None:
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Figure, "savefig", fail)
    (tmp_path / "roc.png").write_bytes(b"of before")
    with pytest.raises(OSError, match="no space left"):
        save_roc(tmp_path / "roc.png", results)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("roc.png", b"of before")]


def test_roc_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(WdsFaceError, match=r"matplotlib is not installed: pip install 'wds-face\[plot\]'"):
        save_roc(tmp_path / "roc.png", {})
