"""Processes for the tests of the cache, and an end for those that hang."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from tests.storage.pieces import (
    Start,
)


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    """A lock that nobody gives back fails a test, and does not stop all."""

    def ring(*_: object) -> None:
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(90)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def start() -> Iterator[Start]:
    """``start(task, *args)`` runs a task in a process of its own."""
    started: list[BaseProcess] = []

    def start(task: Callable[..., None], *args: Any, method: str = "fork") -> BaseProcess:
        process: BaseProcess = multiprocessing.get_context(method).Process(  # type: ignore[attr-defined]
            target=task, args=args, daemon=True
        )
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()
