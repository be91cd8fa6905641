"""Ray as a ``concurrent.futures`` executor."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

_RETRIES = 3  # of a task whose worker died; as many as dask makes

T = TypeVar("T")


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


def _call(task: bytes) -> bytes:
    function, args, kwargs = pickle.loads(task)  # noqa: S301 (from the process that submitted it)
    return pickle.dumps(function(*args, **kwargs))


def _pass_on(done: Future[bytes], future: Future[T]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(pickle.loads(done.result()))  # noqa: S301
        except Exception as error:
            future.set_exception(getattr(error, "cause", None) or error)  # ray wraps what a task raised
