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
from rmad.record import Record
from rmad.solvers.corrections import System, corrected
from rmad.solvers.runs import Run
from rmad.solvers.substitution import DenseRates, InTurn, SparseRates, Steps, Together
from rmad.sparse import derivatives as sparse
from rmad.sparse.colouring import one_way
from rmad.stacked import push_stack
from rmad.transforms.dense import jacobian
from rmad.transforms.transforms import jvp
from rmad.types import Array

__all__ = ["Columns", "columns"]

Slope = Callable[[Any, Any], Any]


def columns(f: Slope, run: Run, together: Slope) -> tuple[Columns, System] | None:
    """The stages of a run as columns, and the system of their slopes; None if f, plain, is no function of columns.

    together: f for columns, if it is one.
    """
    places = Columns(run)
    if run.y.dtype.kind == "c" or places.Y.size > tuning.COLUMNS_MOST:
        return None
    values = places.K
    if run.method.implicit:  # the slopes solve their equations only up to Newton's tolerance
        values = np.stack([f(t, y) for t, y in zip(places.t, places.Y.T, strict=True)], axis=1)
    found = _derivatives(f, together, places, values)
    return None if found is None else (places, _system(places, *found))


def _system(places: Columns, data: Array, pattern: Pattern) -> System:
    """The equations of the slopes; data: (C, nnz), the elements of ∂f/∂y at every column."""
    (C, nnz), n = data.shape, pattern.n
    if n >= tuning.SPARSE_RATES_FROM and 8 * nnz <= n * n:
        return InTurn(places.steps(), SparseRates(data, pattern.matrix))
    D = np.zeros((C, n * n))
    D[:, n * pattern.rows + pattern.columns] = data
    D = D.reshape(C, n, n)
    return Together(places.steps(), D) if n < tuning.GROUPED_FROM else InTurn(places.steps(), DenseRates(D))


class Pattern:
    """Where ∂f/∂y may differ from zero, a csr_array of bool, (n, n): rows and columns of the elements in its order."""

    def __init__(self, matrix: Any) -> None:
        from scipy.sparse import csr_array

        self.matrix, self.n, nnz = matrix, matrix.shape[0], matrix.nnz
        self.rows, self.columns = np.repeat(np.arange(self.n), np.diff(matrix.indptr)), matrix.indices
        self._sums = csr_array((np.ones(nnz), np.arange(nnz), matrix.indptr), shape=(self.n, nnz))

    @classmethod
    def dense(cls, n: int) -> Pattern:
        from scipy.sparse import csr_array

        return cls(csr_array(np.ones((n, n), bool)))

    @classmethod
    def at(cls, f: Callable[[Any], Any], y: Array) -> Pattern:
        """That of ∂f/∂y at one y."""
        from scipy.sparse import csr_array

        if len(y) < tuning.SPARSE_RATES_FROM:
            return cls(csr_array(jacobian(f)(y) != 0))
        evaluate: Any = sparse.sparse_jacobian(f)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a dense one is worth no warning here
            evaluate(y)
        return cls(evaluate.sparsity.pattern)

    def times(self, data: Array, v: Array) -> Array:
        """D v, (n, …), for elements (nnz, …) and a vector (n, …)."""
        return np.asarray(self._sums @ (data * v[self.columns]))


