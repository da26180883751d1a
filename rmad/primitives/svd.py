"""numpy.linalg: singular values and singular vectors of (stacks of) matrices.

Singular vectors are unique up to a common phase of each pair, which does not turn in the derivative. For vectors of
a repeated singular value see `rmad.singular.ties`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.primitives.linalg import from_triangle, mH, right
from rmad.primitives.tied import Ties, Zeros, gaps, inverse, largest, or_nan, packed, rotation, tied_pairs
from rmad.singular.ties import Decomposition, Vectors
from rmad.tracing.handlers import implements
from rmad.tracing.traced import stop
from rmad.tracing.valued import numpys
from rmad.types import Array


class _SVD(Vectors):
    """A = U diag(s) Vᴴ: ds = Re diag(P), dU = U (X + Y)/2 + (I − U Uᴴ) dA V / s, dV = V (X − Y)/2 + …, P = Uᴴ dA V,

    X_ij = (P + Pᴴ)_ij / (s_j − s_i) and Y_ij = (P − Pᴴ)_ij / (s_j + s_i): only X needs the gap, and only Y and the part
    outside of U and V need singular values that are not zero.
    """

    def __init__(self, y, A, hermitian) -> None:
        super().__init__(y)
        m, n = A.shape[-2:]
        self.s, self.U, self.V = np.real(y[..., 0, :]), y[..., 1 : m + 1, :], y[..., m + 1 :, :]
        Decomposition.read_by(y, self.U, self.V)
        k = self.s.shape[-1]
        self.tall, self.wide, self.is_complex = m > k, n > k, y.dtype.kind == "c"
        self.one = arrays.eye(y, k, dtype=bool)
        self.ties = cache(self._ties)
        self.coefficients = cache(self._coefficients)

    def _ties(self) -> Ties:
        return Ties(tied_pairs(self.s, largest(self.s)), self.s, "singular value")

    def _coefficients(self) -> tuple[Any, Any, Any, Zeros]:
        """1/(s_j − s_i), 1/(s_j + s_i), 1/s, without those that are not finite to rounding."""
        zero = np.concatenate([stop(self.s), np.zeros_like(stop(self.s[..., :1]))], axis=-1)
        zero = tied_pairs(zero, largest(self.s))[..., -1, :-1]
        both = zero[..., None, :] & zero[..., :, None]
        zeros = Zeros(self.s, zero, both & (self.is_complex | ~self.one), [zero & self.tall, zero & self.wide])
        F = inverse(gaps(self.s), self.ties().pairs | self.one)
        return F, inverse(self.s[..., None, :] + self.s[..., :, None], both), inverse(self.s, zero), zeros

    def has_ties(self) -> bool:
        return self.are_used and (self.ties().exist or self.coefficients()[3].exist)

    def push(self, v) -> Array:
        vV = v @ self.V
        if not self.are_used:
            ds = np.sum(np.real(np.conj(self.U) * vV), axis=-2)
            return packed(ds, np.zeros_like(self.U), np.zeros_like(self.V))
        F, G, R, zeros = self.coefficients()
        P = mH(self.U) @ vV
        X = or_nan(F, self.ties().pairs) * (P + mH(P))
        Y = or_nan(G, zeros.pairs) * (P - mH(P))
        dU, dV = self.U @ (X + Y) / 2, self.V @ (X - Y) / 2
        if self.tall:
            dU = dU + (vV - self.U @ P) * right(or_nan(R, zeros.columns[0]))
        if self.wide:
            dV = dV + (mH(v) @ self.U - self.V @ mH(P)) * right(or_nan(R, zeros.columns[1]))
        return packed(np.sum(self.one * np.real(P), axis=-2), dU, dV)

    def pull(self, u) -> Array:
        U, V, m = self.U, self.V, self.U.shape[-2]
        u_s, u_U, u_V = np.real(u[..., 0, :]), u[..., 1 : m + 1, :], u[..., m + 1 :, :]
        if not self.are_used:
            return (U * right(u_s)) @ mH(V)
        F, G, R, zeros = self.coefficients()
        A, B = mH(U) @ u_U, mH(V) @ u_V
        a, b = (A - mH(A)) / 2, (B - mH(B)) / 2
        middle = F * (a + b) + G * (a - b) + self.one * right(u_s)
        if self.ties().exist:
            middle = middle + self.ties().limits(self, a + b, [u_U, u_V], u_s)
        outside = [u_U - U @ A, u_V - V @ B]
        above, beside = (x * right(R) for x in outside)
        if zeros.exist:
            more = zeros.limits(self, a - b, outside, [u_U, u_V])
            middle, above, beside = middle + more[0], above + more[1], beside + more[2]
        y = U @ middle @ mH(V)
        if self.tall:
            y = y + above @ mH(V)
        return y + U @ mH(beside) if self.wide else y

    def turned(self) -> Array:
        R, zero = rotation(self.ties().pairs, stop(self.U)), right(self.coefficients()[3].zero)
        return packed(self.s, _redrawn(self.U @ R, zero), _redrawn(self.V @ R, zero))


def _redrawn(U, zero) -> Array:
    """U with other vectors of the values 0, its last columns, drawn at random: U diag(s) Vᴴ stays as it is."""
    if not np.any(zero):
        return U
    drawn = arrays.moved_to(U, np.random.default_rng(0).standard_normal(U.shape).astype(U.dtype))
    return np.where(zero, np.linalg.qr(np.where(zero, drawn, U))[0], U)


def _singular(A, hermitian) -> Array:
    if not hermitian:
        U, s, Vh = np.linalg.svd(A, full_matrices=False)
    elif arrays.kind_of(A) is np:
        U, s, Vh = np.linalg.svd(A, full_matrices=False, hermitian=True)
    else:  # CuPy's svd has no `hermitian`
        return _from_eigenvalues(*np.linalg.eigh(A))
    return packed(s, U, mH(Vh))


def _from_eigenvalues(w, Q) -> Array:
    """A = Q diag(w) Qᴴ = (Q diag(sign w)) diag|w| Qᴴ, as NumPy does it, by decreasing |w|."""
    order = np.argsort(-np.abs(w), axis=-1)
    w, Q = np.take_along_axis(w, order, -1), np.take_along_axis(Q, order[..., None, :], -1)
    return packed(np.abs(w), Q, Q * right(np.where(w < 0, -1, 1)))


def _part(a, hermitian) -> Array:
    return from_triangle(a, True) if hermitian else a


_svd = Decomposition(_singular, _SVD, "svd", _part)
_SVDResult = type(np.linalg.svd(np.eye(1)))


def _values_of_decomposition(a, hermitian) -> Array:
    return np.real(_svd.of(a, hermitian)[..., 0, :])


_values = numpys(  # LAPACK has a quicker way to them alone, which rounds differently
    lambda a, hermitian: np.linalg.svd(a, compute_uv=False, hermitian=hermitian), _values_of_decomposition
)


@implements(np.linalg.svd)
def svd(a, full_matrices=True, compute_uv=True, hermitian=False) -> Any:
    """a = U diag(s) Vᴴ; with `hermitian` only the lower triangle of a is read, as in NumPy, and has a derivative.

    Raises ValueError if full_matrices asks for vectors that are an arbitrary basis of a null space.
    """
    if not compute_uv:
        return _values(a, hermitian)
    m, n = a.shape[-2:]
    if full_matrices and m != n:
        raise ValueError(
            f"svd: the last {abs(m - n)} singular vectors of a {m} × {n} matrix are an arbitrary basis "
            "and have no derivative; pass full_matrices=False"
        )
    y = _svd.of(a, hermitian)
    s = np.real(y[..., 0, :])
    U, V = y[..., 1 : m + 1, :], y[..., m + 1 :, :]
    Decomposition.read_by(y, U, V)
    return _SVDResult(U, s, mH(V))


@implements(np.linalg.svdvals)
def svdvals(x, /) -> Array:
    return np.linalg.svd(x, compute_uv=False)
