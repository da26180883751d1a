"""All stages of a run in one call of f, as the columns of a matrix: for right-hand sides that can be called so.

    K = f(T, Y(K)),   Y(K) = y_m + h_m Σ_j a_ij k_j,   y_m = y₀ + Σ h Σ_j b_j k_j

The slopes K of all steps solve one system of equations. SciPy has solved it; the solution is corrected on the tape,
where one call of f takes the place of thousands. J = 1 − ∂f/∂y · ∂Y/∂K is solved by substitution, from step to step.

Code that is written for one y of shape (n,), such as np.array([y[1], -y[0]]), mostly runs on columns as well, but no
rule says so. It is tried, and believed if all values are those of SciPy's run, no column depends on another, and the
derivatives of some columns are those of f at a single y.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from rmad import tuning
from rmad.dense import jacobian
from rmad.record import Record
from rmad.solvers.corrections import corrected
from rmad.solvers.runs import Run
from rmad.sparse.colouring import one_way
from rmad.stacked import push_stack
from rmad.transforms import jvp
from rmad.types import Array

__all__ = ["Columns", "columns"]

Slope = Callable[[Any, Any], Any]


def columns(f: Slope, run: Run) -> tuple[Columns, Substitution] | None:
    """The stages of a run as columns, and the system of their slopes; None if f, plain, is no function of columns."""
    n = run.y.shape[1]
    places = Columns(run)
    if run.y.dtype.kind == "c" or n * places.Y.size > tuning.COLUMNS_MOST:
        return None
    values = places.K
    if run.method.implicit:  # the slopes solve their equations only up to Newton's tolerance
        values = np.stack([f(t, y) for t, y in zip(places.t, places.Y.T, strict=True)], axis=1)
    D = _derivatives(f, places, values)
    return None if D is None else (places, Substitution(places, D))


def _derivatives(f: Slope, places: Columns, values: Array) -> Array | None:
    """∂f/∂y at every column, (C, n, n), by one call of f; None if that does not give the same as single calls.

    values: those of single calls, (n, C). One column comes twice: then an array that has, by chance, an element per
    column does not fit.
    """
    t, Y = np.append(places.t, places.t[-1]), np.concatenate([places.Y, places.Y[:, -1:]], axis=1)
    n, C = places.Y.shape
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            record = Record(lambda Y: f(t, Y), Y, ())
    except Exception:  # of any kind: the code is not written for columns
        return None
    scale = np.max(np.abs(values), axis=1, keepdims=True)
    if np.shape(record.y) != Y.shape or not np.all(np.abs(record.y[:, :-1] - values) <= 1e-9 * scale):
        return None
    single = jacobian(lambda y: f(t[C // 2], y))(Y[:, C // 2])
    D = _grouped(record, single) if n >= tuning.GROUPED_FROM else None
    if D is None:
        D = _pushed(record, np.arange(n), np.ones((n, n), bool))
    if D is None:
        return None
    random = np.random.default_rng(1)
    for c in {0, C // 2, C - 1}:
        v = random.standard_normal(n)
        wanted = jvp(lambda y, c=c: f(t[c], y), Y[:, c], v)[1]
        if not np.allclose(D[c] @ v, wanted, rtol=0, atol=1e-9 * np.sum(np.abs(D[c]), axis=1)):
            return None
    return D[:C]


def _grouped(record: Record, single: Array) -> Array | None:
    """`_pushed` with a tangent for several unknowns that no right-hand side shares, by the pattern of one column.

    None if there are few such, or if another column has another pattern.
    """
    from scipy.sparse import csr_array

    groups = one_way(csr_array(single != 0))
    return _pushed(record, groups, single != 0) if 4 * (groups.max() + 1) <= len(groups) else None


def _pushed(record: Record, groups: Array, pattern: Array) -> Array | None:
    """∂f/∂y, (C, n, n), from one tangent per group of unknowns; None if that misses a part of it.

    Two tangents more find that out: random ones in all columns, and in every other one, which do not reach the rest.
    """
    n, C = record.y.shape
    q, random = groups.max(initial=-1) + 1, np.random.default_rng(0)
    V = np.zeros((q + 2, n, C))
    V[groups, np.arange(n)] = 1
    V[q:] = random.standard_normal((2, n, C))
    V[q + 1, :, 1::2] = 0
    JV = push_stack(record.tape, [V], record.outputs)[0]
    JV = np.zeros_like(V) if JV is None else JV
    D = np.ascontiguousarray(np.transpose(JV[groups] * pattern.T[..., None], (2, 1, 0)))
    given = np.einsum("cik,kc->ic", D, V[q])
    size = np.einsum("cik,kc->ic", np.abs(D), np.abs(V[q])) + np.abs(JV[q])
    if np.any(JV[q + 1, :, 1::2]) or np.any(np.abs(given - JV[q]) > 1e-9 * size):
        return None
    return D


class Columns:
    """Where the slopes of a run are among the columns of K, (n, C).

    at: (rows, N), the columns of every step, in the order of the tableau. t: (C,). Y, K: (n, C), plain.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        N, s = len(run.h), len(run.method.c)
        steps = np.arange(N)
        t = run.t + run.method.c[:, None] * run.h  # (s, N)
        stages = np.moveaxis(run.stages, 1, 0)  # (rows, N, n)
        if run.method.implicit:
            self.at, self.t = steps + N * np.arange(s)[:, None], t.ravel()
            self.K = np.concatenate(np.tensordot(np.linalg.inv(run.method.A), stages / run.h[:, None], 1)).T
            self.Y = np.concatenate(run.y[:-1] + stages).T
        else:  # N + 1 slopes between the steps, then those within them
            self.at = np.stack([steps, *(steps + N + 1 + N * i for i in range(s - 1)), steps + 1])
            self.t = np.concatenate([t[0], [run.t[-1] + run.h[-1]], t[1:].ravel()])
            self.K = np.concatenate([stages[0], stages[-1, -1:], *stages[1:-1]]).T
            self.Y = self.states(run.y[0], self.K)[1]

    def states(self, y0: Any, K: Any) -> tuple[Any, Any]:
        """The states between the steps, (n, N + 1), and those of all columns, (n, C)."""
        method, h = self.run.method, self.run.h
        slopes = K[:, self.at[: len(method.c)]]  # (n, s, N)
        rise = h * np.tensordot(method.b, slopes, (0, 1))
        y = np.concatenate([y0[:, None], y0[:, None] + np.cumsum(rise, axis=1)], axis=1)
        A = method.A if method.implicit else method.A[1:]
        inner = y[:, None, :-1] + h * np.moveaxis(np.tensordot(A, slopes, (1, 1)), 0, 1)
        inner = np.reshape(inner, (len(y0), -1))
        return y, inner if method.implicit else np.concatenate([y, inner], axis=1)

    def solved(self, f: Slope, y0: Any, system: Substitution) -> Any:
        """The states at the times of the result, (n, m), up to rounding; f may be traced."""
        K = corrected(self.K, lambda K: K - f(self.t, self.states(y0, K)[1]), system)
        y = self.states(y0, K)[0]
        return y if self.run.between else self._interpolated(f, y, K)

    def _interpolated(self, f: Slope, y: Any, K: Any) -> Any:
        run = self.run
        at, x = run.places()
        steps, which = np.unique(at, return_inverse=True)
        h = run.h[steps]
        slopes = K[:, self.at[:, steps]]  # (n, rows, steps)
        for a, c in zip(*run.method.extra, strict=True):
            state = y[:, steps] + h * np.tensordot(a[: slopes.shape[1]], slopes, (0, 1))
            slopes = np.concatenate([slopes, f(run.t[steps] + c * h, state)[:, None]], axis=1)
        return y[:, at] + np.sum(slopes[:, :, which] * run.method.weights(x, run.h[at]), axis=1)


