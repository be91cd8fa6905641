"""A file system like Google's: its ``info`` is that of another API than its signed URLs lead to, with other ETags."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import fsspec
import pytest
from fsspec.registry import _registry

from tests.plain import PlainServer


class Google(fsspec.AbstractFileSystem):
    """Of the folder of a server."""

    protocol = ("gs", "gcs")
    cachable = False
    server: ClassVar[PlainServer]
    silence: ClassVar[float] = 0  # seconds that signing takes
    signed: ClassVar[int] = 0

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """As the JSON API has it."""
        file = self._file(path)
        return {"name": path, "size": file.stat().st_size, "type": "file", "etag": f"CJ{file.stat().st_mtime_ns}="}

    def sign(self, path: str, expiration: int = 100, **_: Any) -> str:
        """A URL of the XML API."""
        time.sleep(self.silence)
        type(self).signed += 1
        return self.server.url(self._strip_protocol(path))

    def _open(self, path: str, mode: str = "rb", **_: Any) -> BinaryIO:  # type: ignore[override]
        return self._file(path).open("rb")

    def _file(self, path: str) -> Path:
        return self.server.folder / self._strip_protocol(path)


@contextmanager
def google(folder: Path) -> Iterator[PlainServer]:
    """While it lasts, ``gs://`` is this folder."""
    with pytest.MonkeyPatch.context() as patch, PlainServer(folder) as server:
        patch.setitem(_registry, "gs", Google)
        patch.setattr(Google, "server", server, raising=False)
        patch.setattr(Google, "silence", 0)
        patch.setattr(Google, "signed", 0)
        yield server
