"""Synthetic faces go from a folder, and from MXNet records, into shards and out again as PK batches.

    python examples/demo.py [FOLDER]

Everything it writes lies in FOLDER (``demo`` by default): ``faces/``, ``records/``, ``shards/``, ``shards-rec/``,
``batch.png``, a picture of one training batch, and ``preview.png``, what each transform does.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import run
from typing import Any

import torch

import wds_face
import wds_face.transforms  # here, so that the first step to need it is not timed with its import
from wds_face.recordio import RecordWriter, pack
from wds_face.synthetic import write_folder

IDENTITIES, P, K = 160, 16, 4


def step(what: str, work: Callable[[], Any], unit: str = "images") -> Any:
    """Do one thing and say how fast. ``work`` returns a count and a result, or the count alone."""
    begin = time.perf_counter()
    done = work()
    seconds = time.perf_counter() - begin
    count, result = done if isinstance(done, tuple) else (done, done)
    print(f"{what:<72} {count:>6,} {unit}  {seconds:6.2f} s  {count / seconds:>8,.0f} {unit}/s", flush=True)
    return result


def write_records(faces: Path, folder: Path) -> int:
    """The faces as InsightFace lays out its ``train.rec``: a header, the images, a range record per identity."""
    folder.mkdir()
    people = [sorted(person.iterdir()) for person in sorted(faces.iterdir())]
    total = sum(map(len, people))
    with RecordWriter(folder / "train.rec") as writer:
        writer.write(0, pack((0, [total + 1.0, total + 1.0 + len(people)], 0, 0), b""))
        key, ranges = 1, []
        for label, files in enumerate(people):
            ranges.append((key, key + len(files)))
            for file in files:
                writer.write(key, pack((0, [float(label), 1.0], key, 0), file.read_bytes()))
                key += 1
        for first, end in ranges:
            writer.write(key, pack((0, [float(first), float(end)], key, 0), b""))
            key += 1
    (folder / "property").write_text(f"{len(people)},112,112\n")
    return total


def convert(source: Any, dest: Path) -> tuple[int, wds_face.Report]:
    """Convert, and count the images."""
    report = wds_face.convert(source, dest, wds_face.Options(shard_size=1_000_000))
    return report.index.images, report


def verify(dest: Path) -> int:
    """Check every file to the bit, and count the images."""
    problems = wds_face.verify(dest, deep=True)
    if problems:
        sys.exit(f"{dest}: {problems[0].file} {problems[0].what}")
    return wds_face.Index.open(dest).images


def training(dest: Path) -> wds_face.PKStream:
    """PK batches as they are trained on."""
    return wds_face.PKStream(
        dest,
        p=P,
        k=K,
        augmenter=wds_face.Augmenter(crop_prob=0.1, photometric_prob=0.3, low_res_prob=0.2),
        occlusion=wds_face.MedicalMaskOcclusion(prob=0.5, ref_points=wds_face.ARCFACE_112),
        flip=0.5,
        seed=0,
        output="uint8",
    )


def epoch(stream: wds_face.PKStream) -> tuple[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """One epoch; the images that came, and the first batch."""
    batches = list(stream.loader())
    return len(batches) * P * K, batches[0]


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    folder.mkdir(exist_ok=True)
    faces, records, shards, from_records = (folder / name for name in ("faces", "records", "shards", "shards-rec"))
    for old in (faces, records, shards, from_records):
        shutil.rmtree(old, ignore_errors=True)
    step(
        f"drew {IDENTITIES} synthetic people               {faces}/", lambda: write_folder(faces, identities=IDENTITIES)
    )
    step(f"wds-face convert imagefolder {faces} {shards}", lambda: convert(wds_face.ImageFolder(faces), shards))
    step(f"wds-face verify {shards} --deep", lambda: verify(shards))
    step(f"wrote them as MXNet records              {records}/train.rec", lambda: write_records(faces, records))
    step(
        f"wds-face convert recordio {records} {from_records}", lambda: convert(wds_face.RecordIO(records), from_records)
    )
    same = all((shards / path.name).read_bytes() == path.read_bytes() for path in from_records.glob("*.tar"))
    print(f"the shards from the records and from the folder are {'the same, byte for byte' if same else 'DIFFERENT'}")
    stream = training(shards)
    images, labels, masks = step(f"PKStream({str(shards)!r}, p={P}, k={K}): one epoch", lambda: epoch(stream))
    picture = folder / "batch.png"
    wds_face.save_sheet(picture, images, labels, columns=4 * K, title=f"One batch: {P} identities x {K} images")
    print(f"images {list(images.shape)}, labels {list(labels.shape)}, masks {list(masks.shape)}; look at {picture}")
    run([sys.executable, "-m", "wds_face", "preview", str(shards), "-o", str(folder / "preview.png")], check=True)
    if not same:
        sys.exit(1)


if __name__ == "__main__":
    main()