class Substitution:
    """J x = b with J = 1 − D ∂Y/∂K, from step to step, and Jᵀ x = b backward; D: (C, n, n), ∂f/∂y at the columns.

    Within a step the slopes are linear in b and in its first state, P b + H y, and y_new = M y + h Σ_j b_j (P b)_j.
    P, H and M are applied to all steps at once; then one product per step remains.
    """

    def __init__(self, places: Columns, D: Array) -> None:
        method, n = places.run.method, D.shape[-1]
        s = len(method.c)
        self.A, self.implicit = method.A, method.implicit
        self.at, self.D = places.at[:s], D[places.at[:s]]  # (s, N, n, n)
        self.last = None if method.implicit else D[len(places.run.h)]
        self.h = places.run.h[:, None, None]
        self.hb = method.b[:, None, None, None] * self.h
        if self.implicit:
            J = np.eye(s * n) - (self.h[..., None, None] * np.einsum("ij,imab->miajb", self.A, self.D)).reshape(
                -1, s * n, s * n
            )
            self.inverse = _inverse(J)
        self.H = self._within(self.D)
        self.M = np.eye(n) + np.sum(self.hb * self.H, axis=0)

    def solve(self, b: Array, transposed: bool) -> Array:
        x = b.T.copy()
        (self._backward if transposed else self._forward)(x, x[self.at][..., None])
        return x.T

    def _forward(self, x: Array, b: Array) -> None:
        slopes = self._within(b)
        rise = np.sum(self.hb * slopes, axis=0)
        y = np.zeros((len(self.M) + 1, *rise.shape[1:]))
        for m, M in enumerate(self.M):
            y[m + 1] = M @ y[m] + rise[m]
        x[self.at] = (slopes + self.H @ y[:-1])[..., 0]
        if self.last is not None:
            x[len(self.M)] += (self.last @ y[-1])[:, 0]

    def _backward(self, x: Array, u: Array) -> None:
        N, MT = len(self.M), np.swapaxes(self.M, 1, 2)
        own = np.sum(np.swapaxes(self.H, 2, 3) @ u, axis=0)
        y = np.zeros((N + 1, *own.shape[1:]))
        if self.last is not None:
            y[N] = self.last.T @ x[N, :, None]
        for m in range(N - 1, -1, -1):
            y[m] = MT[m] @ y[m + 1] + own[m]
        x[self.at] = self._within_transposed(u + self.hb * y[1:])[..., 0]

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
        raise np.linalg.LinAlgError("solve_ivp: the equations of a step of Radau are singular") from None


def _by_steps(matrices: Array, b: Array) -> Array:
    """The products of matrices, (N, s n, s n), with b, (s, N, n, k)."""
    s, N, n, k = b.shape
    product = matrices @ np.reshape(np.moveaxis(b, 0, 1), (N, s * n, k))
    return np.moveaxis(np.reshape(product, (N, s, n, k)), 1, 0)
