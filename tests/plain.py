"""Plain HTTP by Python's own server, for what rclone's does not do: it lacks whatever it is told to lack."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from typing_extensions import Self


class PlainServer(ThreadingHTTPServer):
    """A server of a folder, in threads of this process.

    Attributes:
        ranges: whether it takes them, or sends the whole file.
        tells: whether answers have an ETag.
        password: as ``user:password``, if one is asked for.
        refuses: answers 403 to what it is asked for from now on.
        elsewhere: the URL of another server's root; requests are redirected to it.
        cut: after so many bytes of the body of a range it breaks off, and refuses.
        requests: how often each file was asked for.
    """

    daemon_threads = True

    def __init__(self, folder: Path, *, ranges: bool = True, tells: bool = True, password: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.ranges, self.tells, self.password = folder, ranges, tells, password
        self.refuses, self.cut, self.elsewhere = False, 0, ""
        self.requests: Counter[str] = Counter()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, path: str, user: str = "") -> str:
        """The URL of a file."""
        return f"http://{user + '@' if user else ''}127.0.0.1:{self.server_port}/{path}"

    def handle_error(self, *request: Any) -> None:
        """Clients go away."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PlainServer

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        server, path = self.server, unquote(self.path).lstrip("/")
        server.requests[path] += 1
        wanted = f"Basic {base64.b64encode(server.password.encode()).decode()}"
        if server.password and self.headers.get("Authorization") != wanted:
            return self._end(401)
        if server.refuses:
            return self._end(403)
        if server.elsewhere:
            return self._end(302, {"Location": f"{server.elsewhere}/{path}"})
        if not (server.folder / path).is_file():
            return self._end(404)
        data = (server.folder / path).read_bytes()
        headers = {"ETag": f'"{hashlib.md5(data).hexdigest()}"'} if server.tells else {}
        asked, status = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")), 200
        if server.ranges and asked:
            start, end = int(asked[1]), int(asked[2] or len(data) - 1) + 1
            headers["Content-Range"] = f"bytes {start}-{min(end, len(data)) - 1}/{len(data)}"
            data, status = data[start:end], 206
        if asked and server.cut:
            server.refuses, self.close_connection = True, True
        return self._end(status, headers, data, body=body, cut=server.cut if asked else 0)

    def _end(
        self, status: int, headers: dict[str, str] | None = None, data: bytes = b"", *, body: bool = True, cut: int = 0
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data[:cut] if cut else data)

    def log_message(self, *args: object) -> None:
        pass