def _derivatives(f: Slope, together: Slope, places: Columns, values: Array) -> tuple[Array, Pattern] | None:
    """∂f/∂y at every column, (C, nnz), and its pattern; None if f of columns is not that of single ones.

    values: those of single calls, (n, C).
    """
    trial = Trial(together, places, values)
    first = trial.record(0)
    if first is None:
        return None
    C = len(places.t)
    found = _grouped(trial, first, lambda y: f(places.t[C // 2], y), places.Y[:, C // 2])
    if found is None:
        n = len(places.Y)
        found = trial.pushed(first, np.arange(n), Pattern.dense(n))
    if found is None:
        return None
    data, pattern = found
    random = np.random.default_rng(1)
    for c in {0, C // 2, C - 1}:
        y = places.Y[:, c]
        v = random.standard_normal(len(y))
        wanted = jvp(lambda y, c=c: f(places.t[c], y), y, v)[1]
        size = pattern.times(np.abs(data[c]), np.ones(len(y)))
        if not np.allclose(pattern.times(data[c], v), wanted, rtol=0, atol=1e-9 * size):
            return None
    return data, pattern


class Trial:
    """f called with columns, as many as a cache holds at a time.

    The last column comes twice: then an array that has, by chance, an element per column does not fit.
    """

    def __init__(self, f: Slope, places: Columns, values: Array) -> None:
        self.f, (self.n, self.C) = f, values.shape
        self.t, self.Y, self.values = (np.concatenate([a, a[..., -1:]], axis=-1) for a in (places.t, places.Y, values))
        self.scale = np.max(np.abs(values), axis=1, keepdims=True)
        pieces = max(1, min(self.C // 2, -(-values.size // tuning.COLUMNS_AT_A_TIME)))
        self.ends = np.linspace(0, self.C + 1, pieces + 1).astype(np.intp)

    def record(self, k: int) -> Record | None:
        """f of the columns of piece k; None if it takes no columns, or if it returns something else than of one."""
        piece = slice(self.ends[k], self.ends[k + 1])
        Y, values = self.Y[:, piece], self.values[:, piece]
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                record = Record(lambda Y: self.f(self.t[piece], Y), Y, ())
        except Exception:  # of any kind: the code is not written for columns
            return None
        same = np.shape(record.y) == Y.shape and np.all(np.abs(record.y - values) <= 1e-9 * self.scale)
        return record if same else None

    def pushed(self, first: Record, groups: Array, pattern: Pattern) -> tuple[Array, Pattern] | None:
        """∂f/∂y at every column, (C, nnz), from one tangent per group of unknowns; None if that misses a part of it."""
        q, nnz = groups.max(initial=-1) + 1, len(pattern.rows)
        if max((q + 2) * np.diff(self.ends).max() * self.n, nnz * self.C) > tuning.COLUMNS_MOST:
            return None
        data = np.empty((self.C + 1, nnz))
        for k in range(len(self.ends) - 1):
            record = self.record(k) if k else first
            part = None if record is None else _pushed(record, groups, pattern)
            if part is None:
                return None
            data[self.ends[k] : self.ends[k + 1]] = part
        return data[: self.C], pattern


def _grouped(trial: Trial, first: Record, f: Callable[[Any], Any], y: Array) -> tuple[Array, Pattern] | None:
    """`pushed` with a tangent for several unknowns that no right-hand side shares, by the pattern of one column.

    f: (n,) → (n,), at that column. None if there are few such, or if another column has another pattern.
    """
    if len(y) < tuning.GROUPED_FROM:
        return None
    pattern = Pattern.at(f, y)
    groups = one_way(pattern.matrix)
    return trial.pushed(first, groups, pattern) if 4 * (groups.max(initial=0) + 1) <= len(y) else None


def _pushed(record: Record, groups: Array, pattern: Pattern) -> Array | None:
    """The elements of ∂f/∂y at some columns, (C, nnz); None if the groups miss a part of it.

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
    data = JV[groups[pattern.columns], pattern.rows]
    size = pattern.times(np.abs(data), np.abs(V[q])) + np.abs(JV[q])
    if np.any(JV[q + 1, :, 1::2]) or np.any(np.abs(pattern.times(data, V[q]) - JV[q]) > 1e-9 * size):
        return None
    return data.T


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

    def steps(self) -> Steps:
        method, N = self.run.method, len(self.run.h)
        return Steps(method.A, method.b, self.run.h, self.at[: len(method.c)], None if method.implicit else N)

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

    def solved(self, f: Slope, y0: Any, system: System) -> tuple[Any, Any]:
        """The states at the times of the result, (n, m), up to rounding, and that at the end; f may be traced."""
        K = corrected(self.K, lambda K: K - f(self.t, self.states(y0, K)[1]), system)
        y = self.states(y0, K)[0]
        return (y if self.run.between else self._interpolated(f, y, K)), y[:, -1]

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
