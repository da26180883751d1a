"""Functions of a matrix and Sylvester equations, with SciPy's signatures, for plain and traced arrays and for stacks.

SciPy is imported by the first call that needs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.machine.backend import is_cupy
from rmad.primitives.arguments import as_float_array
from rmad.primitives.linalg import mH
from rmad.rules import primitive
from rmad.tracing.traced import stop
from rmad.types import Array

__all__ = ["expm", "logm", "refuse_cupy", "solve_sylvester", "sqrtm", "square"]


def _matrix_exponential(A: Array) -> Array:
    refuse_cupy("expm", A)
    from scipy.linalg import expm

    return expm(A)


@primitive(_matrix_exponential, name="expm")
def _expm(Y: Array, A: Array) -> Any:
    """The Fréchet derivative: f of [[A, dA], [0, A]] holds it in its upper right (Higham 2008, eq. 3.16)."""
    return ((lambda v: _frechet(_expm, A, v), lambda u: _frechet(_expm, mH(A), u)),)


def _frechet(of: Callable[[Array], Array], A: Array, v: Array) -> Array:
    """The upper right of a function of [[A, v], [0, A]].

    It is linear in v, which is scaled to the size of A so that it costs neither squarings nor digits.
    """
    n = A.shape[-1]
    size, wanted = (arrays.largest(stop(x)) or 1.0 for x in (v, A))
    most = np.finfo(v.dtype).maxexp - 1
    scale = 2.0 ** min(max(math.frexp(wanted)[1] - math.frexp(size)[1], -most), most)
    above = np.concatenate([A, v * scale], axis=-1)
    below = np.concatenate([np.zeros_like(v), A], axis=-1)
    return of(np.concatenate([above, below], axis=-2))[..., :n, n:] / scale


def expm(A: Array) -> Array:
    """exp A = Σ Aᵏ/k!, with exact derivatives of every order.

    Parameters
    ----------
    A : array, (…, n, n)

    Returns
    -------
    y : array, (…, n, n)

    Raises
    ------
    ValueError
        If A is not square.
    TypeError
        If A is an array of CuPy.

    References
    ----------
    Higham (2008), eq. 3.16, for the derivative.

    Examples
    --------
    >>> rmad.expm(np.array([[0.0, 1.0], [0.0, 0.0]]))
    array([[1., 1.],
           [0., 1.]])
    """
    return _expm(square(A, "expm"))


def _over_stacks(f: Callable[..., Array], *arrays: Array) -> Array:
    """f for every matrix of a stack: SciPy 1.13 takes one matrix at a time, later versions take stacks."""
    try:
        return f(*arrays)
    except ValueError:
        stack = np.broadcast_shapes(*(a.shape[:-2] for a in arrays))
        if not stack or 0 in stack:
            raise
        flat = [np.broadcast_to(a, stack + a.shape[-2:]).reshape(-1, *a.shape[-2:]) for a in arrays]
        results = np.stack([f(*matrices) for matrices in zip(*flat, strict=True)])
        return results.reshape(stack + results.shape[1:])


def _matrix_logarithm(A: Array) -> Array:
    refuse_cupy("logm", A)
    from scipy.linalg import logm

    return _over_stacks(logm, A)


@primitive(_matrix_logarithm, name="logm")
def _logm(Y: Array, A: Array) -> Any:
    """The Fréchet derivative L(A, dA), as that of `expm`; tr(uᴴ L(A, v)) = tr(L(A, uᴴ) v), also on the branch cut.

    In double precision, whose rounding SciPy's warning about lost digits takes for granted.
    """
    wide = A.astype(np.result_type(A, np.float64))

    def derivative(v: Array) -> Array:
        return _frechet(_logm, wide, v.astype(np.result_type(v, wide))).astype(np.result_type(Y, v))

    return ((derivative, lambda u: mH(derivative(mH(u)))),)


def logm(A: Array) -> Array:
    """The principal logarithm of a matrix: exp(log A) = A.

    Parameters
    ----------
    A : array, (…, n, n)

    Returns
    -------
    y : array, (…, n, n)
        Complex if a real A has eigenvalues on the negative axis.

    Raises
    ------
    ValueError
        If A is not square.
    TypeError
        If A is an array of CuPy.

    References
    ----------
    Higham (2008), eq. 3.16, for the derivative.

    Examples
    --------
    >>> rmad.linalg.logm(np.array([[1.0, 1.0], [0.0, 1.0]])).round(8)
    array([[0., 1.],
           [0., 0.]])
    """
    return _logm(square(A, "logm"))


def _square_root(A: Array) -> Array:
    refuse_cupy("sqrtm", A)
    from scipy.linalg import sqrtm

    return _over_stacks(sqrtm, A)


@primitive(_square_root, name="sqrtm")
def _sqrtm(R: Array, A: Array) -> Any:
    """R R = A, so R dR + dR R = dA (Higham 2008, section 6.1)."""
    return ((lambda v: _sylvester(R, R, v), lambda u: _sylvester(mH(R), mH(R), u)),)


def _sylvester_solution(A: Array, B: Array, Q: Array) -> Array:
    refuse_cupy("solve_sylvester", A, B, Q)
    from scipy.linalg import solve_sylvester

    dtype = np.result_type(A, B, Q)  # SciPy takes the 2 × 2 blocks of a real Schur form for a triangle if Q is complex
    return _over_stacks(solve_sylvester, *(a.astype(dtype, copy=False) for a in (A, B, Q)))


@primitive(_sylvester_solution, name="sylvester")
def _sylvester(X: Array, A: Array, B: Array, Q: Array) -> Any:
    """A X + X B = Q."""

    def adjoint(u: Array) -> Array:
        return _sylvester(mH(A), mH(B), u)

    return (
        (lambda v: -_sylvester(A, B, v @ X), lambda u: -(adjoint(u) @ mH(X))),  # A
        (lambda v: -_sylvester(A, B, X @ v), lambda u: -(mH(X) @ adjoint(u))),  # B
        (lambda v: _sylvester(A, B, v), adjoint),  # Q
    )


def solve_sylvester(a: Array, b: Array, q: Array) -> Array:
    """a x + x b = q, solved for x.

    Parameters
    ----------
    a : array, (…, m, m)
    b : array, (…, n, n)
        No eigenvalue of b is the negative of one of a.
    q : array, (…, m, n)

    Returns
    -------
    x : array, (…, m, n)

    Raises
    ------
    ValueError
        If a or b is not square, or q does not fit.
    TypeError
        If one of them is an array of CuPy.

    References
    ----------
    Bartels & Stewart (1972), as in SciPy.

    Examples
    --------
    >>> rmad.linalg.solve_sylvester(np.eye(2), np.eye(2), np.ones((2, 2)))
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    a, b, q = square(a, "solve_sylvester"), square(b, "solve_sylvester"), as_float_array(q)
    if q.shape[-2:] != (a.shape[-1], b.shape[-1]):
        raise ValueError(f"solve_sylvester: q has shape {q.shape}, {(a.shape[-1], b.shape[-1])} is needed")
    return _sylvester(a, b, q)


def sqrtm(A: Array) -> Array:
    """R R = A, the principal square root R of a matrix.

    The derivative dR solves R dR + dR R = dA; it does not exist if A is singular.

    Parameters
    ----------
    A : array, (…, n, n)

    Returns
    -------
    R : array, (…, n, n)
        Complex if a real A has eigenvalues on the negative axis.

    Raises
    ------
    ValueError
        If A is not square.
    TypeError
        If A is an array of CuPy.

    References
    ----------
    Higham (2008), section 6.1.

    Examples
    --------
    >>> rmad.sqrtm(np.array([[4.0, 0.0], [0.0, 9.0]]))
    array([[2., 0.],
           [0., 3.]])
    """
    return _sqrtm(square(A, "sqrtm"))


def refuse_cupy(what: str, *matrices: Array) -> None:
    if any(map(is_cupy, matrices)):
        raise TypeError(f"{what} is SciPy's and takes NumPy's arrays only, not CuPy's; cupy.asnumpy(A) is A on the CPU")


def square(A: Array, what: str) -> Array:
    A = as_float_array(A)
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise ValueError(f"{what}: A has shape {A.shape}, which is not square")
    return A
