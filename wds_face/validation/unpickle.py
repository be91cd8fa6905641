"""Pickles from strangers, read by a machine that knows only what the ``.bin`` files of face recognition are made of.

A pickle is a program, and Python's ``pickle`` runs it: any function that can be imported. Here nothing of ``pickle``
runs, nothing is imported, and nothing is called but what stands in ``pickled.py``. Opcodes and their arguments are as
the standard library's ``pickletools`` describes them; whatever is not numbers, bytes, text, lists and tuples of them,
or numpy's way to write arrays, is refused where it stands.
"""

from __future__ import annotations

import codecs
import mmap
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

from wds_face.errors import SourceError
from wds_face.validation.pickled import CALLS, NAMES, Array, Name, Type, fill, order

_MARK = object()
_LONGEST = 100  # characters of a number in protocol 0
_DEEP = 8  # lists in lists


class RefusedError(SourceError):
    """The pickle asks for something that no list of images needs; nothing of it was done."""


def unpickle(file: BinaryIO) -> Any:
    """What a pickle holds: None, numbers, bytes, str, lists of such (tuples become lists), and arrays of numbers.

    No more memory is taken than a few times the bytes of the file.

    Args:
        file: on a disk, at its beginning.

    Raises:
        RefusedError: it asks for anything else. Nothing of that has happened, and what came before had no effect.
        SourceError: it is no whole pickle.
    """
    try:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as source:
            return _Machine(source).run()
    except RefusedError as error:
        raise RefusedError(f"{file.name} {error}: it is no list of images, and was not run") from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, struct.error):
        raise SourceError(f"{file.name} is no pickle of images, or not a whole one: copy it again") from None


class _Machine:
    def __init__(self, source: mmap.mmap) -> None:
        self._source = source
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._left = 2 * len(source)  # bytes that may still be made of what stands in the file

    def run(self) -> Any:
        while (opcode := self._take(1)) != b".":
            action = _OPCODES.get(opcode)
            if action is None:
                raise RefusedError(f"asks for opcode {opcode!r} at byte {self._source.tell() - 1}")
            action(self)
        (found,) = self._stack
        return _plain(found, {}, 0)

    def _take(self, nbytes: int) -> bytes:
        data = self._source.read(nbytes)  # no more than there are, whatever is asked for
        if len(data) != nbytes:
            raise ValueError
        return data

    def _line(self) -> bytes:
        line = self._source.readline()
        if not line.endswith(b"\n"):
            raise ValueError
        return line[:-1]

    def _digits(self) -> bytes:
        if len(line := self._line()) > _LONGEST:
            raise ValueError
        return line

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def skip(self, nbytes: int) -> None:
        self._take(nbytes)

    def constant(self, value: Any) -> None:
        self._stack.append(value)

    def number(self, form: str) -> None:
        self._stack.append(self._number(form))

    def long(self) -> None:
        self._stack.append(int.from_bytes(self._take(self._number("B")), "little", signed=True))

    def text_number(self) -> None:
        line = self._digits()
        truth = {b"00": False, b"01": True}
        self._stack.append(truth[line] if line in truth else int(line.removesuffix(b"L")))

    def text_float(self) -> None:
        self._stack.append(float(self._digits()))

    def data(self, form: str) -> None:
        self._stack.append(self._take(self._number(form)))

    def text(self, form: str) -> None:
        self._stack.append(self._take(self._number(form)).decode("utf-8", "surrogatepass"))

    def text_line(self) -> None:
        self._stack.append(self._line().decode("raw-unicode-escape"))

    def quoted(self) -> None:
        line = self._line().strip()
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[:1] != line[-1:]:
            raise ValueError
        self._stack.append(codecs.escape_decode(line[1:-1])[0])

    def put(self, form: str | None) -> None:
        place = int(self._digits()) if form is None else self._number(form)
        self._memo[place] = self._stack[-1]

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, form: str | None) -> None:
        self._stack.append(self._memo[int(self._digits()) if form is None else self._number(form)])

    def new_list(self) -> None:
        self._stack.append([])

    def _since_mark(self) -> list[Any]:
        mark = len(self._stack) - 1
        while self._stack[mark] is not _MARK:
            mark -= 1
            if mark < 0:
                raise ValueError
        items = self._stack[mark + 1 :]
        del self._stack[mark:]
        return items

    def collect(self, kind: Callable[[list[Any]], Any]) -> None:
        self._stack.append(kind(self._since_mark()))

    def few(self, number: int) -> None:
        items = [self._stack.pop() for _ in range(number)]
        self._stack.append(tuple(reversed(items)))

    def append(self) -> None:
        item = self._stack.pop()
        self._extend([item])

    def appends(self) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise ValueError
        self._stack[-1].extend(items)

    def name(self) -> None:
        at = self._source.tell()
        self._known(self._line().decode(), self._line().decode(), at)

    def stack_name(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._known(module, name, self._source.tell())

    def _known(self, module: Any, name: Any, at: int) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise RefusedError(f"asks for something without a name at byte {at}")
        if Name(module, name) not in NAMES:
            asked = f"{module[:40]}.{name[:40]}"
            raise RefusedError(f"asks for {asked if asked.isprintable() else ascii(asked)} at byte {at}")
        self._stack.append(Name(module, name))

    def call(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, Name) or function not in CALLS or not isinstance(arguments, tuple):
            raise RefusedError(f"asks to call something at byte {self._source.tell()}")
        self._spend(*arguments)
        self._stack.append(CALLS[function](*arguments))

    def _spend(self, *given: Any) -> None:
        """Text and bytes may become other bytes, but not again and again."""
        self._left -= sum(len(value) for value in given if isinstance(value, (str, bytes)))
        if self._left < 0:
            raise RefusedError("asks for far more memory than it takes itself")

    def build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Type):
            order(target, state)
        elif isinstance(target, Array):
            *_, shape, kind, fortran, data = state
            self._spend(data)
            fill(target, data, kind, shape, bool(fortran))
        else:
            raise RefusedError(f"asks to change something at byte {self._source.tell()}")


