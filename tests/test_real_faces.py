"""The whole way on real faces: 5,749 identities in a folder, 400 in records. Skipped where the data is not there."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import webdataset as wds

from tests.conversion.test_resume import run_and_kill
from tests.support import sums
from wds_face import ImageFolder, Index, Options, PKStream, RecordIO, convert, verify

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def shards(lfw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, converted by the command line with two workers."""
    dest = tmp_path_factory.mktemp("shards") / "lfw"
    command = [sys.executable, "-m", "wds_face", "convert", "imagefolder", str(lfw), str(dest), "--workers", "2"]
    subprocess.run(command, cwd=ROOT, check=True)
    return dest


def digests(samples: wds.WebDataset) -> Counter[str]:
    return Counter(hashlib.sha256(sample["jpg"]).hexdigest() for sample in samples)


def test_plain_webdataset_reads_every_image_back(lfw: Path, shards: Path) -> None:
    wanted = Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in lfw.glob("*/*.jpg"))
    assert wanted.total() == 13_233
    urls = sorted(str(path) for path in shards.glob("*.tar"))
    assert digests(wds.WebDataset(urls, shardshuffle=False)) == wanted
    classes = Index.open(shards).classes
    for sample in wds.WebDataset(urls, shardshuffle=False).slice(200):
        files = {path.read_bytes() for path in (lfw / classes[int(sample["cls"])]).iterdir()}
        assert sample["jpg"] in files


def test_tar_lists_every_image(shards: Path) -> None:
    listed = Counter[str]()
    for path in shards.glob("*.tar"):
        names = subprocess.run(["tar", "tf", path], check=True, capture_output=True, text=True).stdout.split()
        listed.update(name.rpartition(".")[2] for name in names)
    assert listed == {"jpg": 13_233, "cls": 13_233}


def test_wids_opens_the_index(lfw: Path, shards: Path, tmp_path: Path) -> None:
    from wids import ShardListDataset

    dataset = ShardListDataset(str(shards / "index.json"), cache_dir=str(tmp_path), keep=True)
    assert len(dataset) == 13_233
    classes = Index.open(shards).classes
    for i in range(0, 13_233, 997):
        sample = dataset[i]
        folder = lfw / classes[int(sample[".cls"])]
        assert sample[".jpg"].size == (112, 112)
        assert sum(1 for _ in folder.iterdir()) >= 1


@pytest.mark.parametrize(("labels", "most"), [("cls", 1.36), ("key", 1.17)])
def test_shards_are_little_larger_than_the_images(lfw: Path, tmp_path: Path, labels: str, most: float) -> None:
    report = convert(ImageFolder(lfw), tmp_path / "out", Options(labels=labels))  # type: ignore[arg-type]
    images = sum(path.stat().st_size for path in lfw.glob("*/*.jpg"))
    assert sum(shard.nbytes for shard in report.index.shards) <= most * images
    assert verify(tmp_path / "out") == []
    labels_seen = {int(label) for _, batch in PKStream(tmp_path / "out", p=16, k=4) for label in batch}
    assert len(labels_seen) == 5_749


def test_the_same_bytes_whatever_happens(lfw: Path, shards: Path, tmp_path: Path) -> None:
    """One worker, two workers, and killed three times."""
    convert(ImageFolder(lfw), tmp_path / "one", workers=1)
    assert sums(tmp_path / "one") == sums(shards)
    convert(ImageFolder(lfw), tmp_path / "small", Options(shard_size=500_000), workers=1)
    for after in (5, 60, 120):
        run_and_kill(lfw, tmp_path / "killed", after, "--shard-size", "500kB", "--workers", "2")
    convert(ImageFolder(lfw), tmp_path / "killed", Options(shard_size=500_000), workers=2)
    assert sums(tmp_path / "killed") == sums(tmp_path / "small")


def test_records_give_exactly_their_images(lfw_rec: Path, lfw: Path, tmp_path: Path) -> None:
    report = convert(RecordIO(lfw_rec), tmp_path / "out", workers=1)
    assert (len(report.index.identities), report.index.images) == (400, 1_631)
    people = (lfw_rec / "identities.txt").read_text().split()
    for sample in wds.WebDataset(sorted(map(str, (tmp_path / "out").glob("*.tar"))), shardshuffle=False):
        label = int(sample["cls"])
        assert report.index.classes[label] == str(label)
        assert sample["jpg"] in {path.read_bytes() for path in (lfw / people[label]).iterdir()}


def test_pk_batches_show_every_identity(shards: Path) -> None:
    stream = PKStream(shards, p=16, k=4)
    seen = Counter[int]()
    for images, labels in stream.loader(num_workers=2):
        assert images.shape == (64, 3, 112, 112)
        assert len(set(labels.tolist())) == 16
        seen.update(labels.tolist())
    assert len(seen) == 5_749
    counts = Index.open(shards).identities
    assert all(seen[int(row["label"])] >= row["images"] for row in counts)
