"""A torch ``DataLoader`` that knows where it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from torch.utils.data import DataLoader

if TYPE_CHECKING:
    from wds_face.stream.stream import PKStream


class PKLoader(DataLoader[Any]):
    """The batches of a :class:`~wds_face.PKStream`, and its state at any step of the iteration that began last.

    ``len`` is that of a whole epoch, also where one is resumed. An iteration begins with its first batch: an epoch that
    is set before that counts. Who says epochs to samplers only, as Lightning does, says them here too.
    """

    _done = 0

    def __init__(self, stream: PKStream, **options: Any) -> None:
        super().__init__(stream, **options)
        cast("Any", self.sampler).set_epoch = self.set_epoch  # torch's own for streams, which does nothing with it

    @property
    def stream(self) -> PKStream:
        """What it loads."""
        return cast("PKStream", self.dataset)

    def set_epoch(self, epoch: int) -> None:
        """See :meth:`PKStream.set_epoch`."""
        before = self.stream.epoch
        self.stream.set_epoch(epoch)
        if epoch != before:
            self._done = 0

    def state_dict(self) -> dict[str, Any]:
        """Where the loop is: behind the batch that it was given last, whatever the workers have made ahead.

        A small JSON-able dict, the same on every rank.
        """
        return self.stream.state_dict(self._done)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`PKStream.load_state_dict`."""
        self.stream.load_state_dict(state)
        self._done = 0

    def stats(self) -> dict[str, int]:
        """See :meth:`PKStream.stats`."""
        return self.stream.stats()

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._done = 0
        self.stream.position.take()
        for batch in super().__iter__():
            self._done += 1
            yield batch
