"""Shards are found by folders, names, braces and wildcards, locally and behind URLs; what is no shard is listed."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plain import PlainServer
from tests.servers import Server
from wds_face.errors import ListingError, SourceError
from wds_face.shards.find import find_shards

TREE = [
    "A/x-000.tar",
    "A/x-001.tar",
    "B/x-000.tar",
    "B/x-001.tar",
    "B/deep/x-002.tar.gz",
    "README.md",
]
SORTED = [*TREE[:2], TREE[4], *TREE[2:4]]


def make(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


@pytest.fixture(params=["local", "memory", "http"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The path or URL of :data:`TREE`."""
    if request.param == "local":
        yield str(make(tmp_path / "tree", TREE))
    elif request.param == "memory":
        memory = fsspec.filesystem("memory")
        for name in TREE:
            memory.pipe_file(f"/tree/{name}", b"")
        yield "memory://tree"
        memory.store.clear()
    else:
        server: Server = request.getfixturevalue("http_server")
        assert server.folder is not None
        make(server.folder / "tree", TREE)
        yield server.url("tree")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("", SORTED),
        ("/", SORTED),
        ("/A", ["x-000.tar", "x-001.tar"]),
        ("/A/x-000.tar", ["x-000.tar"]),
        ("/A/*.tar", ["x-000.tar", "x-001.tar"]),
        ("/*/*.tar", TREE[:4]),
        ("/*/x-[12]00.tar", []),
        ("/*/x-[0]01.tar", ["A/x-001.tar", "B/x-001.tar"]),
        ("/**/*.tar", TREE[:4]),
        ("/**", SORTED),
        ("/**/x-002*", ["B/deep/x-002.tar.gz"]),
        ("/B/deep/*.tar.gz", ["x-002.tar.gz"]),
        ("/{B,A}/x-{000..001}.tar", ["B/x-000.tar", "B/x-001.tar", "A/x-000.tar", "A/x-001.tar"]),
        ("/{A/x-000,B/deep/x-002}.tar{,.gz}", None),
        ("/{B,A}/*-000.tar", ["B/x-000.tar", "A/x-000.tar"]),
        ("/{B,A}", ["B/deep/x-002.tar.gz", "B/x-000.tar", "B/x-001.tar", "A/x-000.tar", "A/x-001.tar"]),
        ("/{A,A}/x-000.tar", ["A/x-000.tar"]),
    ],
)
def test_ways_to_name_shards(tree: str, pattern: str, names: list[str] | None) -> None:
    if not names:
        with pytest.raises(SourceError, match=r"holds no \.tar files" if names is not None else r"is not there"):
            find_shards(tree + pattern)
        return
    found = find_shards(tree + pattern)
    assert found.names == names
    assert all(found.store.size(name) == 0 for name in found.names)


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, TREE)
    monkeypatch.chdir(tmp_path / "A")
    assert find_shards("x-000.tar").names == ["x-000.tar"]
    assert find_shards("*.tar").names == ["x-000.tar", "x-001.tar"]
    assert find_shards("../{A,B}/x-{000..001}.tar").names == TREE[:4]
    assert find_shards(".").names == ["x-000.tar", "x-001.tar"]


def test_names_that_look_like_patterns_are_taken_as_they_are(tmp_path: Path) -> None:
    make(tmp_path, ["set {a,b}/x.tar", "folder.tar/y.tar", "[1]/z{0..9}*.tar"])
    assert find_shards(f"{tmp_path}/set {{a,b}}").names == ["x.tar"]
    assert find_shards(f"{tmp_path}/folder.tar").names == ["y.tar"]
    assert find_shards(f"{tmp_path}/[1]/z{{0..9}}*.tar").names == ["z{0..9}*.tar"]


def test_local_paths_with_colons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, ["run::2026/x.tar"])
    monkeypatch.chdir(tmp_path)
    for url in ("run::2026", "run::2026/x.tar", "run::2026/*.tar", f"file://{tmp_path}/run::2026/x.tar"):
        assert find_shards(url).names == ["x.tar"]


