"""A proxy between client and server that is as slow and as faulty as it is told to be.

It is a process of its own, speaks HTTP/1.1 with keep-alive, and passes on what it does not spoil as it came, the Host
header too, which S3's signatures cover. Each connection of a client has one to the server behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import http.client
import json
import random
import re
import socket
import struct
import sys
import termios
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import unquote

from tests.servers import Server

CUTS = ("reset", "stall", "truncate", "short")
FAULTS = (*CUTS, "500", "503", "wrong")
ERRORS = {
    "500": ("Internal Server Error", "InternalError", "We encountered an internal error. Please try again."),
    "503": ("Slow Down", "SlowDown", "Please reduce your request rate."),
}
CONTROL = "/__faults__"
END = b"\r\n\r\n"
SIZE = 1 << 18  # of a piece of a body, at most


@dataclass(frozen=True)
class Settings:
    """How the line is, and which faults befall which requests.

    - *reset*: the connection breaks (a TCP RST) after so many bytes of the body
    - *stall*: as many, and then nothing for ever
    - *truncate*: as many, and an orderly end of the connection, though Content-Length says more
    - *short*: as many, and Content-Length and Content-Range agree (it truncates where no length was given)
    - *500*, *503*: what S3 says when it is broken (InternalError) or overloaded (SlowDown); the server is not asked
    - *wrong*: some bytes of the body are others

    The first four cut off a byte at least; where there is no body, as for a PUT, the whole answer is lost.
    """

    latency: float = 0.0  # seconds before each request is passed on
    bandwidth: float | None = None  # bytes/s of the bodies of each connection
    fault: str | Sequence[str] | None = None  # of several, any
    rate: float = 0.0  # of the requests that match, so many are hit: 1.0 is all
    seed: int = 0
    after: int = 0  # bytes of the body
    only: str = r"\.tar"  # the path of a request that matches; searched for
    methods: Sequence[str] = ("GET",)  # its method
    mend: bool = False  # answer ranges as S3 does, where rclone does not

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults there may be."""
        return (self.fault,) if isinstance(self.fault, str) else tuple(self.fault or ())

    def __post_init__(self) -> None:
        for fault in self.faults:
            if fault not in FAULTS:
                raise ValueError(f"no fault is called {fault!r}; there are {', '.join(FAULTS)}")


class FaultProxy(Server):
    """The proxy in front of a server, with :class:`Settings`."""

    def __init__(self, target_host: str, target_port: int, *, host: str = "127.0.0.1", **settings: Any) -> None:
        self.settings = Settings(**settings)

        def command(host: str, port: int) -> list[str]:
            numbers = map(str, (port, target_host, target_port))
            return [sys.executable, "-m", "tests.faults", host, *numbers, json.dumps(asdict(self.settings))]

        super().__init__(command, host=host)

    def set(self, **changes: Any) -> None:
        """Change settings for the requests that come from now on. A ``seed`` begins the draws anew."""
        self.settings = replace(self.settings, **changes)
        self._ask("PUT", changes)

    def stats(self) -> dict[str, Any]:
        """What has happened since the start or :meth:`clear`.

        ``requests``: those that match; ``faulted``: those of them that were hit; ``body_bytes``: sent in answer to
        those that match; ``faults``: how often which; ``methods``: of all requests; ``connections``: of clients;
        ``peak``: the most requests at once; ``bytes_in``: of the bodies of all requests.
        """
        found: dict[str, Any] = self._ask("GET")
        return found

    def clear(self) -> None:
        """Count from nothing again."""
        self._ask("DELETE")

    def _ask(self, method: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, CONTROL, json.dumps(body))
            return json.load(connection.getresponse())
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            self._ask("GET")
        except (OSError, http.client.HTTPException):
            return False
        return True


