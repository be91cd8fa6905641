"""The same faces in every system's own format, for throughput.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from convert import LFW, identities, images, source

CONVERT = Path(__file__).with_name("convert.py")
SHARD = 16 << 20


def folder(root: Path, dest: Path, count: int) -> None:
    """An image folder: LFW, or faces drawn for the purpose, every identity under new names until there are *count*."""
    with tempfile.TemporaryDirectory(dir=root) as temporary:
        found = identities(str(source(None, temporary)))
        files = [[entry.path for entry in sorted(os.scandir(path), key=lambda e: e.name)] for _, path in found]
        copies = -(-count // sum(map(len, files)))
        for copy in range(copies):
            for (_, path), names in zip(found, files, strict=True):
                (dest / f"{Path(path).name}-{copy}").mkdir(parents=True)
                for name in names:
                    os.link(name, dest / f"{Path(path).name}-{copy}" / Path(name).name)
    sizes = [len(data) for _, path in identities(str(dest)) for _, data in images(path)]
    about = {"images": len(sizes), "bytes": sum(sizes), "identities": copies * len(found), "copies": copies}
    about["faces"] = "LFW, aligned" if LFW.exists() else "drawn"
    (root / "about.json").write_text(json.dumps(about))


def shards(root: Path, dest: Path) -> None:
    """Our shards, which are webdataset's too; in a folder that can be served as a bucket."""
    from wds_face import ImageFolder, Options, convert

    convert(ImageFolder(root / "folder"), dest / "faces", Options(shard_size=SHARD), workers=2)


def by_convert(name: str, root: Path, dest: Path) -> None:
    """As benchmarks/convert.py writes it, encoded images and labels, in a process of its own."""
    call = [sys.executable, str(CONVERT), "--in-process", name, str(root / "folder"), str(dest), "2", str(SHARD)]
    run = subprocess.run(call, check=False, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"{name} failed:\n{run.stdout}{run.stderr}")


FORMATS: dict[str, Callable[[Path, Path], None]] = {
    "shards": shards,
}


def prepare(root: Path, wanted: Iterable[str], count: int) -> dict[str, int]:
    """Make the formats that are not there yet, and read all of them once; what the faces are."""
    formats: dict[str, Callable[[Path, Path], None]] = {"folder": lambda root, dest: folder(root, dest, count)}
    for name, make in (formats | FORMATS).items():
        if (name != "folder" and name not in wanted) or (root / name).exists():
            continue
        print(f"preparing {name}", file=sys.stderr)
        part = root / f"{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        make(root, part)
        part.rename(root / name)
    for name in wanted:
        for file in (root / name).rglob("*"):
            if file.is_file():
                file.read_bytes()
    return json.loads((root / "about.json").read_text())
