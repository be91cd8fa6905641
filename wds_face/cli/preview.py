"""``wds-face preview``: what the transforms do to faces of a data set."""

from __future__ import annotations

import itertools
from contextlib import closing

import click

from wds_face.cli import options
from wds_face.cli.options import print_json
from wds_face.cli.paths import Location
from wds_face.location import shown
from wds_face.units import plural


@click.command(short_help="Draw what each transform does to some of the faces.")
@click.argument("src", type=Location())
@options.output("preview.png", "Image file to write; the suffix sets the format.")
@click.option("-n", "--faces", type=click.IntRange(1, 200), default=8, show_default=True, help="Number of faces.")
@options.seed
@options.points
@options.identity_depth
@options.label_option
@options.image_from
@options.dots_in_keys
@click.option("--scale", type=click.IntRange(1, 8), default=1, show_default=True, help="Enlarge the images.")
@options.as_json
@options.quiet
def preview(
    *,
    src: str,
    output: str,
    faces: int,
    seed: int,
    points: str,
    identity_depth: int | None,
    label_from: str,
    image_from: str,
    dots_in_keys: bool,
    scale: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Draw what each transform does to the same faces, with the mask beside each.

    SRC is a folder of image folders, a .rec file, or shards (a folder, a URL, a .tar). Each face is of a different
    identity; identities are those that a conversion would find.

    \b
    Examples:
      wds-face preview shards/ -o sheet.png
      wds-face preview faces_emore/ -o sheet.jpg -n 16 --seed 3
      wds-face preview casia/ --points casia --scale 2
      wds-face preview 'webface/*.tar.gz' --label-from json:identity
    """
    import numpy as np  # noqa: PLC0415 (keeps --help fast)

    from wds_face.decoding import decode  # noqa: PLC0415
    from wds_face.errors import SourceError  # noqa: PLC0415
    from wds_face.gallery import exhibits, gallery  # noqa: PLC0415
    from wds_face.pool import Workers  # noqa: PLC0415
    from wds_face.progress import bar  # noqa: PLC0415
    from wds_face.sheet import kind_of, save_picture  # noqa: PLC0415
    from wds_face.sources.peek import peek  # noqa: PLC0415

    try:
        kind_of(output)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="--output") from None
    rng = np.random.default_rng(seed)
    samples = {"label_from": label_from, "image_from": image_from, "dots_in_keys": dots_in_keys}
    defaults = {"label_from": "auto", "image_from": "", "dots_in_keys": False}
    given = {name: value for name, value in samples.items() if value != defaults[name]}
    with Workers(None) as workers, bar("scanning", None, not quiet) as progress:
        found = peek(src, rng, identity_depth=identity_depth, samples=given, workers=workers, progress=progress.update)
        with closing(found.images) as images:
            decoded = (decode(data) for _, data in images)
            chosen = list(itertools.islice((image for image in decoded if image is not None), faces))
    if not chosen:
        raise SourceError(f"{shown(src)} holds no image that can be decoded")
    save_picture(output, gallery(chosen, exhibits(points, rng), scale=scale, title=f"wds-face preview {shown(src)}"))
    if as_json:
        print_json({"src": shown(src), "output": output, "faces": len(chosen), "notes": found.notes})
    elif not quiet:
        click.echo(f"{output}: {plural(len(chosen), 'face')} of {shown(src)}")
        for note in found.notes:
            click.echo(f"note: {note}")
