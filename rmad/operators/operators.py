"""Jacobian, Hessian and Gauss-Newton matrices as SciPy LinearOperators on flat vectors.

    JacobianOperator   J          matvec Jv, rmatvec Jᵀu
    HessianOperator    ∇²f        the Jacobian of the gradient, symmetric
    GGNOperator        Jᵀ L″ J    symmetric, positive semi-definite for a convex L

Each runs f once; every product is a sweep over its tape. Flat vectors have the order of rmad.ravel(x, pairs=True): a
derivative is linear over the reals only, so complex numbers count as pairs (Re, Im), and every operator is real. A
complex vector is multiplied as for any real matrix, J (u + iv) = Ju + i Jv. On the GPU the operators are cupyx's.
Source: Schraudolph (2002); Martens & Sutskever (2012), sections 5 and 6.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate

import numpy as np

from rmad.machine import arrays
from rmad.machine.backend import linear_operator
from rmad.operators.linear_operator import Operator, multiplied
from rmad.tracing.traced import Traced, stop
from rmad.transforms.argnums import with_keywords
from rmad.transforms.transforms import grad, linearize
from rmad.trees.flat import Flat
from rmad.trees.tree import flatten, leaves
from rmad.types import Array, P, Tree

__all__ = ["GGNOperator", "HessianOperator", "JacobianOperator", "SymmetricOperator"]


class _Real(Operator):
    """An operator between two flat spaces of reals, in the dtype of its problem.

    A subclass defines `_apply`, and `_apply_adjoint` unless it is symmetric, for real vectors of the spaces' dtypes.
    """

    def _set_spaces(self, rows: Flat, columns: Flat, base: Any) -> None:
        self._rows, self._columns = rows, columns
        self._init(base, np.result_type(rows.dtype, columns.dtype), (rows.size, columns.size))

    def _dot(self, v: Array) -> Array:
        return _product(self._apply, v, self._columns.dtype, self.shape[0], self.dtype)

    def _adjoint_dot(self, u: Array) -> Array:
        return _product(self._apply_adjoint, u, self._rows.dtype, self.shape[1], self.dtype)

    def _apply(self, v: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__}: A v")

    def _apply_adjoint(self, u: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__}: Aᵀ u")


def _product(apply: Callable[[Array], Array], v: Array, dtype: Any, rows: int, out: Any) -> Array:
    """A real linear map of a vector, or of the columns of a matrix: of a complex one part by part.

    dtype: that of the vectors that `apply` takes; rows, out: length and dtype of those that it gives.
    """
    if v.ndim == 2:
        columns = [_product(apply, v[:, k], dtype, rows, out) for k in range(v.shape[1])]
        return np.stack(columns, axis=1) if columns else arrays.zeros(v, (rows, 0), out)
    if v.dtype.kind == "c":
        return apply(np.real(v).astype(dtype)) + 1j * apply(np.imag(v).astype(dtype))
    return apply(v if v.dtype == dtype else v.astype(dtype))  # SciPy's solvers hand in float64


def _base_for(tree: Any) -> Any:
    """The LinearOperator class for vectors like the arrays of a tree."""
    return linear_operator(stop(flatten(tree)[0][0]))


class JacobianOperator(_Real):
    """J = ∂f/∂x at x, (m, p), real: matvec v → Jv, rmatvec u → Jᵀu.

    f runs once; `.value` is f(x). p and m are the numbers of reals in x and in f(x), two for each complex number, in
    the order of `rmad.ravel(x, pairs=True)[0]` and `rmad.ravel(J.value, pairs=True)[0]`; the functions that come with
    these turn the vectors into trees.

    Traced arrays pass: products may be part of a differentiated function, with a traced vector, at a traced x, in sums,
    products and multiples of these operators, also with operators of SciPy's that come second.

    Parameters
    ----------
    f : callable (x, *args) → tree of arrays
    x : tree of float arrays
    *args, **kwargs : passed to f, not differentiated

    Raises
    ------
    TypeError
        x holds no float array, or f returns no tree of arrays.

    Examples
    --------
    >>> J = JacobianOperator(lambda x: x**2, np.array([1.0, 2.0, 3.0]))
    >>> J.matvec(np.ones(3)), J.T.shape
    (array([2., 4., 6.]), (3, 3))
    >>> JacobianOperator(lambda x: x * x, 3 + 4j) @ np.eye(2)  # the product with 6 + 8i
    array([[ 6., -8.],
           [ 8.,  6.]])
    """

    def __init__(self, f: Callable[Concatenate[Tree, P], Any], x: Tree, *args: Any, **kwargs: Any) -> None:
        self.value, self._lin = linearize(with_keywords(f, kwargs), x, *args)
        self._set_spaces(Flat(self.value, pairs=True), Flat(x, pairs=True), _base_for(x))

    def _apply(self, v: Array) -> Array:
        return self._rows.ravel(self._lin.Jv(self._columns.unravel(v)))

    def _apply_adjoint(self, u: Array) -> Array:
        return self._columns.ravel(self._lin.JTu(self._rows.unravel(u)))


class _Symmetric(_Real):
    """A real operator that is its own adjoint."""

    def _adjoint_dot(self, u: Array) -> Array:
        return self._dot(u)

    def _adjoint(self) -> Any:
        return self


class HessianOperator(_Symmetric):
    """H = ∇²f at x, (p, p), for a real scalar f; real and symmetric.

    The gradient runs once; `.gradient` is ∇f, (p,). Both have the order of `rmad.ravel(x, pairs=True)`: with respect to
    the real and the imaginary part of each complex number, one after the other. Traced arrays pass.

    Parameters
    ----------
    f : callable (x, *args) → real scalar
    x : tree of float arrays
    *args, **kwargs : passed to f, not differentiated

    Raises
    ------
    TypeError
        f returns no real scalar.

    References
    ----------
    Pearlmutter (1994).

    Examples
    --------
    >>> H = HessianOperator(lambda x: np.sum(x**3), np.array([1.0, 2.0]))
    >>> H.matvec(np.ones(2))
    array([ 6., 12.])
    """

    def __init__(self, f: Callable[Concatenate[Tree, P], Any], x: Tree, *args: Any, **kwargs: Any) -> None:
        gradient, self._lin = linearize(grad(with_keywords(f, kwargs)), x, *args)
        space = Flat(x, pairs=True)
        self._set_spaces(space, space, _base_for(x))
        self.gradient = space.ravel(gradient)

    def _apply(self, v: Array) -> Array:
        return self._rows.ravel(self._lin.Jv(self._columns.unravel(v)))


class GGNOperator(_Symmetric):
    """G = Jᵀ L″ J at x, (p, p): the generalized Gauss-Newton matrix of L(f(x)); positive semi-definite for a convex L.

    f runs once, and L″ at z = f(x) is linearized once; `.value` is z. G is real, in the order of
    `rmad.ravel(x, pairs=True)`. Traced arrays pass.

    Parameters
    ----------
    f : callable (x, *args) → tree of arrays z
    loss : callable z → real scalar, or an object with `hessian_product(z, v)` (a loss with its target bound)
    x : tree of float arrays
    *args, **kwargs : passed to f, not differentiated

    Raises
    ------
    TypeError
        x holds no float array, or f returns no tree of arrays.

    References
    ----------
    Schraudolph (2002); Martens & Sutskever (2012), section 6.1.

    Examples
    --------
    >>> G = GGNOperator(lambda x: 3 * x, lambda z: np.sum(z**2) / 2, np.ones(2))
    >>> G.matvec(np.array([1.0, 0.0]))
    array([9., 0.])
    """

    def __init__(self, f: Callable[Concatenate[Tree, P], Any], loss: Any, x: Tree, *args: Any, **kwargs: Any) -> None:
        self.value, self._lin = linearize(with_keywords(f, kwargs), x, *args)
        space = Flat(x, pairs=True)
        self._set_spaces(space, space, _base_for(x))
        self._curvature = loss_curvature(loss, self.value)

    def _apply(self, v: Array) -> Array:
        return self._rows.ravel(self._lin.JTu(self._curvature(self._lin.Jv(self._columns.unravel(v)))))


class SymmetricOperator(_Symmetric):
    """A, (p, p), real and symmetric, given as a function.

    Parameters
    ----------
    example : (p,) array
        A vector such as the product takes, of a real dtype.
    product : callable v → A v
        Returns a new array. None if a subclass defines `_apply`.
    """

    def __init__(self, example: Array, product: Callable[[Array], Array] | None = None) -> None:
        space = Flat(example)
        self._set_spaces(space, space, linear_operator(example))
        if product is not None:
            self._apply = product  # type: ignore[assignment, method-assign]

    def _dot(self, v: Array) -> Array:
        return multiplied(v, self) if isinstance(v, Traced) else _Real._dot(self, v)


def loss_curvature(loss: Any, z: Any, *target: Any) -> Callable[[Any], Any]:
    """v → L″ v at z: the loss's own form if it has one, else the linearized gradient of the callable.

    Closed forms are for plain arrays; at a traced z only the value of a loss can be differentiated.
    """
    closed = not any(isinstance(leaf, Traced) for _, leaf in leaves(z))
    if closed and hasattr(loss, "curvature"):
        return loss.curvature(z, *target)
    if closed and hasattr(loss, "hessian_product"):
        return lambda v: loss.hessian_product(z, *target, v)
    return linearize(grad(getattr(loss, "value", loss)), z, *target)[1].Jv
