"""The command group, and how errors reach the user: one line, an exit code, no traceback."""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

import click

from wds_face.cli.bench import bench
from wds_face.cli.convert import convert
from wds_face.cli.evaluate import evaluate
from wds_face.cli.group import Group
from wds_face.cli.look import index, info, verify
from wds_face.cli.preview import preview
from wds_face.cli.report import report
from wds_face.errors import WdsFaceError
from wds_face.version import __version__


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="wds-face")
def cli() -> None:
    """Face sets as identity-grouped WebDataset shards.

    \b
    Examples:
      wds-face convert imagefolder faces/ shards/
      wds-face convert recordio ms1mv2/ s3://bucket/ms1mv2
      wds-face verify shards/
      wds-face info shards/
      wds-face preview shards/ -o sheet.png
      wds-face report shards/ -o report.html
      wds-face bench shards/
      wds-face convert validation faces_emore/ val/
      wds-face evaluate val/ --model net:ir_50 --weights backbone.pth

    Every command takes -q to print only errors, and --json to print its results as JSON.

    Exit codes: 0 success, 1 failure or problems found by `verify`, 2 wrong usage or no command, 130 interrupted.
    """


for command in (convert, index, verify, info, preview, report, bench, evaluate):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    run(cli, arguments, "wds-face")


def run(command: click.Command, arguments: list[str] | None, name: str) -> NoReturn:
    """Run a command and exit with its code.

    Args:
        arguments: those of the process if None.
        name: the program's name in messages.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be anything
    try:
        sys.exit(command.main(args=arguments, prog_name=name, standalone_mode=False) or 0)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else name
        _fail(f"{where}: {error.format_message()} See `{where} --help`.", 2)
    except click.ClickException as error:
        _fail(f"{name}: {error.format_message()}", error.exit_code)
    except WdsFaceError as error:
        _fail(f"{name}: {error}", 1)
    except (click.Abort, KeyboardInterrupt):
        words = sys.argv[1:] if arguments is None else arguments
        goes_on = command.name == "convert" or words[:1] == ["convert"]
        _fail(f"{name}: interrupted{'; the same command goes on from here' if goes_on else ''}", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at exit
        sys.exit(1)
    except OSError as error:
        _fail(f"{name}: {error.filename or ''}: {error.strerror or error}", 1)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(" ".join(message.split()), err=True)
    sys.exit(code)
