"""What a server does not give is an error that says so, after as long as patience lasts and not much later."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch

from tests.google import Google, google
from tests.plain import PlainServer
from tests.servers import Bucket, S3Server
from tests.stream.noise import Proxies, digest, stream
from wds_face import DatasetError
from wds_face.storage import open_store
from wds_face.storage.remote import RemoteStore

SILENCE = r"set/train-00000\d.tar: bytes \d+ to \d+ cannot be read: nothing came for"


@contextmanager
def fails(seconds: float, words: str) -> Iterator[None]:
    """Within some seconds, by a line that has these words."""
    begin = time.monotonic()
    with pytest.raises(DatasetError, match=words):
        yield
    assert time.monotonic() - begin < seconds


@pytest.mark.parametrize(("workers", "silent", "cached"), list(product([0, 2], [False, True], [False, True])))
def test_a_server_that_is_gone(  # noqa: PLR0917
    workers: int, silent: bool, cached: bool, remote: Bucket, fault_proxy: Proxies, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.3)
    proxy = fault_proxy(remote.server, bandwidth=1_000_000)
    assert isinstance(remote.server, S3Server)
    options = {**remote.server.options_through(proxy), "patience": 3, "stall": 1, "requests": 2}
    one = stream(remote.url("set"), options, buffer_bytes=1 << 20, cache_dir=tmp_path if cached else None)
    context = {"multiprocessing_context": "fork"} if workers else {}
    batches = iter(one.loader(workers, **context))
    next(batches)
    if silent:
        proxy.set(fault="stall", rate=1.0, only=".", methods=("GET", "HEAD"))
    else:
        proxy.kill()
    with fails(20, SILENCE):
        for _ in batches:
            pass


@pytest.mark.parametrize("cached", [False, True])
def test_a_server_that_never_gives_a_shard(cached: bool, remote: Bucket, fault_proxy: Proxies, tmp_path: Path) -> None:
    proxy = fault_proxy(remote.server, fault="stall", rate=1.0, methods=("GET", "HEAD"))
    assert isinstance(remote.server, S3Server)
    options = {**remote.server.options_through(proxy), "stall": 2}
    one = stream(remote.url("set"), {**options, "patience": 30}, cache_dir=tmp_path if cached else None)
    assert isinstance(one.store, RemoteStore)
    one.store.patience = replace(one.store.patience, total=5)  # only now: the index is to come, on a busy machine
    with fails(25, SILENCE):
        digest(one)


def test_an_index_that_cannot_be_had(remote: Bucket, fault_proxy: Proxies) -> None:
    proxy = fault_proxy(remote.server, fault="reset", rate=1.0, only=".")
    assert isinstance(remote.server, S3Server)
    options = {**remote.server.options_through(proxy), "patience": 1}
    with fails(20, r"index.json: (all of it|bytes 0 to \d+) cannot be read: nothing came for \d s"):
        stream(remote.url("set"), options)
    proxy.kill()
    with fails(20, r"s3://bucket-\d+/set: nothing answers \(the connection was refused\): check the storage option"):
        stream(remote.url("set"), {**options, "patience": 600})


def test_a_server_that_is_silent_when_asked_for_a_size(remote: Bucket, fault_proxy: Proxies) -> None:
    proxy = fault_proxy(remote.server, fault="stall", rate=1.0, only=".", methods=("HEAD",))
    assert isinstance(remote.server, S3Server)
    options = {**remote.server.options_through(proxy), "patience": 2, "stall": 0.5}
    store = open_store(remote.url("set"), options)
    for ask in (store.size, store.stamp):
        with fails(20, r"asking for index\.json failed \(no answer in time\)"):
            ask("index.json")
    with fails(20, r"index.json: all of it cannot be read: nothing came for \d s"):
        stream(remote.url("set"), {**options, "requester_pays": True})  # which asks for it before each piece


def test_signing_that_takes_for_ever(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(made, tmp_path / "bucket" / "set")
    with google(tmp_path):
        one = stream("gs://bucket/set", {"patience": 2, "stall": 0.5})
        monkeypatch.setattr(Google, "silence", 60)
        with fails(20, SILENCE):
            digest(one)


def test_who_waits_for_another_spends_its_patience(remote: Bucket, fault_proxy: Proxies, tmp_path: Path) -> None:
    """Four streams want one piece, and the server is silent: all fail at about the same time."""
    proxy = fault_proxy(remote.server)
    assert isinstance(remote.server, S3Server)
    options = {**remote.server.options_through(proxy), "patience": 10, "stall": 3}
    streams = [stream(remote.url("set"), options, cache_dir=tmp_path) for _ in range(4)]
    proxy.set(fault="stall", rate=1.0, only=".", methods=("GET", "HEAD"))

    def work(number: int) -> None:
        with fails(30, SILENCE):  # 40 in turn
            digest(streams[number])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))


def test_a_server_that_ignores_ranges(made: Path) -> None:
    with PlainServer(made.parent, ranges=False) as server:
        one = stream(server.url("set"), {"patience": 60})
        with fails(20, r"set/train-00000\d.tar: the server ignores ranges"):
            digest(one)
        assert server.requests["set/train-000000.tar"] < 50


def test_a_shard_that_ends_too_soon(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "set")
    for ranges in (True, False):
        with PlainServer(tmp_path, ranges=ranges) as server:
            one = stream(server.url("set"), {"patience": 60, "requests": 1})
            for shard in tmp_path.glob("set/*.tar"):
                shard.write_bytes(bytes(1024))
            with fails(20, r"set/train-00000\d.tar has 1024 bytes, the index says \d+"):
                digest(one)


def test_a_server_that_asks_for_a_password(made: Path, wanted: list[str]) -> None:
    with PlainServer(made.parent, password="user:pass@word") as server:
        one = stream(server.url("set", "user:pass%40word"), {"patience": 2})
        assert digest(one, epochs=2) == wanted
        with fails(20, r"index.json: all of it cannot be read \(access denied\)"):
            stream(server.url("set", "user:wrong-one"), {"patience": 1})
