"""Group commands, with the same behavior on every version of click."""

from __future__ import annotations

import click


class Group(click.Group):
    """Group that prints its help to standard error and exits with code 2 if no command is given.

    Versions of click differ in both.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Print the help if no command is given."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)
