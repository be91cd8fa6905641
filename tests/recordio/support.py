"""Records to test with, and the test's end of the pipe to real mxnet."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from wds_face.recordio import MAGIC, Header, RecordWriter, pack

DATA = Path(__file__).parent / "data"
MAGIC_BYTES = MAGIC.to_bytes(4, "little")

#: What every property test runs with: files are written, so time says nothing.
slow = settings(deadline=None, max_examples=100)

Record = tuple[int, bytes]


# --- records: the magic number stands in them as often as other bytes, at any alignment

_pieces = st.one_of(st.just(MAGIC_BYTES), st.binary(max_size=9), st.just(MAGIC_BYTES[:3]), st.just(bytes(4)))
payloads = st.lists(_pieces, max_size=8).map(b"".join)
ids = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([MAGIC, MAGIC << 32, MAGIC << 32 | MAGIC, MAGIC << 16]))
floats = st.one_of(
    st.floats(width=32, allow_nan=False),
    st.just(float(np.frombuffer(MAGIC_BYTES, "<f4")[0])),  # the magic number is a finite float32
)
labels = st.one_of(floats, st.integers(-(2**40), 2**40), st.lists(floats, max_size=5))
image_records = st.builds(lambda label, id1, id2, data: pack((0, label, id1, id2), data), labels, ids, ids, payloads)
records = st.one_of(payloads, image_records)


def part(flag: int, data: bytes) -> bytes:
    """One part of a record as it stands in a file."""
    return struct.pack("<II", MAGIC, flag << 29 | len(data)) + data + bytes(-len(data) % 4)


def on_disk(record: bytes) -> bytes:
    """A record as it stands in a file, by the letter of the format, word by word."""
    parts = [b""]
    for at in range(0, len(record), 4):
        if record[at : at + 4] == MAGIC_BYTES:
            parts.append(b"")
        else:
            parts[-1] += record[at : at + 4]
    flags = [0] if len(parts) == 1 else [1, *[2] * (len(parts) - 2), 3]
    return b"".join(map(part, flags, parts))


def numbered(items: Iterable[bytes]) -> list[Record]:
    """Records with the keys 0, 1, ..."""
    return list(enumerate(items))


def write(rec: Path, items: Iterable[Record]) -> Path:
    """Write records with our own writer."""
    with RecordWriter(rec) as writer:
        for key, record in items:
            writer.write(key, record)
    return rec


def starts(rec: Path) -> list[int]:
    """Where the records of a file begin, by its index."""
    return [int(line.split("\t")[1]) for line in rec.with_suffix(".idx").read_text().splitlines()]


def plain(header: Header) -> tuple[int, float | list[float], int, int]:
    """A header whose label can be compared with ``==``."""
    label = header.label.tolist() if isinstance(header.label, np.ndarray) else header.label
    return header.flag, label, header.id, header.id2


# --- mxnet


class Mxnet:
    """Real mxnet in a process of its own, see tests/oracle/mxnet_server.py."""

    def __init__(self, python: Path) -> None:
        server = Path(__file__).parents[1] / "oracle" / "mxnet_server.py"
        self._process = subprocess.Popen(
            [python, server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def _ask(self, do: str, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"mxnet ended with status {self._process.wait()}; its last words are on stderr")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"mxnet: {answer['error']}")
        return answer["ok"]

    def write(self, rec: Path, items: Iterable[Record]) -> Path:
        """Write records and their index."""
        self._ask(
            "write",
            rec=str(rec),
            idx=str(rec.with_suffix(".idx")),
            records=[(key, base64.b64encode(record).decode()) for key, record in items],
        )
        return rec

    def read(self, rec: Path) -> list[Record]:
        """Keys in the order of the index with the record of each."""
        pairs = self._ask("read", rec=str(rec), idx=str(rec.with_suffix(".idx")))
        return [(key, base64.b64decode(record)) for key, record in pairs]

    def scan(self, rec: Path) -> list[bytes]:
        """Records in the order of the file."""
        return [base64.b64decode(record) for record in self._ask("scan", rec=str(rec))]

    def pack(self, header: tuple[int, Any, int, int], payload: bytes, dtype: str | None = None) -> bytes:
        """``mxnet.recordio.pack``, of a label that is made a numpy type first where a dtype is given."""
        payload_text = base64.b64encode(payload).decode()
        return base64.b64decode(self._ask("pack", header=header, payload=payload_text, dtype=dtype))

    def unpack(self, record: bytes) -> tuple[tuple[int, float | list[float], int, int], bytes]:
        """``mxnet.recordio.unpack``, its label a list where it is an array."""
        *header, payload = self._ask("unpack", record=base64.b64encode(record).decode())
        return tuple(header), base64.b64decode(payload)

    def close(self) -> None:
        """Stop mxnet."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
