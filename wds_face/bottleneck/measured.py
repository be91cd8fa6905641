"""What was measured with one number of workers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

# An epoch still begins as long as so many times the bytes of its images are read.
BEGINNING = 1.5


@dataclass(frozen=True)
class Measured:
    """What was measured with one number of workers.

    Attributes:
        num_workers: processes that made batches; with 0 the loop made them itself.
        images: that the loop took, in *seconds*.
        seconds: measured, behind those of warming up.
        first_seconds: from ``iter()`` to the first batch, with the start of the workers.
        epoch: the first that was streamed.
        step_seconds: that the loop waited with each batch, in a training step's place.
        read, decode, transform, collate, idle: shares (0 to 1) of the workers' time, which is *seconds* times workers;
            what is missing from 1 passed between one epoch and the next. Idle are workers of whom nobody wants a batch.
        waits: share of the loop's time in which it waited for a batch.
        ready: batches that were made and lay there when the loop asked for one, on average.
        reading_factor: how many workers read the same bytes, see :func:`wds_face.stream.lanes.summary`.
        bytes_fetched, bytes_cached: that came over the network, and from the cache in their place.
        bytes_again: of those fetched, what had been dropped for want of room.
        bytes_mixed: at a time, by the lanes of one worker.
        image_bytes: of an encoded image, on average.
        bytes_before: of either kind, before the *seconds* began: what is mixed must be there for the first batch.
        requests, retries: of the network.
        worker_bytes: that a worker has for itself, with the batches that it made; None where that is not told.
        running: share of the workers' time in which they ran on a processor; None where that is not told.
        queued: share in which they could have run, but others had the processors; None likewise.
        disk_bytes: that a disk read for the workers, for what the system did not hold in memory; None likewise.
    """

    num_workers: int
    images: int
    seconds: float
    first_seconds: float
    epoch: int = 0
    step_seconds: float = 0.0
    read: float = 0.0
    decode: float = 0.0
    transform: float = 0.0
    collate: float = 0.0
    idle: float = 0.0
    waits: float = 0.0
    ready: float = 0.0
    reading_factor: int = 1
    bytes_fetched: int = 0
    bytes_cached: int = 0
    bytes_again: int = 0
    bytes_mixed: int = 0
    image_bytes: float = 0.0
    bytes_before: int = 0
    requests: int = 0
    retries: int = 0
    worker_bytes: int | None = None
    running: float | None = None
    queued: float | None = None
    disk_bytes: int | None = None

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds

    @property
    def busy(self) -> float:
        """Share of the workers' time in which they made batches."""
        return self.read + self.decode + self.transform + self.collate

    @property
    def blocked(self) -> float:
        """Share of the workers' time in which they neither ran, nor could have run, though they had work to do."""
        return 0.0 if self.running is None or self.queued is None else max(0.0, self.busy - self.running - self.queued)

    @property
    def between(self) -> float:
        """Share of the workers' time between one epoch and the next."""
        return max(0.0, 1 - self.busy - self.idle)

    @property
    def sustained(self) -> float | None:
        """Images a second for which the bytes that were fetched would do on average; None if they are as many.

        An epoch begins with reading what it mixes, more than the images that it gives meanwhile.
        """
        came = self.bytes_fetched - self.bytes_again
        if not self.image_bytes or came <= BEGINNING * self.image_bytes * self.images:
            return None
        return came / self.seconds / self.image_bytes

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "images_per_second": self.rate}
