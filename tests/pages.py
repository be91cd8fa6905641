"""Pages of Markdown as their readers use them: blocks that are typed one after the other, links that are followed.

What a page may say:

- Blocks of ``python`` run as they stand, in order, as in one session. Blocks of ``sh`` run line by line: ``wds-face``
  in this process, as importing torch anew takes longer than most of what it does, and everything else by bash.
- A block of anything else (``text``, ``json``) right behind one of these is what that prints: ``…`` stands for anything
  within a line, and a line of it alone for any number of lines.
- ``<!-- not run: REASON -->`` above a block leaves it out, with what it prints. There are few, for the reasons of
  :data:`REASONS`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

#: Why a block may stay out.
REASONS = (
    "it changes the shell",
    "it installs",  # packages
    "it needs several machines",
    "it needs a cluster",
    "it needs another package",  # that is no requirement of the tests
    "it is of the system that is left",  # the code on the other side of a comparison
    "a test of its own runs it",
)

_FENCE = re.compile(r"(?:<!-- not run: (?P<reason>.*?) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
_LINK = re.compile(r"\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
_SHELL = re.compile(r"[|<>&;$`*?~{}]")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: that it is on.
        line: of its first line, from 1.
        language: as the fence says.
        text: what is in it.
        reason: why it is not run; '' if it is.
        printed: what it prints, where the page says it.
    """

    page: Path
    line: int
    language: str
    text: str
    reason: str
    printed: str | None

    @property
    def runs(self) -> bool:
        """Whether it is run."""
        return self.language in ("python", "sh") and not self.reason

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order; those that are printed by the one above are part of it."""
    text = page.read_text()
    found: list[Block] = []
    fences = list(_FENCE.finditer(text))
    taken: set[int] = set()
    for number, fence in enumerate(fences):
        if number in taken:
            continue
        after = fences[number + 1] if number + 1 < len(fences) else None
        printed = None
        if (
            after is not None
            and fence["language"] in ("python", "sh")
            and after["language"] not in ("python", "sh")
            and not after["reason"]
            and not text[fence.end() : after.start()].strip()
        ):
            printed = after["text"]
            taken.add(number + 1)
        line = text.count("\n", 0, fence.start("text")) + 1
        found.append(Block(page, line, fence["language"], fence["text"], fence["reason"] or "", printed))
    return found


def prose(page: Path) -> str:
    """A page without its blocks and without what stands in backquotes, but for texts of links."""
    text = _FENCE.sub("", page.read_text())
    return re.sub(r"(\[`[^`\n]+`\])|`[^`\n]+`", lambda found: found[1] or "", text)


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Text and target of every link and picture."""
    for link in _LINK.finditer(prose(page)):
        yield link["text"], link["target"]


def anchors(page: Path) -> set[str]:
    """The names by which GitHub's links find the headings of a page."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#{1,6} (.*)$", _FENCE.sub("", page.read_text()), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        count = found[name] = found.get(name, -1) + 1
        names.add(f"{name}-{count}" if count else name)
    return names


@dataclass
class Reader:
    """Somebody who types what a page says.

    Args:
        folder: where; the current one.
        changes: what is called otherwise here: texts of pages, and what takes their place.
    """

    folder: Path
    changes: Mapping[str, str] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})

    def run(self, block: Block) -> None:
        """Run a block, and compare what it prints.

        Raises:
            AssertionError: it fails, or prints something else.
        """
        code = block.text
        for said, here in self.changes.items():
            code = code.replace(said, here)
        with _tidy(self.folder):
            printed = self._python(code, block) if block.language == "python" else self._shell(code, block)
        for said, here in self.changes.items():
            printed = printed.replace(here, said)
        if block.printed is not None and not matches(block.printed, printed):
            raise AssertionError(f"{block} prints\n{printed}\nand not\n{block.printed}")

    def _python(self, code: str, block: Block) -> str:
        out = io.StringIO()
        try:
            # the lines of the page, so that a traceback names them
            compiled = compile("\n" * (block.line - 1) + code, str(block.page), "exec")
            with contextlib.redirect_stdout(out):
                exec(compiled, self.names)
        except Exception:
            raise AssertionError(f"{block} fails:\n{traceback.format_exc()}") from None
        return out.getvalue()

    def _shell(self, code: str, block: Block) -> str:
        out = ""
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if not words:
                continue
            if words[0] == "export":
                os.environ.update(word.split("=", 1) for word in words[1:])
            elif words[0] == "wds-face" and not _SHELL.search(line.partition(" #")[0]):
                out += self._command(words[1:], f"{block}: {line}")
            else:
                out += self._bash(line, f"{block}: {line}")
        return out

    def _command(self, words: list[str], where: str) -> str:
        from wds_face.cli.main import cli

        done = CliRunner().invoke(cli, words)
        if done.exception is not None and not (isinstance(done.exception, SystemExit) and done.exit_code == 0):
            raise AssertionError(f"{where}\n{done.output}{done.exception!r}") from done.exception
        return done.output

    def _bash(self, line: str, where: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{where}\n{done.stdout}")
        return done.stdout


@contextlib.contextmanager
def _tidy(folder: Path) -> Iterator[None]:
    """The reader's own modules can be imported, and are forgotten."""
    path = list(sys.path)
    sys.path.insert(0, str(folder))
    for file in folder.glob("*.py"):  # another test may have had a module of this name
        sys.modules.pop(file.stem, None)
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(f"{folder}/"):
                del sys.modules[name]


def matches(said: str, printed: str) -> bool:
    """Whether a page's text, in which ``…`` stands for anything, is what was printed."""
    pattern = ""
    for line in said.rstrip().splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*"
        else:
            pattern += re.escape(line.rstrip()).replace("…", ".*") + "\n"
    text = "".join(f"{line.rstrip()}\n" for line in printed.rstrip().splitlines())
    return re.fullmatch(pattern, text) is not None
