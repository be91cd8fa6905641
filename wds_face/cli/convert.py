"""``wds-face convert``: one command per kind of source, with the same options."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar

import click

from wds_face.cli.engine import engine_options, full, open_executor
from wds_face.cli.options import identity_depth, label_option
from wds_face.cli.units import Bytes, MaxSkipped
from wds_face.cli.validation import validation
from wds_face.location import shown
from wds_face.pool import Workers
from wds_face.sources import IdxUse, ImageFolder, RecordIO, Source, WebDataset
from wds_face.storage import open_store
from wds_face.units import size

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--name", default="train", show_default=True, help="Prefix of the shards' names."),
    click.option("--shard-size", type=Bytes(), metavar="SIZE", help="Size of a shard, like 64MB [default: 8-256 MiB]."),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the identities' order."),
    click.option("--min-images", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
                 help="Leave out identities with fewer images."),
    click.option("--labels", type=click.Choice(["cls", "key"]), default="cls", show_default=True,
                 help="cls: a .cls member beside each image; key: only in the name of its folder, 15% smaller."),
    click.option("--deep", is_flag=True, help="Decode every image, to leave out those damaged in the middle too."),
    click.option("--strict", is_flag=True, help="Stop where something would have to be left out."),
    click.option("--max-skipped", type=MaxSkipped(), default="1%", show_default=True, metavar="LIMIT",
                 help="Leave out as many unreadable images: a share (1%, 0.01) or a number (20). "
                 "With more nothing is published."),
    click.option("--salvage", is_flag=True,
                 help="Take what can be read of damaged shards and record files, instead of stopping."),
    click.option("--resume/--overwrite", default=True, show_default=True,
                 help="Go on with an unfinished DEST, or replace what it holds."),
    click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing."),
    click.option("--quiet", "-q", is_flag=True, help="No progress bar and no summary."),
)  # fmt: skip


def _options(function: F) -> F:
    function = engine_options(function)
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.group()
def convert() -> None:
    """Convert a face set into shards grouped by identity.

    SRC is left as it is. DEST is a folder or an fsspec URL (s3://…). Images that cannot be read are left out and listed
    in DEST/skipped.tsv, up to --max-skipped of them. A source with a damaged shard, record file or index is refused
    unless you say --salvage; nothing is published then. A conversion that was killed goes on where it was when the same
    command is given again, and ends with the same bytes.
    """


@convert.command()
@click.argument("src", type=click.Path())
@click.argument("dest")
@identity_depth
@_options
def imagefolder(src: str, dest: str, identity_depth: int | None, **options: Any) -> None:
    """A folder with one sub-folder of images per identity.

    Sub-folders of an identity belong to it. A tree that can be read in two ways, such as train/<identity> beside
    test/<identity>, is refused until --identity-depth says where the identities are. Hidden, thumbnail and trash
    folders are left out.

    \b
    Examples:
      wds-face convert imagefolder faces/ shards/
      wds-face convert imagefolder faces/ shards/ --min-images 2 --labels key
      wds-face convert imagefolder splits/ shards/ --identity-depth 2
    """
    _convert(partial(ImageFolder, identity_depth=identity_depth), src, dest, **options)


@convert.command()
@click.argument("src", type=click.Path())
@click.argument("dest")
@click.option("--idx", type=click.Choice(["check", "trust", "ignore"]), default="check", show_default=True,
              help="check: the .idx must name every image of the .rec; trust: take only what it lists, for example "
              "a hold-out set; ignore: read the .rec without it.")  # fmt: skip
@_options
def recordio(src: str, dest: str, idx: IdxUse, **options: Any) -> None:
    """MXNet records: a .rec file, or a folder that holds train.rec. Needs no mxnet, and no .idx.

    \b
    Examples:
      wds-face convert recordio faces_emore/ shards/
      wds-face convert recordio glint360k/train.rec shards/ --workers 16
      wds-face convert recordio glint360k/ s3://bucket/glint --engine dask --address tcp://10.0.0.5:8786
    """
    _convert(partial(RecordIO, idx=idx), src, dest, **options)


@convert.command()
@click.argument("src")
@click.argument("dest")
@label_option
@click.option(
    "--image-from",
    default="",
    metavar="EXT",
    help="Extension of the image, if samples have several, or one of two parts: image.jpg.",
)
@click.option("--dots-in-keys", is_flag=True, help="File names have dots: the key ends at the last one.")
@click.option(
    "--spool-dir",
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="Where compressed shards, and those on a server, are copied to while they are converted "
    "[default: $TMPDIR or /var/tmp].",
)
@click.option(
    "--spool-size",
    type=Bytes(),
    metavar="SIZE",
    help="Most that these copies may take [default: 90% of the free disk].",
)
@_options
def webdataset(
    src: str,
    dest: str,
    *,
    label_from: str,
    image_from: str,
    dots_in_keys: bool,
    spool_dir: str | None,
    spool_size: int | None,
    **options: Any,
) -> None:
    """WebDataset shards of any maker, in any order: regrouped by identity.

    SRC is a folder of shards, with or without folders in it, a shard, or a pattern with braces or wildcards in any part
    of the path, in quotes. Shards are .tar, .tar.gz, .tar.bz2, .tar.xz and .tar.zst files (and .tgz, .tbz2, .txz).
    Where identities come from is decided once for all shards and printed; what is ambiguous is refused with the option
    that decides.

    \b
    Examples:
      wds-face convert webdataset old-shards/ shards/
      wds-face convert webdataset 'old/{a,b}/faces-{000000..000123}.tar.gz' shards/ --label-from json:person
      wds-face convert webdataset 'hf://datasets/user/faces/data/train-*.tar' shards/ --spool-dir /local
      wds-face convert webdataset old-shards/ shards/ --label-from 'key:^([^/]+)/'
    """
    source = partial(
        WebDataset,
        label_from=label_from,
        image_from=image_from,
        dots_in_keys=dots_in_keys,
        spool_dir=spool_dir,
        spool_size=spool_size,
    )
    _convert(source, src, dest, **options)


convert.add_command(validation)


def _convert(
    kind: Callable[[str], Source],
    src: str,
    dest: str,
    *,
    strict: bool,
    salvage: bool,
    max_skipped: float,
    workers: int | None,
    engine: str,
    address: str | None,
    resume: bool,
    dry_run: bool,
    quiet: bool,
    **rest: Any,
) -> None:
    from wds_face.conversion.convert import convert as run  # noqa: PLC0415 (keeps --help fast)
    from wds_face.conversion.plan import Options, make_plan  # noqa: PLC0415
    from wds_face.conversion.skip_policy import SkipPolicy  # noqa: PLC0415
    from wds_face.conversion.skipped import describe  # noqa: PLC0415

    options = Options(**rest)
    policy = SkipPolicy(strict, salvage, max_skipped)
    source, dest = kind(full(src, engine)), full(dest, engine)
    if dry_run:
        with ExitStack() as stack:
            executor = stack.enter_context(open_executor(engine, address, workers))
            team = stack.enter_context(Workers.sharing([open_store(source.location)], workers, executor))
            plan = make_plan(source, options, team, progress=not quiet)
            stack.callback(plan.inventory.release, team)
        images, nbytes = plan.inventory.images[plan.kept], plan.inventory.nbytes[plan.kept]
        left_out = plan.left_out()
        click.echo(
            f"{shown(source.location)} -> {shown(dest)}: would write {len(plan.kept):,} identities, "
            f"{images.sum():,} images ({size(int(nbytes.sum()))}) into {len(plan.shards):,} shards; "
            f"would leave out {describe(left_out) or 'nothing'}"
        )
        for note in plan.inventory.notes:
            click.echo(f"note: {note}")
        _list_some([f"{skipped.item}: {skipped.reason}" for skipped in left_out])
        plan.check(policy, left_out)
        return
    begin = time.monotonic()
    with open_executor(engine, address, workers) as executor:
        given: dict[str, Any] = {"workers": workers, "executor": executor, "progress": not quiet}
        allowed: dict[str, Any] = {"strict": strict, "salvage": salvage, "max_skipped": max_skipped}
        report = run(source, dest, options, overwrite=not resume, **allowed, **given)
    seconds = time.monotonic() - begin
    if quiet:
        return
    index = report.index
    total = sum(shard.nbytes for shard in index.shards)
    click.echo(
        f"{shown(source.location)} -> {index.store}: {len(index.identities):,} identities, {index.images:,} images, "
        f"{len(index.shards):,} shards, {size(total)}"
    )
    if not report.written:
        click.echo("it was complete already; nothing to do")
    else:
        again = len(index.shards) - report.written
        kept = f" ({again:,} shards were finished before)" if again > 0 else ""
        click.echo(f"{seconds:.1f} s, {index.images / max(seconds, 1e-9):,.0f} images/s{kept}")
    if index.sizes is not None:
        click.echo(f"sizes: {index.sizes.describe()}")
    for note in report.notes:
        click.echo(f"note: {note}")
    if report.skipped:
        click.echo(f"left out {describe(report.skipped)}, listed in {index.store}/skipped.tsv")


def _list_some(lines: list[str], most: int = 10) -> None:
    for line in lines[:most]:
        click.echo(f"  {line}")
    if len(lines) > most:
        click.echo(f"  … and {len(lines) - most:,} more")
