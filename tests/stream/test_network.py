"""The stream's promises over a network that misbehaves: the same batches, or an error that names the shard in time."""

from __future__ import annotations

import gc
import json
import logging
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.faults import FAULTS
from tests.servers import Bucket, S3Server, Server
from tests.storage.pieces import taken, wait_for
from tests.stream.noise import Proxies, digest, stream, sum_of
from wds_face import DatasetError, ImageFolder, Index, Options, PKStream, convert, verify

#: Files of the index: small, and read once.
ALL = r"/set/"


#: Ways to read, and whether the proxy has to answer as S3 does.
WAYS = {
    "signed": ({}, False),
    "s3fs": ({"requester_pays": True}, False),  # an option that signed URLs do not carry
    "obstore": ({"backend": "obstore"}, True),
}


@pytest.fixture(params=sorted(WAYS))
def way(request: pytest.FixtureRequest) -> tuple[dict[str, Any], bool]:
    options, mend = WAYS[request.param]
    if request.param == "obstore":
        pytest.importorskip("obstore")
    return options, mend


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_change_nothing(
    fault: str,
    way: tuple[dict[str, Any], bool],
    remote: Bucket,
    wanted: list[str],
    fault_proxy: Proxies,
) -> None:
    proxy = fault_proxy(remote.server, fault=fault, rate=0.2, seed=3, after=50_000, mend=way[1])
    assert isinstance(remote.server, S3Server)
    options = {**remote.server.options_through(proxy), **way[0], "stall": 0.5, "patience": 20}
    one = stream(remote.url("set"), options)
    assert digest(one, epochs=2) == wanted
    stats, seen = one.stats(), proxy.stats()
    assert seen["faulted"] > 0
    assert stats["retries"] > 0 or way[0]  # s3fs and obstore try again by themselves
    assert stats["images_replaced"] == stats["identities_replaced"] == 0


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_while_the_index_is_read(fault: str, remote: Bucket, made: Path, fault_proxy: Proxies) -> None:
    proxy = fault_proxy(remote.server, fault=fault, rate=0.4, seed=1, only=ALL, after=100)
    assert isinstance(remote.server, S3Server)
    options = {**remote.server.options_through(proxy), "stall": 0.3, "patience": 20}
    found, own = Index.open(remote.url("set"), options), Index.open(made)
    assert np.array_equal(found.identities, own.identities)
    assert np.array_equal(found.checksums, own.checksums)
    assert found.classes == own.classes
    assert proxy.stats()["faulted"] > 0


def test_slow_lines_change_nothing(remote: Bucket, wanted: list[str], fault_proxy: Proxies) -> None:
    """So slow that a segment takes longer than patience lasts, which is about silence."""
    proxy = fault_proxy(remote.server, latency=0.02, bandwidth=100_000)
    assert isinstance(remote.server, S3Server)
    options = {**remote.server.options_through(proxy), "stall": 1.5, "patience": 2}
    one = stream(remote.url("set"), options)
    begin = time.monotonic()
    assert digest(one, workers=2, multiprocessing_context="fork") == wanted[: len(one)]
    assert time.monotonic() - begin > 3
    assert one.stats()["retries"] == 0  # slow is not silent


@pytest.mark.parametrize("cached", [False, True])
def test_a_server_that_is_down_delays(
    cached: bool, remote: Bucket, wanted: list[str], fault_proxy: Proxies, tmp_path: Path
) -> None:
    proxy = fault_proxy(remote.server, bandwidth=500_000)
    assert isinstance(remote.server, S3Server)
    options = {**remote.server.options_through(proxy), "patience": 60, "requests": 2}
    one = stream(remote.url("set"), options, **{"cache_dir": tmp_path} if cached else {})
    batches = iter(one.loader())
    found = [sum_of(next(batches))]
    proxy.kill()
    timer = threading.Timer(10, proxy.start)
    timer.start()
    begin = time.monotonic()
    found += [sum_of(batch) for batch in batches]
    timer.join()
    assert found == wanted[: len(one)]
    assert time.monotonic() - begin > 9
    assert one.stats()["retries"] > 0


def test_each_byte_comes_once(remote: Bucket, made: Path, fault_proxy: Proxies) -> None:
    proxy = fault_proxy(remote.server)
    assert isinstance(remote.server, S3Server)
    options = remote.server.options_through(proxy)
    runs = int(Index.open(made).identities["nbytes"].sum())
    digest(stream(remote.url("set"), options, lanes=1))
    assert proxy.stats()["body_bytes"] == runs
    proxy.clear()
    one = stream(remote.url("set"), options, lanes=2)
    digest(one, workers=2, multiprocessing_context="fork")
    stats = one.stats()
    assert proxy.stats()["body_bytes"] == stats["bytes_fetched"]
    assert stats["bytes_fetched_again"] == 0
    # the two lanes meet within a segment, and an identity in that may be in both
    assert runs <= stats["bytes_fetched"] <= runs + (512 << 10)


