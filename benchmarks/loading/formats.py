"""The same faces in every system's own format, for throughput.py.

Each is made in a process of its own.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import convert as writing
from convert import LFW, identities, images, source

SHARD = 16 << 20  # bytes of a shard, whoever writes it: enough of them for every worker


def folder(root: Path, dest: Path, count: int) -> None:
    """An image folder: LFW, or faces drawn for the purpose, every identity under new names until there are *count*."""
    with tempfile.TemporaryDirectory(dir=root) as temporary:
        found = identities(str(source(None, temporary)))
        files = [sorted(Path(path).iterdir()) for _, path in found]
        copies = -(-count // sum(map(len, files)))
        for copy in range(copies):
            for (_, path), paths in zip(found, files, strict=True):
                identity = dest / f"{Path(path).name}-{copy}"
                identity.mkdir(parents=True)
                for one in paths:
                    os.link(one, identity / one.name)
    sizes = [len(data) for _, path in identities(str(dest)) for _, data in images(path)]
    about = {"faces": "LFW, aligned" if LFW.exists() else "drawn", "images": len(sizes), "bytes": sum(sizes)}
    (root / "about.json").write_text(json.dumps(about | {"identities": copies * len(found), "copies": copies}))


def shards(src: str, dest: str) -> None:
    """wds_face's, which are webdataset's too; below a folder that can be served as a bucket."""
    from wds_face import ImageFolder, Options, convert

    convert(ImageFolder(src), f"{dest}/faces", Options(shard_size=SHARD), workers=2)


def in_random_order(src: str) -> list[tuple[int, str]]:
    """(label, path) of every image, for what is read one after the other."""
    found = [(label, f"{path}/{name}") for label, path in identities(src) for name in sorted(os.listdir(path))]
    random.Random(0).shuffle(found)
    return found


def litdata_image(src: str, dest: str) -> None:
    """litdata's type for images, which its documentation prefers: it decodes by itself."""
    from litdata import optimize

    fast = {"start_method": "fork", "keep_data_ordered": True, "verbose": False}
    optimize(litdata_items, identities(src), dest, chunk_bytes=SHARD, num_workers=2, **fast)


def litdata_items(identity: tuple[int, str]) -> Iterator[dict[str, Any]]:
    from litdata import Image

    for name in sorted(os.listdir(identity[1])):
        yield {"image": Image(path=f"{identity[1]}/{name}"), "label": identity[0]}


def mds_jpeg(src: str, dest: str) -> None:
    """mosaicml-streaming's column for images, which come out of PIL."""
    from PIL import Image
    from streaming import MDSWriter

    with MDSWriter(columns={"image": "jpeg", "label": "int"}, out=dest, size_limit=SHARD) as writer:
        for label, path in in_random_order(src):
            with Image.open(path) as image:
                writer.write({"image": image, "label": label})


def record(src: str, dest: str) -> None:
    """MXNet's, shuffled beforehand, as InsightFace wants it for DALI."""
    from wds_face.recordio import RecordWriter, pack

    Path(dest).mkdir()
    with RecordWriter(f"{dest}/train.rec") as writer:
        for key, (label, path) in enumerate(in_random_order(src)):
            writer.write(key, pack((0, float(label), key, 0), Path(path).read_bytes()))


FORMATS: dict[str, Callable[[str, str], None]] = {
    "shards": shards,
    "litdata": partial(writing.litdata, workers=2, size=SHARD),
    "litdata-image": litdata_image,
    "mds": partial(writing.mds, workers=2, size=SHARD),
    "mds-jpeg": mds_jpeg,
    "record": record,
}


def prepare(root: Path, wanted: Iterable[str], count: int) -> dict[str, Any]:
    """Make the formats that are not there yet, and read all of them once; what the faces are."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ["folder", *(name for name in FORMATS if name in wanted)]:
        if not (root / name).exists():
            print(f"preparing {name}", file=sys.stderr)
            part = root / f"{name}.part"
            shutil.rmtree(part, ignore_errors=True)
            if name == "folder":
                folder(root, part, count)
            else:
                in_a_process(name, (root / "folder").resolve(), part.resolve())
            part.rename(root / name)
    for name in wanted:
        for file in (root / name).rglob("*"):
            if file.is_file():
                file.read_bytes()
    return json.loads((root / "about.json").read_text())


def in_a_process(name: str, src: Path, dest: Path) -> None:
    with tempfile.TemporaryDirectory() as cache:
        env = os.environ | {"DATA_OPTIMIZER_CACHE_FOLDER": cache}
        call = [sys.executable, "-m", "loading.formats", name, str(src), str(dest)]
        run = subprocess.run(call, check=False, capture_output=True, text=True, env=env, cwd=Path(__file__).parents[1])
    if run.returncode:
        sys.exit(f"{name} cannot be made:\n{run.stdout}{run.stderr}")


if __name__ == "__main__":
    FORMATS[sys.argv[1]](*sys.argv[2:])
