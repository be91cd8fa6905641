"""Pickles of images are read as ``pickle`` reads them; everything else is refused, and nothing of it happens."""

from __future__ import annotations

import builtins
import collections
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wds_face.errors import SourceError
from wds_face.validation.unpickle import RefusedError, unpickle


def read(path: Path, data: bytes) -> Any:
    path.write_bytes(data)
    with path.open("rb") as file:
        return unpickle(file)


def same(one: Any, two: Any) -> bool:
    if isinstance(two, np.ndarray):
        return isinstance(one, np.ndarray) and one.dtype == two.dtype and np.array_equal(one, two)
    if isinstance(two, (list, tuple)):
        return isinstance(one, list) and len(one) == len(two) and all(map(same, one, two))
    if isinstance(two, np.generic):
        two = two.item()
    return type(one) is type(two) and one == two


NUMBERS = st.one_of(st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.none())
ARRAYS = st.builds(
    lambda kind, shape, order: np.asarray(np.arange(int(np.prod(shape))).reshape(shape), kind, order=order),
    st.sampled_from(["u1", "i4", ">i2", "<f4", ">f8", "?"]),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
    st.sampled_from("CF"),
)
LEAVES = st.one_of(NUMBERS, st.binary(max_size=300), st.text(max_size=20), ARRAYS, st.sampled_from([np.bool_(True)]))
VALUES = st.recursive(LEAVES, lambda inner: st.one_of(st.lists(inner), st.lists(inner).map(tuple)), max_leaves=20)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES, protocol=st.integers(0, 5))
def test_what_pickle_writes_is_read(value: Any, protocol: int, tmp_path: Path) -> None:
    assert same(read(tmp_path / "any", pickle.dumps(value, protocol)), value)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES, protocol=st.integers(0, 5), data=st.data())
