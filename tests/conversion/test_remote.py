"""Shards are written to an object store as to a disk: the same bytes, whole or not at all, whatever happens."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.faults import FaultProxy
from tests.servers import Bucket, S3Server
from tests.support import MakeFolder, sums
from wds_face import DatasetError, ImageFolder, Index, Options, WebDataset, convert, verify
from wds_face.cli import main
from wds_face.storage import open_store

ROOT = Path(__file__).parents[2]
OPTIONS = Options(shard_size=20_000)

Proxies = Callable[..., FaultProxy]


def environment(options: dict[str, str]) -> dict[str, str]:
    """What the command line finds its credentials in."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "AWS_ACCESS_KEY_ID": options["key"],
        "AWS_SECRET_ACCESS_KEY": options["secret"],
        "AWS_ENDPOINT_URL": options["endpoint_url"],
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def command(*arguments: str, options: dict[str, str], check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wds_face", *arguments],
        env=environment(options), cwd=ROOT, check=check, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def stored(bucket: Bucket) -> dict[str, str]:
    """sha256 of every object below ``set/``, as :func:`~tests.support.sums` has it."""
    client = bucket.server.client()
    found = {}
    for row in client.list_objects_v2(Bucket=bucket.name, Prefix="set/").get("Contents", []):
        body = client.get_object(Bucket=bucket.name, Key=row["Key"])["Body"].read()
        found[row["Key"].removeprefix("set/")] = hashlib.sha256(body).hexdigest()
    return found


@pytest.fixture(params=["rclone", "moto"])
def any_bucket(request: pytest.FixtureRequest) -> Bucket:
    server: S3Server = request.getfixturevalue("s3" if request.param == "rclone" else "moto")
    return server.bucket()


@pytest.mark.parametrize("backend", ["fsspec", "obstore"])
def test_the_same_bytes(any_bucket: Bucket, faces: Path, tmp_path: Path, backend: str) -> None:
    convert(ImageFolder(faces), tmp_path / "set", OPTIONS, workers=1)
    if backend == "obstore":
        pytest.importorskip("obstore")
        if any_bucket.folder is not None:
            pytest.skip("obstore refuses the answers of rclone")
    options = {**any_bucket.options, "backend": backend}
    workers = 1 if backend == "obstore" else 2
    report = convert(ImageFolder(faces), any_bucket.url("set"), OPTIONS, workers=workers, storage_options=options)
    assert report.written == len(report.index.shards) >= 4
    assert stored(any_bucket) == sums(tmp_path / "set")
    again = convert(ImageFolder(faces), any_bucket.url("set"), OPTIONS, workers=1, storage_options=options)
    assert again.written == 0
    with pytest.raises(DatasetError, match="holds another data set"):
        convert(ImageFolder(faces), any_bucket.url("set"), Options(seed=1), workers=1, storage_options=options)
    other = Options(shard_size=30_000, seed=1)
    convert(ImageFolder(faces), any_bucket.url("set"), other, workers=1, overwrite=True, storage_options=options)
    convert(ImageFolder(faces), tmp_path / "set", other, workers=1, overwrite=True)
    assert stored(any_bucket) == sums(tmp_path / "set")


def test_the_command_line(bucket: Bucket, faces: Path, tmp_path: Path) -> None:
    url = bucket.url("set")
    said = command("convert", "imagefolder", str(faces), url, "--shard-size", "20kB", options=bucket.options)
    assert "20 identities, 66 images" in said.stdout
    assert ": ok (" in command("verify", url, "--deep", options=bucket.options).stdout
    assert json.loads(command("info", url, "--json", options=bucket.options).stdout)["images"] == 66
    said = command("convert", "webdataset", url, str(tmp_path / "back"), "-q", options=bucket.options)
    assert verify(tmp_path / "back") == []
    bucket.put("set/train-000000.tar", b"changed")
    wrong = command("verify", url, options=bucket.options, check=False)
    assert wrong.returncode == 1
    assert "train-000000.tar: has 7 bytes" in wrong.stdout
    for changed in ({"secret": "not-the-secret"}, {"endpoint_url": "http://127.0.0.1:1"}):
        options = {**bucket.options, **changed}
        if "secret" in changed:
            failed = command("info", url, options=options, check=False)
            assert failed.returncode == 1
            assert "access denied" in failed.stderr
            assert len(failed.stderr.strip().splitlines()) == 1
            assert not any(options[name] in failed.stderr for name in ("key", "secret"))


def test_the_command_line_says_no_password(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = "memory://user:pass@word@bucket"
    convert(ImageFolder(faces), f"{url}/set", OPTIONS, workers=1)
    convert(ImageFolder(faces), f"{url}/cut", OPTIONS, workers=1)
    open_store(f"{url}/cut").put("train-000000.tar", b"cut")
    for code, *arguments in (
        (0, "convert", "imagefolder", str(faces), f"{url}/new", "--dry-run"),
        (0, "convert", "imagefolder", str(faces), f"{url}/new"),
        (0, "convert", "webdataset", f"{url}/set", str(tmp_path / "back"), "--dry-run"),
        (0, "convert", "webdataset", f"{url}/set", str(tmp_path / "back")),
        (0, "verify", f"{url}/set"),
        (1, "verify", f"{url}/cut"),
        (1, "verify", f"{url}/nothing"),
        (0, "info", f"{url}/set"),
        (0, "index", f"{url}/set", "--overwrite"),
        (1, "index", f"{url}/set"),
        (1, "convert", "webdataset", f"{url}/nothing", str(tmp_path / "none")),
        (1, "convert", "imagefolder", str(faces), f"{url}/set", "--seed", "1"),
    ):
        with pytest.raises(SystemExit) as end:
            main([*map(str, arguments), *(["--workers", "1"] if arguments[0] != "info" else [])])
        said = capsys.readouterr()
        assert (end.value.code or 0) == code, said
        assert said.out + said.err
        assert "memory://bucket/" in said.out + said.err
        for word in ("user:", "pass", "word@"):
            assert word not in said.out + said.err


def test_a_foreign_set_is_indexed_where_it_lies(bucket: Bucket, faces: Path, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "set", OPTIONS, workers=1)
    for path in (tmp_path / "set").glob("*.tar"):
        bucket.put(f"set/{path.name}", path.read_bytes())
    command("index", bucket.url("set"), options=bucket.options)
    found, own = Index.open(bucket.url("set"), bucket.options), Index.open(tmp_path / "set")
    assert np.array_equal(found.identities, own.identities)
    assert np.array_equal(found.checksums, own.checksums)


def test_shards_are_regrouped_from_a_store(bucket: Bucket, faces: Path, tmp_path: Path) -> None:
    convert(ImageFolder(faces), tmp_path / "set", OPTIONS, workers=1)
    for path in (tmp_path / "set").iterdir():
        bucket.put(f"set/{path.name}", path.read_bytes())
    source = WebDataset(bucket.url("set"), options=bucket.options)
    convert(source, tmp_path / "again", OPTIONS, workers=2)
    assert sorted(Index.open(tmp_path / "again").classes) == sorted(Index.open(tmp_path / "set").classes)


@pytest.mark.parametrize("fault", ["reset", "500", "503", "truncate"])
def test_faults_while_writing(fault: str, bucket: Bucket, faces: Path, tmp_path: Path, fault_proxy: Proxies) -> None:
    proxy = fault_proxy(
        bucket.server, fault=fault, rate=0.15, seed=2, only=".", methods=("PUT", "GET", "HEAD", "POST", "DELETE")
    )
    assert isinstance(bucket.server, S3Server)
    options = bucket.server.options_through(proxy)
    convert(ImageFolder(faces), bucket.url("set"), OPTIONS, workers=1, storage_options=options)
    assert proxy.stats()["faulted"] > 3
    convert(ImageFolder(faces), tmp_path / "set", OPTIONS, workers=1)
    assert stored(bucket) == sums(tmp_path / "set")


def test_killed_and_gone_on_with(bucket: Bucket, make_folder: MakeFolder, tmp_path: Path) -> None:
    faces = make_folder({f"{i:04d}": 1 + i % 3 for i in range(300)})
    url, arguments = bucket.url("set"), ["--shard-size", "12kB", "--workers", "2"]
    assert bucket.folder is not None
    convert(ImageFolder(faces), tmp_path / "set", Options(shard_size=12_000), workers=1)
    whole = sums(tmp_path / "set")
    for shards in (3, 20):
        process = subprocess.Popen(
            [sys.executable, "-m", "wds_face", "convert", "imagefolder", str(faces), url, *arguments],
            env=environment(bucket.options), cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        while len(list(bucket.folder.glob("set/*.tar"))) < shards:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        found = stored(bucket)
        assert "index.json" not in found
        assert all(found[name] == whole[name] for name in found if name.endswith(".tar")), "none is visible half"
        with pytest.raises(DatasetError, match="has no index"):
            verify(url, storage_options=bucket.options)
    assert "were finished before" in command("convert", "imagefolder", str(faces), url, *arguments,
                                             options=bucket.options).stdout  # fmt: skip
    assert stored(bucket) == whole


def test_an_upload_in_parts_is_not_visible_before_its_end(bucket: Bucket, fault_proxy: Proxies) -> None:
    """Of 120 MB, which s3fs sends in parts; broken off in the middle, nothing is there."""
    from wds_face.storage import open_store

    proxy = fault_proxy(bucket.server)
    assert isinstance(bucket.server, S3Server)
    options: dict[str, Any] = {**bucket.server.options_through(proxy), "patience": 0.5}
    store = open_store(bucket.url("set"), options)
    block = bytes(1 << 20)
    with store.write("big.tar") as file:
        for _ in range(120):
            file.write(block)
        assert bucket.keys() == []
    assert store.size("big.tar") == 120 << 20
    store.remove("big.tar")

    # The parts arrive, but the client never hears of it, and gives up before it could put them together.
    proxy.set(fault="reset", rate=1.0, only="big.tar", methods=("PUT",))

    def upload() -> None:
        with store.write("big.tar") as file:
            for _ in range(120):
                file.write(block)

    with pytest.raises(DatasetError, match=r"writing big\.tar failed"):
        upload()
    assert proxy.stats()["bytes_in"] > 240 << 20
    assert bucket.keys() == []


def test_a_bucket_that_is_not_there(bucket: Bucket, faces: Path) -> None:
    with pytest.raises(DatasetError, match="no such bucket"):
        convert(ImageFolder(faces), bucket.server.url("nothing/set"), workers=1, storage_options=bucket.options)
