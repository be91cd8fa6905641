"""Real mxnet at the end of a pipe, so that one process serves a whole test session.

Runs in an environment of its own (see environment.py). Every line on stdin is a JSON object, ``{"do": name, ...}``,
every line on stdout its answer, ``{"ok": value}`` or ``{"error": text}``. Bytes travel as base64.
"""

from __future__ import annotations

import base64
import json
import os
import sys

import mxnet as mx
import numpy as np

decode = base64.b64decode


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def write(rec: str, idx: str, records: list) -> None:
    """Write raw records under their keys."""
    file = mx.recordio.MXIndexedRecordIO(idx, rec, "w")
    for key, record in records:
        file.write_idx(key, decode(record))
    file.close()


def pack(header: list, payload: str, dtype: str | None = None) -> str:
    """A record from a header and a payload; the label is given to mxnet as a numpy type where there is a dtype."""
    flag, label, key, key2 = header
    if dtype is not None:
        label = np.asarray(label, dtype)[()]
    return encode(mx.recordio.pack(mx.recordio.IRHeader(flag, label, key, key2), decode(payload)))


def unpack(record: str) -> list:
    """A record taken apart: flag, label, id, id2, payload."""
    header, payload = mx.recordio.unpack(decode(record))
    label = header.label.tolist() if isinstance(header.label, np.ndarray) else header.label
    return [header.flag, label, header.id, header.id2, encode(payload)]


def read(rec: str, idx: str) -> list:
    """Keys in the order of the index, each with the record that the key leads to."""
    file = mx.recordio.MXIndexedRecordIO(idx, rec, "r")
    pairs = [[key, encode(file.read_idx(key))] for key in file.keys]
    file.close()
    return pairs


def scan(rec: str) -> list:
    """All records in the order of the file."""
    file = mx.recordio.MXRecordIO(rec, "r")
    records = [encode(record) for record in iter(file.read, None)]
    file.close()
    return records


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever mxnet prints goes to stderr
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"ok": COMMANDS[request.pop("do")](**request)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


COMMANDS = {command.__name__: command for command in (write, pack, unpack, read, scan)}

if __name__ == "__main__":
    main()
