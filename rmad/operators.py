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
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from rmad import tree as _tree
from rmad.machine.backend import linear_operator
from rmad.transforms import grad, linearize

__all__ = ["GGNOperator", "HessianOperator", "JacobianOperator", "symmetric_operator"]


class _Flat:
    """Trees like `tree` as flat vectors of their common dtype, and the way back."""

    def __init__(self, tree: Any) -> None:
        self.example, self.unravel = _tree.ravel(tree)
        self.size, self.dtype = self.example.size, self.example.dtype

    def ravel(self, tree: Any) -> Any:
        return _tree.ravel(tree)[0].astype(self.dtype, copy=False)

    def typed(self, vector: Any) -> Any:
        """The vector in this space's dtype: SciPy's solvers hand in float64. TypeError for complex in a real space."""
        vector = vector.reshape(-1)
        if vector.dtype == self.dtype:
            return vector
        if vector.dtype.kind == "c" and self.dtype.kind != "c":
            raise TypeError(f"a {vector.dtype} vector does not fit an operator on {self.dtype}")
        return vector.astype(self.dtype)


class _Operator(LinearOperator):
    """A LinearOperator between two flat spaces, in the dtype of its problem."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    def _set_spaces(self, rows: _Flat, columns: _Flat) -> None:
        """Becomes an operator of cupyx's where the vectors live on the GPU."""
        base = linear_operator(columns.example)
        if base is not LinearOperator:
            self.__class__ = _on_gpu(type(self), base)  # type: ignore[arg-type]
        base.__init__(self, np.result_type(rows.dtype, columns.dtype), (rows.size, columns.size))
        self._rows, self._columns = rows, columns

    def matvec(self, v: Any) -> Any:
        """The product with v, (p,) or (p, 1). ValueError that shows both shapes where it does not fit."""
        if np.shape(v) not in ((self.shape[1],), (self.shape[1], 1)):
            name = type(self).__name__
            raise ValueError(f"{name} of shape {self.shape}: v has shape {np.shape(v)}, expected ({self.shape[1]},)")
        return linear_operator(self._columns.example).matvec(self, v)

    def _matvec(self, v: Any) -> Any:
        return self._apply(self._columns.typed(v))

    def _rmatvec(self, u: Any) -> Any:
        return self._apply_adjoint(self._rows.typed(u))

    def _matmat(self, V: Any) -> Any:
        return _by_columns(self._matvec, V, self.shape[0], self.dtype)

    def _rmatmat(self, U: Any) -> Any:
        return _by_columns(self._rmatvec, U, self.shape[1], self.dtype)

    def _apply(self, v: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: J v")

    def _apply_adjoint(self, u: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: Jᵀ u")


def _by_columns(product: Callable[[Any], Any], V: Any, rows: int, dtype: Any) -> Any:
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
    """J = ∂f/∂x at x, (m, p): f runs once.

    f: tree → tree; p and m are the numbers of floats in x and in f(x). `.value` is f(x). matvec: v (p,) → Jv (m,);
    rmatvec: u (m,) → Jᵀu (p,), the adjoint under ⟨u, v⟩ = Re uᴴv. Where x or f(x) is complex, J is linear over
    the reals only, unless f is holomorphic.
    """

    def __init__(self, f: Callable[..., Any], x: Any, *args: Any) -> None:
        self.value, self._lin = linearize(f, x, *args)
        self._set_spaces(_Flat(self.value), _Flat(x))

    def _apply(self, v: Any) -> Any:
        return self._rows.ravel(self._lin.Jv(self._columns.unravel(v)))

    def _apply_adjoint(self, u: Any) -> Any:
        return self._columns.ravel(self._lin.JTu(self._rows.unravel(u)))


class _Symmetric(_Operator):
    def matvec(self, v: Any) -> Any:
        """The product, without the checks that cost LinearOperator more than a small product does."""
        if getattr(v, "shape", None) == (self.shape[1],):  # a list goes the long way
            return self._matvec(v)
        return _Operator.matvec(self, v)

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
        self._set_spaces(space, space)
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
        self._set_spaces(space, space)
        self._curvature = loss_curvature(loss, self.value)

    def _apply(self, v: Any) -> Any:
        return self._rows.ravel(self._lin.JTu(self._curvature(self._lin.Jv(self._columns.unravel(v)))))


class _Product(_Symmetric):
    def __init__(self, example: Any, product: Callable[[Any], Any]) -> None:
        space = _Flat(example)
        self._set_spaces(space, space)
        self._product = product

    def _apply(self, v: Any) -> Any:
        return self._product(v)


def symmetric_operator(example: Any, product: Callable[[Any], Any]) -> Any:
    """A (p, p) symmetric LinearOperator v → product(v) on vectors like `example`, (p,)."""
    return _Product(example, product)


def loss_curvature(loss: Any, z: Any, *target: Any) -> Callable[[Any], Any]:
    """v → L″ v at z: the loss's own form where it has one, else the linearized gradient of the callable."""
    if hasattr(loss, "curvature"):
        return loss.curvature(z, *target)
    if hasattr(loss, "hessian_product"):
        return lambda v: loss.hessian_product(z, *target, v)
    return linearize(grad(getattr(loss, "value", loss)), z, *target)[1].Jv
