"""Loops that numba compiles, where numpy and OpenCV would take many passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic


def compiled(signature: Any) -> Callable[[Any], Any]:
    """``numba.njit`` at import, kept on disk for the next process where there is a folder for it.

    Args:
        signature: of the function, or a list of them; it is not compiled for other types.
    """

    def compile_(function: Any) -> Any:
        try:
            return njit(signature, cache=True)(function)
        except Exception:  # no folder can be written to, the disk is full, or what is there is damaged
            return njit(signature)(function)

    return compile_


def _prefetch(_: Any, array: Any, index: Any) -> Any:
    """See :data:`prefetch`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        builder.call(function, [address, number(0), number(3), number(1)])  # to read, to all caches, data
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


#: ``prefetch(array, index)``, in compiled code: the element at a flat index is read soon. It may lie anywhere, and
#: nothing waits for it.
prefetch: Any = intrinsic(_prefetch)
