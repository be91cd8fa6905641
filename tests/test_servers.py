"""The servers and the faults that other tests rely on do what they say."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults import FAULTS, FaultProxy
from tests.servers import ROOT, Bucket, S3Server, Server, rclone_http, rclone_s3

DATA = random.Random(0).randbytes(300_000)

Proxied = Callable[..., FaultProxy]


@pytest.fixture
def files(http_server: Server) -> Server:
    """The HTTP server with a shard and something else."""
    assert http_server.folder
    (http_server.folder / "a.tar").write_bytes(DATA)
    (http_server.folder / "a.txt").write_bytes(DATA)
    return http_server


class Origin(BaseHTTPRequestHandler):
    """Answers in chunks, or until the end of the connection; says what was put."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        if "chunked" in self.path:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        for start in range(0, len(DATA), 70_000):
            piece = DATA[start : start + 70_000]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if "chunked" in self.path else piece)
        if "chunked" in self.path:
            self.wfile.write(b"0\r\nX-Sum: 1\r\n\r\n")

    def do_PUT(self) -> None:
        if "refused" in self.path:
            self.send_error(403)
            return
        body = b""
        if "Content-Length" in self.headers:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        else:
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size + 2)[:-2]
            while self.rfile.readline().strip():
                pass
        answer = f"{self.headers['Host']} {hashlib.sha256(body).hexdigest()}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def handle_expect_100(self) -> bool:
        return "refused" in self.path or super().handle_expect_100()

    def log_message(self, *args: object) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    """Does not mind clients that go away."""

    daemon_threads = True

    def handle_error(self, *request: Any) -> None:
        pass


@pytest.fixture
def origin() -> Iterator[Any]:
    """A server of Python's own, for what rclone does not do."""
    with Quiet(("127.0.0.1", 0), Origin) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield SimpleNamespace(host="127.0.0.1", port=server.server_port)
        server.shutdown()


