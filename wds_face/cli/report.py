"""``wds-face report``: a data set at a glance, as a page to show to others."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import click

from wds_face.cli import options
from wds_face.location import shown
from wds_face.units import size


@click.command(short_help="Write a page that shows a data set at a glance.")
@click.argument("url")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    default="report.html",
    show_default=True,
    help="The page; one file that needs no other.",
)
@options.identities
@options.images
@click.option(
    "--epoch",
    type=click.Choice(["images", "identities"]),
    default="images",
    show_default=True,
    help="Every image comes, or every identity once.",
)
@click.option(
    "--samples", type=click.IntRange(min=1), default=2000, show_default=True, help="Images to look at, at random."
)
@options.seed
@options.points
def report(*, url: str, output: str, p: int, k: int, epoch: str, samples: int, seed: int, points: str) -> None:
    """Write a page that shows a data set at a glance: how many images identities have, what images look like and which
    stand out, the first batches as a model will see them, how well they are shuffled, and the plan of an epoch.

    URL is a folder of shards with an index. The page holds photographs and names out of it: treat it as these.

    \b
    Examples:
      wds-face report shards/
      wds-face report s3://bucket/shards -o ms1mv2.html -p 64 --samples 10000
    """
    folder = Path(output).absolute().parent
    if not folder.is_dir():
        raise click.BadParameter(f"there is no folder {Path(output).parent}.", param_hint="--output")
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
        progress=True,
    )
    click.echo(f"{output}: a report on {shown(url)}, {size(nbytes)}")