class Wire:
    """One end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.due = 0.0  # when what was received may be sent on
        self._bytes = bytearray(SIZE)
        self._view = memoryview(self._bytes)
        self._start = self._stop = 0

    async def line(self, end: bytes) -> bytes:
        """All up to such an end, which is included; nothing where the other side has closed."""
        while (found := self._bytes.find(end, self._start, self._stop)) < 0:
            if self._start:
                rest = self._bytes[self._start : self._stop]
                self._bytes[: len(rest)] = rest
                self._start, self._stop = 0, len(rest)
            if not await self._receive():
                if self._stop:
                    raise EOFError
                return b""
        line = bytes(self._view[self._start : found + len(end)])
        self._start = found + len(end)
        return line

    async def piece(self, most: int) -> memoryview:
        """At least one byte and so many at most, to be used before the next; nothing at the end."""
        if self._start == self._stop:
            self._start = self._stop = 0
            await self._receive()
        piece = self._view[self._start : min(self._stop, self._start + most)]
        self._start += len(piece)
        return piece

    async def send(self, data: bytes | memoryview) -> None:
        """Send all of it."""
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def silence(self) -> None:
        """Wait until the other side closes."""
        while await self.piece(SIZE):
            pass

    async def reset(self) -> None:
        """Break the connection when all that was sent has arrived."""
        queued = bytes(4)
        for _ in range(500):
            if not any(queued := fcntl.ioctl(self.socket, termios.TIOCOUTQ, queued)):
                break
            await asyncio.sleep(0.002)
        self.break_off()

    def break_off(self) -> None:
        """Break the connection (TCP RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def closed(self) -> bool:
        """Whether the other side has closed an idle connection."""
        try:
            return self._start == self._stop and not self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def _receive(self) -> int:
        if self._stop == SIZE:
            raise ValueError("a header as large as that")
        count = await asyncio.get_running_loop().sock_recv_into(self.socket, self._view[self._stop :])
        self._stop += count
        return count


class Head:
    """The first line and the headers of a request or an answer."""

    def __init__(self, raw: bytes, method: str = "") -> None:
        self.raw = raw
        lines = raw.decode("latin-1").split("\r\n")
        self.first = lines[0].split(" ", 2)
        self.method = method or self.first[0]
        self.headers = {name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines[1:])}

    @property
    def path(self) -> str:
        return unquote(self.first[1].partition("?")[0])

    @property
    def status(self) -> int:
        return int(self.first[1])

    @property
    def chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def last(self) -> bool:
        """Whether the connection ends with this message."""
        said = self.headers.get("connection", "").lower()
        old = "HTTP/1.0" in (self.first[0], self.first[-1])
        return "close" in said or (old and "keep-alive" not in said)

    def length(self) -> int | None:
        """Of the body; None where only its end will tell."""
        if self.first[0].startswith("HTTP/") and (self.method == "HEAD" or self.status in (204, 304)):
            return 0
        if self.chunked:
            return None
        if "content-length" in self.headers:
            return int(self.headers["content-length"])
        return None if self.first[0].startswith("HTTP/") else 0

    def changed(self, headers: Mapping[str, str | None], status: str | None = None) -> Head:
        """The same with some headers and the status others."""
        lines = self.raw.decode("latin-1").split("\r\n")[:-2]
        lines = [line for line in lines if line.partition(":")[0].lower() not in headers]
        lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
        if status:
            lines[0] = f"{self.first[0]} {status}"
        return Head("\r\n".join([*lines, "", ""]).encode("latin-1"), self.method)

    def mended(self) -> Head:
        """This answer to a range as S3 gives it: 206, and no checksum, which would be that of the whole object."""
        if self.status != 200 or "content-range" not in self.headers:
            return self
        sums = dict.fromkeys(name for name in self.headers if name.startswith("x-amz-checksum-"))
        return self.changed(sums, "206 Partial Content")

    def shortened(self, length: int) -> Head:
        """This answer with so many bytes less in its body."""
        headers = {"content-length": str(length)}
        if found := re.fullmatch(r"bytes (\d+)-\d+/(.*)", self.headers.get("content-range", "")):
            start = int(found[1])
            headers["content-range"] = f"bytes {start}-{start + length - 1}/{found[2]}"
        return self.changed(headers)