def test_a_cache_spares_the_network(
    remote: Bucket, made: Path, wanted: list[str], fault_proxy: Proxies, tmp_path: Path
) -> None:
    proxy = fault_proxy(remote.server)
    assert isinstance(remote.server, S3Server)
    options = remote.server.options_through(proxy)
    runs = int(Index.open(made).identities["nbytes"].sum())

    def again(**more: Any) -> PKStream:
        return stream(remote.url("set"), options, cache_dir=tmp_path / "cache", **more)

    one = again(buffer_bytes=1 << 20)
    assert digest(one, workers=2, epochs=2, multiprocessing_context="fork") == wanted
    assert proxy.stats()["body_bytes"] == runs
    assert one.stats()["bytes_cached"] > 0
    proxy.clear()
    assert digest(again(), epochs=2) == wanted
    assert proxy.stats()["body_bytes"] == 0
    for file in (tmp_path / "cache").iterdir():
        if file.name != "lock":
            file.write_bytes(file.read_bytes()[:-30] + bytes(30))
    assert digest(again(), epochs=2) == wanted
    assert proxy.stats()["body_bytes"] == runs


def test_a_small_cache_keeps_its_limit(remote: Bucket, wanted: list[str], tmp_path: Path) -> None:
    limit = 2 << 20
    one = stream(remote.url("set"), remote.options, cache_dir=tmp_path, cache_bytes=limit, buffer_bytes=1 << 20)
    top = 0
    for _ in one.loader(2, multiprocessing_context="fork"):
        top = max(top, taken(tmp_path))
    assert limit / 2 < top <= limit
    assert digest(one, epochs=2) == wanted


@pytest.mark.parametrize("cached", [False, True])
def test_a_shard_replaced_meanwhile_is_an_error(cached: bool, remote: Bucket, made: Path, tmp_path: Path) -> None:
    assert remote.folder is not None
    more = {"cache_dir": tmp_path} if cached else {}
    one = stream(remote.url("set"), {**remote.options, "requests": 1}, buffer_bytes=600 << 10, **more)
    batches = iter(one.loader())
    next(batches)
    for shard in made.glob("*.tar"):
        content = bytearray(shard.read_bytes())
        content[-1] ^= 1  # not in any run: only its version tells
        (remote.folder / "set" / shard.name).write_bytes(content)
    with pytest.raises(DatasetError, match=r"train-00000\d.tar was replaced while it was read"):
        for _ in batches:
            pass


@pytest.mark.parametrize("cached", [False, True])
def test_bytes_of_another_shard_are_an_error(cached: bool, remote: Bucket, tmp_path: Path) -> None:
    assert remote.folder is not None
    more = {"cache_dir": tmp_path} if cached else {}
    shard = remote.folder / "set" / "train-000001.tar"
    content = bytearray(shard.read_bytes())
    content[3000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DatasetError, match=r"train-000001.tar: bytes \d+ to \d+ are not what the index says"):
        digest(stream(remote.url("set"), remote.options, **more))
    shard.write_bytes(content[:-1024])
    with pytest.raises(DatasetError, match=r"train-000001.tar has \d+ bytes, the index says"):
        digest(stream(remote.url("set"), remote.options, **more))
    shard.unlink()
    with pytest.raises(DatasetError, match=r"train-000001.tar is missing"):
        digest(stream(remote.url("set"), remote.options, cache_dir=tmp_path / "other" if cached else None))


def test_requests_at_a_time_are_bounded(remote: Bucket, fault_proxy: Proxies) -> None:
    proxy = fault_proxy(remote.server, latency=0.05)
    assert isinstance(remote.server, S3Server)
    digest(stream(remote.url("set"), {**remote.server.options_through(proxy), "requests": 3}))
    assert 2 <= proxy.stats()["peak"] <= 3


def test_reading_ahead_hides_latency(remote: Bucket, fault_proxy: Proxies) -> None:
    proxy = fault_proxy(remote.server, latency=0.2)
    assert isinstance(remote.server, S3Server)
    one = stream(remote.url("set"), remote.server.options_through(proxy))
    digest(one)
    assert one.stats()["requests"] >= 30
    assert proxy.stats()["peak"] > 8


