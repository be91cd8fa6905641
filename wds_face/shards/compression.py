"""Detect how a shard is compressed from its content, and decompress it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from wds_face import git_lfs
from wds_face.errors import SourceError, TarError
from wds_face.shards.names import Compression

#: Number of bytes at the start of a file that are needed to recognize its format.
HEAD = 512

# Number of bytes that are decompressed at a time.
_CHUNK = 1 << 20
# Memory limit of the xz decompressor, in bytes; files made by `xz -9` need 65 MiB. Files that need more are refused.
_XZ_MEMORY = 512 << 20

_MAGICS: tuple[tuple[bytes, Compression], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
# Other formats that are found under the names of shards, and what to do about each.
_OTHERS = (
    (git_lfs.POINTER, f"is {git_lfs.REASON}"),
    (b"\x04\x22\x4d\x18", "is compressed by lz4, which is not read: decompress it first"),
    (b"\x1f\x9d", "is compressed by compress, which is not read: decompress it first"),
    (b"LZIP", "is compressed by lzip, which is not read: decompress it first"),
    (b"PK\x03\x04", "is a zip file, not a tar: unpack it, and convert the folder"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z file, not a tar: unpack it, and convert the folder"),
    (b"Rar!", "is a rar file, not a tar: unpack it, and convert the folder"),
    (b"PAR1", "is a Parquet file, not a tar"),
    (b"ARROW1", "is an Arrow file, not a tar"),
    (b"<!doctype html", "is a web page, not a tar: download it again"),
    (b"<html", "is a web page, not a tar: download it again"),
    (b"<?xml", "is an XML page, such as a server's error, not a tar: download it again"),
)


def recognize(head: bytes) -> Compression:
    """Return how a shard is compressed, "" for a plain tar or an unknown format.

    Args:
        head: The first :data:`HEAD` bytes of the file, or all of a shorter one.

    Raises:
        TarError: The file has another known format. The message names it and the remedy.
    """
    for magic, compression in _MAGICS:
        if head.startswith(magic):
            return compression
    lower = head[:64].lstrip().lower()
    for magic, what in _OTHERS:
        if head.startswith(magic) or (magic.startswith(b"<") and lower.startswith(magic)):
            raise TarError(what)
    return ""


def looks_like_tar(head: bytes) -> bool:
    """Return whether the first :data:`HEAD` bytes of a file are the header of a POSIX or GNU tar."""
    return head[257:262] == b"ustar"


def require(compression: Compression | None) -> None:
    """Check that the package for a compression is installed.

    Raises:
        SourceError: It is not.
    """
    if compression == "zstd":
        _zstd()


def decompressed(file: io.BufferedReader, compression: Compression) -> Iterator[bytes]:
    """Yield the content of a file in pieces of at most 1 MiB.

    Raises:
        TarError: The file is damaged, after everything before the damage was yielded.
        SourceError: The package for its compression is not installed.
    """
    try:
        if compression == "":
            yield from iter(lambda: file.read(_CHUNK), b"")
        elif compression == "gzip":
            unzipped = gzip.GzipFile(fileobj=file)
            yield from iter(lambda: unzipped.read1(_CHUNK), b"")
        else:
            yield from _streams(file, _decompressor(compression))
    except _errors(compression) as error:
        raise TarError(f"its {compression} data is damaged or cut off ({error})") from None


def _streams(file: io.BufferedReader, make: Callable[[], Any]) -> Iterator[bytes]:
    """Yield the content of concatenated compressed streams."""
    data = file.read(_CHUNK)
    while data:
        stream = make()
        while not stream.eof:
            if stream.needs_input and not data:
                data = file.read(_CHUNK)
                if not data:
                    raise EOFError("the end is missing")
            try:
                piece = stream.decompress(data, _CHUNK)
            except OSError as error:  # bz2 raises it for damaged data; no file is read here
                raise EOFError(error) from None
            data = b""
            if piece:
                yield piece
        # xz may pad a stream with zeros
        data = (stream.unused_data or file.read(_CHUNK)).lstrip(b"\0")


def _decompressor(compression: Compression) -> Callable[[], Any]:
    if compression == "bzip2":
        return bz2.BZ2Decompressor
    if compression == "xz":
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)
    decompressor: Callable[[], Any] = _zstd().ZstdDecompressor
    return decompressor


def _errors(compression: Compression) -> tuple[type[Exception], ...]:
    errors = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError)
    return (*errors, _zstd().ZstdError) if compression == "zstd" else errors


def _zstd() -> Any:
    try:
        from compression import zstd  # noqa: PLC0415 (Python 3.14)
    except ImportError:
        try:
            from backports import zstd  # noqa: PLC0415 (it is an extra)
        except ImportError:
            raise SourceError("shards compressed by zstd need a package: pip install 'wds-face[zstd]'") from None
    return zstd
