"""Dask and ray as ``concurrent.futures`` executors."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from typing import Any, TypeVar

_RETRIES = 3  # of a task whose worker died; as many as dask makes

# Seconds in which all machines of ray have to answer a call to each of them.
_CALLED_WITHIN = 30.0

T = TypeVar("T")


class DaskExecutor(Executor):
    """Tasks of a dask cluster.

    Dask's own executor takes the result of a task for an error where its worker dies just after it was fetched.

    Args:
        client: a ``distributed.Client``, which stays open.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """See :meth:`concurrent.futures.Executor.submit`. Equal tasks are done each, and again if a worker dies."""
        # impure: dask would take two equal tasks for one, and an earlier result for a shard that is to be written
        task = self._client.submit(function, *args, pure=False, **kwargs)
        future: Future[T] = Future()
        future.add_done_callback(lambda _: task.cancel() if future.cancelled() else None)
        self._client.loop.add_callback(self._pass_on, task, future)
        return future

    def everywhere(self, function: Callable[[], object]) -> None:
        """Call a function in every worker process, and wait until all have."""
        self._client.run(function)

    async def _pass_on(self, task: Any, future: Future[T]) -> None:
        try:
            result, error = await self._client.gather(task, asynchronous=True), None
        except BaseException as raised:  # asyncio's CancelledError is no Exception
            result, error = None, raised if isinstance(raised, Exception) else CancelledError()
        if not future.set_running_or_notify_cancel():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


class RayExecutor(Executor):
    """Tasks of the ray that ``ray.init`` connected to.

    They and their results are pickled here, as for any process: ray itself would make arrays read-only.
    """

    def __init__(self) -> None:
        import ray  # noqa: PLC0415 (optional)

        self._cancel = ray.cancel
        self._task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_call)

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """See :meth:`concurrent.futures.Executor.submit`. What a task raises arrives as it is."""
        reference = self._task.remote(pickle.dumps((function, args, kwargs)))
        future: Future[T] = Future()
        future.add_done_callback(lambda _: self._cancel(reference) if future.cancelled() else None)
        reference.future().add_done_callback(lambda done: _pass_on(done, future))
        return future

    def everywhere(self, function: Callable[[], object]) -> None:
        """Call a function once on every machine, and wait for up to 30 seconds until all have."""
        import ray  # noqa: PLC0415 (optional)
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415

        task = pickle.dumps((function, (), {}))
        calls = []
        for node in ray.nodes():
            if node["Alive"]:
                strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                calls.append(self._task.options(num_cpus=0, scheduling_strategy=strategy).remote(task))
        ray.wait(calls, num_returns=len(calls), timeout=_CALLED_WITHIN)


def _call(task: bytes) -> bytes:
    function, args, kwargs = pickle.loads(task)  # noqa: S301 (from the process that submitted it)
    return pickle.dumps(function(*args, **kwargs))


def _pass_on(done: Future[bytes], future: Future[T]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(pickle.loads(done.result()))  # noqa: S301
        except Exception as error:
            future.set_exception(getattr(error, "cause", None) or error)  # ray wraps what a task raised
