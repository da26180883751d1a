"""Constant linear maps as functions: matrices, LinearOperators, and functions that come with their adjoints.

    y = A x        push A v        pull Aᴴu

Whatever the map is made of, SciPy's classes take no traced array; these do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.as_written.swap import paused
from rmad.machine.backend import is_cupy
from rmad.operators.linear_operator import Dense, Foreign, Operator, Sparse
from rmad.rules import linear
from rmad.types import Array

__all__ = ["FunctionMap", "linear_map"]


def linear_map(S: Any, adjoint: Callable[[Array], Array] | None = None) -> Any:
    """A with A @ x = S x, differentiable in x: the push is A v, the pull Aᴴu. S is constant.

    Parameters
    ----------
    S : sparse or dense matrix (m, n), LinearOperator, or callable x → A x
        Sparse ones of any format; a LinearOperator needs its rmatvec for the pull.
    adjoint : callable u → Aᴴu, default None
        For a callable S, which may take arrays of any shape: ⟨u, A x⟩ = ⟨Aᴴu, x⟩, where ⟨u, v⟩ = Re uᴴv.

    Returns
    -------
    A : LinearOperator
        Of SciPy's (on the GPU cupyx's), with @, T, H, sums, products and multiples, for vectors and for the columns of
        matrices. For a callable S an object that has A @ x, A(x), A.T and A.H.

    Raises
    ------
    TypeError
        S is none of these, or a callable without its adjoint.

    Examples
    --------
    >>> import scipy.sparse
    >>> A = linear_map(scipy.sparse.diags_array([1.0, 2.0, 3.0]))
    >>> rmad.grad(lambda x: np.sum((A @ x) ** 2))(np.ones(3))
    array([ 2.,  8., 18.])
    >>> shift = linear_map(lambda x: np.roll(x, 1), lambda u: np.roll(u, -1))
    >>> shift.T @ np.array([1.0, 2.0, 3.0])
    array([2., 3., 1.])
    """
    if adjoint is not None:
        if not callable(S):
            raise TypeError(f"linear_map(S, adjoint): S must be a function, not a {type(S).__name__}")
        return FunctionMap(S, adjoint)
    if isinstance(S, Operator):
        return S
    if hasattr(S, "rmatvec"):
        return Foreign(S, next(kind for kind in type(S).__mro__ if kind.__name__ == "LinearOperator"))
    if hasattr(S, "tocsr") and S.ndim == 2:
        return Sparse(S)
    if (isinstance(S, np.ndarray) or is_cupy(S)) and S.ndim == 2 and S.dtype.kind in "biufc":
        return Dense(S)
    if callable(S):
        raise TypeError("linear_map(f): a function needs its adjoint, linear_map(f, adjoint)")
    raise TypeError(f"linear_map(S): S must be a matrix, a LinearOperator or a function, not a {type(S).__name__}")


def _transpose(u: Array, x: Any, f: Any, adjoint: Any) -> Array:
    """The plain transpose, conj ∘ adjoint ∘ conj, of which the engine makes the adjoint again."""
    return _conj(_mapped(_conj(u), adjoint, f))


def _value(x: Array, f: Any, adjoint: Any) -> Array:
    with paused():
        return f(x)


_mapped: Any = linear(_value, _transpose, name="linear_map")


def _conj(a: Any) -> Any:
    return np.conj(a) if a.dtype.kind == "c" else a


class FunctionMap:
    """A x = f(x) with the adjoint u → Aᴴu; see `linear_map`."""

    __array_ufunc__ = None  # x @ A asks A

    def __init__(self, f: Callable[[Array], Array], adjoint: Callable[[Array], Array]) -> None:
        self._f, self._adjoint = f, adjoint

    def __call__(self, x: Any) -> Any:
        return _mapped(x if hasattr(x, "dtype") else np.asarray(x), self._f, self._adjoint)

    __matmul__ = dot = __call__

    def __rmatmul__(self, u: Any) -> Any:
        return self.T @ u

    @property
    def H(self) -> FunctionMap:
        """The adjoint."""
        return FunctionMap(self._adjoint, self._f)

    @property
    def T(self) -> FunctionMap:
        """The transpose."""
        f, adjoint = self._f, self._adjoint
        return FunctionMap(lambda u: _conj(adjoint(_conj(u))), lambda x: _conj(f(_conj(x))))
