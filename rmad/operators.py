"""Jacobian, Hessian and Gauss-Newton matrices as SciPy LinearOperators on flat vectors.

    JacobianOperator   J          matvec Jv, rmatvec Jᴴu
    HessianOperator    ∇²f        the Jacobian of the gradient, symmetric
    GGNOperator        Jᵀ L″ J    symmetric, positive semi-definite for a convex L

Each runs f once; every product is a sweep over its tape. Flat vectors have the order of rmad.ravel.
Source: Schraudolph (2002); Martens & Sutskever (2012), sections 5 and 6.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from rmad import tree as _tree
from rmad.transforms import grad, linearize

__all__ = ["GGNOperator", "HessianOperator", "JacobianOperator"]


class _Flat:
    """Trees like `tree` as flat vectors of their common dtype, and the way back."""

    def __init__(self, tree: Any) -> None:
        flat, self.unravel = _tree.ravel(tree)
        self.size, self.dtype = flat.size, flat.dtype

    def ravel(self, tree: Any) -> Any:
        return _tree.ravel(tree)[0].astype(self.dtype, copy=False)


class _Operator(LinearOperator):
    """A LinearOperator that keeps the dtype of its problem: SciPy's solvers hand in float64 vectors."""

    def __init__(self, rows: _Flat, columns: _Flat) -> None:
        super().__init__(np.result_type(rows.dtype, columns.dtype), (rows.size, columns.size))
        self._rows, self._columns = rows, columns

    def _matvec(self, v: Any) -> Any:
        return self._apply(_typed(np.reshape(v, -1), self._columns.dtype))

    def _rmatvec(self, u: Any) -> Any:
        return self._apply_adjoint(_typed(np.reshape(u, -1), self._rows.dtype))

    def _matmat(self, V: Any) -> Any:
        columns = [self._matvec(V[:, k]) for k in range(V.shape[1])]
        return np.stack(columns, axis=1) if columns else np.zeros((self.shape[0], 0), self.dtype)

    def _rmatmat(self, U: Any) -> Any:
        columns = [self._rmatvec(U[:, k]) for k in range(U.shape[1])]
        return np.stack(columns, axis=1) if columns else np.zeros((self.shape[1], 0), self.dtype)

    def _apply(self, v: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: J v")

    def _apply_adjoint(self, u: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: Jᵀ u")


def _typed(vector: Any, dtype: np.dtype[Any]) -> Any:
    """The vector in the dtype of its space; TypeError for a complex vector in a real space."""
    if vector.dtype.kind == "c" and dtype.kind != "c":
        raise TypeError(f"a {vector.dtype} vector does not fit an operator on {dtype}")
    return vector.astype(dtype, copy=False)


class JacobianOperator(_Operator):
    """J = ∂f/∂x at x, (m, p): f runs once.

    f: tree → tree; p and m are the numbers of floats in x and in f(x). `.value` is f(x). matvec: v (p,) → Jv (m,);
    rmatvec: u (m,) → Jᵀu (p,), the adjoint under ⟨u, v⟩ = Re uᴴv. Where x or f(x) is complex, J is linear over
    the reals only unless f is holomorphic.
    """

    def __init__(self, f: Callable[..., Any], x: Any, *args: Any) -> None:
        self.value, self._lin = linearize(f, x, *args)
        super().__init__(_Flat(self.value), _Flat(x))

    def _apply(self, v: Any) -> Any:
        return self._rows.ravel(self._lin.Jv(self._columns.unravel(v)))

    def _apply_adjoint(self, u: Any) -> Any:
        return self._columns.ravel(self._lin.JTu(self._rows.unravel(u)))


class _Symmetric(_Operator):
    def _apply_adjoint(self, u: Any) -> Any:
        return self._apply(u)

    def _adjoint(self) -> Any:
        return self

    def _transpose(self) -> Any:
        return self


class HessianOperator(_Symmetric):
    """H = ∇²f at x, (p, p), for a real scalar f of a real x: the gradient runs once. `.gradient` is ∇f, flat."""

    def __init__(self, f: Callable[..., Any], x: Any, *args: Any) -> None:
        gradient, self._lin = linearize(grad(f), x, *args)
        space = _Flat(x)
        super().__init__(space, space)
        self.gradient = space.ravel(gradient)

    def _apply(self, v: Any) -> Any:
        return self._rows.ravel(self._lin.Jv(self._columns.unravel(v)))


class GGNOperator(_Symmetric):
    """G = Jᵀ L″ J at x, (p, p): the generalized Gauss-Newton matrix of L(f(x)).

    loss: z → scalar, or an object with `hessian_product(z, v)` (a loss with its target bound). `.value` is
    z = f(x). f runs once; L″ at z is linearized once. Martens & Sutskever (2012), section 6.1.
    """

    def __init__(self, f: Callable[..., Any], loss: Any, x: Any, *args: Any) -> None:
        self.value, self._lin = linearize(f, x, *args)
        space = _Flat(x)
        super().__init__(space, space)
        self._curvature = loss_curvature(loss, self.value)

    def _apply(self, v: Any) -> Any:
        return self._rows.ravel(self._lin.JTu(self._curvature(self._lin.Jv(self._columns.unravel(v)))))


def loss_curvature(loss: Any, z: Any, *target: Any) -> Callable[[Any], Any]:
    """v → L″ v at z: the loss's own form where it has one, else the linearized gradient of the callable."""
    if hasattr(loss, "curvature"):
        return loss.curvature(z, *target)
    if hasattr(loss, "hessian_product"):
        return lambda v: loss.hessian_product(z, *target, v)
    return linearize(grad(loss), z, *target)[1].Jv
