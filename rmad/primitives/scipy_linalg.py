"""Functions of scipy.linalg, with SciPy's signatures: they take plain and traced arrays alike, and stacks of matrices.

NumPy's protocols do not reach SciPy's own. SciPy is imported by the first call that needs it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rmad import tuning
from rmad.blocks import unbroadcast
from rmad.primitives.linalg import mH, mT
from rmad.primitives.scipy_special import as_float_array
from rmad.rules import primitive
from rmad.traced import stop

__all__ = ["cho_factor", "cho_solve", "expm", "solve_triangular", "sqrtm"]


# -- triangular systems --------------------------------------------------------------------------------


def _triangular_solution(A: Any, B: Any, lower: bool, unit: bool) -> Any:
    """Small and stacked systems go to NumPy's LU, which has nothing to eliminate in an upper triangle: it substitutes
    back, in one call for the stack and without the threads that cost SciPy's routine a millisecond.
    """
    if isinstance(A, np.ndarray) and A.ndim == B.ndim == 2 and len(A) > tuning.TRIANGULAR_SOLVE_FROM:
        from scipy.linalg import solve_triangular

        return solve_triangular(A, B, lower=lower, unit_diagonal=unit, check_finite=False)
    T = _triangle(A, lower, unit)
    if unit:
        T = T + np.eye(T.shape[-1], dtype=bool, like=T)
    if lower:  # backwards, a lower triangle is an upper one
        return np.linalg.solve(T[..., ::-1, ::-1], B[..., ::-1, :])[..., ::-1, :]
    return np.linalg.solve(T, B)


def _triangle(a: Any, lower: bool, unit: bool) -> Any:
    return np.tril(a, -1 if unit else 0) if lower else np.triu(a, 1 if unit else 0)


@primitive(_triangular_solution, name="solve_triangular")
def _solve_triangular(X: Any, A: Any, B: Any, lower: bool, unit: bool) -> Any:
    """T X = B, T a triangle of A: dX = T⁻¹ (dB − dT X)."""
    shape_a, shape_b = A.shape, B.shape

    def forward(v: Any) -> Any:
        return _solve_triangular(A, v, lower, unit)

    def backward(u: Any) -> Any:
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
    a: Any,
    b: Any,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """x with T x = b (trans 0), Tᵀx = b (1) or Tᴴx = b (2), T the upper or lower triangle of a.

    a: (…, n, n), b: (n,) or (…, n, k). Only the triangle that is read has a derivative; overwrite_b is accepted
    and ignored. Raises LinAlgError where T is singular. See scipy.linalg.solve_triangular.
    """
    a, b = as_float_array(a), as_float_array(b)
    if trans not in TRANSPOSES:
        raise ValueError(f"solve_triangular: trans must be one of 0, 1, 2, 'N', 'T', 'C', got {trans!r}")
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"solve_triangular: a has shape {a.shape}, which is not square")
    if b.shape[-2 if b.ndim > 1 else -1] != a.shape[-1]:
        raise ValueError(f"solve_triangular: shapes {a.shape} and {b.shape} do not fit")
    if check_finite:
        _check_finite(a, b, "solve_triangular")
    if TRANSPOSES[trans]:
        a, lower = (mT(a) if TRANSPOSES[trans] == 1 else mH(a)), not lower
    if b.ndim == 1:
        return _solve_triangular(a, np.expand_dims(b, -1), bool(lower), bool(unit_diagonal))[..., 0]
    return _solve_triangular(a, b, bool(lower), bool(unit_diagonal))


def _check_finite(a: Any, b: Any, what: str) -> None:
    if not (np.all(np.isfinite(stop(a))) and np.all(np.isfinite(stop(b)))):
        raise ValueError(f"{what}: array must not contain infs or NaNs")


def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Any, bool]:
    """(c, lower): the Cholesky factor for cho_solve. Unlike SciPy's, c is zero outside its triangle."""
    a = as_float_array(a)
    if check_finite:
        _check_finite(a, a, "cho_factor")
    return np.linalg.cholesky(a, upper=not lower), bool(lower)


