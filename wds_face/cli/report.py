"""``wds-face report``: a data set at a glance, as a page to show to others."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import click

from wds_face.cli.units import size
from wds_face.storage.store import shown


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
@click.option("-p", type=click.IntRange(min=1), default=16, show_default=True, help="Identities in a batch.")
@click.option("-k", type=click.IntRange(min=1), default=4, show_default=True, help="Images of each.")
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
@click.option("--seed", type=click.IntRange(0, (1 << 32) - 1), default=0, show_default=True, help="Of all choices.")
@click.option(
    "--points",
    type=click.Choice(["arcface", "casia"]),
    default="arcface",
    show_default=True,
    help="Where nose and mouth are: in the middle of 112 x 112 (insightface), or 8 px further left.",
)
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
