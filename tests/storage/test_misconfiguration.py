"""A store that cannot be used as it is configured is an error at once; one that goes away later is waited for."""

from __future__ import annotations

import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.servers import Bucket, S3Server, Server
from wds_face import DatasetError, Index
from wds_face.storage import open_store

PATIENCE = 600
# Seconds; patience is much longer. The machine may be busy, and s3fs is imported in them.
SOON = 20


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a port that refuses connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@contextmanager
def soon() -> Iterator[None]:
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < SOON


USES: dict[str, Callable[[str, dict[str, Any]], object]] = {
    "read": Index.open,
    "size": lambda url, options: open_store(url, options).size("index.json"),
    "names": lambda url, options: open_store(url, options).names(),
    "write": lambda url, options: open_store(url, options).put("a", b"1"),
}


def _refused(use: str, url: str, options: dict[str, Any]) -> str:
    """The one line of the error that comes soon."""
    with soon(), pytest.raises(DatasetError) as error:
        USES[use](url, {"patience": PATIENCE, **options})
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"endpont_url": "http://x"}, "no storage option is named 'endpont_url': is endpoint_url meant?"),
        ({"pateince": 3}, "no storage option is named 'pateince': is patience meant?"),
        ({"client_kwargs": {"regon_name": "eu"}}, "check the option regon_name"),
        ({"colour": "blue"}, "check the option colour"),
        ({"endpoint_url": "127.0.0.1:9000"}, "check the option endpoint_url"),
        ({"endpoint_url": "http://no-such-host.invalid"}, "check the storage option endpoint_url (http://no-such-host"),
        ({"endpoint_url": None}, "set the storage option endpoint_url"),
        ({"key": None, "secret": None}, "check the storage options key and secret"),
        ({"key": "somebody"}, "access denied"),
        ({"secret": "a-wrong-secret"}, "access denied"),
    ],
)
def test_wrong_options_of_s3(use: str, changes: dict[str, Any], message: str, bucket: Bucket) -> None:
    options = {**bucket.options, **changes}
    options = {name: value for name, value in options.items() if value is not None}
    if use == "names" and "endpoint_url" not in options:
        options["client_kwargs"] = {"endpoint_url": "http://no-such-host.invalid"}
        message = "check the storage option endpoint_url"
    said = _refused(use, bucket.url("set"), options)
    assert message in said
    assert bucket.options["secret"] not in said
    assert "a-wrong-secret" not in said


@pytest.mark.parametrize("use", USES)
def test_nobody_at_the_endpoint(use: str, bucket: Bucket, nobody: str) -> None:
    said = _refused(use, bucket.url("set"), {**bucket.options, "endpoint_url": nobody})
    assert "the connection was refused" in said
    assert f"check the storage option endpoint_url ({nobody})" in said
    endpoint = nobody.replace("//", "//me:hunter2@")
    assert "hunter2" not in _refused(use, bucket.url("set"), {**bucket.options, "endpoint_url": endpoint})


def test_the_endpoint_of_the_environment(bucket: Bucket, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", nobody)
    options = {"key": bucket.options["key"], "secret": bucket.options["secret"]}
    assert f"check the variable AWS_ENDPOINT_URL ({nobody})" in _refused("read", bucket.url("set"), options)


def test_secrets_of_the_configuration_stay_there(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fsspec.config.conf, "s3", {**bucket.options, "client_kwargs": {"hunter2": "hunter2"}})
    assert "storage_options are not accepted" in _refused("read", bucket.url("set"), {})
    monkeypatch.setitem(fsspec.config.conf, "s3", {**bucket.options, "endpoint_url": "hunter2:9"})
    assert "hunter2" not in _refused("size", bucket.url("set"), {})


@pytest.mark.parametrize("use", ["read", "names", "write"])
def test_a_bucket_that_is_not_there(use: str, bucket: Bucket) -> None:
    assert "there is no such bucket" in _refused(use, "s3://no-such-bucket/set", bucket.options)


@pytest.mark.parametrize("use", ["read", "size"])
def test_http(use: str, nobody: str) -> None:
    assert "the connection was refused): check the URL" in _refused(use, f"{nobody}/set", {})
    assert "cannot be resolved: check the URL" in _refused(use, "http://no-such-host.invalid/set", {})


def test_obstore(bucket: Bucket, nobody: str) -> None:
    pytest.importorskip("obstore")
    options = {**bucket.options, "backend": "obstore", "endpoint_url": nobody}
    assert "check the storage option endpoint_url" in _refused("size", bucket.url("set"), options)


def test_an_http_server_that_is_down_is_not_an_empty_folder(http_server: Server, nobody: str) -> None:
    assert open_store(http_server.url("none"), {}).size("index.json") is None
    assert "the connection was refused" in _refused("size", nobody, {})


@pytest.mark.parametrize(
    ("url", "package", "blocked"),
    [("s3://b/x", "wds-face[s3]", "s3fs"), ("s3://b/x", "wds-face[s3]", "botocore"), ("gs://b/x", "gcsfs", "gcsfs")],
)
def test_a_package_that_is_missing_is_named(url: str, package: str, blocked: str) -> None:
    script = f"import sys; sys.modules[{blocked!r}] = None\nfrom wds_face.cli import main\nmain(['info', {url!r}])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert "pip install" in line
    assert package in line


@pytest.mark.parametrize("travels", [False, True])
def test_an_outage_after_an_answer_is_waited_for(
    travels: bool, bucket: Bucket, fault_proxy: Callable[..., Any]
) -> None:
    """In this process, and in another one that the store is sent to."""
    bucket.put("set/a", b"1")
    server = bucket.server
    assert isinstance(server, S3Server)
    proxy = fault_proxy(server)
    store = open_store(bucket.url("set"), {**server.options_through(proxy), "patience": 60})
    assert store.size("a") == 1
    if travels:
        store = pickle.loads(pickle.dumps(store))
    proxy.kill()
    timer = threading.Timer(2, proxy.start)
    timer.start()
    begin = time.monotonic()
    assert store.read("a") == b"1"
    assert time.monotonic() - begin > 1.5
    timer.join()
