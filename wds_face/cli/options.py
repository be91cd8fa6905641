"""Options that several commands have."""

from __future__ import annotations

import click

identities = click.option(
    "-p", type=click.IntRange(min=1), default=16, show_default=True, help="Identities in a batch."
)
images = click.option("-k", type=click.IntRange(min=1), default=4, show_default=True, help="Images of each.")
seed = click.option(
    "--seed", type=click.IntRange(0, (1 << 32) - 1), default=0, show_default=True, help="Of all choices."
)
points = click.option(
    "--points",
    type=click.Choice(["arcface", "casia"]),
    default="arcface",
    show_default=True,
    help="Where nose and mouth are: in the middle of 112 x 112 (insightface), or 8 px further left.",
)
