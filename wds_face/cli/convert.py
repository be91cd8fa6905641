"""``wds-face convert``: one command per kind of source, with the same options."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wds_face.cli import options as shared
from wds_face.cli.engine import engine_options, full, open_executor
from wds_face.cli.group import Group
from wds_face.cli.options import dots_in_keys, identity_depth, image_from, label_option, print_json
from wds_face.cli.paths import LocalPath, Location
from wds_face.cli.units import Bytes, MaxSkipped
from wds_face.cli.validation import validation
from wds_face.location import shown
from wds_face.sources import IdxUse, ImageFolder, RecordIO, Source, WebDataset
from wds_face.units import plural, size

if TYPE_CHECKING:
    from wds_face.conversion.convert import Report
    from wds_face.conversion.dry_run import DryRun
    from wds_face.sources.source import Skipped

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    shared.name("train", "Name of the data set; the names of its shards begin with it."),
    click.option("--shard-size", type=Bytes(), metavar="SIZE", help="Size of a shard, like 64MB [default: 8-256 MiB]."),
    shared.seed,
    click.option("--min-images", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
                 help="Leave out identities with fewer images."),
    click.option("--labels", type=click.Choice(["cls", "key"]), default="cls", show_default=True,
                 help="cls: a .cls member beside each image; key: only in the name of its folder, 15% smaller."),
    click.option("--deep", is_flag=True, help="Decode every image, to leave out those damaged in the middle too."),
    click.option("--strict", is_flag=True, help="Stop where something would have to be left out."),
    click.option("--max-skipped", type=MaxSkipped(), default="1%", show_default=True, metavar="LIMIT",
                 help="Maximum of unreadable images to leave out: a share (1%, 0.01) or a number (20). "
                 "If there are more, nothing is published."),
    click.option("--salvage", is_flag=True,
                 help="Keep what can be read from damaged shards and record files, instead of stopping."),
    click.option("--resume/--overwrite", default=True, show_default=True,
                 help="Go on with an unfinished DEST, or replace what it holds."),
    click.option("--dry-run", is_flag=True, help="Check SRC and DEST, print what would be written, and write nothing."),
    shared.as_json,
    shared.quiet,
)  # fmt: skip


def _options(function: F) -> F:
    function = engine_options(function)
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.group(cls=Group)
def convert() -> None:
    """Convert a face set into shards grouped by identity.

    SRC is not changed. DEST is a folder or an fsspec URL (s3://…). Images that cannot be read are left out and listed
    in DEST/skipped.tsv, up to --max-skipped of them. A source with a damaged shard, record file or index is refused
    unless you give --salvage; nothing is published then. To resume a killed conversion, run the same command again; it
    ends with the same bytes.
    """


@convert.command()
@click.argument("src", type=LocalPath())
@click.argument("dest", type=Location())
@identity_depth
@_options
def imagefolder(src: str, dest: str, identity_depth: int | None, **options: Any) -> None:
    """A folder with one sub-folder of images per identity.

    Sub-folders of an identity belong to it. A tree that can be read in two ways, such as train/<identity> next to
    test/<identity>, is refused unless --identity-depth gives the depth of the identities. Hidden, thumbnail and trash
    folders are left out.

    \b
    Examples:
      wds-face convert imagefolder faces/ shards/
      wds-face convert imagefolder faces/ shards/ --min-images 2 --labels key
      wds-face convert imagefolder splits/ shards/ --identity-depth 2
    """
    _convert(partial(ImageFolder, identity_depth=identity_depth), src, dest, **options)


@convert.command()
@click.argument("src", type=LocalPath())
@click.argument("dest", type=Location())
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
@click.argument("src", type=Location())
@click.argument("dest", type=Location())
@label_option
@image_from
@dots_in_keys
@click.option(
    "--spool-dir",
    type=LocalPath(file_okay=False),
    metavar="FOLDER",
    help="Folder for temporary local copies of compressed and remote shards [default: $TMPDIR or /var/tmp].",
)
@click.option(
    "--spool-size",
    type=Bytes(),
    metavar="SIZE",
    help="Disk space that these copies may take [default: 90% of the free space].",
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

    SRC is a folder of shards, with or without sub-folders, one shard, or a quoted pattern with braces or wildcards in
    any part of the path. Shards are .tar, .tar.gz, .tar.bz2, .tar.xz and .tar.zst files (and .tgz, .tbz2, .txz).
    The label rule is decided once for all shards and printed. Ambiguous labels are refused; the error names the option
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
    as_json: bool,
    quiet: bool,
    **rest: Any,
) -> None:
    from wds_face.conversion.convert import convert as run  # noqa: PLC0415 (keeps --help fast)
    from wds_face.conversion.dry_run import dry_run as run_dry  # noqa: PLC0415
    from wds_face.conversion.plan import Options  # noqa: PLC0415
    from wds_face.conversion.skip_policy import SkipPolicy  # noqa: PLC0415

    options = Options(**rest)
    policy = SkipPolicy(strict, salvage, max_skipped)
    source, dest = kind(full(src, engine)), full(dest, engine)
    with open_executor(engine, address, workers) as executor:
        given: dict[str, Any] = {"workers": workers, "executor": executor, "progress": not quiet}
        if dry_run:
            found = run_dry(source, dest, options, overwrite=not resume, **given)
            left_out = found.plan.left_out()
            _show_dry_run(source, dest, found, left_out, as_json=as_json, quiet=quiet)
            found.plan.check(policy, left_out)
            return
        begin = time.monotonic()
        allowed: dict[str, Any] = {"strict": strict, "salvage": salvage, "max_skipped": max_skipped}
        report = run(source, dest, options, overwrite=not resume, **allowed, **given)
    _show_report(source, report, time.monotonic() - begin, as_json, quiet)


def _show_dry_run(
    source: Source, dest: str, found: DryRun, left_out: list[Skipped], *, as_json: bool, quiet: bool
) -> None:
    """Print what a conversion would do."""
    from wds_face.conversion.skipped import count_kinds, describe  # noqa: PLC0415

    plan = found.plan
    images = int(plan.inventory.images[plan.kept].sum())
    nbytes = int(plan.inventory.nbytes[plan.kept].sum())
    if as_json:
        print_json(
            {
                "dry_run": True,
                "src": shown(source.location),
                "dest": shown(dest),
                "identities": len(plan.kept),
                "images": images,
                "bytes": nbytes,
                "shards": len(plan.shards),
                "skipped": dict(count_kinds(left_out)),
                "notes": plan.inventory.notes,
                "finished": found.finished,
                "dest_checked": found.checked,
            }
        )
        return
    if quiet:
        return
    click.echo(
        f"{shown(source.location)} -> {shown(dest)}: would write {plural(len(plan.kept), 'identity')}, "
        f"{plural(images, 'image')} ({size(nbytes)}) into {plural(len(plan.shards), 'shard')}; "
        f"would leave out {describe(left_out) or 'nothing'}"
    )
    if found.finished:
        click.echo("it is complete already; there would be nothing to do")
    elif not found.checked:
        click.echo(f"note: {shown(dest)} was not checked: only writing to it shows whether it can be written")
    for note in plan.inventory.notes:
        click.echo(f"note: {note}")
    _list_some([f"{item.item}: {item.reason}" for item in left_out])


def _show_report(source: Source, report: Report, seconds: float, as_json: bool, quiet: bool) -> None:
    """Print what a conversion did."""
    from wds_face.conversion.skipped import count_kinds, describe  # noqa: PLC0415

    index = report.index
    total = sum(shard.nbytes for shard in index.shards)
    if as_json:
        print_json(
            {
                "src": shown(source.location),
                "dest": str(index.store),
                "identities": len(index.identities),
                "images": index.images,
                "bytes": total,
                "shards": len(index.shards),
                "written": report.written,
                "skipped": dict(count_kinds(report.skipped)),
                "notes": report.notes,
                "seconds": round(seconds, 3),
            }
        )
        return
    if quiet:
        return
    click.echo(
        f"{shown(source.location)} -> {index.store}: {plural(len(index.identities), 'identity')}, "
        f"{plural(index.images, 'image')}, {plural(len(index.shards), 'shard')}, {size(total)}"
    )
    if report.was_complete:
        click.echo("it was complete already; nothing to do")
    else:
        again = len(index.shards) - report.written
        kept = f" ({plural(again, 'shard was', 'shards were')} finished before)" if again > 0 else ""
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