def get(server: Any, path: str = "/a.tar", method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request over a connection of its own."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def received(server: Any, path: str = "/a.tar", timeout: float = 5) -> tuple[bytes, Exception | None]:
    """The body as far as it comes, and what ended it, if not the end of the connection."""
    with socket.create_connection((server.host, server.port), timeout) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        data, error = b"", None
        try:
            while piece := connection.recv(1 << 16):
                data += piece
        except OSError as found:
            error = found
    return data.partition(b"\r\n\r\n")[2], error


# servers


def test_s3_and_its_folder_are_the_same_at_once(bucket: Bucket) -> None:
    client = bucket.server.client()
    assert bucket.folder
    assert bucket.keys() == []
    (bucket.folder / "a.tar").write_bytes(b"one")
    assert bucket.keys() == ["a.tar"]
    (bucket.folder / "a.tar").write_bytes(b"three")
    answer = client.get_object(Bucket=bucket.name, Key="a.tar")
    assert answer["Body"].read() == b"three"
    assert answer["ETag"] == f'"{hashlib.md5(b"three").hexdigest()}"'
    bucket.put("deep/er/b.tar", DATA)
    assert (bucket.folder / "deep/er/b.tar").read_bytes() == DATA
    assert bucket.keys() == ["a.tar", "deep/er/b.tar"]
    (bucket.folder / "a.tar").unlink()
    client.delete_object(Bucket=bucket.name, Key="deep/er/b.tar")
    assert bucket.keys() == []
    assert bucket.folder.is_dir()


def test_s3_wants_the_key(bucket: Bucket) -> None:
    bucket.put("a.tar", DATA)
    assert get(bucket.server, f"/{bucket.name}/a.tar")[0] == 400


def test_the_options_are_those_of_fsspec(bucket: Bucket) -> None:
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("s3fs")
    with fsspec.open(bucket.url("deep/a.tar"), "wb", **bucket.options) as file:
        file.write(DATA)
    with fsspec.open(bucket.url("deep/a.tar"), "rb", **bucket.options) as file:
        file.seek(1000)
        assert file.read(50) == DATA[1000:1050]


def test_rclone_answers_ranges_by_200_unless_mended(bucket: Bucket, fault_proxy: Proxied) -> None:
    bucket.put("a.tar", DATA)
    proxy = fault_proxy(bucket.server, mend=True)
    statuses = []
    for through in (None, proxy):
        client = bucket.server.client(through)
        for asked, content in (("bytes=10-19", DATA[10:20]), ("bytes=0-", DATA), ("bytes=-10", DATA[-10:])):
            answer = client.get_object(Bucket=bucket.name, Key="a.tar", Range=asked)
            assert answer["Body"].read() == content
            start = DATA.index(content)
            assert answer["ContentRange"] == f"bytes {start}-{start + len(content) - 1}/{len(DATA)}"
            statuses.append(answer["ResponseMetadata"]["HTTPStatusCode"])
        assert "ContentRange" not in client.get_object(Bucket=bucket.name, Key="a.tar")
    assert statuses == [200] * 3 + [206] * 3


def test_rclone_sends_the_sum_of_the_whole_with_a_range_unless_mended(bucket: Bucket, fault_proxy: Proxied) -> None:
    from botocore.exceptions import FlexibleChecksumError

    bucket.put("a.tar", DATA)

    def ranged(through: Server | None) -> bytes:
        client = bucket.server.client(through, response_checksum_validation="when_supported")
        data: bytes = client.get_object(Bucket=bucket.name, Key="a.tar", Range="bytes=0-9")["Body"].read()
        return data

    with pytest.raises(FlexibleChecksumError):
        ranged(None)
    assert ranged(fault_proxy(bucket.server, mend=True)) == DATA[:10]


def test_obstore_reads_ranges_where_they_are_mended(bucket: Bucket, fault_proxy: Proxied) -> None:
    store = pytest.importorskip("obstore.store")
    bucket.put("a.tar", DATA)
    options = bucket.server.options_through(fault_proxy(bucket.server, mend=True))
    s3 = store.S3Store(
        bucket.name,
        endpoint=options["endpoint_url"],
        access_key_id=options["key"],
        secret_access_key=options["secret"],
        region="us-east-1",
        client_options={"allow_http": True},
    )
    assert bytes(s3.get_range("a.tar", start=10, end=20)) == DATA[10:20]


def test_moto_is_another_s3(moto: S3Server, fault_proxy: Proxied) -> None:
    bucket = moto.bucket()
    bucket.put("a.tar", DATA)
    assert bucket.keys() == ["a.tar"]
    for through in (None, fault_proxy(moto)):
        answer = moto.client(through).get_object(Bucket=bucket.name, Key="a.tar", Range="bytes=10-19")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert answer["Body"].read() == DATA[10:20]


def test_http_with_ranges(files: Server) -> None:
    assert files.folder
    assert get(files)[::2] == (200, DATA)
    assert get(files, Range="bytes=10-19")[::2] == (206, DATA[10:20])
    (files.folder / "a.tar").write_bytes(b"changed")
    assert get(files)[2] == b"changed"
    time.sleep(0.01)  # it believes a listing for a millisecond
    (files.folder / "with space & more.tar").write_bytes(b"1")
    assert get(files, files.url("with space & more.tar").removeprefix(files.endpoint))[2] == b"1"


def test_a_server_is_down_and_up_again_on_its_port(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    with rclone_s3(tmp_path, settled=True) as server:
        port = server.port
        for end in (server.stop, server.kill):
            server.client().put_object(Bucket="bucket", Key="a.tar", Body=DATA)
            end()
            end()
            with pytest.raises(ConnectionRefusedError):
                get(server)
            thread = threading.Thread(target=server.start)  # it must not die with the thread
            thread.start()
            thread.join()
            time.sleep(0.1)
            assert server.start().port == port
            assert server.client().get_object(Bucket="bucket", Key="a.tar")["Body"].read() == DATA
        assert server.pid
        os.kill(server.pid, signal.SIGKILL)
        while server.pid:
            time.sleep(0.01)
        assert get(server.start(), "/bucket")[0] == 400


def test_a_server_at_another_address(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(DATA)
    try:
        socket.create_server(("127.0.0.2", 0)).close()
    except OSError:
        pytest.skip("there is no 127.0.0.2")
    with rclone_http(tmp_path, host="127.0.0.2") as server, FaultProxy(server.host, server.port) as proxy:
        assert server.endpoint == f"http://127.0.0.2:{server.port}"
        assert get(server)[2] == get(proxy)[2] == DATA
        with pytest.raises(ConnectionRefusedError):
            get(SimpleNamespace(host="127.0.0.1", port=server.port))


def test_a_server_that_does_not_start_says_why() -> None:
    server = Server(lambda host, port: [sys.executable, "-c", "exit('such is life')"])
    with pytest.raises(RuntimeError, match="such is life"):
        server.start()
    server.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_servers_die_with_the_process_that_started_them(tmp_path: Path) -> None:
    script = (
        "import sys, time; from tests.servers import rclone_http; from tests.faults import FaultProxy\n"
        "server = rclone_http(sys.argv[1]).start(); proxy = FaultProxy(server.host, server.port).start()\n"
        "print(server.pid, proxy.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout
        pids = job.stdout.readline().split()
        assert len(pids) == 2
        assert all(Path("/proc", pid).exists() for pid in pids)
        job.kill()
    deadline = time.monotonic() + 5
    while any(running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def running(pid: str) -> bool:
    """Whether a process is there and no zombie, which it may stay where nobody reaps orphans."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# the proxy


def test_everything_of_s3_passes_the_proxy(bucket: Bucket, fault_proxy: Proxied) -> None:
    import io

    from boto3.s3.transfer import TransferConfig

    proxy = fault_proxy(bucket.server)
    client = bucket.server.client(proxy)
    client.put_object(Bucket=bucket.name, Key="a.tar", Body=DATA)  # with Expect: 100-continue
    client.put_object(Bucket=bucket.name, Key="empty", Body=b"")
    parts = DATA * 40
    config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=2)
    client.upload_fileobj(io.BytesIO(parts), bucket.name, "parts.tar", Config=config)
    assert client.head_object(Bucket=bucket.name, Key="parts.tar")["ContentLength"] == len(parts)
    assert client.get_object(Bucket=bucket.name, Key="parts.tar")["Body"].read() == parts
    assert client.get_object(Bucket=bucket.name, Key="a.tar")["Body"].read() == DATA
    assert client.get_object(Bucket=bucket.name, Key="empty")["Body"].read() == b""
    with pytest.raises(client.exceptions.NoSuchKey):
        client.get_object(Bucket=bucket.name, Key="missing.tar")
    client.delete_object(Bucket=bucket.name, Key="a.tar")
    client.delete_objects(Bucket=bucket.name, Delete={"Objects": [{"Key": "parts.tar"}]})
    assert bucket.keys() == ["empty"]
    stats = proxy.stats()
    assert stats["requests"] == 3
    assert stats["faulted"] == 0
    assert stats["body_bytes"] >= len(parts) + len(DATA)
    assert stats["bytes_in"] >= len(parts) + len(DATA)
    assert stats["methods"] == {"PUT": 2 + 3, "POST": 3, "HEAD": 1, "GET": 4, "DELETE": 1}


def test_connections_stay(files: Server, fault_proxy: Proxied) -> None:
    proxy = fault_proxy(files)
    connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=10)
    connection.connect()
    first = connection.sock
    for method in ("GET", "HEAD", "GET", "GET"):
        connection.request(method, "/a.tar")
        assert connection.getresponse().read() == (DATA if method == "GET" else b"")
        assert connection.sock is first
    connection.close()
    stats = proxy.stats()
    assert (stats["connections"], stats["requests"], stats["peak"]) == (1, 3, 1)
    proxy.clear()
    assert proxy.stats()["requests"] == proxy.stats()["body_bytes"] == 0


@pytest.mark.parametrize("path", ["/chunked.tar", "/until-close.tar"])
def test_bodies_of_unknown_length(origin: Any, fault_proxy: Proxied, path: str) -> None:
    proxy = fault_proxy(origin, after=1000)
    assert get(proxy, path)[2] == DATA
    assert proxy.stats()["body_bytes"] == len(DATA)
    proxy.set(fault="wrong", rate=1.0)
    assert len(get(proxy, path)[2]) == len(DATA)
    assert get(proxy, path)[2] != DATA
    proxy.set(fault="truncate")
    if path == "/chunked.tar":
        with pytest.raises(http.client.IncompleteRead):
            get(proxy, path)
    else:
        assert get(proxy, path)[2] == DATA[:1000]


def test_uploads_of_all_kinds(origin: Any, fault_proxy: Proxied) -> None:
    proxy = fault_proxy(origin)
    expected = f"{proxy.host}:{proxy.port} {hashlib.sha256(DATA).hexdigest()}".encode()
    connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=10)
    connection.request("PUT", "/a", DATA)
    assert connection.getresponse().read() == expected
    connection.request("PUT", "/a", iter([DATA[:7], DATA[7:]]), encode_chunked=True)
    assert connection.getresponse().read() == expected
    connection.close()
    assert proxy.stats()["connections"] == 1
    head = f"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: {len(DATA)}\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection((proxy.host, proxy.port), 10) as plain, plain.makefile("rb") as answers:
        for _ in range(2):
            plain.sendall(head.encode())
            assert [answers.readline() for _ in "12"] == [b"HTTP/1.1 100 Continue\r\n", b"\r\n"]
            plain.sendall(DATA)
            response = http.client.HTTPResponse(plain)
            response.begin()
            assert response.read() == expected.replace(f"{proxy.host}:{proxy.port}".encode(), b"x")
        plain.sendall(head.replace("/a", "/refused").encode())
        assert answers.readline() == b"HTTP/1.1 403 Forbidden\r\n"
    with socket.create_connection((proxy.host, proxy.port), 10) as plain:  # a client that gives up
        plain.sendall(head.replace("Expect", "X").encode() + DATA[:1000])
    assert get(proxy, "/chunked.tar")[2] == DATA


def test_reset_breaks_the_connection(files: Server, fault_proxy: Proxied) -> None:
    proxy = fault_proxy(files, fault="reset", rate=1.0, after=200_000)
    data, error = received(proxy)
    assert data == DATA[:200_000]
    assert isinstance(error, ConnectionResetError)
    with pytest.raises(ConnectionResetError):
        get(proxy)


def test_stall_sends_no_more(files: Server, fault_proxy: Proxied) -> None:
    proxy = fault_proxy(files, fault="stall", rate=1.0, after=100_000)
    data, error = received(proxy, timeout=1)
    assert data == DATA[:100_000]
    assert isinstance(error, TimeoutError)
    proxy.set(fault=None)
    assert get(proxy)[2] == DATA


def test_truncate_ends_in_good_order(files: Server, fault_proxy: Proxied) -> None:
    proxy = fault_proxy(files, fault="truncate", rate=1.0, after=100_000)
    assert received(proxy) == (DATA[:100_000], None)
    with pytest.raises(http.client.IncompleteRead):
        get(proxy)
    proxy.set(after=10**9)  # a byte at least is missing
    assert received(proxy) == (DATA[:-1], None)


def test_short_agrees_with_itself(files: Server, fault_proxy: Proxied) -> None:
    proxy = fault_proxy(files, fault="short", rate=1.0, after=100)
    status, headers, data = get(proxy, Range="bytes=1000-1999")
    assert (status, headers["content-length"], data) == (206, "100", DATA[1000:1100])
    assert headers["content-range"] == f"bytes 1000-1099/{len(DATA)}"
    assert get(proxy)[2] == DATA[:100]
    connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=10)
    for _ in range(3):
        connection.request("GET", "/a.tar")
        assert connection.getresponse().read() == DATA[:100]
    connection.close()
    assert proxy.stats()["connections"] == 3


@pytest.mark.parametrize(("fault", "code"), [("500", "InternalError"), ("503", "SlowDown")])
def test_errors_of_s3(bucket: Bucket, fault_proxy: Proxied, fault: str, code: str) -> None:
    from botocore.exceptions import ClientError

    bucket.put("a.tar", DATA)
    proxy = fault_proxy(bucket.server, fault=fault, rate=1.0, methods=("GET", "HEAD", "PUT"))
    client = bucket.server.client(proxy)
    for request in (client.get_object, client.head_object, client.put_object):
        extra = {"Body": DATA} if request == client.put_object else {}
        with pytest.raises(ClientError) as error:
            request(Bucket=bucket.name, Key="a.tar", **extra)
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == int(fault)
        if request != client.head_object:
            assert error.value.response["Error"]["Code"] == code
    assert proxy.stats()["faults"] == {fault: 3}
    proxy.set(rate=0.0)
    assert client.get_object(Bucket=bucket.name, Key="a.tar")["Body"].read() == DATA


def test_wrong_is_as_long_as_right(files: Server, fault_proxy: Proxied) -> None:
    proxy = fault_proxy(files, fault="wrong", rate=1.0)
    found = [get(proxy)[2] for _ in range(3)]
    assert [len(data) for data in found] == [len(DATA)] * 3
    assert [sum(a != b for a, b in zip(data, DATA, strict=True)) for data in found] == [8] * 3
    assert len(set(found)) == 3
    assert len(get(proxy, Range="bytes=0-2")[2]) == 3
    assert get(proxy, Range="bytes=0-2")[2] != DATA[:3]


def test_an_answer_without_a_body_is_lost_as_a_whole(bucket: Bucket, fault_proxy: Proxied) -> None:
    from botocore.exceptions import ConnectionClosedError

    proxy = fault_proxy(bucket.server, fault="reset", rate=1.0, methods=["PUT"])
    with pytest.raises(ConnectionClosedError):
        bucket.server.client(proxy).put_object(Bucket=bucket.name, Key="a.tar", Body=DATA)
    assert bucket.keys() == ["a.tar"], "though it was done"


def test_so_many_are_hit_and_no_others(files: Server, fault_proxy: Proxied) -> None:
    proxy = fault_proxy(files, fault="503", rate=0.05, seed=7)
    connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=10)

    def statuses(path: str, count: int) -> list[int]:
        found = []
        for _ in range(count):
            connection.request("GET", path, headers={"Range": "bytes=0-9"})
            response = connection.getresponse()
            response.read()
            found.append(response.status)
        return found

    assert set(statuses("/a.txt", 100)) == set(statuses("/a.txt?a.tar", 100)) == {206}
    assert proxy.stats()["requests"] == 0
    draw = random.Random(7)
    expected = [503 if draw.random() < 0.05 else 206 for _ in range(400)]
    assert statuses("/a.tar", 400) == expected
    assert 10 <= expected.count(503) <= 30
    stats = proxy.stats()
    assert (stats["requests"], stats["faulted"]) == (400, expected.count(503))
    proxy.set(seed=7)
    assert statuses("/a.tar", 100) == expected[:100]
    proxy.set(only=r"\.txt$")
    assert set(statuses("/a.tar", 100)) == {206}
    proxy.set(only=".", rate=1.0, fault=["500", "503"])
    assert set(statuses("/a.txt", 30)) == {500, 503}
    connection.close()


def test_only_the_faults_that_there_are(files: Server, fault_proxy: Proxied) -> None:
    proxy = fault_proxy(files)
    with pytest.raises(ValueError, match=", ".join(FAULTS)):
        proxy.set(fault="typo")
    with pytest.raises(TypeError):
        proxy.set(typo=1)
    assert get(proxy)[2] == DATA


def test_latency_and_concurrency(files: Server, fault_proxy: Proxied) -> None:
    proxy = fault_proxy(files, latency=0.2)
    start = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        assert all(answer[2] == DATA for answer in pool.map(lambda _: get(proxy), range(8)))
    assert 0.2 <= time.monotonic() - start < 1.6
    assert proxy.stats()["peak"] == 8


def test_bandwidth_is_that_of_each_connection(files: Server, fault_proxy: Proxied) -> None:
    proxy = fault_proxy(files, bandwidth=len(DATA) / 0.6)
    start = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        assert all(answer[2] == DATA for answer in pool.map(lambda _: get(proxy), range(4)))
    assert 0.5 <= time.monotonic() - start < 2.0
    proxy.set(bandwidth=None)
    start = time.monotonic()
    get(proxy)
    assert time.monotonic() - start < 0.5


def test_a_server_that_is_down_is_down_behind_the_proxy(tmp_path: Path, fault_proxy: Proxied) -> None:
    (tmp_path / "a.tar").write_bytes(DATA)
    with rclone_http(tmp_path) as server:
        proxy = fault_proxy(server)
        connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=10)
        for _ in range(2):
            connection.request("GET", "/a.tar")
            assert connection.getresponse().read() == DATA
            server.kill()
            with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
                get(proxy)
            server.start()
        proxy.stop()
        with pytest.raises(ConnectionRefusedError):
            get(proxy)
        proxy.start()
        assert get(proxy)[2] == DATA
        connection.close()


def test_the_proxy_has_nothing_to_complain_of(files: Server, fault_proxy: Proxied) -> None:
    proxy = fault_proxy(files, fault=list(FAULTS), rate=0.5, after=1000)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: received(proxy, timeout=0.1), range(100)))
    assert proxy.stats()["faulted"] > 30
    assert proxy.log == ""
