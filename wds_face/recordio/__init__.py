"""MXNet RecordIO files, read and written without mxnet.

Format (dmlc-core ``recordio.h``), little-endian, everything aligned to 4 bytes::

    part   = u32 0xced7230a, u32 flag << 29 | length, data, zero padding
    record = one part of flag 0, or parts of flag 1 (first), 2 (middle) ..., 3 (last)

The writer drops the magic number wherever it stands 4-aligned inside a record and starts a new part there; the
reader puts it back. An image record begins with MXNet's ``IRHeader`` ``<IfQQ`` (flag, label, id, id2), followed by
``flag`` float32 labels when ``flag > 0``. The ``.idx`` beside it holds lines of ``key<TAB>offset`` in order of writing.
"""

from wds_face.recordio.format import MAGIC, MAX_LENGTH, Header, pack, unpack
from wds_face.recordio.reader import HEADERS, RecordReader, read_idx
from wds_face.recordio.writer import RecordWriter

__all__ = [
    "HEADERS",
    "MAGIC",
    "MAX_LENGTH",
    "Header",
    "RecordReader",
    "RecordWriter",
    "pack",
    "read_idx",
    "unpack",
]
