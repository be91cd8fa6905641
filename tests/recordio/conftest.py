"""One mxnet for the session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recordio.support import Mxnet

ENVIRONMENT = Path(os.environ.get("WDS_FACE_MXNET") or Path(__file__).parents[2] / ".venv-mxnet")


@pytest.fixture(scope="session")
def mxnet() -> Iterator[Mxnet]:
    """Real mxnet, where its environment is there; a file ``.ready`` in it may say why it is not."""
    ready, python = ENVIRONMENT / ".ready", ENVIRONMENT / "bin" / "python"
    if reason := ready.read_text().strip() if ready.is_file() else "":
        pytest.skip(reason)
    if not python.is_file():
        pytest.skip(f"no mxnet: python tests/oracle/environment.py {ENVIRONMENT.name} sets it up")
    server = Mxnet(python)
    yield server
    server.close()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for property tests, whose examples overwrite each other's files."""
    return tmp_path_factory.mktemp("scratch")
