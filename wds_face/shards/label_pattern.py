"""Compile the regular expressions of ``--label-from key:REGEX``, and refuse those that could take forever."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from wds_face.errors import WdsFaceError

try:
    from re import _parser as regex_parser  # type: ignore[attr-defined, unused-ignore]
except ImportError:  # Python 3.10
    import sre_parse as regex_parser


#: Maximum numbers in an expression of repetitions of more than :data:`_SHORT` times, and of choices of any kind (``*``,
#: ``+``, ``?``, ``{1,2}``, ``|``). With these, a search in a key of n characters takes at most about n ** 4 / 24 steps
#: for each of 8 combinations of the other choices: seconds for the longest key. Larger maxima multiply that time.
_LONG_MOST = 3
_MOST = 6
_SHORT = 3

_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a regular expression that is searched for in keys.

    Raises:
        WdsFaceError: The expression is invalid, or a search could take forever.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about future Python versions take several lines
            compiled = re.compile(pattern)
        choices = list(_choices(regex_parser.parse(pattern), repeated=False))
    except (re.error, RecursionError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise WdsFaceError(f"label-from is 'key:{pattern}': not a regular expression ({reason})") from None
    if any(choice.repeated for choice in choices):
        raise WdsFaceError(
            f"label-from is 'key:{pattern}': a repetition within a repetition could take forever; "
            "write it without one, for example key:([^/]+)/[^/]*$ for the last folder"
        )
    if len(choices) > _MOST or sum(choice.most > _SHORT for choice in choices) > _LONG_MOST:
        raise WdsFaceError(
            f"label-from is 'key:{pattern}': it could take forever; use at most {_LONG_MOST} of * and +, "
            f"and at most {_MOST} of *, +, ? and | together (a search needs no .* at either end)"
        )
    return compiled


class _Choice(NamedTuple):
    """A part of an expression that can match in several ways: how often at most, and whether within a repetition."""

    most: int
    repeated: bool


def _choices(node: Any, *, repeated: bool) -> Iterator[_Choice]:
    """Yield every choice in a parsed expression."""
    if isinstance(node, tuple) and len(node) == 2 and str(node[0]) in _REPEATS:
        least, most, body = node[1]
        if least != most:
            yield _Choice(int(most), repeated)
        yield from _choices(body, repeated=repeated or int(most) > 1)
    elif isinstance(node, tuple) and len(node) == 2 and str(node[0]) == "BRANCH":
        yield _Choice(1, repeated)
        yield from _choices(node[1], repeated=repeated)
    elif isinstance(node, (tuple, list, regex_parser.SubPattern)):
        for part in node:
            yield from _choices(part, repeated=repeated)


def label_group(compiled: re.Pattern[str]) -> int | str:
    """Return the group that holds the label: the only named one, the one named ``label``, or the first.

    Raises:
        WdsFaceError: There is no group, or it is ambiguous which one to use.
    """
    named = list(compiled.groupindex)
    if len(named) == 1:
        return named[0]
    if "label" in named:
        return "label"
    if named:
        raise WdsFaceError(
            f"label-from is 'key:{compiled.pattern}': it has {len(named)} named groups; name the one to use 'label'"
        )
    if not compiled.groups:
        raise WdsFaceError(
            f"label-from is 'key:{compiled.pattern}': put what is the label into parentheses, as in key:([^/]+)/"
        )
    return 1
