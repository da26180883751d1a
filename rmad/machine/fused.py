"""Passes over arrays of a GPU that are one kernel each, where NumPy's calls would be several.

A kernel takes some microseconds to launch, whatever it does. CuPy makes these of a line of C++ and compiles them when
they run first; nothing here runs on the CPU.

    add_scaled(d, x, y)    y ← y + d x
    Sum(terms, y, add)()   y ← Σ d x, bound to its arrays
    dot(a, b)              Σ a_i b_i in float64, a 0-d array; column_dots(a, b, y, axis=0)   y_i ← Σ a_ji b_ji
    largest(x)             max |x_i| in float64, a 0-d array; NaN does not count
    gathered([a, b, …])    0-d arrays as one vector
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from rmad.machine.backend import import_cupy, is_cupy
from rmad.turns import lazy
from rmad.types import Array

__all__ = [
    "Elementwise",
    "Reduction",
    "Sum",
    "add_scaled",
    "column_dots",
    "dot",
    "gathered",
    "largest",
]


MOST_TERMS = 8  # that one kernel adds


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

    A call takes the arrays in this order, and `size`, the number of elements, if all arrays are raw.
    """

    def __init__(self, inputs: str, outputs: str, body: str, name: str, functions: str = "") -> None:
        self._source, self._functions = (inputs, outputs, body, name), functions

    @lazy
    def _compiled(self) -> Any:
        return import_cupy().ElementwiseKernel(*self._source, preamble=self._functions)

    def __call__(self, *arrays: Any, size: int | None = None) -> Any:
        return self._compiled(*arrays) if size is None else self._compiled(*arrays, size=size)


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

    @lazy
    def _compiled(self) -> Any:
        return import_cupy().ReductionKernel(*self._source)

    def __call__(self, *arrays: Any, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
        return self._compiled(*arrays, axis=axis, keepdims=keepdims)


dot = Reduction("T x, T y", "float64 sum", "double(x) * double(y)", "a + b", "sum = a", "0", "dot")
column_dots = Reduction("T x, T y", "T sum", "x * y", "a + b", "sum = a", "0", "column_dots")
largest = Reduction("T x", "float64 most", "fabs(double(x))", "max(a, b)", "most = a", "0", "largest")


def add_scaled(d: Any, x: Array, y: Array) -> None:
    """y ← y + d x; d: a number or an array, to broadcast over y."""
    Sum([(d, x)], y, True)()


class Sum:
    """y ← scale Σ d x over the terms (d, x), or y ← scale (y + Σ d x) with `add`; called as often as wanted.

    scale and the d are numbers, or arrays to broadcast over y as the x.
    """

    def __init__(self, terms: Sequence[tuple[Any, Array]], y: Array, add: bool, scale: Any = 1) -> None:
        self.terms, self.y, self.add, self.scale = terms, y, add, scale
        parts = [terms[k : k + MOST_TERMS] for k in range(0, len(terms), MOST_TERMS)]
        self._calls = [self._bound(part, add or k > 0, 1) for k, part in enumerate(parts[:-1])]
        self._calls.append(self._bound(parts[-1], add or len(parts) > 1, scale))

    def _bound(self, terms: Sequence[tuple[Any, Array]], add: bool, scale: Any) -> Callable[[], Any]:
        kinds, given = "", []
        for d, x in terms:
            kinds += _kind(d)
            given += [*self._factor(d), x]
        return partial(_sum_of(kinds, add, _kind(scale)), *given, *self._factor(scale), self.y)

    def _factor(self, d: Any) -> list[Any]:
        """What a kernel takes for a factor."""
        kind = _kind(d)
        return [] if kind in "1-" else [d if kind == "d" else self.y.dtype.type(d)]

    def __call__(self) -> None:
        for call in self._calls:
            call()


def _kind(d: Any) -> str:
    """1 and - for the integers 1 and −1, d for an array, n for another number."""
    if isinstance(d, int):
        return {1: "1", -1: "-"}.get(d, "n")
    return "d" if is_cupy(d) else "n"


@cache
def _sum_of(kinds: str, add: bool, scale: str) -> Elementwise:
    """The kernel for factors of these kinds."""
    inputs, terms = [], ["y"] if add else []
    for k, kind in enumerate(kinds):
        inputs += [_parameter(kind, k), f"T x{k}"]
        terms.append(_times(kind, k) + f"x{k}")
    last = len(kinds)
    inputs.append(_parameter(scale, last))
    return Elementwise(
        ", ".join(filter(None, inputs)), "T y", f"y = {_times(scale, last)}({' + '.join(terms)})", f"sum_of_{last}"
    )


def _parameter(kind: str, k: int) -> str:
    return {"d": f"{'ABCDEFGHI'[k]} d{k}", "n": f"T d{k}"}.get(kind, "")


def _times(kind: str, k: int) -> str:
    return {"1": "", "-": "-"}.get(kind, f"T(d{k}) * ")


def gathered(scalars: Sequence[Array]) -> Array:
    """0-d arrays of real floats as a vector of float64."""
    return _gather(len(scalars))(*scalars, import_cupy().empty(len(scalars)))


@cache
def _gather(n: int) -> Elementwise:
    inputs = ", ".join(f"{dtype} x{k}" for k, dtype in enumerate("ABCDEFGH"[:n]))
    return Elementwise(inputs, "raw float64 y", " ".join(f"y[{k}] = x{k};" for k in range(n)), f"gathered_{n}")
