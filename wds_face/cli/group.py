"""Groups of commands."""

from __future__ import annotations

import click


class Group(click.Group):
    """Commands under one name. Without any, it prints its help to standard error and ends with exit code 2.

    Versions of click differ in both.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Print the help where no command is given."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)
