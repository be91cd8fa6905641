"""Paths and URLs: which of both a text is, and arguments that take paths on this machine only."""

from __future__ import annotations

import os
import re
from pathlib import Path

from wds_face.errors import PathError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")
# What pathlib leaves of a URL: Path("s3://bucket/x") is "s3:/bucket/x".
_COLLAPSED = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):/(?!/)")
_LOCAL_FILE = "file:///"


def is_url(location: str | os.PathLike[str]) -> bool:
    """Return whether a path or URL is one for fsspec to open, rather than a path on this machine.

    ``::`` makes a chain, as in ``simplecache::s3://bucket/set``, only where each part before it names a protocol of
    fsspec. Otherwise it is part of a local name: ``run::2026/shards``.

    Raises:
        PathError: it can be read in two ways, or is a URL that ``pathlib.Path`` has shortened.
    """
    text = os.fsdecode(location)
    if text.startswith(("/", "./", "../")):
        return False
    if "::" in text:
        return _is_chain(text)
    if _SCHEME.match(text):
        return True
    collapsed = _COLLAPSED.match(text)
    if collapsed and _known(collapsed[1]):
        protocol = collapsed[1]
        raise PathError(
            f"{shown(text)} looks like a URL with one slash instead of two: write {protocol}://…, and pass URLs as "
            "text, since pathlib.Path shortens them (to mean a local folder, give its absolute path)"
        )
    return False


def local_path(path: str | os.PathLike[str], argument: str) -> Path:
    """Return a path on this machine; see :func:`local_text`."""
    return Path(local_text(path, argument))


def local_text(path: str | os.PathLike[str], argument: str) -> str:
    """Return a path on this machine as it was given. ``file:///…`` is one, too.

    Args:
        path: Path to check.
        argument: What the path is, for the message: ``"cache_dir"``.

    Raises:
        PathError: It is a URL.
    """
    text = os.fsdecode(path)
    if text.startswith(_LOCAL_FILE):
        return text.removeprefix("file://")
    if is_url(text):
        raise PathError(f"{argument} {shown(text)} is a URL: give a path on this machine")
    return text


def shown(url: str) -> str:
    """Return a URL, or a chain of them, for messages: without user names, passwords, and signed queries."""
    return re.sub(r"(https?://[^?\s]*\?)\S+", r"\1…", re.sub(r"//[^/]*@", "//", url))


def _is_chain(text: str) -> bool:
    """Return whether a text with ``::`` is a chain of URLs."""
    parts = text.split("::")
    unknown = [part for part in parts[:-1] if not _known(part.partition("://")[0])]
    has_scheme = any(_SCHEME.match(part) for part in parts)
    if not unknown and has_scheme:
        return True
    if not unknown:
        raise PathError(
            f"{shown(text)} is neither clearly a URL nor clearly a local path: write ./{shown(text)} for the path, or "
            "a URL with :// after the last ::"
        )
    if has_scheme:
        raise PathError(
            f"{shown(text)} is not a URL: {unknown[0]!r} before :: is not a protocol of fsspec, as simplecache is"
        )
    return False


def _known(protocol: str) -> bool:
    """Return whether fsspec knows a protocol."""
    import fsspec  # noqa: PLC0415 (it takes longer to import than a worker takes to write its first shard)

    return protocol in fsspec.available_protocols()
