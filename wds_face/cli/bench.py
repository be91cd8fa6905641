"""``wds-face bench``: what limits training on this machine with these data, and how many workers to take."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from wds_face.cli import options
from wds_face.cli.options import print_json
from wds_face.cli.paths import LocalPath, Location
from wds_face.errors import WdsFaceError
from wds_face.location import shown
from wds_face.units import plural, size

if TYPE_CHECKING:
    from wds_face.bottleneck import Measured
    from wds_face.stream import PKStream

# Doubling the workers must bring so much, or there is no use in going on.
_GAIN = 1.05
# Batches of each worker that are in memory at a time, at least.
_BATCHES = 3

_HEAD = (
    "                                 ------------- time of the workers -------------\n"
    "  workers  images/s  1st batch  reading  decoding  transforms  collating  idle  loop waits  ready  memory"
)


class Numbers(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4
    """Numbers of workers: ``1,2,4``."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """The numbers, from the smallest."""
        words = str(value).split(",")
        if not all(word.strip().isdecimal() and int(word) <= 1024 for word in words):
            self.fail(f"{value!r} are no numbers of workers; write them like 1,2,4.", param, ctx)
        return sorted({int(word) for word in words})


@click.command(short_help="Measure what limits training here, and how many workers to take.")
@click.argument("url", type=Location())
@options.identities
@options.images
@click.option(
    "--dtype",
    type=click.Choice(["float32", "uint8"]),
    default="float32",
    show_default=True,
    help="Type of the images that the workers return; sets output= of PKStream.",
)
@click.option("--plain", is_flag=True, help="Without augmentations, masks and flips.")
@click.option(
    "--workers",
    type=Numbers(),
    metavar="N,N,…",
    help="Worker processes: one number, or several to try in turn [default: 1, 2, 4, … processors].",
)
@click.option(
    "--seconds", type=click.FloatRange(0.1, 3600), default=3.0, show_default=True, help="To measure each number."
)
@click.option("--need", type=click.FloatRange(min=1), metavar="IMAGES/S", help="What your training takes.")
@click.option(
    "--step-ms",
    type=click.FloatRange(0, 60_000),
    default=0.0,
    show_default=True,
    help="Wait so long with each batch, as for a training step.",
)
@click.option("--cache-dir", type=LocalPath(file_okay=False), help="Keep on a local disk what comes from a network.")
@options.seed
@options.as_json
@options.quiet
def bench(
    *, url: str, workers: list[int] | None, seconds: float, dtype: str, as_json: bool, quiet: bool, **streamed: Any
) -> None:
    """Measure what limits training on this machine with these data, and say how many workers to take.

    URL is a folder of shards with an index. Batches are made as in training, by 1, 2, 4, … workers, up to the
    processors of this machine, or until more do not help: with the transforms of the README, or without.

    Columns: images/s; the time to the first batch; where the time of the workers goes, idle where nobody wants a batch;
    how much of its time the loop waits for a batch; how many are ready when it asks; memory of a worker's own.

    \b
    Examples:
      wds-face bench shards/
      wds-face bench shards/ -p 64 --step-ms 80
      wds-face bench s3://bucket/shards --cache-dir /scratch/faces --need 8000 --json > bench.json
    """
    output = "float" if dtype == "float32" else dtype
    show = _print_nothing if as_json or quiet else click.echo
    try:
        with _one_line():
            found = _bench(url, workers, seconds, show, quiet=quiet, output=output, **streamed)
    except KeyboardInterrupt:
        click.echo("wds-face bench: interrupted", err=True)
        sys.exit(130)
    if as_json:
        print_json(found)


def _print_nothing(line: str = "") -> None:
    """Replace ``click.echo`` where nothing is to be printed."""


def _bench(
    url: str,
    workers: list[int] | None,
    seconds: float,
    show: Callable[..., None],
    *,
    quiet: bool,
    output: str,
    plain: bool,
    need: float | None,
    step_ms: float,
    cache_dir: str | None,
    **options: Any,
) -> dict[str, Any]:
    from wds_face.bottleneck import Case, choose, limit, measure, verdict  # noqa: PLC0415 (keeps --help fast)
    from wds_face.pool import cpus  # noqa: PLC0415
    from wds_face.shards.index import Index  # noqa: PLC0415

    def run(stream: PKStream, number: int, seconds: float, what: str = "", epoch: int | None = None) -> Measured:
        with _announced(f"{plural(number, 'worker')}{what} …", quiet):
            return measure(stream, number, seconds, step=step_ms / 1e3, epoch=epoch)

    index = Index.open(url)
    stream = _stream(url, output, plain, cache_dir, options)
    processors, local = cpus(), index.store.local is not None
    numbers = _that_fit(stream, workers or _numbers(processors), options)
    nbytes = int(index.identities["nbytes"].sum())
    step = f", {step_ms:g} ms for each in the loop" if step_ms else ""
    show(
        f"{index.store}: {plural(len(index.identities), 'identity')}, {plural(index.images, 'image')} of "
        f"{size(nbytes // max(1, index.images))} in shards; {plural(processors, 'processor')}"
    )
    p, k, which = options["p"], options["k"], "no" if plain else "all"
    show(f"  batches of {p} x {k} = {plural(p * k, 'image')}, {output}, {which} transforms{step}")
    show(_HEAD)
    measured: list[Measured] = []
    for number in numbers:
        measured.append(one := run(stream, number, seconds))
        show(_row(one))
        before = next((other for other in measured if other.num_workers * 2 == number), None)
        if workers is None and before is not None and one.rate < before.rate * _GAIN:
            break
    best, cached = choose(measured, need=need, local=local), cache_dir is not None and not local
    uint8 = again = None
    if output == "float" and limit(best) in (("processors",) if step_ms else ("processors", "consumer")):
        uint8 = run(_stream(url, "uint8", plain, cache_dir, options), best.num_workers, seconds / 2, ", uint8")
    if cached:
        again = run(stream, best.num_workers, seconds / 2, ", from the cache", best.epoch)
    case = Case(processors, output, not plain, local, cached, need)
    said = verdict(measured, case, uint8=uint8, again=again)
    show("")
    for sentence in said:
        show(click.wrap_text(sentence, 100, "- ", "  "))
    return {
        **{"url": shown(url), "identities": len(index.identities), "images": index.images, "bytes": nbytes},
        **{"processors": processors, "output": output, "transforms": not plain, "local": local, "need": need},
        **{"step_seconds": step_ms / 1e3, "cache_dir": cache_dir, **options},
        "measured": [one.as_dict() for one in measured],
        "uint8": uint8 and uint8.as_dict(),
        "from_cache": again and again.as_dict(),
        **{"num_workers": best.num_workers, "limit": limit(choose(measured, local=local)), "verdict": said},
    }


def _stream(url: str, output: str, plain: bool, cache_dir: str | None, options: dict[str, Any]) -> PKStream:
    """As in the README."""
    from wds_face import ARCFACE_112, Augmenter, MedicalMaskOcclusion, PKStream  # noqa: PLC0415

    return PKStream(
        url,
        **options,
        augmenter=None if plain else Augmenter(crop_prob=0.1, photometric_prob=0.3, low_res_prob=0.2),
        occlusion=None if plain else MedicalMaskOcclusion(prob=0.5, ref_points=ARCFACE_112),
        flip=0.0 if plain else 0.5,
        output=cast('Literal["float", "uint8"]', output),
        cache_dir=cache_dir,
    )


def _row(one: Measured) -> str:
    """A line of the table."""
    parts = one.read, one.decode, one.transform, one.collate, one.idle, one.waits
    shares = "".join(f"{share:>{width}.0%}" for share, width in zip(parts, (9, 10, 12, 11, 6, 12), strict=True))
    memory = "-" if one.worker_bytes is None else f"{one.worker_bytes / 1e6:,.0f} MB"
    return f"  {one.num_workers:>7}{one.rate:>10,.0f}{one.first_seconds:>9.2f} s{shares}{one.ready:>7.1f}{memory:>8}"


def _numbers(processors: int) -> list[int]:
    return sorted({1 << power for power in range(processors.bit_length())} | {processors})


def _that_fit(stream: PKStream, numbers: list[int], options: dict[str, Any]) -> list[int]:
    """Those numbers of workers whose batches fit into memory."""
    from wds_face.bottleneck.processes import available  # noqa: PLC0415

    batch, there = sum(part.nbytes for part in stream.room.parts), available()
    if there is None:
        return numbers
    fit = [number for number in numbers if batch * max(1, number) * _BATCHES <= there]
    if not fit:
        raise WdsFaceError(
            f"a batch of {options['p']} x {options['k']} takes {size(batch)}, of which each worker keeps {_BATCHES}, "
            f"but {size(there)} are free: take a smaller p x k{', or fewer --workers' if numbers[0] > 1 else ''}"
        )
    if len(fit) < len(numbers):
        click.echo(
            f"wds-face bench: {size(there)} are free, not enough for more than {plural(fit[-1], 'worker')}", err=True
        )
    return fit


@contextmanager
def _announced(what: str, quiet: bool) -> Iterator[None]:
    """Show progress, on a terminal only."""
    show = sys.stderr.isatty() and not quiet
    if show:
        click.echo(f"  {what}", err=True, nl=False)
    try:
        yield
    finally:
        if show:
            click.echo("\r\033[K", err=True, nl=False)


@contextmanager
def _one_line() -> Iterator[None]:
    """An error of a worker comes with its traceback, of which the last line is for the user."""
    try:
        yield
    except WdsFaceError as error:
        lines = str(error).strip().splitlines() or [""]
        if len(lines) == 1:
            raise
        raise WdsFaceError(lines[-1].partition(": ")[2] or lines[-1]) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise WdsFaceError("a worker was killed, maybe for want of memory: take a smaller p x k, or fewer") from None