class Proxy:
    """The process: serves connections by its settings, and counts."""

    def __init__(self, target: tuple[str, int], settings: Settings) -> None:
        self.target = target
        self.running = 0
        self.clear()
        self.set(settings)
        self.random = random.Random(settings.seed)

    def set(self, settings: Settings) -> None:
        self.settings = settings
        self.only = re.compile(settings.only)

    def clear(self) -> None:
        self.requests = self.body_bytes = self.bytes_in = self.connections = self.peak = 0
        self.methods: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    async def listen(self, host: str, port: int) -> None:
        """Serve for ever."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
        listener.setblocking(False)
        tasks = set()
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            task = asyncio.create_task(self.serve(Wire(connection)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def serve(self, front: Wire) -> None:
        """Everything that comes over a client's connection."""
        line = Line(self, front)
        try:
            while raw := await front.line(END):
                request = Head(raw)
                if request.path == CONTROL:
                    await self.control(front, request)
                    continue
                self.connections += not line.used
                line.used = True
                self.methods[request.method] += 1
                self.running += 1
                self.peak = max(self.peak, self.running)
                try:
                    if not await line.exchange(request):
                        break
                finally:
                    self.running -= 1
        except (EOFError, OSError, ValueError):  # the server is down, or one of both has gone: so it is for the other
            front.break_off()
        finally:
            front.socket.close()
            line.hang_up()

    def draw(self, request: Head) -> str | None:
        """The fault that befalls a request that matches."""
        self.requests += 1
        hit = self.random.random() < self.settings.rate
        if not hit or not self.settings.faults:
            return None
        kinds = self.settings.faults
        fault = kinds[0] if len(kinds) == 1 else self.random.choice(kinds)
        self.faults[fault] += 1
        return fault

    async def control(self, front: Wire, request: Head) -> None:
        """Answer the test itself."""
        body = b"".join([bytes(piece) async for piece, _ in pieces(front, request)])
        if request.method == "PUT":
            changes = json.loads(body)
            self.set(replace(self.settings, **changes))
            if "seed" in changes:
                self.random = random.Random(changes["seed"])
        if request.method == "DELETE":
            self.clear()
        found = {
            "requests": self.requests,
            "faulted": self.faults.total(),
            "body_bytes": self.body_bytes,
            "faults": self.faults,
            "methods": self.methods,
            "connections": self.connections,
            "peak": self.peak,
            "bytes_in": self.bytes_in,
        }
        answer = json.dumps(found).encode()
        await front.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))


