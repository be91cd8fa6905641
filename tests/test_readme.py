"""Every Python block of the README runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.servers import Bucket
from tests.support import MakeFolder
from tests.validation.sets import write_bin
from wds_face import DataModule, ImageFolder, Options, convert
from wds_face.recordio import RecordWriter, pack

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def served(code: str, bucket: Bucket, folder: Path) -> str:
    """A block that names a bucket, with one that is there."""
    convert(ImageFolder("faces"), bucket.url("set"), workers=1, storage_options=bucket.options)
    changes = {
        "s3://bucket/ms1mv2": bucket.url("set"),
        '{"endpoint_url": "https://minio.example.org"}': repr(bucket.options),
        "/local/cache": str(folder / "cache"),
    }
    for wanted, there in changes.items():
        assert wanted in code
        code = code.replace(wanted, there)
    return code + "\nassert next(iter(stream.loader()))[0].shape == (256, 3, 112, 112)\n"


def checked(data: DataModule) -> None:
    """The block with a DataModule, which has no trainer."""
    data.prepare_data()
    assert [tuple(column.shape) for column in next(iter(data.train_dataloader()))][1:] == [(64,), (64, 1, 112, 112)]
    assert [tuple(column.shape) for column in next(iter(data.val_dataloader()))][1:] == [(40,), (40,), (40,)]


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("code", BLOCKS, ids=lambda code: code.strip().splitlines()[-1][:30])
def test_block(
    code: str,
    *,
    make_folder: MakeFolder,
    tmp_path: Path,
    jpegs: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder({f"{i:03d}": 5 for i in range(70)})
    if "convert(" not in code:
        convert(ImageFolder("faces"), "shards", Options(shard_size=60_000), workers=1)
        assert len(list(Path("shards").glob("*.tar"))) >= 11
    if '"val/"' in code:
        write_bin(tmp_path / "val" / "lfw.bin", pairs=20)
        code += "\nif 'data' in globals(): checked(data)\n"
    with RecordWriter("train.rec") as writer:
        writer.write(1, pack((0, 0.0, 1, 0), jpegs[0]))
    if "s3://" in code:
        code = served(code, request.getfixturevalue("bucket"), tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__", "checked": checked})