def test_damage_is_an_error_of_one_line(value: Any, protocol: int, data: st.DataObject, tmp_path: Path) -> None:
    whole = pickle.dumps(value, protocol)
    cut = data.draw(st.integers(0, len(whole) - 1))
    broken = bytearray(whole)
    broken[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with pytest.raises(SourceError):
        read(tmp_path / "cut", whole[:cut])
    try:
        read(tmp_path / "broken", bytes(broken))
    except SourceError as error:
        assert "\n" not in str(error)  # noqa: PT017 (it may also still be a pickle)


def test_python_2(tmp_path: Path) -> None:
    """As Python 2.7 writes ``(["\\xff\\xd8'\\n", "b"], [True, False])``, by each of its protocols."""
    wanted = [[b"\xff\xd8'\n", b"b"], [True, False]]
    text = b"((lp0\nS\"\\xff\\xd8'\\n\"\np1\naS'b'\np2\na(lp3\nI01\naI00\natp4\n."
    binary = b"(]q\x00(U\x04\xff\xd8'\nq\x01U\x01bq\x02e]q\x03(I01\nI00\netq\x04."
    two = b"\x80\x02]q\x00(T\x04\x00\x00\x00\xff\xd8'\nq\x01U\x01bq\x02e]q\x03(\x88\x89e\x86q\x04."
    for data in (text, binary, two):
        assert same(read(tmp_path / "two", data), wanted)
        found = pickle.loads(data, encoding="bytes")
        assert same([list(found[0]), list(found[1])], wanted), "the test itself is right"


_heard: list[list[str]] = []  # a hook cannot be taken away again
sys.addaudithook(lambda event, _: _heard[-1].append(event) if _heard else None)


@contextmanager
def listening() -> Iterator[list[str]]:
    """What Python's audit hooks hear of: imports, calls of the system, files that are opened, and so on."""
    _heard.append([])
    try:
        yield _heard[-1]
    finally:
        _heard.pop()


class Evil:
    """Calls something when it is unpickled."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call = call, arguments

    def __reduce__(self) -> Any:
        return self.call


class Nested:
    """Hides a call in the arguments of a harmless one."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return np.dtype, (Evil(os.system, self.command),)


class State:
    """A harmless array whose state is a call."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        made = np.zeros(1, np.uint8).__reduce__()
        return (*made[:2], Evil(os.system, self.command))


EVIL: dict[str, Callable[[str], Any]] = {
    "os.system": lambda command: Evil(os.system, command),
    "eval": lambda command: Evil(builtins.eval, f"__import__('os').system({command!r})"),
    "exec": lambda command: Evil(builtins.exec, f"__import__('os').system({command!r})"),
    "getattr": lambda command: Evil(getattr, "text", "upper"),
    "a class of torch": lambda command: torch.nn.Linear(1, 1),
    "a tensor": lambda command: torch.zeros(1),
    "a subprocess": lambda command: Evil(subprocess.Popen, ["sh", "-c", command]),
    "nested": Nested,
    "in a state": State,
    "a dict": lambda command: {"a": Evil(os.system, command)},
    "a set": lambda command: {1, 2},
    "numpy's own loader": lambda command: Evil(np.load, command),
    "an array of objects": lambda command: np.array([Evil(os.system, command), None], object),
    "an ordered dict": lambda command: collections.OrderedDict(a=1),
    "memory": lambda command: Evil(bytearray, 10_000_000_000),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", EVIL)
def test_everything_else_is_refused_and_nothing_is_run(kind: str, protocol: int, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evil = pickle.dumps(([b"image", EVIL[kind](f"touch {run}")], [True]), protocol)
    (tmp_path / "evil.bin").write_bytes(evil)
    b"".decode("raw-unicode-escape")  # Python imports the codec of protocol 0 when it is first used
    with (tmp_path / "evil.bin").open("rb") as file, pytest.raises(SourceError) as caught, listening() as heard:
        unpickle(file)
    assert not run.exists()
    assert set(heard) <= {"mmap.__new__"}, "Python is asked for nothing, not even an import"
    assert "evil.bin" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, RefusedError) or kind == "an array of objects"


BOMBS = {
    "bytes that are not there": b"\x80\x04\x8e" + (10_000_000_000).to_bytes(8, "little") + b"x.",
    "a bytearray that is not there": b"\x80\x05\x96" + (10_000_000_000).to_bytes(8, "little") + b"x.",
    "text that is not there": b"\x80\x04\x8d" + (10_000_000_000).to_bytes(8, "little") + b"x.",
    "a place in the memo": b"\x80\x04]r\xff\xff\xff\xff0.",
    "an array that is not there": pickle.dumps(np.zeros(3, np.uint8), 2).replace(
        b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"
    ),
    "digits": b"L" + b"9" * 5_000_000 + b"L\n.",
    "lists in lists": b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "text that becomes bytes again and again": (
        b"\x80\x02(c_codecs\nencode\nq\x00X\x00\x00\x10\x00"
        + b"x" * (1 << 20)
        + b"q\x01X\x06\x00\x00\x00latin1q\x02"
        + b"h\x00h\x01h\x02\x86R" * 4000
        + b"l."
    ),
    "a name of doubled lists": b"\x80\x04]"
    + b"".join(b"\x94]h%ch%c\x86a" % (i, i) for i in range(60))
    + b"\x8c\x01a\x93.",
    "a name of nested lists": b"\x80\x04" + b"]" * 5000 + b"a" * 4999 + b"\x8c\x01a\x93.",
    "doubled lists": b"\x80\x02]" + b"".join(b"q\x00]h\x00ah\x00a" for _ in range(60)) + b".",
}


def test_memory_is_that_of_the_file(tmp_path: Path) -> None:
    """In a process that has 1 GB of address space beside what it had before, and as images and pairs of a .bin too."""
    for number, bomb in enumerate(BOMBS.values()):
        (tmp_path / f"{number}.bin").write_bytes(bomb)
    doubled = b"".join(b"q%c](h%ch%ce" % (i, i, i) for i in range(40))
    (tmp_path / "pairs.bin").write_bytes(
        b"\x80\x02](B\x01\x00\x00\x00xB\x01\x00\x00\x00xe](](K\x01e" + doubled + b"e\x86."
    )
    text = [["x" * 100_000], [1] * 10_000]
    (tmp_path / "text.bin").write_bytes(pickle.dumps(([b"a", b"b"], [*text, True])))
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from wds_face import load_bin\n"
        "from wds_face.errors import SourceError\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)\n"
        "for file in sorted(Path(sys.argv[1]).glob('*.bin')):\n"
        "    try:\n"
        "        load_bin(file)\n"
        "    except SourceError as error:\n"
        "        print('refused', file.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("refused") == len(BOMBS) + 2


def test_a_name_that_would_spoil_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        read(tmp_path / "a.bin", b"\x80\x04\x8c\x05a\n\x1b[2\x8c\x01b\x93.")
    assert str(caught.value).isprintable()


def test_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no pickle of images, or not a whole one"):
        read(tmp_path / "empty.bin", b"")
