"""Passes over arrays of a GPU that are one kernel each, where NumPy's calls would be several.

A kernel takes some microseconds to launch, whatever it does. CuPy makes these of a line of C++ and compiles them when
they run first; nothing here runs on the CPU.

    add_scaled(d, x, y)    y ← y + d x
    Pass(code, xs, y)      y ← an expression, called as often as wanted; sum_of(terms, y) is the Pass y ← Σ d x
    Total(code, xs, y, …)  y ← Σ of an expression over some axes
    dot(a, b)              Σ a_i b_i in float64, a 0-d array
    largest(x)             max |x_i| in float64, a 0-d array; NaN does not count
    gathered([a, b, …])    0-d arrays as one vector
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from rmad.machine.backend import import_cupy, is_cupy
from rmad.machine.turns import lazy
from rmad.types import Array

__all__ = [
    "Elementwise",
    "Pass",
    "Passes",
    "Reduction",
    "Total",
    "add_scaled",
    "dot",
    "gathered",
    "largest",
    "sum_of",
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
largest = Reduction("T x", "float64 most", "fabs(double(x))", "max(a, b)", "most = a", "0", "largest")


def add_scaled(d: Any, x: Array, y: Array) -> None:
    """y ← y + d x; d: a number or an array, to broadcast over y."""
    sum_of([(d, x)], y, True)()


class Pass:
    """y ← an expression of arrays of a GPU, element by element: one kernel, bound to its arrays.

    Parameters
    ----------
    code : str
        C++ for one element, with {0}, {1}, … in place of the inputs. T is the dtype of y.
    inputs : sequence of arrays or numbers
        Arrays are broadcast over y; real ones come as T. y itself may be among them.
    y : array
    """

    __slots__ = ("_bound", "code", "inputs", "y")

    def __init__(self, code: str, inputs: Sequence[Any], y: Array) -> None:
        self.code, self.inputs, self.y = code, tuple(inputs), y
        kinds, given = _parameters(self.inputs, y.dtype)
        self._bound = partial(_pass(code, kinds), *given, y)

    def __call__(self) -> None:
        self._bound()

    @property
    def dtype(self) -> np.dtype[Any]:
        """T"""
        return self.y.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape over which inputs are broadcast."""
        return self.y.shape

    def with_inputs(self, code: str, inputs: Sequence[Any]) -> Pass:
        """Another expression for y."""
        return Pass(code, inputs, self.y)


class Total:
    """y ← Σ of an expression over some axes, its mean with `mean`, or y ← y + … with `add`: one kernel, bound.

    code, inputs: as those of a Pass, of inputs broadcast to one shape; T is `dtype`, Y the dtype of y. axes: a tuple;
    the others are those of y, which may have ones in place of the summed ones.
    """

    __slots__ = ("_bound", "add", "axes", "code", "dtype", "inputs", "mean", "shape", "y")

    def __init__(
        self,
        code: str,
        inputs: Sequence[Any],
        y: Array,
        axes: tuple[int, ...],
        add: bool = False,
        dtype: np.dtype[Any] | None = None,
        mean: bool = False,
    ) -> None:
        self.code, self.inputs, self.y, self.axes, self.add, self.mean = code, tuple(inputs), y, axes, add, mean
        self.dtype = y.dtype if dtype is None else dtype
        self.shape = np.broadcast_shapes(*(x.shape for x in self.inputs if is_cupy(x)))
        kinds, given = _parameters(self.inputs, self.dtype)
        keepdims = y.ndim == len(self.shape)
        self._bound = partial(_total(code, kinds, add, mean), *given, y, axis=axes, keepdims=keepdims)

    def __call__(self) -> None:
        self._bound()

    def with_inputs(self, code: str, inputs: Sequence[Any]) -> Total:
        """Another expression to sum."""
        return Total(code, inputs, self.y, self.axes, self.add, self.dtype, self.mean)


class Passes:
    """A function of arrays that is some of these passes: `passes` returns them, a call runs them."""

    def __init__(self, passes: Callable[..., list[Pass | Total]]) -> None:
        self.passes = passes

    def __call__(self, *arrays: Array) -> None:
        for each in self.passes(*arrays):
            each()


def sum_of(terms: Sequence[tuple[Any, Array]], y: Array, add: bool = False) -> Pass:
    """y ← Σ d x over the terms (d, x), or y ← y + Σ d x.

    d: a number or an array, to broadcast over y as x.
    """
    parts, inputs = [], []
    if add:
        parts.append("{0}")
        inputs.append(y)
    for d, x in terms:
        if isinstance(d, int) and d in (1, -1):
            parts.append(f"{'-' if d < 0 else ''}{{{len(inputs)}}}")
            inputs.append(x)
        else:
            parts.append(f"{{{len(inputs)}}} * {{{len(inputs) + 1}}}")
            inputs += [d, x]
    return Pass(" + ".join(parts), inputs, y)


def _parameters(inputs: Sequence[Any], dtype: np.dtype[Any]) -> tuple[str, list[Any]]:
    """The kind of every input, and what a kernel takes for it: T, a number (n), a real (r) or complex (c) array."""
    kinds, given = "", []
    for x in inputs:
        if not is_cupy(x):
            kinds, x = kinds + "n", dtype.type(x)
        elif x.dtype == dtype:
            kinds += "T"
        else:
            kinds += "c" if x.dtype.kind == "c" else "r"
        given.append(x)
    return kinds, given


def _declared(code: str, kinds: str) -> tuple[str, str]:
    """The parameters of a kernel, and its code with their names."""
    types = [kind if kind == "T" else "T" if kind == "n" else LETTERS[k] for k, kind in enumerate(kinds)]
    names = [f"T(a{k})" if kind == "r" else f"a{k}" for k, kind in enumerate(kinds)]
    return ", ".join(f"{t} a{k}" for k, t in enumerate(types)), code.format(*names)


LETTERS = "ABCDEFGHIJKLMNOPQRSUVWXZ"  # names of types; CuPy takes single letters


@cache
def _pass(code: str, kinds: str) -> Elementwise:
    declared, expression = _declared(code, kinds)
    return Elementwise(declared, "T y", f"y = {expression}", f"pass_of_{len(kinds)}")


@cache
def _total(code: str, kinds: str, add: bool, mean: bool) -> Reduction:
    declared, expression = _declared(code, kinds)
    over = " / Y(_in_ind.size() / _out_ind.size())" if mean else ""
    last, name = f"y {'+=' if add else '='} a{over}", f"{'mean' if mean else 'total'}_of_{len(kinds)}"
    return Reduction(declared, "Y y", expression, "a + b", last, "0", name)


def gathered(scalars: Sequence[Array]) -> Array:
    """0-d arrays of real floats as a vector of float64."""
    return _gather(len(scalars))(*scalars, import_cupy().empty(len(scalars)))


@cache
def _gather(n: int) -> Elementwise:
    inputs = ", ".join(f"{dtype} x{k}" for k, dtype in enumerate("ABCDEFGH"[:n]))
    return Elementwise(inputs, "raw float64 y", " ".join(f"y[{k}] = x{k};" for k in range(n)), f"gathered_{n}")
