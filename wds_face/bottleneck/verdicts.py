"""What measured numbers mean, in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from wds_face.bottleneck.measured import Measured

Limit = Literal["storage", "disk", "processors", "consumer", "turns", "epochs"]

# Of the workers' time: reading more than that is too much, and as much idleness or pauses says that others limit.
_READING, _IDLE, _BETWEEN = 0.25, 0.2, 0.2
# Of the workers' time, in which they were blocked, and in which others had their processors.
_BLOCKED, _QUEUED = 0.25, 0.25
# Of the best rate, which is as good; and what there should be beyond what is needed.
_NEAR, _SPARE = 0.95, 1.1
# Of the bytes that are fetched, how many may come again before it is said.
_AGAIN = 0.05


@dataclass(frozen=True)
class Case:
    """What was measured.

    Attributes:
        processors: that this process may use.
        output: ``"float"`` or ``"uint8"``.
        transforms: whether there were any.
        local: whether the data lie on a file system of this machine.
        cached: whether there was a ``cache_dir``.
        need: images a second that training takes, if that is known.
    """

    processors: int
    output: str = "float"
    transforms: bool = True
    local: bool = True
    cached: bool = False
    need: float | None = None


def choose(measured: Sequence[Measured], *, need: float | None = None, local: bool = True) -> Measured:
    """The one to take: of the fewest workers that reach 95 % of the best rate, or *need* with 10 % to spare.

    Where the store is not local, a number of workers that reads each byte once goes before the fewest.
    """
    best = max(one.rate for one in measured)
    enough = [one for one in measured if need is not None and one.rate >= need * _SPARE]
    good = enough or [one for one in measured if one.rate >= best * _NEAR]
    return min(good, key=lambda one: (not local and one.reading_factor > 1, one.num_workers))


def limit(one: Measured) -> Limit:
    """What limits: where the workers' time goes."""
    if one.num_workers == 0 and one.idle >= _IDLE:
        return "turns"
    if one.idle >= _IDLE and (one.waits < _IDLE or one.ready >= 1):
        return "consumer"
    if one.read > _READING:
        return "storage"
    if one.between >= _BETWEEN:
        return "epochs"
    if one.idle >= _IDLE:
        return "consumer"
    if one.blocked > _BLOCKED and one.disk_bytes:
        return "disk"
    return "processors"


def verdict(
    measured: Sequence[Measured], case: Case, *, uint8: Measured | None = None, again: Measured | None = None
) -> list[str]:
    """Sentences on what limits, which number of workers to take, and what else would help.

    Args:
        measured: with one number of workers each.
        case: what was measured.
        uint8: the same as the chosen one with ``output="uint8"``.
        again: the chosen one again, when a cache held what it reads.
    """
    one, top = choose(measured, need=case.need, local=case.local), choose(measured, local=case.local)
    said = [_what(top, measured, case), _take(one, measured, case)]
    if not case.local:
        said.append(_network(one, again))
    if uint8 is not None:
        times = uint8.rate / one.rate
        more = f"{times:.2f} times as many" if times > 1.02 else "no more"
        said.append(
            f'output="uint8" gave {uint8.rate:,.0f} images/s with {_workers(one)}, {more}, and is a quarter of the '
            "bytes to move: wds_face.normalize does the rest on the device."
        )
    said.append(
        'In training, loader.stats() tells the same: if "wait_seconds" grows by more than a tenth of what '
        '"train_seconds" grows by, the loop waits for data.'
    )
    return said


def _what(one: Measured, measured: Sequence[Measured], case: Case) -> str:
    """The sentence on what limits."""
    what = limit(one)
    if what == "turns":
        return (
            f"What limits: making batches and training take turns, since there are no workers: {one.waits:.0%} of the "
            "loop's time is waiting. Take num_workers=1 or more."
        )
    if what == "consumer":
        return _consumer(one)
    if what == "storage":
        return _storage(one, case)
    if what == "epochs":
        return (
            f"What limits: the ends of the epochs, which are short: {one.between:.0%} of the workers' time passes "
            "between them. A larger data set, or a smaller p x k, makes longer ones."
        )
    if what == "disk":
        return (
            f"What limits: storage. {one.blocked:.0%} of the workers' time they wait for a disk, which reads "
            f"{(one.disk_bytes or 0) / one.seconds / 1e6:,.0f} MB/s. What the system holds in memory already is "
            "faster: measure again, to see whether the shards fit there; or put them on a faster disk."
        )
    return _processors(one, measured, case)


def _consumer(one: Measured) -> str:
    idle = f"Workers are idle {one.idle:.0%} of their time"
    if one.step_seconds:
        return (
            f"What limits: the training loop, which takes {one.step_seconds * 1e3:g} ms for a batch. {idle}, and the "
            f"loop waits for data {one.waits:.1%} of its own: faster data would not make training faster."
        )
    return (
        f"What limits: the consumer, the main process, which takes batches out of the queue. {idle}: more of them do "
        'not help. Larger batches and output="uint8" make it less work; a training loop that takes fewer images a '
        "second than this does not wait for data."
    )


