"""Writing records."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TextIO

from wds_face.errors import RecordError
from wds_face.location import local_path
from wds_face.recordio.format import MAX_LENGTH, encode


class RecordWriter:
    """Writes a ``.rec`` and its ``.idx``; both appear under their names when it is closed, or not at all.

    Args:
        rec: the record file to write.
        idx: its index; by default the same name with ``.idx``.
    """

    def __init__(self, rec: str | os.PathLike[str], idx: str | os.PathLike[str] | None = None) -> None:
        self.path = local_path(rec, "rec")
        self.idx = local_path(idx, "idx") if idx is not None else self.path.with_suffix(".idx")
        self._offset = 0
        self._rec: BinaryIO = self._part(self.path).open("wb")
        try:
            self._idx: TextIO = self._part(self.idx).open("w", encoding="ascii")
        except OSError:
            self._rec.close()
            self._part(self.path).unlink()
            raise

    @staticmethod
    def _part(path: Path) -> Path:
        return path.with_name(path.name + ".part")

    def write(self, key: int, record: bytes) -> None:
        """Append a record (as :func:`pack` makes it) under a key.

        Raises:
            RecordError: the record is longer than the format can say (512 MiB).
        """
        if len(record) > MAX_LENGTH:
            raise RecordError(f"record {key} has {len(record)} bytes; RecordIO holds at most {MAX_LENGTH}")
        data = b"".join(encode(record))
        self._idx.write(f"{key}\t{self._offset}\n")
        self._rec.write(data)
        self._offset += len(data)

    def close(self) -> None:
        """Finish both files and give them their names."""
        if not self._rec.closed:
            try:
                self._finish()
            except OSError:
                self._unlink()
                raise
            os.replace(self._part(self.path), self.path)
            os.replace(self._part(self.idx), self.idx)

    def discard(self) -> None:
        """Throw away what was written."""
        if not self._rec.closed:
            with suppress(OSError):
                self._finish()
            self._unlink()

    def _unlink(self) -> None:
        self._part(self.path).unlink(missing_ok=True)
        self._part(self.idx).unlink(missing_ok=True)

    def _finish(self) -> None:
        try:
            self._rec.close()
        finally:
            self._idx.close()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
