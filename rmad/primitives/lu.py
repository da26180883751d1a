"""LU factors and solves with them, with SciPy's signatures, for plain and traced arrays and for stacks of matrices.

SciPy is imported by the first call that needs it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.primitives.arguments import as_float_array
from rmad.primitives.linalg import mH, mT
from rmad.primitives.matrix_functions import refuse_cupy, square
from rmad.primitives.scipy_linalg import TRANSPOSES, check_finite_numbers, solve_triangular
from rmad.rules import primitive
from rmad.tracing.traced import stop
from rmad.types import Array

__all__ = ["lu_factor", "lu_solve"]


def _factors(a: Array) -> tuple[Array, Array]:
    """SciPy's, matrix by matrix: SciPy 1.13 takes no stacks."""
    refuse_cupy("lu_factor", a)
    from scipy.linalg import lu_factor

    if a.ndim == 2:
        return lu_factor(a, check_finite=False)  # type: ignore[no-any-return]
    lu, piv = a.copy(), np.zeros_like(a[..., 0], dtype=np.int32)
    for key in np.ndindex(a.shape[:-2]):
        lu[key], piv[key] = lu_factor(a[key], check_finite=False)
    return lu, piv


def _order(piv: Any) -> Any:
    """The order of the rows, P a = a[order], that LAPACK's exchanges of rows bring about."""
    n = piv.shape[-1]
    order = np.broadcast_to(arrays.arange(piv, n), piv.shape).copy()
    for flat, exchanges in zip(order.reshape(-1, n), piv.reshape(-1, n), strict=True):
        for i, j in enumerate(exchanges):
            flat[i], flat[j] = flat[j], flat[i]
    return order


def _ordered(b: Array, order: Any) -> Array:
    if order.ndim == 1:
        return b[..., order, :]
    return np.take_along_axis(b, order[..., np.newaxis], -2)


def _lower(lu: Array) -> Array:
    return np.tril(lu, -1) + arrays.eye(lu, lu.shape[-1])


@primitive(_factors, name="lu_factor")
def _lu(out: Any, a: Array) -> Any:
    """P a = L U: with M = L⁻¹ P da U⁻¹, dL = L tril(M, -1) and dU = triu(M) U (de Hoog et al. 2011, eq. 3.3)."""
    lu, piv = out
    order = _order(piv)
    L, U = _lower(lu), np.triu(lu)

    def push(v: Array) -> Array:
        M = mT(solve_triangular(lu, mT(solve_triangular(lu, _ordered(v, order), 0, True, True)), 1))
        return L @ np.tril(M, -1) + np.triu(M) @ U

    def pull(u: Array) -> Array:
        M = np.tril(mH(L) @ np.tril(u, -1), -1) + np.triu(np.triu(u) @ mH(U))
        Pa = mH(solve_triangular(lu, mH(solve_triangular(lu, M, 2, True, True))))
        return _ordered(Pa, np.argsort(order, axis=-1))

    return ((push, pull),), None


def lu_factor(a: Array, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Array, Array]:
    """P a = L U: the factors for `lu_solve`, L without its unit diagonal below U in one matrix, and the exchanges of P.

    The arguments are those of scipy.linalg.lu_factor.

    Parameters
    ----------
    a : array, (…, n, n)
    overwrite_a : bool
        Ignored.
    check_finite : bool, default True
        False omits the search for infinities and NaN.

    Returns
    -------
    lu : array, (…, n, n)
    piv : array of int, (…, n)
        Row i was exchanged with row piv[i].

    Raises
    ------
    ValueError
        If a is not square or (with check_finite) a number is not finite.
    TypeError
        If a is an array of CuPy.

    References
    ----------
    de Hoog, Anderssen & Lukas (2011), Differentiation of matrix functionals using triangular factorization.

    Examples
    --------
    >>> lu, piv = rmad.linalg.lu_factor(np.array([[1.0, 2.0], [4.0, 2.0]]))
    >>> lu
    array([[4.  , 2.  ],
           [0.25, 1.5 ]])
    """
    a = square(a, "lu_factor")
    if check_finite:
        check_finite_numbers(a, a, "lu_factor")
    lu, piv = _lu(a)
    return lu, piv


def lu_solve(
    lu_and_piv: tuple[Array, Array],
    b: Array,
    trans: int = 0,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Array:
    """x = A⁻¹ b, A⁻ᵀ b or A⁻ᴴ b, from the factors of `lu_factor`.

    The arguments are those of scipy.linalg.lu_solve.

    Parameters
    ----------
    lu_and_piv : (array, array)
        The result of `lu_factor`.
    b : array, (n,) or (…, n, k)
    trans : {0, 1, 2}, default 0
        Solves A x = b, Aᵀ x = b or Aᴴ x = b.
    overwrite_b : bool
        Ignored.
    check_finite : bool, default True
        False omits the search for infinities and NaN.

    Returns
    -------
    x : array of the shape of b, broadcast with the stack of lu

    Raises
    ------
    ValueError
        If shapes do not fit, trans is none of the three, or (with check_finite) a number is not finite.
    LinAlgError
        If A is singular.

    Examples
    --------
    >>> A, b = np.array([[1.0, 2.0], [4.0, 2.0]]), np.array([5.0, 8.0])
    >>> rmad.linalg.lu_solve(rmad.linalg.lu_factor(A), b)
    array([1., 2.])
    """
    lu, piv = lu_and_piv
    b = as_float_array(b)
    if b.ndim == 1:
        return lu_solve(lu_and_piv, np.expand_dims(b, -1), trans, overwrite_b, check_finite)[..., 0]
    if trans not in TRANSPOSES:
        raise ValueError(f"lu_solve: trans must be one of 0, 1, 2, got {trans!r}")
    if b.shape[-2] != lu.shape[-1]:
        raise ValueError(f"lu_solve: shapes {lu.shape} and {b.shape} do not fit")
    order = _order(stop(piv))
    if check_finite:
        check_finite_numbers(lu, b, "lu_solve")
    if trans == 0:
        x = solve_triangular(lu, _ordered(b, order), 0, True, True, check_finite=False)
        return solve_triangular(lu, x, 0, check_finite=False)
    x = solve_triangular(lu, b, trans, check_finite=False)
    x = solve_triangular(lu, x, trans, True, True, check_finite=False)
    return _ordered(x, np.argsort(order, axis=-1))
