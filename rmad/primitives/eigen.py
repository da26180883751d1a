"""numpy.linalg: eigenvalues and eigenvectors of (stacks of) matrices.

Eigenvectors are unique up to phases. LAPACK fixes those of `eig`, and the derivative follows; those of `eigh` do not
turn. Functions that do not depend on the choice have the right derivative in either case. For vectors of a repeated
eigenvalue see `rmad.singular.ties`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.primitives.linalg import eye, from_triangle, mH, mT, need_matrices, right
from rmad.primitives.tied import Ties, gaps, inverse, largest, or_nan, packed, rotation, tied_pairs
from rmad.singular.ties import Decomposition, Vectors
from rmad.tracing.handlers import implements
from rmad.tracing.traced import stop
from rmad.tracing.valued import composed
from rmad.types import Array


class _Eigh(Vectors):
    """dw = diag(Qᴴ dH Q), dQ = Q (F∘QᴴdH Q), F_ij = 1/(w_j − w_i): qᵢᴴdqᵢ = 0."""

    def __init__(self, y, H, UPLO) -> None:
        super().__init__(y)
        self.w, self.Q = np.real(y[..., 0, :]), y[..., 1:, :]
        Decomposition.read_by(y, self.Q)
        self.one = eye(self.Q.shape, self.Q)
        self.ties = cache(lambda: Ties(tied_pairs(self.w, largest(self.w)), self.w, "eigenvalue"))
        self.F = cache(lambda: inverse(gaps(self.w), self.ties().pairs | self.one))

    def has_ties(self) -> bool:
        return self.are_used and self.ties().exist

    def push(self, v) -> Array:
        vQ = v @ self.Q
        if not self.are_used:
            return packed(np.sum(np.real(np.conj(self.Q) * vQ), axis=-2), np.zeros_like(self.Q))
        P = mH(self.Q) @ vQ
        dQ = self.Q @ (or_nan(self.F(), self.ties().pairs) * P)
        return packed(np.sum(self.one * np.real(P), axis=-2), dQ)

    def pull(self, u) -> Array:
        u_w = np.real(u[..., 0, :])
        if not self.are_used:
            return (self.Q * right(u_w)) @ mH(self.Q)
        M = mH(self.Q) @ u[..., 1:, :]
        middle = self.F() * M + self.one * right(u_w)
        if self.ties().exist:
            middle = middle + self.ties().limits(self, (M - mH(M)) / 2, [u[..., 1:, :]], u_w)
        return self.Q @ middle @ mH(self.Q)

    def turned(self) -> Array:
        return packed(self.w, self.Q @ rotation(self.ties().pairs, stop(self.Q)))


def _triangle(a, UPLO) -> Array:
    return from_triangle(a, UPLO == "L")


_eigh = Decomposition(lambda H, UPLO: packed(*np.linalg.eigh(H, UPLO)), _Eigh, "eigh", _triangle)
_EighResult = type(np.linalg.eigh(np.eye(1)))


@implements(np.linalg.eigh)
def eigh(a, UPLO="L") -> Any:
    """a Q = Q diag(w); only the triangle UPLO of a is read, as in NumPy, and has a derivative."""
    need_matrices("eigh", a)
    y = _eigh.of(a, UPLO.upper())
    Q = y[..., 1:, :]
    Decomposition.read_by(y, Q)
    return _EighResult(np.real(y[..., 0, :]), Q)


@composed(np.linalg.eigvalsh)
def eigvalsh(a, UPLO="L") -> Array:
    return eigh(a, UPLO)[0]


def _anchor(V) -> bool:
    """Mask of the component of each column that LAPACK makes real: the largest of the real ones."""
    score = np.abs(V) + (np.imag(V) == 0)
    rows = arrays.arange(V, V.shape[-2])[:, None]
    return rows == np.argmax(score, axis=-2, keepdims=True)


def _of_columns(a, b) -> Array:
    return np.sum(a * b, axis=-2, keepdims=True)


class _Eig(Vectors):
    """A V = V diag(w): dw = diag(W), dV = V (F∘W) + V diag(c), W = V⁻¹ dA V, F_ij = 1/(w_j − w_i).

    c keeps LAPACK's normalization: columns of norm one whose largest component is real.
    """

    def __init__(self, y, A) -> None:
        super().__init__(y)
        self.w, self.V, self.A = y[..., 0, :], y[..., 1:, :], A
        Decomposition.read_by(y, self.V)
        self.one = eye(A.shape, A)
        self.inverse = cache(lambda: np.linalg.inv(self.V))
        self.ties = cache(self._ties)
        self.F = cache(lambda: inverse(gaps(self.w), self.ties().pairs | self.one))
        self.anchor: Any = _anchor(stop(self.V)) if self.V.dtype.kind == "c" else None

    def _ties(self) -> Ties:
        """An eigenvalue moves by up to κ ‖dA‖, κ the norm of its row of V⁻¹ times that of its column of V."""
        A, condition = np.abs(stop(self.A)), np.linalg.norm(stop(self.inverse()), axis=-1)
        size = np.sqrt(arrays.highest(np.sum(A, axis=-1), 0, -1))
        size = size * np.sqrt(arrays.highest(np.sum(A, axis=-2), 0, -1))  # ≥ ‖A‖
        means = (condition[..., None, :] + condition[..., :, None]) / 2
        pairs = tied_pairs(self.w, size[..., None, None] * means)
        return Ties(pairs, self.w, "eigenvalue", arrays.highest(condition, 1, -1) ** 2)

    def has_ties(self) -> bool:
        return self.are_used and self.ties().exist

    def push(self, v) -> Array:
        V = self.V
        if not self.are_used:
            return packed(np.sum(mT(self.inverse()) * (v @ V), axis=-2), np.zeros_like(V))
        W = self.inverse() @ v @ V
        dV = V @ (or_nan(self.F(), self.ties().pairs) * W)
        return packed(np.sum(self.one * W, axis=-2), self._normalized(V, dV))

    def _normalized(self, V, dV) -> Array:
        """dV + V diag(c)"""
        turn = np.real(_of_columns(np.conj(V), dV))
        if self.anchor is not None:
            turn = turn + 1j * _of_columns(self.anchor, np.imag(dV)) / _of_columns(self.anchor, np.real(V))
        return dV - V * turn

    def turned(self) -> Array:
        V = self.V @ rotation(self.ties().pairs, stop(self.V))
        V = V / np.linalg.norm(V, axis=-2, keepdims=True)
        if self.anchor is not None:
            anchor = np.abs(stop(V)) == np.max(np.abs(stop(V)), axis=-2, keepdims=True)
            phase = np.conj(_of_columns(anchor, V)) / np.max(np.abs(V), axis=-2, keepdims=True)
            V = np.where(anchor, np.abs(V), V * phase)
        return packed(self.w, V)

    def pull(self, u) -> Array:
        V, u_w, u_V = self.V, u[..., 0, :], u[..., 1:, :]
        if not self.are_used:
            return (mH(self.inverse()) * right(u_w)) @ mH(V)
        along = _of_columns(np.conj(V), u_V)
        across = u_V - V * np.real(along)
        if self.anchor is not None:
            across = across - 1j * self.anchor * (np.imag(along) / _of_columns(self.anchor, np.real(V)))
        M = mH(V) @ across
        middle = np.conj(self.F()) * M + self.one * right(u_w)
        if self.ties().exist:
            middle = middle + self.ties().limits(self, M, [u_V], u_w)
        return mH(self.inverse()) @ middle @ mH(V)


_eig = Decomposition(lambda A: packed(*np.linalg.eig(A)), _Eig, "eig")
_EigResult = type(np.linalg.eig(np.eye(1)))


@implements(np.linalg.eig)
def eig(a) -> Any:
    """a V = V diag(w)"""
    y = _eig.of(a)
    V = y[..., 1:, :]
    Decomposition.read_by(y, V)
    return _EigResult(y[..., 0, :], V)


@composed(np.linalg.eigvals)
def eigvals(a) -> Array:
    return eig(a)[0]
