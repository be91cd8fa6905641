"""What pickles of images name, in place of the functions and classes themselves: numpy's arrays, and bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Name(NamedTuple):
    """A function or class that the pickle names. It is never looked up."""

    module: str
    name: str


class Array:
    """An array that is yet to be filled: numpy makes an empty one, then gives it its state."""

    value: NDArray[Any] | None = None


class Type:
    """A dtype that is yet to be given its byte order."""

    def __init__(self, code: str) -> None:
        self.dtype = np.dtype(code)


def _encode(text: Any, encoding: Any) -> bytes:
    """``_codecs.encode``: how Python 3 writes bytes for Python 2."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise ValueError
    return text.encode("latin-1")


def _empty() -> bytes:
    """``bytes()``: how Python 3 writes none for Python 2."""
    return b""


def _reconstruct(kind: Any, shape: Any, code: Any) -> Array:
    """``numpy.core.multiarray._reconstruct``: an empty array, whose state comes later."""
    return Array()


def _dtype(code: Any, align: Any = False, copy: Any = True) -> Type:
    """``numpy.dtype``, of numbers and truth values only."""
    code = code.decode("ascii") if type(code) is bytes else code
    if code not in _CODES:
        raise ValueError
    return Type(code)


def order(target: Type, state: Any) -> None:
    """Give a dtype its byte order.

    Raises:
        ValueError: it is of no number.
    """
    code = state[1].decode("ascii") if type(state[1]) is bytes else state[1]
    if code not in ("|", "<", ">", "=") or any(part is not None for part in state[2:5]):
        raise ValueError  # with fields or parts it is of no number
    if code in ("<", ">"):
        target.dtype = np.dtype(code + target.dtype.str[1:])


def _frombuffer(data: Any, kind: Any, shape: Any, order: Any) -> Array:
    """``numpy.core.numeric._frombuffer``: how arrays are written since protocol 5."""
    return fill(Array(), data, kind, shape, order == "F")


def _scalar(kind: Any, data: Any) -> Any:
    """``numpy.core.multiarray.scalar``: a number of numpy's."""
    return np.frombuffer(_bytes(data), kind.dtype, 1)[0].item()


def fill(target: Array, data: Any, kind: Any, shape: Any, fortran: bool) -> Array:
    """Give an array what is in it.

    Raises:
        ValueError: bytes and shape do not fit.
    """
    flat = np.frombuffer(_bytes(data), kind.dtype)
    if type(shape) is not tuple or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError
    target.value = flat.reshape(shape, order="F" if fortran else "C")  # says if the bytes are more or fewer
    return target


def _bytes(data: Any) -> bytes:
    if type(data) is str:  # Python 2 wrote it, and somebody read it as Latin-1
        return data.encode("latin-1")
    if type(data) is not bytes:
        raise ValueError
    return data


_CODES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"b1", "f2", "f4", "f8"}

#: What may be called, and what is called for it.
CALLS: dict[Name, Callable[..., Any]] = {
    Name("_codecs", "encode"): _encode,
    **{Name(module, "bytes"): _empty for module in ("__builtin__", "builtins")},
    Name("numpy", "dtype"): _dtype,
    **{Name(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{Name(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{Name(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
}
#: All that may be named.
NAMES = {*CALLS, Name("numpy", "ndarray")}
