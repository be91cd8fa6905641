"""Errors that a user can act on: one line that names the thing and the remedy."""

from __future__ import annotations

import errno

#: Errors of reading that say nothing of the file: it must not be left out for them.
NOT_THE_FILE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT})


class WdsFaceError(Exception):
    """Base of every error that wds_face raises on purpose; the command line prints it without a traceback."""


class SourceError(WdsFaceError):
    """A source (folder, record file, foreign shards) cannot be read as what it was said to be."""


class DatasetError(WdsFaceError):
    """A converted data set is missing, incomplete or contradicts itself."""


class ListingError(DatasetError):
    """A server does not list its folders, as most of plain HTTP do not."""


class PathError(WdsFaceError, ValueError):
    """A path or a URL cannot be used where it was given."""


class TransferError(WdsFaceError):
    """A batch cannot be sent from a worker to the main process, or was lost on the way."""


class RecordError(WdsFaceError, ValueError):
    """A RecordIO file breaks its format. ``offset`` is the byte where the broken part begins."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset

    def __reduce__(self) -> tuple[type[RecordError], tuple[str, int]]:
        return type(self), (str(self), self.offset)


class TarError(WdsFaceError, ValueError):
    """A tar file breaks its format; the message names the byte."""
