"""Executors of dask and ray, on a cluster or on this machine."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as TimedOut
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from wds_face.errors import WdsFaceError
from wds_face.executors import DaskExecutor, RayExecutor
from wds_face.pool import cpus
from wds_face.version import __version__

ENGINES = ("local", "dask", "ray")

_PATIENCE = 30.0  # seconds in which a cluster has to answer
_NEVER = "1000 days"
_SILENT = logging.CRITICAL + 1
_CALM = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"  # leave Ctrl-C to the parent

T = TypeVar("T")


@contextmanager
def open_engine(name: str, address: str | None = None, workers: int | None = None) -> Iterator[Executor | None]:
    """What to give as ``executor=`` to ``convert``, ``verify`` and ``adopt``, until the block ends.

    Without an address dask and ray are started on this machine, and end with the block. Dask's workers import the
    script that starts them: it needs an ``if __name__ == "__main__":``.

    Args:
        name: ``dask``, ``ray``, or ``local`` for None, with which they start processes of their own.
        address: of a cluster: dask's scheduler (``tcp://host:8786``) or ray's head (``host:6379``, ``auto``).
        workers: processes on this machine, by default one per processor; only without an address.

    Raises:
        WdsFaceError: the package is not installed, or nothing answers at the address within 30 seconds.
    """
    if name not in ENGINES:
        raise WdsFaceError(f"engine is {name!r}: it must be one of {', '.join(ENGINES)}")
    if address is not None and (name == "local" or workers is not None):
        raise WdsFaceError("an address is for the engines dask and ray, and such a cluster has its own workers")
    if name == "local":
        yield None
    else:
        with (_dask if name == "dask" else _ray)(address, workers or cpus()) as executor:
            yield executor


@contextmanager
def _dask(address: str | None, workers: int) -> Iterator[Executor]:
    try:
        from dask import config  # noqa: PLC0415 (optional)
        from distributed import Client, LocalCluster  # noqa: PLC0415
        from distributed.comm import resolve_address  # noqa: PLC0415
        from distributed.utils import silence_logging_cmgr  # noqa: PLC0415
    except ImportError:
        raise _missing("dask") from None
    with ExitStack() as stack:
        stack.enter_context(silence_logging_cmgr(_SILENT))
        if address is None:
            # dask's memory limit would count mapped files, which the system takes back without killing anybody
            options = {"memory_limit": 0, "silence_logs": _SILENT, "preload": _CALM}
            server = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # a second one finds port 8787 in use
            # a worker that was lost is started again; who is not there after this time would be given up for good
            stack.enter_context(config.set({"distributed.deploy.lost-worker-timeout": _NEVER}))
            started = LocalCluster(n_workers=workers, threads_per_worker=1, scheduler_kwargs=server, **options)
            cluster = stack.enter_context(started)
            client = Client(cluster, set_as_default=False)
        else:
            parameters = {"timeout": _PATIENCE, "set_as_default": False}
            client = _answer("dask", address, lambda: Client(resolve_address(address), **parameters))
        stack.callback(_close, client)
        try:
            client.run(eval, "__import__('wds_face') and None")
        except ImportError:
            raise WdsFaceError(f"a dask worker has no wds-face: install {__version__} for each") from None
        yield DaskExecutor(client)


def _close(client: Any) -> None:
    try:
        client.close(timeout=5)
    except Exception:
        client.status = "closed"  # its scheduler is gone, and it would look for it once more when Python ends


@contextmanager
def _ray(address: str | None, workers: int) -> Iterator[Executor]:
    try:
        import ray  # noqa: PLC0415 (optional)
    except ImportError:
        raise _missing("ray") from None
    if ray.is_initialized():
        raise WdsFaceError("ray runs in this process already: give wds_face.executors.RayExecutor() as executor")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": _SILENT}
    try:
        ray._private.worker._worker_logs_enabled = False  # or it prints how a worker died, in paragraphs
        if address is None:
            ray.init("local", num_cpus=workers, include_dashboard=False, **quiet)
        else:
            _answer("ray", address, lambda: ray.init(_knocked(address), **quiet))
        yield RayExecutor()
    finally:
        ray.shutdown()
        ray._private.worker._worker_logs_enabled = True


def _knocked(address: str) -> str:
    """An address where somebody listens: otherwise ray would try for minutes, and say so all the time."""
    where = urlsplit("//" + address.rpartition("//")[2])
    if where.port is not None:
        socket.create_connection((where.hostname, where.port), _PATIENCE).close()
    return address


def _answer(engine: str, address: str, connect: Callable[[], T]) -> T:
    """What comes of connecting, unless it takes too long: both wait for ever on a port of somebody else's."""
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(connect())
        except BaseException as error:
            answer.set_exception(OSError(str(error)))  # a traceback would keep half a client alive

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(_PATIENCE + 1)
    except TimedOut:
        why = f"nothing within {_PATIENCE:g} s"
    except Exception as error:
        why = str(error).partition("\n")[0]
    raise WdsFaceError(f"no {engine} answers at {address} ({why}): give the address of its running cluster") from None


def _missing(package: str) -> WdsFaceError:
    return WdsFaceError(f"{package} is not installed: pip install 'wds-face[{package}]'")
