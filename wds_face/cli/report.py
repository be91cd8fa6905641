"""``wds-face report``: a data set at a glance, as a page to show to others."""

from __future__ import annotations

from typing import Literal, cast

import click

from wds_face.cli import options
from wds_face.cli.options import print_json
from wds_face.cli.paths import Location
from wds_face.location import shown
from wds_face.units import size


@click.command(short_help="Write a page that shows a data set at a glance.")
@click.argument("url", type=Location())
@options.output("report.html", "HTML page to write, as a single self-contained file.")
@click.option("-p", type=click.IntRange(min=1), help="Identities per batch [default: 16, or all if there are fewer].")
@options.images
@click.option(
    "--epoch",
    type=click.Choice(["images", "identities"]),
    default="images",
    show_default=True,
    help="Every image comes, or every identity once.",
)
@click.option(
    "--samples", type=click.IntRange(min=1), default=2000, show_default=True, help="Images to examine, drawn at random."
)
@options.seed
@options.points
@options.as_json
@options.quiet
def report(
    *,
    url: str,
    output: str,
    p: int | None,
    k: int,
    epoch: str,
    samples: int,
    seed: int,
    points: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write a page that shows a data set at a glance: how many images identities have, what images look like and which
    stand out, the first batches as a model will see them, how well they are shuffled, and the plan of an epoch.

    URL is a folder of shards with an index. The page holds photographs and names out of it: treat it as these.

    \b
    Examples:
      wds-face report shards/
      wds-face report s3://bucket/shards -o ms1mv2.html -p 64 --samples 10000
    """
    from wds_face.report import write_report  # noqa: PLC0415 (keeps --help fast)

    nbytes = write_report(
        url,
        output,
        p=p,
        k=k,
        epoch=cast('Literal["images", "identities"]', epoch),
        samples=samples,
        seed=seed,
        points=cast('Literal["arcface", "casia"]', points),
        progress=not quiet,
    )
    if as_json:
        print_json({"url": shown(url), "output": output, "bytes": nbytes})
    elif not quiet:
        click.echo(f"{output}: a report on {shown(url)}, {size(nbytes)}")