def _storage(one: Measured, case: Case) -> str:
    said = f"What limits: storage. Workers spend {one.read:.0%} of their time waiting for bytes"
    if case.local:
        return f"{said}: put the shards on a faster disk, or try more workers (--workers), which wait at the same time."
    more = 'more workers (--workers), which wait at the same time, or storage_options={"requests": 32}, of each worker'
    if case.cached:
        return f"{said}. What the cache_dir holds already is not fetched again; else: {more}."
    return f"{said}. With a cache_dir on a local disk only the first epoch would; else: {more}."


def _processors(one: Measured, measured: Sequence[Measured], case: Case) -> str:
    parts = {"decoding": one.decode, "transforms": one.transform, "collating": one.collate}
    first = max(parts, key=lambda name: parts[name])
    shares = ", ".join(f"{name} {share:.0%}" for name, share in sorted(parts.items(), key=lambda part: -part[1]))
    said = f"What limits: {first}. The workers' time goes into {shares} and reading {one.read:.0%}"
    said += f"; they are idle {one.idle:.0%} of it" if one.idle >= 0.05 else ""
    remedies = []
    most = max(other.num_workers for other in measured)
    if most >= case.processors:
        said += f". That is {_workers(one)} on {case.processors} processor{'s' * (case.processors != 1)}"
        remedies.append("more processors")
    elif one.num_workers == most:
        remedies.append(f"more workers (--workers), as there are {case.processors} processors")
    else:
        said += f". More workers brought nothing, though there are {case.processors} processors"
    if case.transforms and one.transform >= 0.1:
        remedies.append("fewer transforms, or with a lower probability")
    if case.output == "float" and one.collate >= 0.05:
        remedies.append('output="uint8", with wds_face.normalize on the device')
    if remedies:
        said += f". What helps: {'; '.join(remedies)}"
    said += "."
    if (one.queued or 0) > _QUEUED and one.num_workers <= case.processors:
        said += (
            f" But {one.queued:.0%} of their time they waited for a processor: something else runs on this machine. "
            "Measure again when it does not."
        )
    return said


def _take(one: Measured, measured: Sequence[Measured], case: Case) -> str:
    """The sentence on the number of workers."""
    best = max(measured, key=lambda other: other.rate)
    said = f"Take num_workers={one.num_workers}: {one.rate:,.0f} images/s"
    if case.need is not None and best.rate < case.need:
        said = (
            f"{said}, but none reaches the {case.need:,.0f} images/s that you need: the best is {best.rate:,.0f}, with "
            f"{_workers(best)}"
        )
        said += ", as the loop takes its time" if best.step_seconds and limit(best) == "consumer" else ""
    elif case.need is not None and best.rate < case.need * _SPARE:
        said = f"{said}. The {case.need:,.0f} that you need are reached without 10 % to spare"
    elif case.need is not None:
        said = f"{said}, the fewest that reach {case.need:,.0f} with 10 % to spare"
    elif one is not best:
        said = f"{said}, within 5 % of the best, {best.rate:,.0f} with {_workers(best)}"
    elif len(measured) > 1:
        said += ", the best"
    if not case.local and one.num_workers > 1 and one.reading_factor == 1:
        said += "; their number divides the lanes, so that each byte is fetched once"
    elif one.reading_factor > 1 and not case.local:
        said += f"; it does not divide the lanes, so that {one.reading_factor} of them fetch the same bytes"
    if one.worker_bytes is not None and one.num_workers:
        each = one.worker_bytes / 1e6
        said += f". Memory: {each:,.0f} MB a worker, {each * one.num_workers / 1e3:,.1f} GB in all"
    return said + "."


def _network(one: Measured, again: Measured | None) -> str:
    """The sentence on what came from where."""
    said = (
        f"{one.bytes_before / 1e6:,.1f} MB came before the clock ran, the first batch after {one.first_seconds:.1f} s: "
        "an epoch begins with reading what it mixes. "
    )
    if one.bytes_fetched:
        said += (
            f"Then the network brought {one.bytes_fetched / one.seconds / 1e6:,.1f} MB/s, "
            f"{one.bytes_fetched / one.images / 1e3:,.1f} kB for each image, by {one.requests / one.seconds:,.0f} "
            f"requests/s, {one.retries:,} retries in all"
        )
    else:
        said += "Then nothing was fetched, as it was in memory or in the cache"
    if one.bytes_cached:
        said += f". {one.bytes_cached / (one.bytes_cached + one.bytes_fetched):.0%} of the bytes were in the cache"
    if one.sustained is not None:
        said += (
            f". That is still the beginning, as an image has {one.image_bytes / 1e3:,.1f} kB on average: over a whole "
            f"epoch this network does for {one.sustained:,.0f} images/s. Measure with more --seconds"
        )
    if one.bytes_again > _AGAIN * one.bytes_fetched:
        said += (
            f". {one.bytes_again / one.bytes_fetched:.0%} of it had been there and was dropped for want of room: take "
            f"more workers, or set buffer_bytes to {one.bytes_mixed / 1e6:,.0f} MB, which each of them mixes"
        )
    if again is not None:
        said += f". The same batches again, from the cache, come at {again.rate:,.0f} images/s, the first in "
        said += f"{again.first_seconds:.1f} s"
    return said + "."


def _workers(one: Measured) -> str:
    return f"{one.num_workers or 'no'} worker{'s' * (one.num_workers != 1)}"