@pytest.mark.parametrize("buffer_bytes", [64 << 20, 600 << 10])
@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_workers_of_every_kind(context: str, buffer_bytes: int, remote: Bucket, wanted: list[str]) -> None:
    one = stream(remote.url("set"), remote.options, buffer_bytes=buffer_bytes)
    first = digest(one)  # the parent has threads and connections when it forks
    again = digest(one, workers=2, multiprocessing_context=context, timeout=240)
    assert first == again == wanted[: len(one)]


def test_obstore_does_not_hang_in_a_forked_worker(remote: Bucket, fault_proxy: Proxies) -> None:
    pytest.importorskip("obstore")
    proxy = fault_proxy(remote.server, mend=True)
    assert isinstance(remote.server, S3Server)
    one = stream(remote.url("set"), {**remote.server.options_through(proxy), "backend": "obstore"})
    with pytest.raises(DatasetError, match=r"multiprocessing_context='spawn'"):
        digest(one, workers=1, multiprocessing_context="fork")
    assert digest(one, workers=1, multiprocessing_context="spawn") == digest(one)
    bare = stream(remote.url("set"), remote.options)
    with pytest.raises(DatasetError, match=r"obstore refuses this server's answers"):
        stream(remote.url("set"), {**remote.options, "backend": "obstore"})
    assert len(bare)


def test_other_servers(moto: S3Server, http_server: Server, made: Path, wanted: list[str]) -> None:
    bucket = moto.bucket()
    for file in made.iterdir():
        bucket.put(f"set/{file.name}", file.read_bytes())
    assert digest(stream(bucket.url("set"), bucket.options), epochs=2) == wanted
    assert digest(stream(bucket.url("set"), {**bucket.options, "backend": "obstore"}), epochs=2) == wanted
    assert http_server.folder is not None
    shutil.copytree(made, http_server.folder / "set", dirs_exist_ok=True)
    assert digest(stream(http_server.url("set")), epochs=2) == wanted


def test_threads_end_with_their_stream(remote: Bucket) -> None:
    def fetching() -> int:
        return sum(thread.name.startswith("wds_face") for thread in threading.enumerate())

    gc.collect()
    wait_for(lambda: not fetching())
    one = stream(remote.url("set"), remote.options)
    digest(one)
    assert fetching() > 1
    del one
    gc.collect()
    wait_for(lambda: not fetching())


def _verify(url: str, options: dict[str, Any]) -> None:
    verify(url, storage_options=options)


def test_credentials_stay_where_they_are(
    remote: Bucket, fault_proxy: Proxies, caplog: pytest.LogCaptureFixture, folder: Path, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = remote.options["secret"]
    server = remote.server
    assert isinstance(server, S3Server)
    proxy = fault_proxy(server, fault="reset", rate=0.3, after=1000)
    options = {**server.options_through(proxy), "patience": 2, "stall": 0.5}
    one = stream(remote.url("set"), options, cache_dir=tmp_path)
    loader = one.loader()
    digest(one)
    said = [repr(one), str(one), repr(loader), json.dumps(loader.state_dict()), str(one.summary()), str(one.stats())]
    convert(ImageFolder(folder), remote.url("made"), Options(shard_size=4 << 20), workers=1, storage_options=options)
    said += [remote.server.client().get_object(Bucket=remote.name, Key="made/index.json")["Body"].read().decode()]
    said += [path.name for path in tmp_path.iterdir()]
    proxy.kill()
    nested = {"aws_secret_access_key": "another-secret", "aws_access_key_id": "another-secret", "bad": "another-secret"}
    for wrong in (
        *(options, {**server.options, "secret": "another-secret", "patience": 1}, {**options, "bad": secret}),
        {"endpoint_url": options["endpoint_url"], "patience": 1, "client_kwargs": nested},
        {**options, "patience": 1, "endpoint_url": "http://user:another-secret@127.0.0.1:1"},
    ):
        for use in (stream, _verify):
            with pytest.raises(DatasetError) as error:
                use(remote.url("set"), wrong)
            assert "\n" not in str(error.value)
            said.append(str(error.value))
            chain: BaseException | None = error.value
            while chain is not None:
                said.append(repr(chain))
                chain = None if chain.__suppress_context__ else chain.__context__
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("wds_face")]
    for words in [*said, *ours]:
        assert secret not in words
        assert "another-secret" not in words
        assert "Signature" not in words
    # what other packages write at level DEBUG is theirs; the secret is not in that either
    assert not any(secret in record.getMessage() for record in caplog.records)