def test_every_missing_shard_of_a_pattern_is_named(tree: str) -> None:
    message = r"A/x-002\.tar is not there \(3 missing\), nor B/x-002\.tar, C/x-000\.tar"
    with pytest.raises(SourceError, match=message):
        find_shards(tree + "/{A/x-{000..002},B/x-{000..002},C/x-000}.tar")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("x-{0..99999999}.tar", "stands for more than 100,000 names"),
        ("x-{0..999}-{0..999}.tar", "stands for more than 100,000 names"),
        ("x-{0..9999999999999999999999999..3}.tar", "stands for more than 100,000 names"),
        ("x-{0..9.tar", "braces cannot be understood"),
    ],
)
def test_braces_that_cannot_be_meant(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        find_shards(f"{tmp_path}/{pattern}")


@pytest.mark.parametrize("url", ["s3://{a,b}/x.tar", "https://host/x.tar?token=secret", "http://ho*st/x.tar"])
def test_urls_that_cannot_be_meant(url: str) -> None:
    with pytest.raises(SourceError) as refused:
        find_shards(url)
    assert "secret" not in str(refused.value)


def test_named_shards_need_no_listing(tmp_path: Path) -> None:
    make(tmp_path, TREE)
    with PlainServer(tmp_path) as server:
        assert find_shards(server.url("{A,B}/x-{000..001}.tar")).names == TREE[:4]
        assert not [path for path in server.requests if not path.endswith(".tar")], "only shards were asked for"
        with pytest.raises(SourceError, match=r"A/x-002\.tar is not there"):
            find_shards(server.url("{A,B}/x-{000..002}.tar"))
        for pattern in ("A", "A/", "*/x-000.tar"):
            with pytest.raises(ListingError, match=r"does not list its files \(HTTP 404\): name them"):
                find_shards(server.url(pattern))
        server.refuses = True
        with pytest.raises(ListingError, match="HTTP 403"):
            find_shards(server.url("A"))


@pytest.mark.parametrize(
    ("name", "reason", "lost"),
    [
        ("y.tar.lz4", r"form that is not read \(\.lz4\)", True),
        ("y.tar.000", "form that is not read", True),
        ("y.tlz", "form that is not read", True),
        ("y.tar.part", "unfinished download", True),
        ("y.tar.aria2", "unfinished download", True),
        ("train.rec", "convert recordio", False),
        ("data.parquet", r"not a shard \(\.parquet\)", False),
        ("data.arrow", "not a shard", False),
        ("data.zip", "not a shard", False),
        ("data.7z", "not a shard", False),
        (".hidden.tar", "hidden file", False),
        ("._x.tar", "hidden file", False),
        ("face.JPG", "an image in no shard", False),
        ("sub/face.png", "an image in no shard", False),
        (".cache/x.tar", "hidden folder", False),
        ("__MACOSX/x.tar", "hidden folder", False),
        ("index.json", "", False),
        ("README", "", False),
        ("sizes.txt", "", False),
        (".gitattributes", "", False),
    ],
)
def test_what_lies_beside_shards(tmp_path: Path, name: str, reason: str, lost: bool) -> None:
    found = find_shards(str(make(tmp_path, ["x.tar", "z/x.tar", name])))
    assert found.names == ["x.tar", "z/x.tar"]
    if not reason:
        assert found.strays == []
        return
    (stray,) = found.strays
    assert stray.name in (name, name.partition("/")[0])
    assert reason.replace("\\", "") in stray.reason
    assert stray.lost == lost


def test_a_tar_without_a_suffix_is_lost(tmp_path: Path) -> None:
    make(tmp_path, ["x.tar", "notes"])
    with tarfile.open(tmp_path / "shard-000001", "w") as tar:
        tar.addfile(tarfile.TarInfo("1.jpg"))
    (stray,) = find_shards(str(tmp_path)).strays
    assert stray.name == "shard-000001"
    assert stray.lost
    assert find_shards(f"{tmp_path}/shard-000001").names == ["shard-000001"], "who names it means it"


def test_many_images_make_one_line(tmp_path: Path) -> None:
    make(tmp_path, ["x.tar", *(f"faces/{number}.jpg" for number in range(1200))])
    assert [(stray.name, stray.reason) for stray in find_shards(str(tmp_path)).strays] == [
        ("faces/", "1,200 images in no shard")
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train.rec"], "wds-face convert recordio` reads train.rec"),
        (["anna/1.jpg", "bob/1.jpg"], "convert imagefolder"),
        (["data.parquet"], r"it holds Parquet files \(data\.parquet\): no command reads it"),
        ([], r"holds no \.tar files"),
    ],
)
def test_folders_without_shards(tmp_path: Path, names: list[str], message: str) -> None:
    (tmp_path / "s").mkdir()
    with pytest.raises(SourceError, match=message):
        find_shards(str(make(tmp_path / "s", names)))


def test_a_pattern_that_matches_nothing(tmp_path: Path) -> None:
    make(tmp_path, ["a.tar"])
    with pytest.raises(
        SourceError, match=r"b\*\.tar holds no \.tar files: give a folder of shards, a \.tar or a pattern$"
    ):
        find_shards(f"{tmp_path}/b*.tar")


@pytest.mark.parametrize(
    "names",
    [
        ["train/x.tar", "val/x.tar"],
        ["data/train-0000.tar", "data/test-0000.tar"],
        ["Train/0.tar", "Validation/0.tar.gz"],
        ["train_0.tar", "dev_0.tar"],
    ],
)
def test_a_held_out_split_is_not_merged_into_training(tmp_path: Path, names: list[str]) -> None:
    make(tmp_path, names)
    with pytest.raises(SourceError, match=r"several splits \(.*train: 1.*choose one, such as '") as refused:
        find_shards(str(tmp_path))
    one, every = str(refused.value).split("'")[1::2]
    found = find_shards(one)
    assert [f"{found.store}/{name}" for name in found.names] == [f"{tmp_path}/{names[0]}"]
    both = find_shards(every)
    assert len(both.names) == 2
    assert len(both.notes) == 1
    assert "several splits are taken together" in both.notes[0]


@pytest.mark.parametrize("names", [["a/trainer-0.tar", "a/tester-0.tar"], ["train/a.tar", "train/test_a.tar"]])
def test_words_that_are_no_splits(tmp_path: Path, names: list[str]) -> None:
    assert find_shards(str(make(tmp_path, names))).names == sorted(names)


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    make(tmp_path, ["a/x.tar"])
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    found = find_shards(str(tmp_path))
    assert found.names == ["a/x.tar"]
    assert [stray.name for stray in found.strays] == ["a/up", "b"]
    assert all("another name of the folder" in stray.reason for stray in found.strays)


parts = st.sampled_from(["a", "b", "ab", "train"])
paths = st.lists(parts, min_size=0, max_size=3).map(lambda folders: "/".join([*folders, "x.tar"]))
wild = st.sampled_from(["a", "b", "*", "?", "a*", "[ab]", "[!a]", "**"])
patterns = st.lists(wild, min_size=1, max_size=4).map(lambda folders: "/".join([*folders, "*.tar"]))


@settings(max_examples=60, deadline=None)
@given(st.lists(paths, min_size=1, max_size=6), patterns)
def test_wildcards_find_what_pathlib_finds(names: list[str], pattern: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = make(Path(folder), names)
        expected = sorted({path.resolve() for path in root.glob(pattern) if path.is_file()})
        if not expected:
            with pytest.raises(SourceError):
                find_shards(f"{root}/{pattern}")
            return
        found = find_shards(f"{root}/{pattern}")
        assert sorted(found.store.local.resolve() / name for name in found.names) == expected  # type: ignore[union-attr]
