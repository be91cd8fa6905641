"""The stream's promises over a network that misbehaves: the same batches, or an error that names the shard in time."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.faults import FAULTS, FaultProxy
from tests.servers import Bucket, S3Server, Server
from wds_face import DatasetError, ImageFolder, Index, Options, PKStream, convert, verify

P, K = 8, 2
#: Files of the index: small, and read once.
ALL = r"/set/"

Proxies = Callable[..., FaultProxy]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 identities with 1 to 6 images of noise: 12 MB, which are 40 segments in 3 shards."""
    root = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for identity in range(120):
        (root / f"{identity:03d}").mkdir()
        for image in range(1 + identity % 6):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (112, 112, 3), np.uint8)).save(file, "JPEG", quality=98)
            (root / f"{identity:03d}" / f"{image}.jpg").write_bytes(file.getvalue())
    return root


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set on disk."""
    dest = tmp_path_factory.mktemp("made") / "set"
    convert(ImageFolder(folder), dest, Options(shard_size=4 << 20), workers=1)
    return dest


@pytest.fixture
def remote(bucket: Bucket, made: Path) -> Bucket:
    """The data set in a bucket, as ``set``."""
    assert bucket.folder is not None
    shutil.copytree(made, bucket.folder / "set")
    return bucket


def stream(url: str, options: dict[str, Any] | None = None, **more: Any) -> PKStream:
    more = {"p": P, "k": K, "flip": 0.5, "output": "uint8", "image_size": 32, "lanes": 2, **more}
    return PKStream(url, storage_options=options, **more)


def digest(one: PKStream, workers: int = 0, epochs: int = 1, **options: Any) -> list[str]:
    """A sum of each batch."""
    found = []
    loader = one.loader(workers, **options)
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        for images, labels in loader:
            found.append(hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest())
    return found


@pytest.fixture(scope="module")
def wanted(made: Path) -> list[str]:
    """The sums of the batches of two epochs, from disk."""
    return digest(stream(str(made)), epochs=2)


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
    proxy = fault_proxy(remote.server, latency=0.02, bandwidth=2_000_000)
    assert isinstance(remote.server, S3Server)
    options = {**remote.server.options_through(proxy), "stall": 0.5, "patience": 5}
    one = stream(remote.url("set"), options)
    assert digest(one, workers=2, multiprocessing_context="fork") == wanted[: len(one)]
    assert one.stats()["retries"] == 0  # slow is not silent


def test_a_server_that_is_down_delays(remote: Bucket, wanted: list[str], fault_proxy: Proxies) -> None:
    proxy = fault_proxy(remote.server, bandwidth=500_000)
    assert isinstance(remote.server, S3Server)
    one = stream(remote.url("set"), {**remote.server.options_through(proxy), "patience": 30, "requests": 2})
    batches = iter(one.loader())
    next(batches)
    proxy.kill()
    threading.Timer(3, proxy.start).start()
    begin = time.monotonic()
    rest = sum(1 for _ in batches)
    assert rest == len(one) - 1
    assert time.monotonic() - begin > 2
    assert one.stats()["retries"] > 0


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("silent", [False, True])
def test_a_server_that_is_gone_is_an_error_in_time(
    workers: int, silent: bool, remote: Bucket, fault_proxy: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.3)
    proxy = fault_proxy(remote.server, bandwidth=1_000_000)
    assert isinstance(remote.server, S3Server)
    options = {**remote.server.options_through(proxy), "patience": 3, "stall": 1, "requests": 2}
    one = stream(remote.url("set"), options, buffer_bytes=1 << 20)
    context = {"multiprocessing_context": "fork"} if workers else {}
    batches = iter(one.loader(workers, **context))
    next(batches)
    proxy.set(fault="stall", rate=1.0, only=".") if silent else proxy.kill()
    begin = time.monotonic()
    with pytest.raises(DatasetError, match=r"set/train-00000\d.tar: bytes \d+ to \d+ cannot be read: nothing came for"):
        for _ in batches:
            pass
    assert time.monotonic() - begin < 3 + 6


def test_an_index_that_cannot_be_had_is_an_error_in_time(remote: Bucket, fault_proxy: Proxies) -> None:
    proxy = fault_proxy(remote.server)
    assert isinstance(remote.server, S3Server)
    options = {**remote.server.options_through(proxy), "patience": 1}
    proxy.kill()
    begin = time.monotonic()
    with pytest.raises(DatasetError, match=r"index.json: all of it cannot be read: nothing came for \d s"):
        stream(remote.url("set"), options)
    assert time.monotonic() - begin < 8


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
    loader = one.loader(2, multiprocessing_context="fork")
    for _ in loader:
        found = 0
        for file in tmp_path.iterdir():
            with suppress(FileNotFoundError):  # it was removed meanwhile
                found += file.stat().st_size
        top = max(top, found)
    assert 0 < top <= limit
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


def test_bytes_of_another_shard_are_an_error(remote: Bucket, made: Path) -> None:
    assert remote.folder is not None
    shard = remote.folder / "set" / "train-000001.tar"
    content = bytearray(shard.read_bytes())
    content[3000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DatasetError, match=r"train-000001.tar: bytes \d+ to \d+ are not what the index says"):
        digest(stream(remote.url("set"), remote.options))
    shard.write_bytes(content[:-1024])
    with pytest.raises(DatasetError, match=r"train-000001.tar has \d+ bytes, the index says"):
        digest(stream(remote.url("set"), remote.options))
    shard.unlink()
    with pytest.raises(DatasetError, match=r"train-000001.tar is missing"):
        digest(stream(remote.url("set"), remote.options))


def test_requests_at_a_time_are_bounded(remote: Bucket, fault_proxy: Proxies) -> None:
    proxy = fault_proxy(remote.server, latency=0.05)
    assert isinstance(remote.server, S3Server)
    digest(stream(remote.url("set"), {**remote.server.options_through(proxy), "requests": 3}))
    assert 2 <= proxy.stats()["peak"] <= 3


def test_reading_ahead_hides_latency(remote: Bucket, fault_proxy: Proxies) -> None:
    proxy = fault_proxy(remote.server, latency=0.2)
    assert isinstance(remote.server, S3Server)
    one = stream(remote.url("set"), remote.server.options_through(proxy))
    begin = time.monotonic()
    digest(one)
    requests = one.stats()["requests"]
    assert requests >= 30
    assert time.monotonic() - begin < 0.2 * requests / 3


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_workers_of_every_kind(context: str, remote: Bucket, wanted: list[str]) -> None:
    one = stream(remote.url("set"), remote.options)
    first = digest(one)  # the parent has connections open when it forks
    again = digest(one, workers=2, multiprocessing_context=context)
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
    for wrong in (options, {**server.options, "secret": "another-secret", "patience": 1}, {**options, "bad": secret}):
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
