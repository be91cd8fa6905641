"""A page in a real browser: what it asks for, what it complains of, what is seen.

Everything that Chromium sends over HTTP, to whatever host, goes to a server here, which knows the pages and keeps a
list.
"""

from __future__ import annotations

import functools
import html
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

HOST = "report.test"

# What Chromium asks for by itself, though it is told not to.
_OWN = ("google.com", "googleapis.com", "gvt1.com", "googleusercontent.com", "chromium.org")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--proxy-bypass-list=<-loopback>", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=4000"),
)


@functools.cache
def chromium() -> str | None:
    """The program, if there is one that runs."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path and subprocess.run([path, "--version"], capture_output=True, check=False, timeout=60).returncode == 0:
            return path
    return None


@dataclass
class Browser:
    """Opens pages.

    Attributes:
        pages: by path, such as ``/report.html``: HTML.
        asked: URLs that were asked for.
        said: lines of the consoles of pages: errors, and what the policy blocked.
    """

    port: int
    pages: dict[str, str]
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def _run(self, path: str, *flags: str) -> str:
        program = chromium()
        assert program is not None
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            command = [program, *_FLAGS, f"--proxy-server=127.0.0.1:{self.port}", f"--user-data-dir={folder}", *flags]
            run = subprocess.run(
                [*command, f"http://{HOST}{path}"], capture_output=True, text=True, check=True, timeout=120
            )
        self.said += [line for line in run.stderr.splitlines() if "CONSOLE" in line]
        return run.stdout

    def probe(self, path: str) -> Any:
        """What a script in a page found, JSON in its ``<pre id="probe">``."""
        found = re.search(r'<pre id="probe">(.*?)</pre>', self._run(path, "--dump-dom"), re.S)
        assert found, "the script did not end"
        return json.loads(html.unescape(found[1]))

    def picture(self, path: str, file: Path, width: int, height: int, *flags: str) -> Path:
        """A picture of a page, as PNG."""
        self._run(path, f"--window-size={width},{height}", f"--screenshot={file}", *flags)
        return file

    def printed(self, path: str, file: Path) -> Path:
        """Print a page to a PDF file."""
        self._run(path, f"--print-to-pdf={file}")
        return file


@contextmanager
def browser(pages: dict[str, str]) -> Iterator[Browser]:
    """A browser that knows some pages."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if not (url.hostname or "").endswith(_OWN):
                found.asked.append(self.path)
            page = pages.get(url.path) if url.hostname == HOST else None
            self.send_response(200 if page else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write((page or "").encode())

        def do_CONNECT(self) -> None:
            if not self.path.partition(":")[0].endswith(_OWN):
                found.asked.append(self.path)
            self.send_error(403)

        def log_message(self, *_: Any) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A browser that ends hangs up on its own errands."""

    with Listener(("127.0.0.1", 0), Handler) as server:
        found = Browser(server.server_port, pages)
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()
