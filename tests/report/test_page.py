"""The page: sound, complete in itself, the same each time, and safe whatever the data are called."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from tests.report.conftest import NAMES, OPTIONS, broken, encoded
from tests.servers import Bucket
from wds_face import ImageFolder, Options, convert
from wds_face.errors import DatasetError
from wds_face.images import kind
from wds_face.report import write_report
from wds_face.synthetic import face

_VOID = {"meta", "link", "img", "input", "br"}


class Reader(HTMLParser):
    """Elements of a page, each with its attributes; what is open must be closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def made(images: dict[str, list[bytes]], root: Path) -> Path:
    for name, files in images.items():
        (root / "faces" / name).mkdir(parents=True)
        for number, data in enumerate(files):
            (root / "faces" / name / f"{number}.{kind(data)}").write_bytes(data)
    convert(ImageFolder(root / "faces"), root / "set", workers=1)
    return root / "set"


def written(url: str | Path, folder: Path, **options: Any) -> Reader:
    assert write_report(url, folder / "page.html", **options) == (folder / "page.html").stat().st_size
    return Reader((folder / "page.html").read_text())


def test_all_of_it_is_there(page: Path) -> None:
    found = Reader(page.read_text())
    words = found.words
    for heading in ("Images per identity", "Shard sizes", "How it was made", "Brightness", "Sharpness", "Contrast",
                    "File sizes", "Image sizes", "Darkest", "Brightest", "Blurriest", "Cannot be decoded", "Batch 0",
                    "Batch 1", "Where a batch comes from", "Pairs that met", "Neighbours that met", "An epoch",
                    "How often a byte is read"):  # fmt: skip
        assert heading in words, heading
    assert "truncated JPEG: 1" in words, "what the conversion left out"
    assert "1 of 40 images that were looked at cannot be decoded" in words
    assert "p08, label" in words
    kinds = [(attributes.get("class") or "") for attributes in found.all("img")]
    assert (kinds.count("before"), kinds.count("after")) == (8, 8)
    assert 0 < kinds.count("over") <= 8
    links = {(link["href"] or "").removeprefix("#") for link in found.all("a")}
    assert links == {section["id"] for section in found.all("section")}
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {label["for"] for label in found.all("label")} <= set(ids)
    assert all("alt" in image for image in found.all("img"))


def test_it_needs_no_other_file_and_runs_nothing(page: Path) -> None:
    html = page.read_text()
    found = Reader(html)
    assert {tag for tag, _ in found.elements}.isdisjoint({"script", "iframe", "object", "embed", "base", "form"})
    for tag, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in {"src", "href", "srcset", "action", "data"} & attributes.keys():
            assert re.match(r"data:image/(jpeg|png);base64,|data:image/svg|#", attributes[name] or ""), (tag, name)
    assert "url(" not in html
    assert "@import" not in html
    assert re.findall(r"https?:[^' ]*", html) == ["http://www.w3.org/2000/svg"], "the name of the icon's language"
    policy = next(meta["content"] for meta in found.all("meta") if "http-equiv" in meta)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_names_are_text(page: Path) -> None:
    html = page.read_text()
    assert "<script" not in html
    words = Reader(html).words
    for name in NAMES:
        assert name.replace("/", "\N{FRACTION SLASH}") in words


def test_the_same_data_give_the_same_page(odd: Path, page: Path, tmp_path: Path) -> None:
    write_report(odd, tmp_path / "again.html", **OPTIONS)
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()
    write_report(odd, tmp_path / "again.html", **{**OPTIONS, "samples": 9}, seed=1)
    other = (tmp_path / "again.html").read_text()
    assert "9 images of" in other
    assert "(seed 1)" in other


