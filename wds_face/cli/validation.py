"""``wds-face convert validation`` and ``wds-face evaluate``: sets of pairs, and how well a network tells them apart."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from wds_face.cli import options
from wds_face.cli.options import print_json
from wds_face.cli.paths import LocalPath, Location
from wds_face.location import shown
from wds_face.units import plural, size

_SOURCES = {
    "bin": "a .bin",
    "carray": "a carray",
    "memfile": "a memfile",
    "concat": "the memfile of all",
    "shards": "shards",
}


@click.command(short_help="Memfiles of validation sets: of .bin files, bcolz carrays, memfiles, or pairs from shards.")
@click.argument("src", type=Location())
@click.argument("dest", type=LocalPath(file_okay=False))
@options.sets
@click.option(
    "--dtype",
    type=click.Choice(["uint8", "float32"]),
    default="uint8",
    show_default=True,
    help="float32 takes four times as much, and is what AdaFace's code needs.",
)
@click.option(
    "--channels",
    type=click.Choice(["rgb", "bgr"]),
    help="Their order [default: rgb of .bin files, else what they have: bgr of AdaFace's].",
)
@click.option(
    "--image-size",
    type=click.IntRange(min=1),
    default=112,
    show_default=True,
    metavar="N",
    help="To which encoded images of another size are resized.",
)
@click.option("--concat", is_flag=True, help="Write AdaFace's concat_validation_memfile of the five benchmarks too.")
@click.option("--pairs", type=click.IntRange(min=2), metavar="N", help="SRC are shards: draw so many pairs from them.")
@options.name("pairs", "Name of the validation set that --pairs creates.")
@click.option(
    "--max-images", type=click.IntRange(min=1), metavar="M", help="With --pairs: only people with at most M images."
)
@options.seed
@click.option("--overwrite", is_flag=True, help="Replace sets that are there and are different.")
@options.as_json
@options.quiet
def validation(
    *, src: str, dest: str, names: str | None, concat: bool, pairs: int | None, name: str, max_images: int | None,
    seed: int, as_json: bool, quiet: bool, **given: Any,
) -> None:  # fmt: skip
    """Validation sets as memfiles, in AdaFace's layout: DEST/NAME/memfile/mem_file.dat and DEST/NAME_list.npy.

    SRC is a folder with NAME.bin files of InsightFace, bcolz carrays or memfiles, or a .bin file; DEST may be the same
    folder. Nothing in a .bin is run. A .bin with other content, such as mxnet's mean.bin, is skipped. A damaged
    set is reported, the others are converted, and the exit code is 1. With --pairs, SRC is a data set of wds_face, and
    pairs of its images become a validation set.

    \b
    Examples:
      wds-face convert validation faces_emore/ val/
      wds-face convert validation faces_emore/ val/ --names lfw,agedb_30 --channels bgr
      wds-face convert validation shards/ val/ --pairs 6000 --max-images 4 --name heldout
    """
    from wds_face.shards.index import MANIFEST  # noqa: PLC0415 (keeps --help fast)
    from wds_face.storage import open_store  # noqa: PLC0415
    from wds_face.validation.convert import Conversion, convert_pairs, convert_sets  # noqa: PLC0415

    given["progress"] = not quiet
    shards = not src.endswith(".bin") and open_store(src).size(MANIFEST) is not None
    if pairs is None and shards:
        raise click.UsageError(
            f"{shown(src)} is a data set of shards: say with --pairs how many pairs to draw from it."
        )
    if pairs is not None:
        if names or concat:
            raise click.UsageError("--names and --concat are for sets that are there: with --pairs give --name.")
        drawn = convert_pairs(src, dest, pairs, name, max_images=max_images, seed=seed, **given)
        made = Conversion([drawn], {}, {})
    else:
        wanted = [part.strip() for part in names.split(",") if part.strip()] if names else None
        made = convert_sets(src, dest, wanted, concat=concat, **given)
    if as_json:
        sets = [{**asdict(one), "dtype": given["dtype"]} for one in made.converted]
        print_json({"dest": dest, "sets": sets, "foreign": made.foreign, "damaged": made.damaged})
    elif not quiet:
        for one in made.converted:
            source = f"from {_SOURCES[one.kind]}" if one.written else "was there already"
            what = f"{plural(one.pairs, 'pair')}, {given['dtype']} {one.channels}, {size(one.nbytes)}"
            click.echo(f"{one.name}: {what}, {source}")
        for reason in made.foreign.values():
            click.echo(f"passed over: {reason}")
    for reason in made.damaged.values():
        click.echo(f"wds-face: {reason}", err=True)
    if made.damaged:
        sys.exit(1)
