"""The equations of all slopes of a run, solved from step to step, with ∂f/∂y at every column as plain numbers.

J x = b,   J = 1 − D ∂Y/∂K        by steps, forward
Jᵀ x = b                          by steps, backward

Together    small systems: the equations within the steps for all steps at once, one small product between them
InTurn      larger ones: stage after stage, with products of D alone
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from rmad.types import Array

__all__ = ["DenseRates", "InTurn", "Rates", "SparseRates", "Steps", "Together"]


class Rates(Protocol):
    """∂f/∂y at C columns, n × n each."""

    def times(self, c: int, v: Array) -> Array:
        """D_c v, (n, k)."""

    def transposed_times(self, c: int, u: Array) -> Array:
        """D_cᵀ u, (n, k)."""

    def factored(self, A: Array, h: float, at: Array) -> Callable[[Array, bool], Array]:
        """(b, transposed) → x with M x = b, or Mᵀ x = b, (s n, k); M = 1 − h A ⊗ D, of the s columns at a step."""


class Steps(NamedTuple):
    """How the steps of a run share the columns.

    A: (s, s); b: (s,). h: (N,). at: (s, N), the columns of every step. last: that after all of an explicit method.
    """

    A: Array
    b: Array
    h: Array
    at: Array
    last: int | None


class DenseRates:
    """D: (C, n, n)."""

    def __init__(self, D: Array) -> None:
        self.D = D

    def times(self, c: int, v: Array) -> Array:
        return self.D[c] @ v

    def transposed_times(self, c: int, u: Array) -> Array:
        return self.D[c].T @ u

    def factored(self, A: Array, h: float, at: Array) -> Callable[[Array, bool], Array]:
        from scipy.linalg import lapack

        s, n = len(A), self.D.shape[1]
        M = np.eye(s * n) - (h * A[:, None, :, None] * self.D[at][:, :, None, :]).reshape(s * n, s * n)
        lu, pivots, info = lapack.dgetrf(M)
        if info:
            raise _singular()
        return lambda b, transposed: lapack.dgetrs(lu, pivots, b, trans=int(transposed))[0]


class SparseRates:
    """One pattern for all columns: csr_array, (n, n). data: (C, nnz), the elements in its order."""

    def __init__(self, data: Array, pattern: Any) -> None:
        from scipy.sparse import csr_array

        self.data, self.pattern = data, csr_array(pattern, dtype=float)
        places = csr_array((np.arange(self.pattern.nnz), pattern.indices, pattern.indptr), shape=pattern.shape)
        self.transposed = places.T.tocsr()
        self.order = self.transposed.data
        self.transposed = self.transposed.astype(float)

    def times(self, c: int, v: Array) -> Array:
        return _with(self.pattern, self.data[c]) @ v

    def transposed_times(self, c: int, u: Array) -> Array:
        return _with(self.transposed, self.data[c].take(self.order)) @ u

    def factored(self, A: Array, h: float, at: Array) -> Callable[[Array, bool], Array]:
        from scipy.sparse import block_array, csc_array, eye_array
        from scipy.sparse.linalg import splu

        parts = [[-h * a * _with(self.pattern, self.data[c]) for a in row] for row, c in zip(A, at, strict=True)]
        try:
            lu = splu(csc_array(eye_array(len(A) * self.pattern.shape[0]) + block_array(parts)))
        except RuntimeError:
            raise _singular() from None
        return lambda b, transposed: lu.solve(b, "T" if transposed else "N")


def _with(pattern: Any, data: Array) -> Any:
    """A matrix of this pattern with other elements, without the checks of a new one."""
    matrix = copy.copy(pattern)
    matrix.data = data
    return matrix


def _singular() -> np.linalg.LinAlgError:
    return np.linalg.LinAlgError("solve_ivp: the equations of a step of Radau are singular")


class InTurn:
    """Stage after stage, for k right-hand sides together: x = b + D (y + h Σ a x) within a step, y ← y + h Σ b x."""

    def __init__(self, steps: Steps, rates: Rates) -> None:
        self.steps, self.rates = steps, rates
        self.factors: list[Callable[[Array, bool], Array]] = []
        if steps.last is None:
            self.factors = [rates.factored(steps.A, h, at) for h, at in zip(steps.h, steps.at.T, strict=True)]

    def solve(self, b: Array, transposed: bool) -> Array:
        """b: (k, n, C)."""
        k, n, C = b.shape
        x = np.reshape(np.transpose(b, (2, 1, 0)), (C, n * k))
        x = np.ascontiguousarray(x) if x.base is None else x.copy()
        (self._backward if transposed else self._forward)(x, (n, k))
        return np.transpose(np.reshape(x, (C, n, k)), (2, 1, 0))

    def _forward(self, x: Array, shape: tuple[int, int]) -> None:
        rates, y = self.rates, np.zeros(shape)
        for m, at in enumerate(self.steps.at.T):
            slopes, hA = x[at], self.steps.h[m] * self.steps.A
            if self.factors:
                slopes += np.reshape([rates.times(c, y) for c in at], slopes.shape)
                slopes = np.reshape(self.factors[m](np.reshape(slopes, (-1, shape[1])), False), slopes.shape)
            else:
                for i, c in enumerate(at):
                    state = y + np.reshape(hA[i, :i] @ slopes[:i], shape) if i else y
                    slopes[i] += rates.times(c, state).ravel()
            x[at] = slopes
            y = y + np.reshape((self.steps.h[m] * self.steps.b) @ slopes, shape)
        if self.steps.last is not None:
            x[self.steps.last] += rates.times(self.steps.last, y).ravel()

    def _backward(self, x: Array, shape: tuple[int, int]) -> None:
        rates, last = self.rates, self.steps.last
        y = np.zeros(shape).ravel()
        if last is not None:
            y = rates.transposed_times(last, np.reshape(x[last], shape)).ravel()
        for m in range(self.steps.at.shape[1] - 1, -1, -1):
            at, hA = self.steps.at[:, m], self.steps.h[m] * self.steps.A
            slopes = x[at] + np.outer(self.steps.h[m] * self.steps.b, y)
            if self.factors:
                slopes = np.reshape(self.factors[m](np.reshape(slopes, (-1, shape[1])), True), slopes.shape)
            for i in range(len(at) - 1, -1, -1):
                w = rates.transposed_times(at[i], np.reshape(slopes[i], shape)).ravel()
                y = y + w
                if i and not self.factors:
                    slopes[:i] += np.outer(hA[i, :i], w)
            x[at] = slopes


class Together:
    """All steps at once within the steps, then one product per step.

    Within a step the slopes are linear in b and in its first state, P b + H y, and y_new = M y + h Σ_j b_j (P b)_j.
    """

    def __init__(self, steps: Steps, D: Array) -> None:
        n = D.shape[-1]
        s = len(steps.A)
        self.A, self.implicit = steps.A, steps.last is None
        self.at, self.D = steps.at, D[steps.at]  # (s, N, n, n)
        self.last = None if steps.last is None else D[steps.last]
        self.h = steps.h[:, None, None]
        self.hb = steps.b[:, None, None, None] * self.h
        if self.implicit:
            J = np.eye(s * n) - (self.h[..., None, None] * np.einsum("ij,imab->miajb", self.A, self.D)).reshape(
                -1, s * n, s * n
            )
            self.inverse = _inverse(J)
        self.H = self._within(self.D)
        self.M = np.eye(n) + np.sum(self.hb * self.H, axis=0)

    def solve(self, b: Array, transposed: bool) -> Array:
        """b: (k, n, C)."""
        x = np.transpose(b, (2, 1, 0)).copy()
        (self._backward if transposed else self._forward)(x, x[self.at])
        return np.transpose(x, (2, 1, 0))

    def _forward(self, x: Array, b: Array) -> None:
        slopes = self._within(b)
        rise = np.sum(self.hb * slopes, axis=0)
        y = np.zeros((len(self.M) + 1, *rise.shape[1:]))
        for m, M in enumerate(self.M):
            y[m + 1] = M @ y[m] + rise[m]
        x[self.at] = slopes + self.H @ y[:-1]
        if self.last is not None:
            x[len(self.M)] += self.last @ y[-1]

    def _backward(self, x: Array, u: Array) -> None:
        N, MT = len(self.M), np.swapaxes(self.M, 1, 2)
        own = np.sum(np.swapaxes(self.H, 2, 3) @ u, axis=0)
        y = np.zeros((N + 1, *own.shape[1:]))
        if self.last is not None:
            y[N] = self.last.T @ x[N]
        for m in range(N - 1, -1, -1):
            y[m] = MT[m] @ y[m + 1] + own[m]
        x[self.at] = self._within_transposed(u + self.hb * y[1:])

    def _within(self, b: Array) -> Array:
        """P b, (s, N, n, k)."""
        if self.implicit:
            return _by_steps(self.inverse, b)
        slopes = b.copy()
        for i in range(1, len(b)):
            slopes[i] += self.D[i] @ (self.h * np.tensordot(self.A[i, :i], slopes[:i], 1))
        return slopes

    def _within_transposed(self, u: Array) -> Array:
        if self.implicit:
            return _by_steps(np.swapaxes(self.inverse, 1, 2), u)
        for i in range(len(u) - 1, 0, -1):
            u[:i] += self.A[i, :i, None, None, None] * (self.h * (np.swapaxes(self.D[i], 1, 2) @ u[i]))
        return u


def _inverse(J: Array) -> Array:
    try:
        return np.linalg.inv(J)
    except np.linalg.LinAlgError:
        raise _singular() from None


def _by_steps(matrices: Array, b: Array) -> Array:
    """The products of matrices, (N, s n, s n), with b, (s, N, n, k)."""
    s, N, n, k = b.shape
    product = matrices @ np.reshape(np.moveaxis(b, 0, 1), (N, s * n, k))
    return np.moveaxis(np.reshape(product, (N, s, n, k)), 1, 0)