def _plain(value: Any, seen: dict[int, Any], depth: int) -> Any:
    """Without what stands for arrays. A list that is there many times is gone through once."""
    if isinstance(value, Array) and value.value is not None:
        return value.value
    if type(value) in (list, tuple) and depth < _DEEP:
        if id(value) not in seen:
            seen[id(value)] = [_plain(item, seen, depth + 1) for item in value]
        return seen[id(value)]
    if value is None or type(value) in (bool, int, float, bytes, str):
        return value
    raise ValueError


_M = _Machine
_OPCODES: dict[bytes, Callable[[_Machine], None]] = {
    **{b"\x80": partial(_M.skip, nbytes=1), b"\x95": partial(_M.skip, nbytes=8)},  # protocol, frame
    **{b"N": partial(_M.constant, value=None), b"(": partial(_M.constant, value=_MARK)},
    **{b"\x88": partial(_M.constant, value=True), b"\x89": partial(_M.constant, value=False)},
    **{b"K": partial(_M.number, form="B"), b"M": partial(_M.number, form="<H"), b"J": partial(_M.number, form="<i")},
    **{b"G": partial(_M.number, form=">d"), b"\x8a": _M.long},
    **{b"I": _M.text_number, b"L": _M.text_number, b"F": _M.text_float},
    # bytes, those of Python 2 among them, and what protocol 5 makes a bytearray
    **{b"C": partial(_M.data, form="B"), b"B": partial(_M.data, form="<I"), b"\x8e": partial(_M.data, form="<Q")},
    **{b"U": partial(_M.data, form="B"), b"T": partial(_M.data, form="<i"), b"\x96": partial(_M.data, form="<Q")},
    **{b"\x8c": partial(_M.text, form="B"), b"X": partial(_M.text, form="<I"), b"\x8d": partial(_M.text, form="<Q")},
    **{b"S": _M.quoted, b"V": _M.text_line},
    **{b"p": partial(_M.put, form=None), b"q": partial(_M.put, form="B"), b"r": partial(_M.put, form="<I")},
    **{b"g": partial(_M.get, form=None), b"h": partial(_M.get, form="B"), b"j": partial(_M.get, form="<I")},
    **{b"\x94": _M.memoize, b"]": _M.new_list, b"a": _M.append, b"e": _M.appends},
    **{b"l": partial(_M.collect, kind=list), b"t": partial(_M.collect, kind=tuple)},
    **{b")": partial(_M.few, number=0), b"\x85": partial(_M.few, number=1)},
    **{b"\x86": partial(_M.few, number=2), b"\x87": partial(_M.few, number=3)},
    **{b"c": _M.name, b"\x93": _M.stack_name, b"R": _M.call, b"b": _M.build},
}
