"""Two hosts for the tests, and jobs of torchrun over them.

The hosts are network namespaces behind a bridge, where they can be made, which takes root and the program ip; else they
are two addresses of this one. All see the same disk.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.servers import ROOT

if TYPE_CHECKING:
    from typing_extensions import Self


class Node(NamedTuple):
    """A host: its address, the network interface that has it, and what comes before a command that is to run there."""

    address: str
    interface: str
    enter: tuple[str, ...] = ()


class Network(NamedTuple):
    """Two nodes, and the address of this host at which they reach its servers."""

    address: str
    nodes: tuple[Node, Node]


def inhabitants(node: Node) -> list[int]:
    """All processes on a node, as the kernel knows them; of an address of this host nobody can tell."""
    if not node.enter:
        return []
    found = subprocess.run(["ip", "netns", "pids", node.enter[-1]], capture_output=True, text=True, check=True)
    return [int(pid) for pid in found.stdout.split()]


@functools.cache
def kind() -> str:
    """What :func:`network` gives here: ``"namespaces"`` or ``"loopback"``."""
    if sys.platform == "linux" and os.geteuid() == 0 and shutil.which("ip"):
        with (
            suppress(subprocess.CalledProcessError),
            _namespaces() as made,
            socket.create_server((made.address, 0)) as one,
        ):
            reach = f"import socket; socket.create_connection({one.getsockname()}, 3)"
            subprocess.run([*made.nodes[0].enter, sys.executable, "-ISc", reach], capture_output=True, check=True)
            return "namespaces"
    return "loopback"


@contextmanager
def network() -> Iterator[Network]:
    """Two nodes, of the :func:`kind` that there can be."""
    if kind() == "namespaces":
        with _namespaces() as made:
            yield made
    else:
        yield Network("127.0.0.1", (Node("127.0.0.2", "lo"), Node("127.0.0.3", "lo")))


@contextmanager
def _namespaces() -> Iterator[Network]:
    """This host and the nodes are plugged into a bridge, which has a namespace too: a firewall here is not in its way.

    Names and addresses (of 198.18.0.0/15, which is for tests) are those of this process.
    """
    _sweep()
    name, base = f"wdsface{os.getpid()}", os.getpid() % (1 << 14) * 8
    host, *nodes = (f"198.{18 + (base >> 16)}.{base >> 8 & 255}.{base % 256 + i}" for i in (1, 2, 3))
    try:
        lines = [f"netns add {name}{which}" for which in "s01"]
        lines += [f"link add {name}h type veth peer name host netns {name}s"]
        lines += [f"link add eth0 netns {name}{i} type veth peer name p{i} netns {name}s" for i in "01"]
        _ip(None, *lines, f"addr add {host}/29 dev {name}h", f"link set {name}h up")
        plugs = [f"link set {port} master switch up" for port in ("host", "p0", "p1")]
        _ip(f"{name}s", "link add switch type bridge", "link set switch up", *plugs)
        for i, address in enumerate(nodes):
            _ip(f"{name}{i}", "link set lo up", f"addr add {address}/29 dev eth0", "link set eth0 up")
        enter = [("ip", "netns", "exec", f"{name}{i}") for i in (0, 1)]
        yield Network(host, (Node(nodes[0], "eth0", enter[0]), Node(nodes[1], "eth0", enter[1])))
    finally:
        _remove(name)


def _ip(namespace: str | None, *lines: str) -> None:
    """Run commands of ip, in a namespace."""
    where = ["-netns", namespace] if namespace else []
    subprocess.run(["ip", *where, "-batch", "-"], input="\n".join(lines), text=True, capture_output=True, check=True)


def _remove(name: str) -> None:
    for command in (["link", "del", f"{name}h"], *(["netns", "del", f"{name}{which}"] for which in "s01")):
        subprocess.run(["ip", *command], capture_output=True, check=False)


def _sweep() -> None:
    """Remove what processes left that were killed."""
    with suppress(FileNotFoundError):
        for pid in {found[1] for name in os.listdir("/run/netns") if (found := re.fullmatch(r"wdsface(\d+)s", name))}:
            if not Path(f"/proc/{pid}").exists():
                _remove(f"wdsface{pid}")


class Torchrun:
    """A module that runs on nodes, on some ranks of each; what is left of it at the end of the ``with`` is killed.

    Args:
        nodes: one agent of torchrun runs on each.
        module: what the ranks run.
        environment: of each node, beside that of this process.
        log: a file for all that they print.
        ranks: on each node.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        module: str,
        environment: Sequence[Mapping[str, str]],
        log: Path,
        ranks: int = 2,
    ) -> None:
        self.log = log
        self._mark = f"WDS_FACE_NODE={secrets.token_hex(8)}."
        self._agents: list[subprocess.Popen[bytes]] = []
        # bound but not listening, as that of a server: nobody else gets this port, and the agent may share it
        self._hold = socket.socket()
        self._hold.bind(("", 0))
        self._hold.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = self._hold.getsockname()[1]
        for number, (node, own) in enumerate(zip(nodes, environment, strict=True)):
            name, _, value = f"{self._mark}{number}".partition("=")
            command = [
                *(*node.enter, sys.executable, "-m", "torch.distributed.run"),
                *("--nnodes", str(len(nodes)), "--node-rank", str(number), "--nproc-per-node", str(ranks)),
                *("--master-addr", nodes[0].address, "--master-port", str(port), "--local-addr", node.address),
                *("--monitor-interval", "0.1", "-m", module),
            ]
            env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": node.interface, **own, name: value}
            for said in ("RANK", "WORLD_SIZE"):
                env.pop(said, None)
            with log.open("ab") as out:
                self._agents.append(
                    subprocess.Popen(command, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
                )

    @property
    def running(self) -> bool:
        """Whether no agent has ended."""
        return all(agent.poll() is None for agent in self._agents)

    def wait(self, timeout: float) -> None:
        """Wait for a good end."""
        deadline = time.monotonic() + timeout
        for agent in self._agents:
            try:
                assert agent.wait(max(0.0, deadline - time.monotonic())) == 0, self.said
            except subprocess.TimeoutExpired:
                raise AssertionError(f"not done within {timeout} s: {self.said}") from None

    @property
    def said(self) -> str:
        """What was printed last."""
        return self.log.read_text(errors="replace")[-6000:]

    def processes(self, number: int | None = None) -> list[int]:
        """What runs of it on a node, or on all: agents, ranks, and whatever these have started."""
        mark = (self._mark + ("" if number is None else f"{number}\0")).encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                if mark in (process / "environ").read_bytes():
                    found.append(int(process.name))
        return found

    def kill(self, number: int | None = None) -> None:
        """Kill everything on a node, or on all (SIGKILL), and wait until it is gone."""
        while found := self.processes(number):
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            while not all(map(_gone, found)):
                time.sleep(0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        for agent in self._agents:
            agent.wait()
        self._hold.close()


def _gone(pid: int) -> bool:
    """Whether a process has nothing open any more, be it that nobody has asked for its exit status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "XZ"
    except OSError:
        return True