def cho_solve(c_and_lower: tuple[Any, bool], b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """x with A x = b from (c, lower), A = c cᴴ or, where not lower, A = cᴴ c. See scipy.linalg.cho_solve."""
    c, lower = c_and_lower
    b = as_float_array(b)
    if b.ndim == 1:
        return cho_solve(c_and_lower, np.expand_dims(b, -1), overwrite_b, check_finite)[..., 0]
    first, second = (0, 2) if lower else (2, 0)
    x = solve_triangular(c, b, first, lower, check_finite=check_finite)
    return solve_triangular(c, x, second, lower, check_finite=False)


# -- functions of a matrix -----------------------------------------------------------------------------


def _matrix_exponential(A: Any) -> Any:
    from scipy.linalg import expm

    return expm(A)


@primitive(_matrix_exponential, name="expm")
def _expm(Y: Any, A: Any) -> Any:
    """The Fréchet derivative: exp of [[A, dA], [0, A]] holds it in its upper right (Higham 2008, eq. 3.16)."""
    return ((lambda v: _frechet(A, v), lambda u: _frechet(mH(A), u)),)


def _frechet(A: Any, v: Any) -> Any:
    """Linear in v, which is scaled to the size of A so that it costs neither squarings nor digits."""
    n = A.shape[-1]
    size, wanted = (float(np.max(np.abs(stop(x)), initial=0)) or 1.0 for x in (v, A))
    most = np.finfo(v.dtype).maxexp - 1
    scale = 2.0 ** min(max(math.frexp(wanted)[1] - math.frexp(size)[1], -most), most)
    above = np.concatenate([A, v * scale], axis=-1)
    below = np.concatenate([np.zeros_like(v), A], axis=-1)
    return _expm(np.concatenate([above, below], axis=-2))[..., :n, n:] / scale


def expm(A: Any) -> Any:
    """exp A = Σ Aᵏ/k!, A: (…, n, n). Derivatives of every order are exact. See scipy.linalg.expm."""
    return _expm(_square(A, "expm"))


def _square_root(A: Any) -> Any:
    from scipy.linalg import sqrtm

    return sqrtm(A)


@primitive(_square_root, name="sqrtm")
def _sqrtm(R: Any, A: Any) -> Any:
    """R R = A, so R dR + dR R = dA (Higham 2008, section 6.1)."""
    return ((lambda v: _sylvester(R, R, v), lambda u: _sylvester(mH(R), mH(R), u)),)


def _sylvester_solution(A: Any, B: Any, Q: Any) -> Any:
    from scipy.linalg import solve_sylvester

    return solve_sylvester(A, B, Q)


@primitive(_sylvester_solution, name="sylvester")
def _sylvester(X: Any, A: Any, B: Any, Q: Any) -> Any:
    """A X + X B = Q."""

    def adjoint(u: Any) -> Any:
        return _sylvester(mH(A), mH(B), u)

    return (
        (lambda v: -_sylvester(A, B, v @ X), lambda u: -(adjoint(u) @ mH(X))),  # A
        (lambda v: -_sylvester(A, B, X @ v), lambda u: -(mH(X) @ adjoint(u))),  # B
        (lambda v: _sylvester(A, B, v), adjoint),  # Q
    )


def sqrtm(A: Any) -> Any:
    """R with R R = A, the principal square root, A: (…, n, n). See scipy.linalg.sqrtm.

    Complex where a real A has eigenvalues on the negative axis. The derivative does not exist where A is singular.
    """
    return _sqrtm(_square(A, "sqrtm"))


def _square(A: Any, what: str) -> Any:
    A = as_float_array(A)
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise ValueError(f"{what}: A has shape {A.shape}, which is not square")
    if not isinstance(stop(A), np.ndarray):
        raise TypeError(f"{what} is SciPy's and takes NumPy arrays, not {type(stop(A)).__name__}")
    return A