def test_a_bucket_has_the_same_page_as_a_folder(odd: Path, page: Path, bucket: Bucket, tmp_path: Path) -> None:
    assert bucket.folder is not None
    shutil.copytree(odd, bucket.folder / "set")
    url = bucket.url("set")
    write_report(url, tmp_path / "page.html", **OPTIONS, storage_options=bucket.options)
    html = (tmp_path / "page.html").read_text()
    assert html.replace(url, str(odd)) == page.read_text()
    for secret in (bucket.options.get("key"), bucket.options.get("secret")):
        assert secret is None or len(secret) < 6 or secret not in html


def test_no_password_stands_in_it(odd: Path, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for file in odd.iterdir():
        memory.pipe(f"/user:hunter2@host/set/{file.name}", file.read_bytes())
    found = written("memory://user:hunter2@host/set", tmp_path, **OPTIONS)
    assert "memory://host/set" in found.words
    assert "hunter2" not in (tmp_path / "page.html").read_text()


def test_one_identity(tmp_path: Path) -> None:
    url = made({"solo": [encoded(face(0, 0)), encoded(face(0, 1))]}, tmp_path)
    found = written(url, tmp_path)
    assert "only 1\u00a0identity, fewer than p=16" in found.words.replace("1 identity", "1\u00a0identity")
    assert "mixes nothing" in found.words
    assert [image.get("class") for image in found.all("img")].count("after") == 1


def test_one_image(tmp_path: Path) -> None:
    found = written(made({"solo": [encoded(face(0, 0))]}, tmp_path), tmp_path, p=1, k=1)
    assert "every identity has 1 or more" in found.words


def test_nothing_can_be_decoded(tmp_path: Path) -> None:
    found = written(made({"a": [broken()], "b": [broken(), broken()]}, tmp_path), tmp_path, p=2)
    assert "None of the images can be decoded" in found.words
    assert "3 of 3 images that were looked at cannot be decoded" in found.words
    assert found.all("img") == []


def test_larger_batches_are_shown_in_part_and_without_masks(tmp_path: Path) -> None:
    url = made({f"{i:02d}": [encoded(np.full((20, 20, 3), 9 * i, np.uint8))] * 2 for i in range(20)}, tmp_path)
    found = written(url, tmp_path, p=18, k=9, epoch="identities", points="casia")
    assert "16 × 8 are shown" in found.words
    assert "every identity comes once" in found.words
    assert [image.get("class") for image in found.all("img")].count("after") == 16 * 2
    assert "have another size" in found.words


def test_sizes_are_those_of_all_images_not_of_the_sample(tmp_path: Path) -> None:
    square = np.full((112, 112, 3), 90, np.uint8)
    files = {f"{i}": [encoded(square), encoded(square[:, :96] if i < 4 else square)] for i in range(8)}
    found = written(made(files, tmp_path), tmp_path, p=4, k=2, samples=1)
    assert "25\u00a0% have another size than 112\u00a0×\u00a0112" in found.words
    assert "25\u00a0% are not square, and stretched unless fit crops or pads them" in found.words


def test_many_shards_and_sizes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(120):
        folder = tmp_path / "faces" / f"{i:03d}"
        folder.mkdir(parents=True)
        (folder / "0.jpg").write_bytes(encoded(rng.integers(0, 255, (24 + i, 30, 3), np.uint8)))
    convert(ImageFolder(tmp_path / "faces"), tmp_path / "set", Options(shard_size=2000), workers=1)
    found = written(tmp_path / "set", tmp_path, p=8, samples=100)
    assert "shard size, MB" in found.words
    assert "different sizes" in found.words


def test_an_old_page_stays_until_the_new_one_is_whole(
    odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.html").write_text("old")
    with pytest.raises(DatasetError, match=r"has no index\.json"):
        write_report(tmp_path, tmp_path / "page.html")
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("power cut")))
        with pytest.raises(OSError, match="power cut"):
            write_report(odd, tmp_path / "page.html", **OPTIONS)
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "old"


@pytest.mark.parametrize("options", [{"p": 0}, {"k": 0}, {"samples": 0}, {"seed": -1}])
def test_wrong_numbers(odd: Path, tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        write_report(odd, tmp_path / "page.html", **options)
    assert not (tmp_path / "page.html").exists()
