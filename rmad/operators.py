"""Jacobian, Hessian and Gauss-Newton matrices as SciPy LinearOperators on flat vectors.

    JacobianOperator   J          matvec Jv, rmatvec Jᴴu
    HessianOperator    ∇²f        the Jacobian of the gradient, symmetric
    GGNOperator        Jᵀ L″ J    symmetric, positive semi-definite for a convex L

Each runs f once; every product is a sweep over its tape. Flat vectors have the order of rmad.ravel. On the GPU
the operators are cupyx's. Source: Schraudolph (2002); Martens & Sutskever (2012), sections 5 and 6.1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Concatenate, Self

import numpy as np
from scipy.sparse.linalg import LinearOperator

from rmad import tree as _tree
from rmad.machine.backend import linear_operator
from rmad.transforms import grad, linearize
from rmad.types import Array, P, Tree

__all__ = ["GGNOperator", "HessianOperator", "JacobianOperator", "symmetric_operator"]


class _Flat:
    """Trees like `tree` as flat vectors of their common dtype, and the way back."""

    def __init__(self, tree: Any) -> None:
        self.example, self.unravel = _tree.ravel(tree)
        self.size, self.dtype = self.example.size, self.example.dtype

    def ravel(self, tree: Any) -> Array:
        return _tree.ravel(tree)[0].astype(self.dtype, copy=False)

    def typed(self, vector: Array) -> Array:
        """The vector in this space's dtype: SciPy's solvers hand in float64. TypeError for complex in a real space."""
        vector = vector.reshape(-1)
        if vector.dtype == self.dtype:
            return vector
        if vector.dtype.kind == "c" and self.dtype.kind != "c":
            raise TypeError(f"a {vector.dtype} vector does not fit an operator on {self.dtype}")
        return vector.astype(self.dtype)


class _Operator(LinearOperator):
    """A LinearOperator between two flat spaces, in the dtype of its problem."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        return object.__new__(cls)

    def _set_spaces(self, rows: _Flat, columns: _Flat) -> None:
        """Makes this an operator of cupyx's if the vectors live on the GPU."""
        base = linear_operator(columns.example)
        if base is not LinearOperator:
            self.__class__ = _on_gpu(type(self), base)  # type: ignore[arg-type]
        base.__init__(self, np.result_type(rows.dtype, columns.dtype), (rows.size, columns.size))
        self._rows, self._columns = rows, columns

    def matvec(self, v: Array) -> Array:
        """The product with v, (p,) or (p, 1); ValueError shows both shapes if v does not fit."""
        if np.shape(v) not in ((self.shape[1],), (self.shape[1], 1)):
            name = type(self).__name__
            raise ValueError(f"{name} of shape {self.shape}: v has shape {np.shape(v)}, expected ({self.shape[1]},)")
        return linear_operator(self._columns.example).matvec(self, v)

    def _matvec(self, v: Array) -> Array:
        return self._apply(self._columns.typed(v))

    def _rmatvec(self, u: Array) -> Array:
        return self._apply_adjoint(self._rows.typed(u))

    def _matmat(self, V: Array) -> Array:
        return _by_columns(self._matvec, V, self.shape[0], self.dtype)

    def _rmatmat(self, U: Array) -> Array:
        return _by_columns(self._rmatvec, U, self.shape[1], self.dtype)

    def _apply(self, v: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__}: J v")

    def _apply_adjoint(self, u: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__}: Jᵀ u")


def _by_columns(product: Callable[[Any], Any], V: Array, rows: int, dtype: Any) -> Array:
    """The products with the columns of V, as columns."""
    columns = [product(V[:, k]) for k in range(V.shape[1])]
    return np.stack(columns, axis=1) if columns else np.zeros_like(V, shape=(rows, 0), dtype=dtype)


