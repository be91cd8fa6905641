"""Shards on a server are read once, in large pieces, into a spool on the local disk that nothing is left of."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds

from tests.faults import FaultProxy
from tests.plain import PlainServer
from tests.servers import ROOT, Bucket, S3Server
from tests.support import sums
from wds_face import DatasetError, Index, Options, PKStream, SourceError, WebDataset, convert, verify
from wds_face.engines import open_engine
from wds_face.pool import Workers
from wds_face.shards.spool import Spool
from wds_face.sources.peek import peek
from wds_face.storage import open_store, sequential

Proxies = Callable[..., FaultProxy]

PATTERN = "s-{0..2}.tar"
OPTIONS = Options(shard_size=9000)


@pytest.fixture
def scattered(tmp_path: Path, jpegs: list[bytes]) -> Path:
    """Three shards in which every identity comes everywhere, 60 images."""
    folder = tmp_path / "scattered"
    folder.mkdir()
    for number in range(3):
        with wds.TarWriter(str(folder / f"s-{number}.tar"), mtime=0) as writer:
            for i in range(number, 60, 3):
                writer.write({"__key__": f"{i:04d}", "jpg": jpegs[i], "cls": i % 7})
    return folder


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for copies, which must be empty in the end."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def expected(scattered: Path, tmp_path: Path) -> dict[str, str]:
    """The files that a conversion makes of the same shards on the local disk."""
    convert(WebDataset(scattered), tmp_path / "expected", OPTIONS, workers=1)
    return sums(tmp_path / "expected")


def upload(bucket: Bucket, folder: Path) -> str:
    for path in folder.iterdir():
        bucket.put(f"set/{path.name}", path.read_bytes())
    return bucket.url("set")


def through(bucket: Bucket, proxy: FaultProxy) -> dict[str, str]:
    assert isinstance(bucket.server, S3Server)
    return bucket.server.options_through(proxy)


@pytest.mark.parametrize("workers", [1, 2])
def test_each_shard_is_requested_once(
    *,
    bucket: Bucket,
    scattered: Path,
    tmp_path: Path,
    spool: Path,
    fault_proxy: Proxies,
    workers: int,
    expected: dict[str, str],
) -> None:
    url = upload(bucket, scattered)
    proxy = fault_proxy(bucket.server)
    convert(WebDataset(url, options=through(bucket, proxy)), tmp_path / "out", OPTIONS, workers=workers)
    assert proxy.stats()["requests"] == 3, "of 60 images in 3 shards"
    assert sums(tmp_path / "out") == expected
    assert list(spool.glob("wds-face-spool-*")) == []


def test_requests_grow_with_bytes(
    *,
    bucket: Bucket,
    scattered: Path,
    tmp_path: Path,
    fault_proxy: Proxies,
    spool: Path,
    expected: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sequential, "PIECE", 10_000)
    url = upload(bucket, scattered)
    proxy = fault_proxy(bucket.server)
    convert(WebDataset(url, options=through(bucket, proxy)), tmp_path / "out", OPTIONS, workers=1)
    pieces = sum(-(-path.stat().st_size // 10_000) for path in scattered.iterdir())
    assert proxy.stats()["requests"] == pieces > 9
    assert sums(tmp_path / "out") == expected


def test_faults_while_reading(
    *,
    bucket: Bucket,
    scattered: Path,
    tmp_path: Path,
    fault_proxy: Proxies,
    spool: Path,
    expected: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sequential, "PIECE", 10_000)
    url = upload(bucket, scattered)
    proxy = fault_proxy(bucket.server, fault=("reset", "truncate", "short", "500", "503"), rate=0.4, seed=1, after=3000)
    convert(WebDataset(url, options=through(bucket, proxy)), tmp_path / "out", OPTIONS, workers=1)
    assert proxy.stats()["faulted"] > 3
    assert sums(tmp_path / "out") == expected


def test_what_does_not_fit_is_refused_before_it_is_read(
    bucket: Bucket, scattered: Path, spool: Path, fault_proxy: Proxies
) -> None:
    url = upload(bucket, scattered)
    proxy = fault_proxy(bucket.server)
    source = WebDataset(url, options=through(bucket, proxy), spool_size=50_000)
    with pytest.raises(SourceError, match=r"have to be copied to a local disk.*may take 50\.0 kB: raise --spool-size"):
        source.scan()
    assert proxy.stats()["requests"] == 0


def test_a_shard_that_is_replaced_between_scan_and_reading(scattered: Path, spool: Path) -> None:
    with PlainServer(scattered) as server:
        inventory = WebDataset(server.url(PATTERN)).scan()
        inventory.release(Workers(1))  # as on another machine, which has no copies yet
        data = (scattered / "s-1.tar").read_bytes()
        (scattered / "s-1.tar").write_bytes(data[:-1] + b"\1")
        with pytest.raises(SourceError, match=r"s-1\.tar was replaced while it was converted"):
            [list(items) for items in inventory.part(np.arange(7)).read()]


def test_killed_and_gone_on_with(
    *, bucket: Bucket, scattered: Path, tmp_path: Path, spool: Path, fault_proxy: Proxies, expected: dict[str, str]
) -> None:
    url = upload(bucket, scattered)
    proxy = fault_proxy(bucket.server, bandwidth=10_000.0)
    options = through(bucket, proxy)
    arguments = [sys.executable, "-m", "wds_face", "convert", "webdataset", url, str(tmp_path / "out")]
    arguments += ["--shard-size", "9000", "--workers", "2"]
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": options["key"],
        "AWS_SECRET_ACCESS_KEY": options["secret"],
        "AWS_ENDPOINT_URL": options["endpoint_url"],
    }
    process = subprocess.Popen(arguments, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    while not [path for path in spool.glob("wds-face-spool-*/*") if len(path.name) == 40]:  # the first of three copies
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(spool.glob("wds-face-spool-*"))) == 1, "a killed process leaves its copies"
    proxy.set(bandwidth=None)
    subprocess.run(arguments, env=environment, cwd=ROOT, check=True, capture_output=True, timeout=300)
    assert sums(tmp_path / "out") == expected
    assert list(spool.glob("wds-face-spool-*")) == [], "the next run removes them"


def test_copies_in_use_are_not_removed(scattered: Path, spool: Path) -> None:
    store = open_store(scattered)
    first, second = Spool(), Spool()
    with first.using() as copies:
        copies.view(store, "s-0.tar", store.stamp("s-0.tar"))
    with second.using():
        assert len(list(spool.glob("wds-face-spool-*"))) == 2
    del first
    with second.using():
        assert len(list(spool.glob("wds-face-spool-*"))) == 1


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_engines_leave_no_copies(
    scattered: Path, tmp_path: Path, spool: Path, expected: dict[str, str], engine: str
) -> None:
    pytest.importorskip("distributed" if engine == "dask" else "ray")
    os.environ.pop("TMPDIR")  # ray's sockets need a short path
    with PlainServer(scattered) as server, open_engine(engine, workers=2) as executor:
        source = WebDataset(server.url(PATTERN), spool_dir=spool / engine)
        convert(source, tmp_path / "out", OPTIONS, executor=executor)
    assert sums(tmp_path / "out") == expected
    assert list((spool / engine).iterdir()) == []


def test_a_server_that_lists_nothing(
    scattered: Path, tmp_path: Path, spool: Path, expected: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Everything works on static hosting, by names alone."""
    convert(WebDataset(scattered), tmp_path / "set", OPTIONS, workers=1)
    with PlainServer(tmp_path) as server:
        convert(WebDataset(server.url(f"scattered/{PATTERN}")), tmp_path / "out", OPTIONS, workers=1)
        assert sums(tmp_path / "out") == expected
        assert sum(server.requests.values()) <= 3 * 5 + 2, "a few for each shard, not one for each image"
        url = server.url("set")
        assert Index.open(url).images == 60
        assert len(next(iter(PKStream(url, 2, 2).loader()))[1]) == 4
        assert len(dict(peek(url, np.random.default_rng(0)).images)) == 7
        with caplog.at_level(logging.WARNING, logger="wds_face"):
            assert verify(url, workers=1) == []
        assert "does not list its files: shards that index.json does not name are not looked for" in caplog.text
        (tmp_path / "set" / "train-000000.tar").unlink()
        assert [problem.what for problem in verify(url, workers=1)] == ["is missing"]


def test_a_hub_that_redirects(scattered: Path, tmp_path: Path, spool: Path, expected: dict[str, str]) -> None:
    with PlainServer(scattered) as files, PlainServer(scattered) as hub:
        hub.elsewhere = files.url("").rstrip("/")
        convert(WebDataset(hub.url(PATTERN)), tmp_path / "out", OPTIONS, workers=1)
        assert sums(tmp_path / "out") == expected
        assert files.requests["s-0.tar"] <= 5
        hub.elsewhere = hub.url("").rstrip("/")  # for ever
        with pytest.raises(DatasetError, match=r"s-\d\.tar: its redirections have no end"):
            WebDataset(hub.url(PATTERN)).scan()
