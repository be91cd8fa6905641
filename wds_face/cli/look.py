"""``wds-face index``, ``verify`` and ``info``: what is in a data set, and whether it is as it should be."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from wds_face.cli import options
from wds_face.cli.engine import engine_options, full, open_executor
from wds_face.cli.options import label_option, print_json
from wds_face.cli.paths import Location
from wds_face.location import shown
from wds_face.units import plural, size

if TYPE_CHECKING:
    from wds_face.shards.index import Index


@click.command(short_help="Write an index beside shards made elsewhere.")
@click.argument("url", type=Location())
@label_option
@click.option("--overwrite", is_flag=True, help="Replace an index that is there.")
@engine_options
@options.as_json
@options.quiet
def index(
    url: str,
    *,
    label_from: str,
    overwrite: bool,
    engine: str,
    address: str | None,
    workers: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write an index beside shards made elsewhere, if they are grouped by identity.

    URL is a folder of .tar files. Every identity must be one run in one shard, with labels 0 to n-1. Shards that are
    not are regrouped by `wds-face convert webdataset`.

    \b
    Example:
      wds-face index s3://bucket/shards
    """
    from wds_face.shards.adopt import adopt  # noqa: PLC0415 (keeps --help fast)

    url = full(url, engine)
    with open_executor(engine, address, workers) as executor:
        made = adopt(
            url, label_from=label_from, overwrite=overwrite, workers=workers, executor=executor, progress=not quiet
        )
    if as_json:
        print_json({"url": str(made.store), **_counts(made), "labels": made.labels})
    elif not quiet:
        identities = plural(len(made.identities), "identity")
        images = plural(made.images, "image")
        click.echo(f"{made.store}: {identities}, {images}, {plural(len(made.shards), 'shard')}")
        click.echo(f"note: labels from {made.labels}")


@click.command(short_help="Check every file against the index, to the bit.")
@click.argument("url", type=Location())
@click.option("--deep", is_flag=True, help="Decode every image too.")
@engine_options
@options.as_json
@options.quiet
def verify(
    url: str, *, deep: bool, engine: str, address: str | None, workers: int | None, as_json: bool, quiet: bool
) -> None:
    """Check every file of a data set against its index: sizes, sha256, and what each shard holds.

    Prints a line per problem and ends with exit code 1 if there is any.

    \b
    Examples:
      wds-face verify shards/
      wds-face verify s3://bucket/shards --deep
    """
    from wds_face.shards.index import Index  # noqa: PLC0415 (keeps --help fast)
    from wds_face.shards.verify import verify as check  # noqa: PLC0415

    url = full(url, engine)
    with open_executor(engine, address, workers) as executor:
        problems = check(url, deep=deep, workers=workers, executor=executor, progress=not quiet)
    if as_json:
        print_json(
            {
                "url": shown(url),
                "ok": not problems,
                "deep": deep,
                "problems": [{"file": problem.file, "what": problem.what} for problem in problems],
                **({} if problems else _counts(Index.open(url))),
            }
        )
    else:
        for problem in problems:
            click.echo(f"{problem.file}: {problem.what}")
    if problems:
        count = plural(len(problems), "problem")
        click.echo(f"{shown(url)}: {count} found; convert again with --overwrite, or copy the data set again", err=True)
        sys.exit(1)
    if as_json or quiet:
        return
    found = Index.open(url)
    total = sum(shard.nbytes for shard in found.shards)
    decoded = ", every image decoded" if deep else ""
    shards = plural(len(found.shards), "shard")
    click.echo(f"{shown(url)}: ok ({shards}, {size(total)}, {plural(found.images, 'image')}{decoded})")


def _counts(index: Index) -> dict[str, int]:
    """Return the counts of a data set, for JSON."""
    return {
        "identities": len(index.identities),
        "images": index.images,
        "shards": len(index.shards),
        "bytes": sum(shard.nbytes for shard in index.shards),
    }


@click.command(short_help="Count identities and images, and how they are spread.")
@click.argument("url", type=Location())
@options.images
@options.as_json
@options.quiet
def info(url: str, *, k: int, as_json: bool, quiet: bool) -> None:
    """Count identities and images, and show how images are spread over identities and how many identities have too few
    images for a batch. Reads only the index.

    \b
    Examples:
      wds-face info shards/
      wds-face info s3://bucket/shards -k 8 --json
    """
    from wds_face.shards.census import census  # noqa: PLC0415 (keeps --help fast)
    from wds_face.shards.index import Index  # noqa: PLC0415

    found = Index.open(url)
    counts = census(found, k=k)
    if as_json:
        print_json(counts)
        return
    if quiet:
        return
    per, below = counts["images_per_identity"], counts["below_k"]
    click.echo(f"{found.store}")
    click.echo(f"  identities  {counts['identities']:>12,}")
    click.echo(f"  images      {counts['images']:>12,}")
    click.echo(f"  shards      {counts['shards']:>12,}   {size(counts['bytes'])}")
    click.echo(
        f"  images per identity: {per['min']} to {per['max']:,}, median {per['median']:g}, mean {per['mean']:.1f}"
    )
    click.echo(
        f"  {plural(below['identities'], 'identity has', 'identities have')} fewer than "
        f"{plural(below['k'], 'image')} ({below['share']:.1%}), with {below['share_of_images']:.1%} of the images"
    )
    click.echo(f"  image sizes: {found.sizes.describe() if found.sizes else 'not recorded'}")
    _histogram(counts["histogram"])


def _histogram(rows: list[Any], width: int = 40) -> None:
    top = max((count for _, _, count in rows), default=1) or 1
    click.echo("  images per identity")
    for least, most, count in rows:
        label = f"{least:,}" if most == least else f"{least:,}-{most:,}" if most else f"{least:,}+"
        bar = "█" * round(count / top * width) or ("▏" if count else "")
        click.echo(f"  {label:>9} {bar:<{width}} {count:,}")