@cache
def _on_gpu(kind: type, base: type) -> type:
    """The same operator as a subclass of cupyx's LinearOperator, which answers cupyx's solvers."""
    methods: dict[str, Any] = {}
    for cls in reversed(kind.__mro__[: kind.__mro__.index(LinearOperator)]):
        methods.update({k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__", "__new__")})
    return type(kind.__name__, (base,), methods)


class JacobianOperator(_Operator):
    """J = ∂f/∂x at x, (m, p): matvec v → Jv, rmatvec u → Jᵀu, the adjoint under ⟨u, v⟩ = Re uᴴv.

    f runs once; `.value` is f(x). p and m are the numbers of floats in x and in f(x), in the order of `rmad.ravel`. If
    x or f(x) is complex, J is linear over the reals only, unless f is holomorphic.

    Parameters
    ----------
    f : callable (x, *args) → tree of arrays
    x : tree of float arrays
    *args : passed to f, not differentiated

    Raises
    ------
    TypeError
        x holds no float array, or f returns no tree of arrays.

    Examples
    --------
    >>> J = JacobianOperator(lambda x: x**2, np.array([1.0, 2.0, 3.0]))
    >>> J.matvec(np.ones(3)), J.T.shape
    (array([2., 4., 6.]), (3, 3))
    """

    def __init__(self, f: Callable[Concatenate[Tree, P], Any], x: Tree, *args: Any) -> None:
        self.value, self._lin = linearize(f, x, *args)
        self._set_spaces(_Flat(self.value), _Flat(x))

    def _apply(self, v: Array) -> Array:
        return self._rows.ravel(self._lin.Jv(self._columns.unravel(v)))

    def _apply_adjoint(self, u: Array) -> Array:
        return self._columns.ravel(self._lin.JTu(self._rows.unravel(u)))


class _Symmetric(_Operator):
    """An operator that is its own adjoint."""

    def matvec(self, v: Array) -> Array:
        """The product with v, (p,), without the checks that cost LinearOperator more than a small product does."""
        if getattr(v, "shape", None) == (self.shape[1],):  # lists go through LinearOperator's checks
            return self._matvec(v)
        return _Operator.matvec(self, v)

    def _apply_adjoint(self, u: Array) -> Array:
        return self._apply(u)

    def _adjoint(self) -> Any:
        return self

    def _transpose(self) -> Any:
        return self


class HessianOperator(_Symmetric):
    """H = ∇²f at x, (p, p), for a real scalar f of a real x; symmetric.

    The gradient runs once; `.gradient` is ∇f, (p,), in the order of `rmad.ravel`.

    Parameters
    ----------
    f : callable (x, *args) → real scalar
    x : tree of float arrays
    *args : passed to f, not differentiated

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

    def __init__(self, f: Callable[Concatenate[Tree, P], Any], x: Tree, *args: Any) -> None:
        gradient, self._lin = linearize(grad(f), x, *args)
        space = _Flat(x)
        self._set_spaces(space, space)
        self.gradient = space.ravel(gradient)

    def _apply(self, v: Array) -> Array:
        return self._rows.ravel(self._lin.Jv(self._columns.unravel(v)))


class GGNOperator(_Symmetric):
    """G = Jᵀ L″ J at x, (p, p): the generalized Gauss-Newton matrix of L(f(x)); positive semi-definite for a convex L.

    f runs once, and L″ at z = f(x) is linearized once; `.value` is z.

    Parameters
    ----------
    f : callable (x, *args) → tree of arrays z
    loss : callable z → real scalar, or an object with `hessian_product(z, v)` (a loss with its target bound)
    x : tree of float arrays
    *args : passed to f, not differentiated

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

    def __init__(self, f: Callable[Concatenate[Tree, P], Any], loss: Any, x: Tree, *args: Any) -> None:
        self.value, self._lin = linearize(f, x, *args)
        space = _Flat(x)
        self._set_spaces(space, space)
        self._curvature = loss_curvature(loss, self.value)

    def _apply(self, v: Array) -> Array:
        return self._rows.ravel(self._lin.JTu(self._curvature(self._lin.Jv(self._columns.unravel(v)))))


class _Product(_Symmetric):
    """v → product(v) on vectors like `example`."""

    def __init__(self, example: Array, product: Callable[[Array], Array]) -> None:
        space = _Flat(example)
        self._set_spaces(space, space)
        self._product = product

    def _apply(self, v: Array) -> Array:
        return self._product(v)


def symmetric_operator(example: Array, product: Callable[[Array], Array]) -> LinearOperator:
    """A (p, p) symmetric LinearOperator v → product(v) on vectors like `example`, (p,)."""
    return _Product(example, product)


def loss_curvature(loss: Any, z: Any, *target: Any) -> Callable[[Any], Any]:
    """v → L″ v at z: the loss's own form if it has one, else the linearized gradient of the callable."""
    if hasattr(loss, "curvature"):
        return loss.curvature(z, *target)
    if hasattr(loss, "hessian_product"):
        return lambda v: loss.hessian_product(z, *target, v)
    return linearize(grad(getattr(loss, "value", loss)), z, *target)[1].Jv
