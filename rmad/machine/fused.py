"""Passes over arrays of a GPU that are one kernel each, where NumPy's calls would be several.

A kernel takes some microseconds to launch, whatever it does. CuPy makes these of a line of C++ and compiles them when
they run first; nothing here runs on the CPU.

    add_scaled(d, x, y)    y ← y + d x
    add_product(A, B, y)   y ← y + A B, by cuBLAS
    dot(a, b)              Σ a_i b_i in float64, a 0-d array; column_dots(a, b, y, axis=0)   y_i ← Σ a_ji b_ji
    largest(x)             max |x_i| in float64, a 0-d array; NaN does not count
    gathered([a, b, …])    0-d arrays as one vector
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

from rmad.machine.backend import cublas, import_cupy, is_cupy
from rmad.types import Array

__all__ = [
    "Elementwise",
    "Reduction",
    "add_product",
    "add_scaled",
    "can_add_product",
    "column_dots",
    "dot",
    "gathered",
    "largest",
]


class Elementwise:
    """CuPy's ElementwiseKernel, made when it is first called.

    Parameters
    ----------
    inputs, outputs : str
        Types and names, as "T x, T y"; one letter stands for one dtype. What an output held may be read.
    body : str
        C++ for one element.
    name : str
        The kernel's name in profiles.
    functions : str, default ""
        C++ functions that the body calls.
    """

    def __init__(self, inputs: str, outputs: str, body: str, name: str, functions: str = "") -> None:
        self._source, self._functions = (inputs, outputs, body, name), functions

    @cached_property
    def _compiled(self) -> Any:
        return import_cupy().ElementwiseKernel(*self._source, preamble=self._functions)

    def __call__(self, *arrays: Any) -> Any:
        return self._compiled(*arrays)


class Reduction:
    """CuPy's ReductionKernel, made when it is first called.

    Parameters
    ----------
    inputs, output, of_one, of_two, last, identity, name : str
        Types and names; C++ that makes a term of one element, joins the terms a and b, assigns the result a, and gives
        the result of no elements.
    """

    def __init__(self, *source: str) -> None:
        self._source = source

    @cached_property
    def _compiled(self) -> Any:
        return import_cupy().ReductionKernel(*self._source)

    def __call__(self, *arrays: Any, axis: int | None = None) -> Any:
        return self._compiled(*arrays, axis=axis)


_add_scaled = Elementwise("S d, T x", "T y", "y += T(d) * x", "add_scaled")
_add_multiple = Elementwise("T d, T x", "T y", "y += d * x", "add_multiple")  # a number has no dtype of its own
dot = Reduction("T x, T y", "float64 sum", "double(x) * double(y)", "a + b", "sum = a", "0", "dot")
column_dots = Reduction("T x, T y", "T sum", "x * y", "a + b", "sum = a", "0", "column_dots")
largest = Reduction("T x", "float64 most", "fabs(double(x))", "max(a, b)", "most = a", "0", "largest")


def add_scaled(d: Any, x: Array, y: Array) -> None:
    """y ← y + d x; d: a number or an array, to broadcast over y."""
    if is_cupy(d):
        _add_scaled(d, x, y)
    else:
        _add_multiple(y.dtype.type(d), x, y)


def gathered(scalars: Sequence[Array]) -> Array:
    """0-d arrays of real floats as a vector of float64."""
    return _gather(len(scalars))(*scalars, import_cupy().empty(len(scalars)))


@cache
def _gather(n: int) -> Elementwise:
    inputs = ", ".join(f"{dtype} x{k}" for k, dtype in enumerate("ABCDEFGH"[:n]))
    return Elementwise(inputs, "raw float64 y", " ".join(f"y[{k}] = x{k};" for k in range(n)), f"gathered_{n}")


def can_add_product(A: Array, B: Array, out: Array) -> bool:
    """True for matrices that cuBLAS takes as they lie in memory."""
    same = A.dtype == B.dtype == out.dtype and out.dtype.char in "fdFD"
    return same and bool(A.size and B.size) and all(a.flags.c_contiguous or a.flags.f_contiguous for a in (A, B, out))


def add_product(A: Array, B: Array, out: Array) -> None:
    """out ← out + A B for matrices that fit, see `can_add_product`."""
    cublas().gemm("N", "N", A, B, out, 1.0, 1.0)