class Line:
    """A client's connection and the one to the server behind it."""

    def __init__(self, proxy: Proxy, front: Wire) -> None:
        self.proxy = proxy
        self.front = front
        self.back: Wire | None = None
        self.used = False

    async def exchange(self, request: Head) -> bool:
        """Pass on a request and its answer; whether the connection may serve another."""
        proxy, settings = self.proxy, self.proxy.settings
        matches = request.method in settings.methods and bool(proxy.only.search(request.path))
        fault = proxy.draw(request) if matches else None
        await asyncio.sleep(settings.latency)
        if fault in ERRORS:
            return await self.refuse(request, fault)
        back = await self.connected()
        await back.send(request.raw)
        upload = asyncio.create_task(self.upload(request, back)) if request.length() != 0 else None
        try:
            while (answer := Head(await back.line(END), request.method)).status < 200:
                await self.front.send(answer.raw)
            more = await self.answer(request, answer, back, fault, matches)
            if upload:
                await asyncio.wait([upload], timeout=0.1)
                more = more and upload.done()  # it is not where the server did not want to know
        finally:
            if upload:  # it must let go of its sockets before they are closed
                upload.cancel()
                await asyncio.wait([upload])
        return more and not request.last

    async def answer(self, request: Head, answer: Head, back: Wire, fault: str | None, matches: bool) -> bool:
        """Pass on an answer, or some of it; whether the connection may serve another request."""
        proxy, settings, front = self.proxy, self.proxy.settings, self.front
        if settings.mend and "range" in request.headers:
            answer = answer.mended()
        length = answer.length()
        cut = None
        if fault in CUTS:
            cut = settings.after if length is None else min(settings.after, max(length - 1, 0))
        draw = random.Random(f"{settings.seed} {proxy.requests}")
        wrong = set(draw.sample(range(length or 4096), min(8, length or 4096)) if fault == "wrong" else ())
        if cut is None or length != 0:
            await front.send(answer.shortened(cut).raw if fault == "short" and cut and length else answer.raw)
        sent = 0
        async for whole, data in pieces(back, answer, settings.bandwidth):
            piece = whole
            if data:
                piece = whole[: None if cut is None else cut - sent]
                for place in (place - sent for place in wrong if sent <= place < sent + len(piece)):
                    piece[place] ^= draw.randrange(1, 256)
                sent += len(piece)
                proxy.body_bytes += len(piece) * matches
            await front.send(piece)
            if data and cut is not None and sent >= cut:
                break
            await self.pace(back, len(piece))
        if cut is not None:
            self.hang_up()
            if fault == "reset":
                await front.reset()
            if fault == "stall":
                await front.silence()
            return fault == "short" and bool(length) and not answer.last
        return not answer.last and (length is not None or answer.chunked)

    async def upload(self, request: Head, back: Wire) -> None:
        """Pass on the body of a request."""
        try:
            async for piece, data in pieces(self.front, request, self.proxy.settings.bandwidth):
                self.proxy.bytes_in += len(piece) * data
                await back.send(piece)
                await self.pace(self.front, len(piece))
        except (EOFError, OSError, ValueError):
            with contextlib.suppress(OSError):
                back.socket.shutdown(socket.SHUT_RDWR)  # for the server it is half a request, and exchange() awakes

    async def refuse(self, request: Head, fault: str) -> bool:
        """Answer by an error of S3, in the server's place."""
        waits = "expect" in request.headers
        if not waits:
            async for _ in pieces(self.front, request):
                pass
        reason, code, message = ERRORS[fault]
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
        headers = f"Content-Type: application/xml\r\nContent-Length: {len(body)}" + "\r\nConnection: close" * waits
        body *= request.method != "HEAD"
        await self.front.send(f"HTTP/1.1 {fault} {reason}\r\n{headers}\r\n\r\n{body}".encode())
        return not waits and not request.last

    async def connected(self) -> Wire:
        """The connection to the server, another one where it has closed it."""
        if self.back is None or self.back.closed():
            self.hang_up()
            connection = socket.socket()
            self.back = Wire(connection)
            await asyncio.get_running_loop().sock_connect(connection, self.proxy.target)
        return self.back

    def hang_up(self) -> None:
        """Close the connection to the server."""
        if self.back is not None:
            self.back.socket.close()
            self.back = None

    async def pace(self, wire: Wire, size: int) -> None:
        """Wait as long as so many bytes take; let others have their turn in any case."""
        if bandwidth := self.proxy.settings.bandwidth:
            now = asyncio.get_running_loop().time()
            wire.due = max(wire.due, now) + size / bandwidth
            await asyncio.sleep(wire.due - now)
        else:
            await asyncio.sleep(0)


async def pieces(wire: Wire, head: Head, bandwidth: float | None = None) -> AsyncIterator[tuple[memoryview, bool]]:
    """A body as it comes, and of each piece whether it is data or what frames chunks."""
    most = min(SIZE, max(1024, int(bandwidth / 20))) if bandwidth else SIZE
    left = head.length()
    frames = left is None and head.chunked
    while True:
        if frames:
            line = await wire.line(b"\r\n")
            yield memoryview(line), False
            left = int(line.partition(b";")[0], 16)
            if not left:
                break
        while left is None or left:
            piece = await wire.piece(most if left is None else min(most, left))
            if piece:
                yield piece, True
            elif left is None:
                return
            else:
                raise EOFError
            left = None if left is None else left - len(piece)
        if not frames:
            return
        yield memoryview(await wire.line(b"\r\n")), False
    while line.strip():  # the trailers, and an empty line
        line = await wire.line(b"\r\n")
        yield memoryview(line), False


if __name__ == "__main__":
    own, port, target, target_port, options = sys.argv[1:]
    proxy = Proxy((target, int(target_port)), Settings(**json.loads(options)))
    asyncio.run(proxy.listen(own, int(port)))
