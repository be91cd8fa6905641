"""Define options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from wds_face.cli.paths import OutputFile

F = TypeVar("F", bound=Callable[..., Any])

identities = click.option(
    "-p", type=click.IntRange(min=1), default=16, show_default=True, help="Identities in a batch."
)
images = click.option(
    "-k",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Images per identity in a batch.",
)
seed = click.option("--seed", type=click.IntRange(0, (1 << 32) - 1), default=0, show_default=True, help="Random seed.")
points = click.option(
    "--points",
    type=click.Choice(["arcface", "casia"]),
    default="arcface",
    show_default=True,
    help="Where nose and mouth are: in the middle of 112 x 112 (insightface), or 8 px further left.",
)
identity_depth = click.option(
    "--identity-depth",
    type=click.IntRange(min=1),
    metavar="N",
    help="Depth of the identity folders: 1 for SRC/<identity>, 2 for SRC/<split>/<identity> [default: detected].",
)
quiet = click.option(
    "--quiet", "-q", is_flag=True, help="Print no progress, notes or results, only errors and the output of --json."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print only the results, as JSON, to standard output.")
sets = click.option("--names", metavar="A,B", help="Only these validation sets [default: all].")
label_option = click.option(
    "--label-from",
    default="auto",
    show_default=True,
    metavar="WHERE",
    help="Location of the label in a sample: cls, txt or another member's extension; json:FIELD or json:FIELD.FIELD; "
    "key, the folder of the key; 'key:REGEX', a group in the key. :text, :number, :int (binary) or :hex may follow, as "
    "in cls:number. auto takes cls, else a field of .json, else key, and refuses ambiguous labels.",
)

image_from = click.option(
    "--image-from",
    default="",
    metavar="EXT",
    help="Extension of the image, if samples have several images or it has two parts, as in image.jpg.",
)
dots_in_keys = click.option(
    "--dots-in-keys", is_flag=True, help="End keys at the last dot of the file name, not at the first."
)


def output(default: str, help: str) -> Callable[[F], F]:  # noqa: A002 (as click calls it)
    """Return the option for the file that a command writes."""
    return click.option("--output", "-o", type=OutputFile(), default=default, show_default=True, help=help)


def name(default: str, help: str) -> Callable[[F], F]:  # noqa: A002
    """Return the option for the name of what a command writes."""
    return click.option("--name", default=default, show_default=True, help=help)


def print_json(results: Any) -> None:
    """Print results as one line of JSON to standard output."""
    click.echo(json.dumps(results))
