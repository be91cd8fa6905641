"""Define argument types for local paths, and for paths or URLs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from wds_face.errors import PathError
from wds_face.location import is_url, local_text


class LocalPath(click.Path):
    """A local path, as text; URLs are refused. Takes the arguments of ``click.Path``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path."""
        _refuse_empty(self, value, param, ctx)
        try:
            path = local_text(value, "")
        except PathError as error:
            self.fail(f"{str(error).strip()}.", param, ctx)
        return str(super().convert(path, param, ctx))


class OutputFile(LocalPath):
    """A local file to write, in an existing folder."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path."""
        path = super().convert(value, param, ctx)
        folder = Path(path).parent
        if not folder.is_dir():
            self.fail(f"there is no folder {folder}.", param, ctx)
        if not os.access(folder, os.W_OK):
            self.fail(f"the folder {folder} cannot be written.", param, ctx)
        return path


class Location(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4
    """A local path or an fsspec URL, as text."""

    name = "location"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path or URL."""
        _refuse_empty(self, value, param, ctx)
        try:
            is_url(value)
        except PathError as error:
            self.fail(f"{error}.", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # type: ignore[type-arg,unused-ignore]  # generic since click 8.4
        """Complete local files."""
        return [CompletionItem(incomplete, type="file")]


def _refuse_empty(
    kind: click.ParamType,  # type: ignore[type-arg,unused-ignore]
    value: Any,
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> None:
    """Refuse an empty value, as from an unset shell variable, which would mean the current folder."""
    if not os.fsdecode(value):
        kind.fail("it is empty.", param, ctx)
