"""Who does the work of a command: the options ``--engine``, ``--address`` and ``--workers``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from wds_face.engines import ENGINES, open_engine
from wds_face.location import is_url

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Processes [default: one per processor]."),
    click.option("--engine", type=click.Choice(ENGINES), default="local", show_default=True,
                 help="What runs the processes: this command, or dask or ray, started here without --address."),
    click.option("--address", metavar="ADDRESS",
                 help="Of a cluster that runs: dask's scheduler (tcp://host:8786) or ray's head (host:6379). Its own "
                      "workers are used, so there is no --workers. Each needs wds-face, and paths given here must "
                      "lie in folders that all share with this machine."),
)  # fmt: skip


def engine_options(function: F) -> F:
    """A command with these options; see :func:`open_executor` for their values."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@contextmanager
def open_executor(engine: str, address: str | None, workers: int | None) -> Iterator[Executor | None]:
    """The executor that the options ask for.

    Raises:
        UsageError: they do not go together.
    """
    if address is not None and engine == "local":
        raise click.UsageError("--address is of a cluster: give --engine dask or ray with it.")
    if address is not None and workers is not None:
        raise click.UsageError("--workers is of this machine: the cluster at --address has its own workers.")
    with open_engine(engine, address, workers) as executor:
        yield executor


def full(path: str, engine: str) -> str:
    """A path under which workers of the engine find it too; they run in folders of their own."""
    return path if engine == "local" or is_url(path) else os.path.abspath(path)
