"""The bytes of a record: parts, image header, labels."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from wds_face.errors import RecordError

#: Begins every part of a record.
MAGIC = 0xCED7230A
#: Bytes that the length field of a part can say.
MAX_LENGTH = (1 << 29) - 1

MAGIC_BYTES = struct.pack("<I", MAGIC)
PART = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")


class Header(NamedTuple):
    """MXNet's IRHeader. ``label`` is a float, or float32 ``[flag]`` when ``flag > 0``."""

    flag: int
    label: Any
    id: int
    id2: int


def pack(header: tuple[int, Any, int, int], payload: bytes) -> bytes:
    """A record as ``mxnet.recordio.pack`` makes it: ``flag`` is recomputed from the label, whatever was passed."""
    _, label, key, key2 = header
    if isinstance(label, (int, float, np.number)):
        return _HEADER.pack(0, label, key, key2) + payload
    labels = np.asarray(label, dtype="<f4").ravel()
    return _HEADER.pack(labels.size, 0.0, key, key2) + labels.tobytes() + payload


def unpack(record: bytes | memoryview) -> tuple[Header, memoryview]:
    """Split a record into its header and the bytes of its image (a view, not a copy).

    Raises:
        RecordError: the record is shorter than its header or than the labels that its header announces.
    """
    view = memoryview(record)
    if len(view) < 24:
        raise RecordError(f"record of {len(view)} bytes is shorter than an image header (24 bytes)")
    flag, label, key, key2 = _HEADER.unpack_from(view)
    if not flag:
        return Header(0, label, key, key2), view[24:]
    start = 24 + 4 * flag
    if start > len(view):
        raise RecordError(f"record of {len(view)} bytes announces {flag} labels, which need {start} bytes")
    return Header(flag, np.frombuffer(view, "<f4", flag, 24), key, key2), view[start:]


def encode(record: bytes) -> Iterator[bytes]:
    """The bytes of a record on disk: one part, or several where it holds the magic number on a 4-byte boundary."""
    begin = 0
    aligned = len(record) // 4 * 4
    at = record.find(MAGIC_BYTES, 0, aligned)
    while at >= 0:
        if at % 4:
            at = record.find(MAGIC_BYTES, at + 1, aligned)
            continue
        yield PART.pack(MAGIC, (2 if begin else 1) << 29 | at - begin)
        yield record[begin:at]
        begin = at + 4
        at = record.find(MAGIC_BYTES, begin, aligned)
    yield PART.pack(MAGIC, (3 if begin else 0) << 29 | len(record) - begin)
    yield record[begin:]
    yield bytes(-len(record) % 4)
