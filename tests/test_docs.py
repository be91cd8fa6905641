"""README and docs/: their blocks run as they stand and print what they say, and their links lead somewhere."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs

from tests.pages import PAGES, REASONS, ROOT, Block, Reader, anchors, blocks, links, matches, prose
from tests.support import MakeFolder

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.fixture
def log() -> Iterator[None]:
    """What a page says of the log is forgotten."""
    own = logging.getLogger("wds_face")
    handlers, level = list(own.handlers), own.level
    yield
    own.handlers = handlers
    own.setLevel(level)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: None) -> Reader:
    """In an empty folder, with one process for what would take one per processor."""
    import torch

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wds_face.pool.cpus", lambda: 1)  # starting others takes longer than what they would do
    torch.manual_seed(0)
    return Reader(tmp_path)


def give_readme(root: Path, make_folder: MakeFolder, jpegs: list[bytes]) -> None:
    """What the README takes for granted: data sets of all kinds, and a network."""
    import torch

    from tests.validation.sets import write_bin
    from wds_face import ImageFolder, convert
    from wds_face.recordio import RecordWriter, pack

    faces = make_folder({f"{i:03d}": 2 + i % 5 for i in range(40)})
    write_bin(root / "faces_emore" / "lfw.bin", pairs=20)
    with RecordWriter(root / "faces_emore" / "train.rec") as writer:
        for key in range(60):
            writer.write(key, pack((0, float(key // 3), key, 0), jpegs[key]))
    convert(ImageFolder(faces), root / "others", workers=1)
    for file in (root / "others").iterdir():
        if file.suffix != ".tar":
            file.unlink()
    (root / "net.py").write_text(
        "from torch import nn\n\ndef make():\n"
        "    return nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(147, 8))\n"
    )
    linear = torch.nn.Linear(147, 8)
    torch.save({"2.weight": linear.weight.data, "2.bias": linear.bias.data}, root / "w.pt")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_blocks(
    page: Path,
    reader: Reader,
    make_folder: MakeFolder,
    jpegs: list[bytes],
    *,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    found = [block for block in blocks(page) if block.runs]
    if page.name == "README.md" and page.parent == ROOT:
        give_readme(reader.folder, make_folder, jpegs)
    if any("s3://bucket" in block.text for block in found):
        bucket = request.getfixturevalue("bucket")
        reader.changes = {
            "s3://bucket": bucket.url(),
            "https://minio.example.org": bucket.options["endpoint_url"],
            "/local/cache": str(reader.folder / "cache"),
        }
        s3fs.S3FileSystem.clear_instance_cache()  # other tests in this process may have had no credentials
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.options["key"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.options["secret"])
        monkeypatch.setenv("AWS_ENDPOINT_URL", "")  # what the page sets is gone afterwards
    for block in found:
        reader.run(block)


def test_what_is_not_run_is_little() -> None:
    every = [block for page in PAGES for block in blocks(page) if block.language in ("python", "sh")]
    left_out = [block for block in every if block.reason]
    assert {block.reason for block in left_out} <= set(REASONS), left_out
    assert len(left_out) <= 16
    assert len(left_out) < len(every) / 6


def test_no_code_is_hidden_from_this() -> None:
    """Blocks are fenced and say their language; there is no other way to show code."""
    for page in PAGES:
        text = page.read_text()
        assert text.count("\n```") == 2 * len(re.findall(r"^```\w+\n", text, re.M)), page
        assert not re.search(r"^(    |\t)(wds-face|pip|python|torchrun|from|import)\b", prose(page), re.M), page
        assert {block.language for block in blocks(page)} <= {"python", "sh", "text", "json", "html"}, page


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=[*NAMES, "CONTRIBUTING.md"])
def test_links(page: Path) -> None:
    for text, target in links(page):
        if re.match(r"[a-z]+://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name}: {target}"
        assert there.is_relative_to(ROOT), f"{page.name}: {target}"
        if anchor:
            assert there.suffix == ".md", f"{page.name}: {target}"
            assert anchor in anchors(there), f"{page.name}: {target}"
        if test := re.fullmatch(r"`(test_\w+)`", text):
            assert re.search(rf"^def {test[1]}\(", there.read_text(), re.M), f"{page.name}: {text} is not in {target}"


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    listed = [target for _, target in links(index) if "/" not in target]
    assert sorted(listed) == sorted(page.name for page in PAGES if page.parent == index.parent and page != index)


def test_pictures_are_shown_somewhere() -> None:
    shown = {(page.parent / target).resolve() for page in PAGES for _, target in links(page)}
    pictures = {path for path in (ROOT / "assets").iterdir() if path.suffix in (".jpg", ".png")}
    assert pictures <= shown, pictures - shown


@pytest.mark.parametrize(
    ("said", "printed", "same"),
    [
        ("a\n", "a  \n\n", True),
        ("a …\n", "a b c\n", True),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a\n…\nd\n", "a\nd\n", True),
        ("a.c\n", "abc\n", False),
        ("a\n", "a\nb\n", False),
        ("a …\n", "a b\nc\n", False),
    ],
)
def test_matching(said: str, printed: str, same: bool) -> None:
    assert matches(said, printed) == same


def test_blocks_that_do_not_hold_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "page.md"
    for language, text, printed in (
        ("python", "print(1)\n", "2\n"),
        ("python", "1 / 0\n", None),
        ("sh", "wds-face info nowhere/\n", None),
        ("sh", "echo a; exit 3\n", None),
        ("sh", "echo a | cat  # b\n", "b\n"),
    ):
        with pytest.raises(AssertionError, match=r"docs/page\.md:7"):
            Reader(tmp_path).run(Block(page, 7, language, text, "", printed))
    Reader(tmp_path).run(Block(page, 7, "sh", "echo a | cat  # b\n", "", "a\n"))
