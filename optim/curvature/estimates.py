"""Trace, diagonal and Frobenius norm of a symmetric matrix from products with random vectors, with standard errors.

    hutchinson   tr A ≈ mean of ω_iᵀA ω_i                                                       error ∝ k^-½
    hutch++      tr A = tr QᵀAQ + tr (I−QQᵀ)A(I−QQᵀ), Q a basis of AΩ; Hutchinson on the rest       error ∝ k^-1
    xtrace       the same with every ω_i left out of Q in turn: all of them serve both purposes
    xdiag        the same for the diagonal

A falling spectrum lies almost wholly in the range of Q, and the rest is small: on curvature matrices the last three win
by orders of magnitude. Source: Hutchinson (1990); Meyer, Musco, Musco & Woodruff (2021), algorithm 1; Epperly, Tropp &
Webber (2024), sections 2 and 3. `A` is a function that multiplies the columns of a matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import scipy.linalg

from optim.problem.vectors import read
from rmad.extend import Array, arrays

__all__ = ["DIAGONALS", "NORMS", "TRACES", "Estimate", "Products", "diagonal", "norm", "trace"]

Products: TypeAlias = Callable[[Array], Array]
"""(p, k) → A times these columns, (p, k)."""


class Estimate(float):
    """A number with its standard error, and the products that it took; `float(estimate)` is the number alone.

    Parameters
    ----------
    value : float
        The number.
    error : float, default 0.0
        One standard error, from the spread of the random vectors; 0 if the number is exact.
    products : int, default 0
        Products with the matrix.

    Examples
    --------
    >>> import optim
    >>> optim.Estimate(2.0, 0.1, 30) / 2, optim.Estimate(2.0, 0.1, 30)
    (1.0, 2 ± 0.1 (30 products))
    """

    error: float
    products: int

    def __new__(cls, value: float, error: float = 0.0, products: int = 0) -> Estimate:
        made = super().__new__(cls, value)
        made.error, made.products = float(error), products
        return made

    def __repr__(self) -> str:
        return f"{float(self):.6g} ± {self.error:.2g} ({self.products} products)"

    __str__ = __repr__

    def __reduce__(self) -> tuple[type[Estimate], tuple[float, float, int]]:
        return Estimate, (float(self), self.error, self.products)


def signs(rng: np.random.Generator, like: Array, p: int, k: int) -> Array:
    """k random vectors of ±1, (p, k)."""
    return arrays.moved_to(like, rng.integers(0, 2, (k, p), dtype=np.int8).T * np.int8(2) - np.int8(1), like.dtype)


def normal(rng: np.random.Generator, like: Array, p: int, k: int) -> Array:
    """k vectors of standard normal numbers, (p, k)."""
    dtype = np.float32 if like.dtype == np.float32 else np.float64
    return arrays.moved_to(like, rng.standard_normal((k, p), dtype=dtype).T, like.dtype)


def _mean(terms: Array, products: int) -> Estimate:
    """The mean of independent estimates on the CPU, and its standard error."""
    k = len(terms)
    error = float(np.std(terms, ddof=1)) / math.sqrt(k) if k > 1 else math.inf
    return Estimate(float(np.mean(terms)), error, products)


def _columnwise(a: Array, b: Array) -> Array:
    """a_iᵀ b_i for every column, float64 on the CPU."""
    return arrays.on_the_cpu(np.sum(a * b, axis=0, dtype=np.float64))


def _basis(Y: Array) -> tuple[Array, Array, bool]:
    """Q, R of Y, and True if the columns are independent up to rounding."""
    # NumPy's copies a tall matrix to and fro, and takes eight times as long
    Q, R = scipy.linalg.qr(Y, mode="economic", check_finite=False) if isinstance(Y, np.ndarray) else np.linalg.qr(Y)
    d = np.abs(np.diag(R))
    low, high = read(np.min(d).astype(np.float64), np.max(d).astype(np.float64))
    return Q, R, low > float(np.finfo(Y.dtype).eps) * math.sqrt(len(Y)) * high


def _range(Y: Array) -> Array:
    """An orthonormal basis of the columns of Y, whose rank is less than their number; it may be empty."""
    Q, R, independent = _basis(Y)
    if independent:
        return Q
    U, s, _ = np.linalg.svd(R)
    s = arrays.on_the_cpu(s)
    return Q @ U[:, : int(np.sum(s > float(np.finfo(Y.dtype).eps) * math.sqrt(len(Y)) * float(s[0])))]


def _left_out(Q: Array, R: Array, Omega: Array) -> tuple[Array, Array]:
    """S and C: leaving ω_i out of AΩ turns QQᵀ into Q(I − s_i s_iᵀ)Qᵀ; C_i are the coordinates of ω_i in its range.

    s_i is column i of R⁻ᵀ, normalized. Section 2.3.
    """
    inverse = np.linalg.inv(R).T
    S = inverse / np.sqrt(np.sum(inverse * inverse, axis=0))
    W = Q.T @ Omega
    return S, W - S * np.sum(S * W, axis=0)


# -- the trace --------------------------------------------------------------------------------------------------


def _hutchinson(A: Products, p: int, k: int, rng: np.random.Generator, like: Array) -> Estimate:
    Omega = signs(rng, like, p, k)
    return _mean(_columnwise(Omega, A(Omega)), k)


def _hutch_plus_plus(A: Products, p: int, k: int, rng: np.random.Generator, like: Array) -> Estimate:
    third = k // 3
    Q = _range(A(signs(rng, like, p, third)))
    known = float(np.sum(_columnwise(Q, A(Q)))) if Q.shape[1] else 0.0
    rest = signs(rng, like, p, k - 2 * third)
    rest = rest - Q @ (Q.T @ rest)
    found = _mean(_columnwise(rest, A(rest)), third + Q.shape[1] + k - 2 * third)
    return Estimate(known + found, found.error, found.products)


def _xtrace(A: Products, p: int, k: int, rng: np.random.Generator, like: Array) -> Estimate:
    m = k // 2
    Omega = normal(rng, like, p, m)
    Y = A(Omega)
    Q, R, independent = _basis(Y)
    if not independent:  # the range of A is known, whatever is left out
        Q = _range(Y)
        return Estimate(float(np.sum(_columnwise(Q, A(Q)))) if Q.shape[1] else 0.0, 0.0, m + Q.shape[1])
    Z = A(Q)
    H = Q.T @ Z
    S, C = _left_out(Q, R, Omega)
    rest = Omega - Q @ C  # (I − P_i) ω_i
    scale = (p - m + 1) / _columnwise(rest, rest)  # its direction is uniform, its length is known: section 2.4
    outside = _columnwise(rest, Y - Z @ C) * scale
    inside = float(np.sum(_columnwise(Q, Z))) - _columnwise(S, H @ S)
    return _mean(inside + outside, 2 * m)


TRACES = {"hutchinson": (_hutchinson, 2), "hutch++": (_hutch_plus_plus, 6), "xtrace": (_xtrace, 4)}
"""Per method the function and the fewest products that it takes."""


def trace(A: Products, p: int, method: str, k: int, rng: np.random.Generator, like: Array) -> Estimate:
    """tr A with k products, by one of TRACES; exact if k ≥ p."""
    if k >= p:
        eye = arrays.eye(like, p, dtype=like.dtype)
        return Estimate(float(np.sum(_columnwise(eye, A(eye)))), 0.0, p)
    return TRACES[method][0](A, p, k, rng, like)


# -- the diagonal -----------------------------------------------------------------------------------------------


def _mean_of_diagonals(each: Array) -> tuple[Array, Array]:
    k = each.shape[1]
    return np.mean(each, axis=1), np.std(each, axis=1, ddof=1) / each.dtype.type(math.sqrt(k))


def _hutchinson_diagonal(A: Products, p: int, k: int, rng: np.random.Generator, like: Array) -> tuple[Array, Array]:
    Omega = signs(rng, like, p, k)
    return _mean_of_diagonals(Omega * A(Omega))


def _xdiag(A: Products, p: int, k: int, rng: np.random.Generator, like: Array) -> tuple[Array, Array]:
    m = k // 2
    Omega = signs(rng, like, p, m)
    Y = A(Omega)
    Q, R, independent = _basis(Y)
    if not independent:
        Q = _range(Y)
        d = np.sum(Q * A(Q), axis=1) if Q.shape[1] else arrays.zeros(like, (p,))
        return d, np.zeros_like(d)
    Z = A(Q)
    S, _ = _left_out(Q, R, Omega)
    QS = Q @ S
    inside = np.sum(Q * Z, axis=1)[:, None] - QS * (Z @ S)  # the diagonal of P_i A
    return _mean_of_diagonals(inside + Omega * (QS * np.sum(S * R, axis=0)))  # (I − P_i) A ω_i = Q s_i (s_iᵀ r_i)


DIAGONALS = {"hutchinson": (_hutchinson_diagonal, 2), "xdiag": (_xdiag, 4)}


def diagonal(A: Products, p: int, method: str, k: int, rng: np.random.Generator, like: Array) -> tuple[Array, Array]:
    """diag A and the standard error of every entry, with k products, by one of DIAGONALS; exact if k ≥ p."""
    if k >= p:
        d = np.diag(A(arrays.eye(like, p, dtype=like.dtype))).copy()
        return d, np.zeros_like(d)
    return DIAGONALS[method][0](A, p, k, rng, like)


# -- the Frobenius norm -----------------------------------------------------------------------------------------


def _root(square: Estimate) -> Estimate:
    """√s, by the delta method for the error."""
    value = math.sqrt(max(float(square), 0.0))
    return Estimate(value, square.error / (2 * value) if value else 0.0, square.products)


def _hutchinson_norm(A: Products, p: int, k: int, rng: np.random.Generator, like: Array) -> Estimate:
    AOmega = A(signs(rng, like, p, k))
    return _root(_mean(_columnwise(AOmega, AOmega), k))  # ‖A‖² = E‖Aω‖²


def _hutch_plus_plus_norm(A: Products, p: int, k: int, rng: np.random.Generator, like: Array) -> Estimate:
    third = k // 3
    Q = _range(A(signs(rng, like, p, third)))
    AQ = A(Q) if Q.shape[1] else Q
    rest = signs(rng, like, p, k - 2 * third)
    A_rest = A(rest - Q @ (Q.T @ rest))
    found = _mean(_columnwise(A_rest, A_rest), third + Q.shape[1] + k - 2 * third)
    return _root(Estimate(float(np.sum(_columnwise(AQ, AQ))) + found, found.error, found.products))


NORMS = {"hutchinson": (_hutchinson_norm, 2), "hutch++": (_hutch_plus_plus_norm, 6)}


def norm(A: Products, p: int, method: str, k: int, rng: np.random.Generator, like: Array) -> Estimate:
    """‖A‖_F with k products, by one of NORMS; exact if k ≥ p."""
    if k >= p:
        columns: Any = A(arrays.eye(like, p, dtype=like.dtype))
        return Estimate(math.sqrt(float(np.sum(_columnwise(columns, columns)))), 0.0, p)
    return NORMS[method][0](A, p, k, rng, like)
