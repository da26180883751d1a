"""Triangular and Cholesky solves, with SciPy's signatures, for plain and traced arrays and for stacks of matrices.

NumPy's protocols do not reach SciPy's own. SciPy is imported by the first call that needs it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad import tuning
from rmad.machine import arrays
from rmad.machine.backend import is_cupy
from rmad.primitives.arguments import as_float_array
from rmad.primitives.decompositions import cholesky
from rmad.primitives.linalg import mH, mT
from rmad.rules import primitive
from rmad.tapes.blocks import unbroadcast
from rmad.tracing.traced import stop
from rmad.types import Array

__all__ = ["TRANSPOSES", "check_finite_numbers", "cho_factor", "cho_solve", "solve_triangular"]


# -- triangular systems --------------------------------------------------------------------------------


def _triangular_solution(A: Array, B: Array, lower: bool, unit: bool) -> Array:
    """Solves by SciPy's routine, or by NumPy's LU for small and stacked systems.

    The LU has nothing to eliminate in an upper triangle: it substitutes back, in one call for the stack.
    """
    if isinstance(A, np.ndarray) and A.ndim == B.ndim == 2 and len(A) > tuning.TRIANGULAR_SOLVE_FROM:
        from scipy.linalg import solve_triangular

        return solve_triangular(A, B, lower=lower, unit_diagonal=unit, check_finite=False)
    T = _triangle(A, lower, unit)
    if unit:
        T = T + arrays.eye(T, T.shape[-1], dtype=bool)
    if lower:  # backwards, a lower triangle is an upper one
        return np.linalg.solve(T[..., ::-1, ::-1], B[..., ::-1, :])[..., ::-1, :]
    return np.linalg.solve(T, B)


def _triangle(a: Array, lower: bool, unit: bool) -> Array:
    return np.tril(a, -1 if unit else 0) if lower else np.triu(a, 1 if unit else 0)


@primitive(_triangular_solution, name="solve_triangular")
def _solve_triangular(X: Array, A: Array, B: Array, lower: bool, unit: bool) -> Any:
    """T X = B, T a triangle of A: dX = T⁻¹ (dB − dT X)."""
    shape_a, shape_b = A.shape, B.shape

    def forward(v: Array) -> Array:
        return _solve_triangular(A, v, lower, unit)

    def backward(u: Array) -> Array:
        return _solve_triangular(mH(A), u, not lower, unit)

    return (
        (
            lambda v: -forward(_triangle(v, lower, unit) @ X),
            lambda u: _triangle(unbroadcast(-(backward(u) @ mH(X)), shape_a), lower, unit),
        ),  # A
        (forward, lambda u: unbroadcast(backward(u), shape_b)),  # B
    )


TRANSPOSES = {0: 0, "N": 0, 1: 1, "T": 1, 2: 2, "C": 2}


def solve_triangular(
    a: Array,
    b: Array,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Array:
    """x = T⁻¹ b, T⁻ᵀ b or T⁻ᴴ b, T the upper or lower triangle of a.

    Only the triangle that is read has a derivative. The arguments are those of scipy.linalg.solve_triangular.

    Parameters
    ----------
    a : array, (…, n, n)
    b : array, (n,) or (…, n, k)
    trans : {0, 1, 2, "N", "T", "C"}, default 0
        Solves T x = b (0, "N"), Tᵀx = b (1, "T") or Tᴴx = b (2, "C").
    lower : bool, default False
        True takes the lower triangle of a.
    unit_diagonal : bool, default False
        True takes ones in place of the diagonal of a.
    overwrite_b : bool
        Ignored.
    check_finite : bool, default True
        False omits the search for infinities and NaN.

    Returns
    -------
    x : array of the shape of b, broadcast with the stack of a

    Raises
    ------
    ValueError
        If shapes do not fit, trans is none of the six, or (with check_finite) a number is not finite.
    LinAlgError
        If T is singular.

    Examples
    --------
    >>> rmad.solve_triangular(np.array([[2.0, 1.0], [0.0, 4.0]]), np.array([4.0, 8.0]))
    array([1., 2.])
    """
    a, b = as_float_array(a), as_float_array(b)
    if trans not in TRANSPOSES:
        raise ValueError(f"solve_triangular: trans must be one of 0, 1, 2, 'N', 'T', 'C', got {trans!r}")
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"solve_triangular: a has shape {a.shape}, which is not square")
    if b.shape[-2 if b.ndim > 1 else -1] != a.shape[-1]:
        raise ValueError(f"solve_triangular: shapes {a.shape} and {b.shape} do not fit")
    if check_finite:
        check_finite_numbers(a, b, "solve_triangular")
    if TRANSPOSES[trans]:
        a, lower = (mT(a) if TRANSPOSES[trans] == 1 else mH(a)), not lower
    if b.ndim == 1:
        return _solve_triangular(a, np.expand_dims(b, -1), bool(lower), bool(unit_diagonal))[..., 0]
    return _solve_triangular(a, b, bool(lower), bool(unit_diagonal))


def check_finite_numbers(a: Array, b: Array, what: str) -> None:
    if not (np.all(np.isfinite(stop(a))) and np.all(np.isfinite(stop(b)))):
        raise ValueError(f"{what}: array must not contain infs or NaNs")


def cho_factor(
    a: Array, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Array, bool]:
    """a = c cᴴ (lower) or cᴴ c: the Cholesky factor for `cho_solve`.

    Unlike SciPy's, c is zero outside its triangle. The arguments are those of scipy.linalg.cho_factor.

    Parameters
    ----------
    a : array, (…, n, n)
        Hermitian and positive definite; only one triangle is read.
    lower : bool, default False
        True returns a lower triangle.
    overwrite_a : bool
        Ignored.
    check_finite : bool, default True
        False omits the search for infinities and NaN.

    Returns
    -------
    c : array, (…, n, n)
    lower : bool

    Raises
    ------
    ValueError
        If a number is not finite (with check_finite).
    LinAlgError
        If a is not positive definite (for an array of CuPy, with check_finite; else c is NaN there).

    Examples
    --------
    >>> c, lower = rmad.cho_factor(np.array([[4.0, 2.0], [2.0, 5.0]]), lower=True)
    >>> c
    array([[2., 0.],
           [1., 2.]])
    """
    a = as_float_array(a)
    if check_finite:
        check_finite_numbers(a, a, "cho_factor")
    if not is_cupy(stop(a)):
        return np.linalg.cholesky(a, upper=not lower), bool(lower)
    c = cholesky(a, upper=not lower)  # CuPy's has no `upper`, and gives NaN where NumPy's raises an error
    if check_finite and not np.all(np.isfinite(stop(c))):
        raise np.linalg.LinAlgError("cho_factor: a is not positive definite")
    return c, bool(lower)


def cho_solve(c_and_lower: tuple[Array, bool], b: Array, overwrite_b: bool = False, check_finite: bool = True) -> Array:
    """x = A⁻¹ b, from the Cholesky factor A = c cᴴ (lower) or cᴴ c.

    The arguments are those of scipy.linalg.cho_solve.

    Parameters
    ----------
    c_and_lower : (array, bool)
        The result of `cho_factor`.
    b : array, (n,) or (…, n, k)
    overwrite_b : bool
        Ignored.
    check_finite : bool, default True
        False omits the search for infinities and NaN.

    Returns
    -------
    x : array of the shape of b, broadcast with the stack of c

    Raises
    ------
    ValueError
        If shapes do not fit, or (with check_finite) a number is not finite.

    Examples
    --------
    >>> A, b = np.array([[4.0, 2.0], [2.0, 5.0]]), np.array([8.0, 12.0])
    >>> rmad.cho_solve(rmad.cho_factor(A), b)
    array([1., 2.])
    """
    c, lower = c_and_lower
    b = as_float_array(b)
    if b.ndim == 1:
        return cho_solve(c_and_lower, np.expand_dims(b, -1), overwrite_b, check_finite)[..., 0]
    first, second = (0, 2) if lower else (2, 0)
    x = solve_triangular(c, b, first, lower, check_finite=check_finite)
    return solve_triangular(c, x, second, lower, check_finite=False)
