"""Dense Jacobians and Hessians: stacks of tangents or of cotangents through one tape, whichever are fewer.

    by columns   V = the unit vectors of x      push: row k of the result is ∂y/∂x_k
    by rows      U = the unit vectors of y      pull: row k of the result is ∂y_k/∂x

The stacks go through the tape in blocks that a bound on memory fixes. Complex numbers are pairs of reals: their unit
vectors are 1 and i, so that both parts of a derivative are known, and a function that is not holomorphic is noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.record import Record
from rmad.stacked import pull_stack, push_stack
from rmad.tracing.traced import stop
from rmad.transforms.argnums import Argnums, chooser
from rmad.transforms.points import check_points, shifted
from rmad.transforms.transforms import grad
from rmad.transforms.unit_vectors import Swept, Units
from rmad.trees.leaf import dtype_of, sizes

__all__ = ["hessian", "jacobian"]


def jacobian(
    f: Callable[..., Any], argnums: Argnums = 0, *, flat: bool = False, points: Argnums | None = None
) -> Callable[..., Any]:
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
    flat : bool, default False
        If True, J is one matrix (m, n), whatever trees x and y are: m and n numbers in the order of `rmad.ravel`.
    points : int or tuple of int, optional
        Arguments whose last axis runs over points that f treats one by one, as in `scipy.integrate.solve_bvp`; so does
        the last axis of y. J has the derivative at each point: of shape (*y.shape[:-1], *x.shape[:-1], points), or
        (*y.shape[:-1], *x.shape, points) for an x that all points share.

    Returns
    -------
    evaluate : callable (*args, **kwargs) → J
        A tree like y of trees like x, of arrays of their joint dtype. If argnums is a tuple, the trees like x are
        tuples. Integer leaves, of x or of y, give zeros of their own dtype.

    Raises
    ------
    TypeError
        When called: x holds no float array, f returns no tree of arrays, or argnums or points names no argument.
    ValueError
        When called: x and y are complex, and f is not holomorphic; or y has another number of points than x.

    Examples
    --------
    >>> jacobian(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    >>> jacobian(lambda t, a, b: a * t + b, argnums=(1, 2))(np.arange(3.0), 2.0, 1.0)
    (array([0., 1., 2.]), array([1., 1., 1.]))
    >>> jacobian(lambda t, a, b: a * t + b, argnums=(1, 2), flat=True)(np.arange(3.0), 2.0, 1.0)
    array([[0., 1.],
           [1., 1.],
           [2., 1.]])
    >>> jacobian(lambda y: np.stack([y[1], -(y[0] ** 2)]), points=0)(np.ones((2, 5))).shape
    (2, 2, 5)
    """
    if flat and points is not None:
        raise TypeError("jacobian: flat=True makes one matrix, which has no axis for points")
    choose = chooser(f, argnums)

    def evaluate(*args: Any, **kwargs: Any) -> Any:
        if points is None:
            record = Record(*choose(args, kwargs))
            return (by_rows if _rows(record).count < _columns(record).count else by_columns)(record, flat)
        g, shifts, count = shifted(f, argnums, points, args)
        record = Record(*chooser(g, argnums)(shifts, kwargs))
        check_points(record.out.shapes, count)
        return by_columns(record, points=True)

    return evaluate


def hessian(f: Callable[..., Any], argnums: Argnums = 0, *, flat: bool = False) -> Callable[..., Any]:
    """(*args, **kwargs) → H = ∇²f, dense, of shape x.shape + x.shape, for a real scalar f of a real x.

    The gradient is recorded once; then the unit vectors of x are pushed through its tape, many at a time. Products with
    a Hessian that is too large to be stored: `hvp`, `HessianOperator`.

    Parameters
    ----------
    f : callable (*args, **kwargs) → real scalar
    argnums : int or tuple of int, default 0
        The argument x, a tree of real arrays; or several.
    flat : bool, default False
        If True, H is one matrix (n, n), whatever tree x is: its numbers in the order of `rmad.ravel`.

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
        return by_columns(record, flat)

    return evaluate


def by_columns(record: Record, flat: bool = False, points: bool = False) -> Any:
    """J from pushes of the unit vectors of x; flat: as one matrix; points: with the last axis of y at the end."""
    swept = Swept(_columns(record), lambda V: push_stack(record.tape, V, record.outputs), record, True)

    def element(j: int, i: int) -> Any:
        return _derivative(swept.of(j, i), record.out.dtypes[j], False)

    return _matrix(record, element) if flat else _tree_of_trees(record, element, points)


def by_rows(record: Record, flat: bool = False) -> Any:
    """J from pulls of the unit vectors of y; flat: as one matrix."""
    n = record.n_inputs
    swept = Swept(_rows(record), lambda U: pull_stack(record.tape, U, record.outputs, n), record, False)

    def element(j: int, i: int) -> Any:
        return _derivative(swept.of(i, j), record.x.dtypes[i], True)

    return _matrix(record, element) if flat else _tree_of_trees(record, element, False)


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


def _element(record: Record, element: Callable[[int, int], Any], j: int, i: int, shape: tuple[int, ...]) -> Any:
    """∂y/∂x for y's array j and x's array i, in that shape and in their joint dtype."""
    dtype, J = np.result_type(record.out.dtypes[j], record.x.dtypes[i]), element(j, i)
    J = arrays.zeros(record.tape.like, shape, dtype)[()] if J is None else np.reshape(J, shape)
    return J if J.dtype == dtype else J.astype(dtype)


def _matrix(record: Record, element: Callable[[int, int], Any]) -> Any:
    """(m, n): a block row for every float array of y, a block column for every one of x."""
    m, n = sizes(record.out.shapes), sizes(record.x.shapes)
    rows = []
    for j in range(len(m)):
        blocks = [_element(record, element, j, i, (m[j], n[i])) for i in range(len(n))]
        rows.append(blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1))
    if not rows:
        return arrays.zeros(record.tape.like, (0, sum(n)))
    return rows[0] if len(rows) == 1 else np.concatenate(rows)


def _tree_of_trees(record: Record, element: Callable[[int, int], Any], points: bool) -> Any:
    """A tree like y of trees like x; element: (number of y's array, of x's) → ∂y/∂x in any shape, None for zeros.

    points: True if the last axis of y comes last.
    """
    x, y = record.x, record.out

    def shaped(j: int, i: int) -> Any:
        J = _element(record, element, j, i, y.shapes[j] + x.shapes[i])
        return (np.moveaxis(J, len(y.shapes[j]) - 1, -1) if points else J)[()]

    def zeros(shape: tuple[int, ...], dtype: Any) -> Any:
        return arrays.zeros(record.tape.like, shape, dtype)[()]

    def row(of_array: Callable[[int], Any], shape: tuple[int, ...]) -> Any:
        return x.unflatten(
            [of_array(i) for i in range(record.n_inputs)], lambda c: zeros(shape + np.shape(c), dtype_of(c))
        )

    def constant(c: Any) -> Any:
        return row(lambda i: zeros(np.shape(c) + x.shapes[i], dtype_of(c)), np.shape(c))

    return y.unflatten([row(partial(shaped, j), y.shapes[j]) for j in range(len(y.shapes))], constant)
