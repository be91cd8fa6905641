"""Promise 3, by torchrun: no rank waits for a batch that another does not have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import MakeFolder
from wds_face import ImageFolder, Options, PKStream, convert


@pytest.fixture
def shards(make_folder: MakeFolder, tmp_path: Path) -> Path:
    """113 identities: a prime, as is the number of images, in shards of unequal counts."""
    counts = [1 + i * i % 7 for i in range(113)]
    while any(sum(counts) % divisor == 0 for divisor in range(2, 30)):
        counts[-1] += 1
    folder = make_folder({f"{i:03d}": count for i, count in enumerate(counts)})
    convert(ImageFolder(folder), tmp_path / "out", Options(shard_size=100_000), workers=1)
    return tmp_path / "out"


def torchrun(kind: str, shards: Path, out: Path) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).with_name("ddp.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script), kind]
    out.mkdir()
    return subprocess.run(
        [*command, str(shards), str(out)], capture_output=True, text=True, timeout=240, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip


def test_two_ranks_finish_their_epochs(shards: Path, tmp_path: Path) -> None:
    done = torchrun("stream", shards, tmp_path / "seen")
    assert done.returncode == 0, done.stderr[-2000:]
    ranks = [json.loads((tmp_path / "seen" / f"{rank}.json").read_text()) for rank in range(2)]
    stream = PKStream(shards, p=5, k=3, lanes=1)
    for epoch, (one, two) in enumerate(zip(*ranks, strict=True)):
        assert len(one) == len(two)
        stream.set_epoch(epoch)
        whole = [labels.tolist() for _, labels in stream]
        assert len(whole) % 2 == 1, "they do not divide it"
        both = [batch for pair in zip(one, two, strict=True) for batch in pair]
        assert both == [*whole, whole[0]]


def test_plain_webdataset_does_not(shards: Path, tmp_path: Path) -> None:
    done = torchrun("webdataset", shards, tmp_path / "seen")
    assert done.returncode != 0
    assert "imed out" in done.stderr or "onnection closed" in done.stderr, done.stderr[-2000:]
