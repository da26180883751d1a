"""Dense Jacobians and Hessians: stacks of tangents or of cotangents through one tape, whichever are fewer.

    by columns   V = the unit vectors of x      push: row k of the result is ∂y/∂x_k
    by rows      U = the unit vectors of y      pull: row k of the result is ∂y_k/∂x

The stacks go through the tape in blocks that a bound on memory fixes. Complex numbers are pairs of reals: their unit
vectors are 1 and i, so that both parts of a derivative are known, and a function that is not holomorphic is noticed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from rmad import tuning
from rmad.argnums import Argnums, chooser
from rmad.leaf import dtype_of, sizes
from rmad.machine import arrays
from rmad.record import Record
from rmad.stacked import at_a_time, pull_stack, push_stack
from rmad.traced import Traced, stop
from rmad.transforms import grad
from rmad.tree import TreeDef
from rmad.types import Array

__all__ = ["hessian", "jacobian"]


def jacobian(f: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """(*args, **kwargs) → J = ∂f/∂x, dense, of shape y.shape + x.shape: element [j, k] is ∂y_j/∂x_k.

    f runs once. Then the unit vectors of x are pushed through its tape, or those of y pulled, whichever are fewer, many
    at a time. Products with a Jacobian that is too large to be stored: `linearize`, `JacobianOperator`.

    If x is complex and y real, an element is ∂y/∂Re x + i ∂y/∂Im x, as in `grad`; if both are complex, f must be
    holomorphic there, and an element is dy/dx.

    Parameters
    ----------
    f : callable (*args, **kwargs) → y, a tree of arrays
    argnums : int or tuple of int, default 0
        The argument x, a tree of float arrays; or several.

    Returns
    -------
    evaluate : callable (*args, **kwargs) → J
        A tree like y of trees like x, of arrays of their joint dtype. If argnums is a tuple, the trees like x are
        tuples. Integer leaves, of x or of y, give zeros of their own dtype.

    Raises
    ------
    TypeError
        When called: x holds no float array, f returns no tree of arrays, or argnums names no argument.
    ValueError
        When called: x and y are complex, and f is not holomorphic.

    Examples
    --------
    >>> jacobian(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    >>> jacobian(lambda t, a, b: a * t + b, argnums=(1, 2))(np.arange(3.0), 2.0, 1.0)
    (array([0., 1., 2.]), array([1., 1., 1.]))
    """
    choose = chooser(f, argnums)

    def evaluate(*args: Any, **kwargs: Any) -> Any:
        record = Record(*choose(args, kwargs))
        return by_rows(record) if _rows(record).count < _columns(record).count else by_columns(record)

    return evaluate


def hessian(f: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """(*args, **kwargs) → H = ∇²f, dense, of shape x.shape + x.shape, for a real scalar f of a real x.

    The gradient is recorded once; then the unit vectors of x are pushed through its tape, many at a time. Products with
    a Hessian that is too large to be stored: `hvp`, `HessianOperator`.

    Parameters
    ----------
    f : callable (*args, **kwargs) → real scalar
    argnums : int or tuple of int, default 0
        The argument x, a tree of real arrays; or several.

    Returns
    -------
    evaluate : callable (*args, **kwargs) → H
        A tree like x of trees like x. If argnums is a tuple, both are tuples. Integer leaves give zeros of their own
        dtype.

    Raises
    ------
    TypeError
        When called: f returns no real scalar, x holds no float array or a complex one, or argnums names no argument.

    Examples
    --------
    >>> hessian(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    choose = chooser(f, argnums)

    def evaluate(*args: Any, **kwargs: Any) -> Any:
        g, x, rest = choose(args, kwargs)
        record = Record(grad(g), x, rest)
        for path, dtype in zip(record.x.paths, record.x.dtypes, strict=True):
            if dtype.kind == "c":
                raise TypeError(
                    f"{path} is complex, and second derivatives are of real numbers: "
                    "make f a function of the real and the imaginary part"
                )
        return by_columns(record)

    return evaluate


class Units:
    """The unit vectors of the arrays of a tree: per array e_1 … e_n, and if it is complex, then i e_1 … i e_n.

    count: of all vectors. segments: (array, unit, first, last), vectors first … last − 1 being `unit` times those of
    one array. varies: False for arrays that are constant, and have none.
    """

    def __init__(self, tree: TreeDef, varies: Sequence[bool]) -> None:
        self.shapes, self.dtypes = tree.shapes, tree.dtypes
        self.segments: list[tuple[int, complex, int, int]] = []
        self.count = 0
        for j, (n, dtype) in enumerate(zip(sizes(tree.shapes), tree.dtypes, strict=True)):
            for unit in (1, 1j) if dtype.kind == "c" else (1,):
                if varies[j]:
                    self.segments.append((j, unit, self.count, self.count + n))
                    self.count += n

    def stacks(self, start: int, stop: int, like: Array) -> list[Array | None]:
        """Vectors start … stop − 1, (stop − start, *shape) per array, of the kind of `like`; None for zeros."""
        found: list[Any] = [None] * len(self.shapes)
        for j, unit, first, last in self.segments:
            some = arrays.arange(like, max(first, start), min(last, stop))
            if len(some):
                if found[j] is None:
                    found[j] = arrays.zeros(like, (stop - start, math.prod(self.shapes[j])), self.dtypes[j])
                found[j][some - start, some - first] = unit
        return [None if V is None else V.reshape(-1, *shape) for V, shape in zip(found, self.shapes, strict=True)]


class Swept:
    """The products with unit vectors, by array of the result and by segment.

    last: True if the axis of the vectors comes last.
    """

    def __init__(
        self, units: Units, sweep: Callable[[list[Array | None]], list[Any]], record: Record, last: bool
    ) -> None:
        self.units, self.last = units, last
        self.found: dict[tuple[int, int], Any] = {}
        step = at_a_time(record.tape, tuning.STACK_BYTES)
        for start in range(0, units.count, step):
            stop = min(start + step, units.count)
            for r, rows in enumerate(sweep(units.stacks(start, stop, record.tape.like))):
                if rows is not None:
                    self._keep(r, rows, start, stop)

    def _keep(self, r: int, rows: Array, start: int, stop: int) -> None:
        """Keeps the products with vectors start … stop − 1: traced ones as they are, others in arrays of their own."""
        for s, (_, _, first, last) in enumerate(self.units.segments):
            low, high = max(first, start), min(last, stop)
            if low >= high:
                continue
            part = rows[low - start : high - start]
            part = np.moveaxis(part, 0, -1) if self.last else part
            if isinstance(part, Traced):
                self.found.setdefault((r, s), []).append(part)
                continue
            if (r, s) not in self.found:
                shape = (*part.shape[:-1], last - first) if self.last else (last - first, *part.shape[1:])
                self.found[r, s] = arrays.zeros(part, shape)
            to = slice(low - first, high - first)
            self.found[r, s][(..., to) if self.last else to] = part

    def of(self, r: int, j: int) -> list[Any]:
        """The products with the unit vectors of array j, and with i times these if it is complex; None for zeros."""
        products = []
        for s, (array, _, first, last) in enumerate(self.units.segments):
            if array == j:
                parts = self.found.get((r, s))
                if isinstance(parts, list):
                    parts = np.concatenate(parts, axis=-1 if self.last else 0)
                    if parts.shape[-1 if self.last else 0] < last - first:
                        parts = None  # vectors of other arrays, on which alone the result depends
                products.append(parts)
        return products


def by_columns(record: Record) -> Any:
    """J from pushes of the unit vectors of x."""
    swept = Swept(_columns(record), lambda V: push_stack(record.tape, V, record.outputs), record, True)

    def element(j: int, i: int) -> Any:
        return _derivative(swept.of(j, i), record.out.dtypes[j], False)

    return _tree_of_trees(record, element)


def by_rows(record: Record) -> Any:
    """J from pulls of the unit vectors of y."""
    n = record.n_inputs
    swept = Swept(_rows(record), lambda U: pull_stack(record.tape, U, record.outputs, n), record, False)

    def element(j: int, i: int) -> Any:
        return _derivative(swept.of(i, j), record.x.dtypes[i], True)

    return _tree_of_trees(record, element)


def _columns(record: Record) -> Units:
    return Units(record.x, [True] * record.n_inputs)


def _rows(record: Record) -> Units:
    return Units(record.out, [k is not None for k in record.outputs])


def _derivative(products: list[Any], dtype: np.dtype[Any], adjoint: bool) -> Any:
    """∂y/∂x from the products with 1 and, for a complex array, with i; dtype: that of the other of x and y.

    J i = i J 1 for a holomorphic f; of a pull, which is conj(J), likewise.
    """
    if not products or products[0] is None:
        return None
    if len(products) == 1:
        return products[0]
    if dtype.kind != "c":
        return products[0] + 1j * products[1]
    of_one, of_i = (stop(a) for a in products)
    error, size = np.abs(of_i - 1j * of_one), np.abs(of_one) + np.abs(of_i)
    if np.any(error > np.sqrt(np.finfo(dtype).eps) * arrays.highest(np.where(np.isfinite(size), size, 0), 0)):
        raise ValueError(
            "f is not holomorphic, so its Jacobian in a complex x is linear over the reals only: "
            "make f a function of the real and the imaginary part, or use rmad.linearize"
        )
    return np.conj(products[0]) if adjoint else products[0]


def _tree_of_trees(record: Record, element: Callable[[int, int], Any]) -> Any:
    """A tree like y of trees like x; element: (number of y's array, of x's) → ∂y/∂x in any shape, None for zeros."""
    x, y = record.x, record.out

    def zeros(shape: tuple[int, ...], dtype: Any) -> Any:
        return arrays.zeros(record.tape.like, shape, dtype)[()]

    def shaped(j: int, i: int) -> Any:
        shape, dtype, J = y.shapes[j] + x.shapes[i], np.result_type(y.dtypes[j], x.dtypes[i]), element(j, i)
        J = zeros(shape, dtype) if J is None else np.reshape(J, shape)
        return (J if J.dtype == dtype else J.astype(dtype))[()]

    def row(of_array: Callable[[int], Any], shape: tuple[int, ...]) -> Any:
        return x.unflatten(
            [of_array(i) for i in range(record.n_inputs)], lambda c: zeros(shape + np.shape(c), dtype_of(c))
        )

    def constant(c: Any) -> Any:
        return row(lambda i: zeros(np.shape(c) + x.shapes[i], dtype_of(c)), np.shape(c))

    return y.unflatten([row(partial(shaped, j), y.shapes[j]) for j in range(len(y.shapes))], constant)
