"""Every Python block of the README runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import MakeFolder
from wds_face import ImageFolder, Options, convert
from wds_face.recordio import RecordWriter, pack

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("code", BLOCKS, ids=lambda code: code.strip().splitlines()[-1][:30])
def test_block(
    code: str, make_folder: MakeFolder, tmp_path: Path, jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder({f"{i:03d}": 5 for i in range(60)})
    if "convert(" not in code:
        convert(ImageFolder("faces"), "shards", Options(shard_size=60_000), workers=1)
        assert len(list(Path("shards").glob("*.tar"))) >= 11
    with RecordWriter("train.rec") as writer:
        writer.write(1, pack((0, 0.0, 1, 0), jpegs[0]))
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
