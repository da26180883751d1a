"""One run of SciPy's solve_ivp on plain values, with the steps that it took and the numbers in them.

    Y_i = y + h Σ_j a_ij k_j,   k_i = f(t + c_i h, Y_i),   y_new = y + h Σ_j b_j k_j

An explicit method has a last stage at (t + h, y_new), which is the first one of the next step. The tableaus are those
of SciPy's classes.
"""

from __future__ import annotations

from copy import copy
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from rmad.types import Array

__all__ = ["METHODS", "Method", "Run", "method_named", "run"]

METHODS = ("RK23", "RK45", "DOP853", "Radau")


class Step(NamedTuple):
    """From (t, y) to (t + h, y_new). stages: of an explicit method the slopes k_i, (s + 1, n); of Radau Y_i − y."""

    t: float
    h: float
    y: Array
    y_new: Array
    stages: Array


class Method:
    """The tableau of a method, and its interpolant.

    A: (s, s); b, c: (s,). rows: of slopes that the interpolant reads, the last of an explicit step and the additional
    ones of DOP853 among them. extra: (A, c) of those.
    """

    def __init__(self, scipys: Any) -> None:
        self.scipys, self.name = scipys, scipys.__name__
        self.implicit = self.name == "Radau"
        if self.implicit:
            self.A, self.b, self.c = _radau()
        else:
            self.b, self.c = scipys.B, scipys.C
            self.A = np.pad(scipys.A, ((0, 0), (0, len(self.c) - scipys.A.shape[1])))
        self.extra = (scipys.A_EXTRA, scipys.C_EXTRA) if self.name == "DOP853" else (np.empty((0, 0)), np.empty(0))
        self.rows = len(self.c) + (not self.implicit) + len(self.extra[1])

    def weights(self, x: Array, h: Array) -> Array:
        """W with y(t + x h) = y + Σ_j W_j k_j, (rows, m), for points x in steps of lengths h, both (m,)."""
        if self.implicit:  # the polynomial through 0 and the three stages
            at = self.c[:, None] ** np.arange(1, 4)
            return h * (np.linalg.solve(at, self.A).T @ x ** np.arange(1, 4)[:, None])
        if self.name != "DOP853":
            return h * (self.scipys.P @ x ** np.arange(1, self.scipys.P.shape[1] + 1)[:, None])
        return h * _interpolated(self._coefficients(), x)

    def _coefficients(self) -> Array:
        """The coefficients of DOP853's interpolant in terms of the slopes, over h: (7, rows)."""
        first, last, total = np.zeros((3, self.rows))
        first[0], last[len(self.b)], total[: len(self.b)] = 1, 1, self.b
        return np.stack([total, first - total, 2 * total - last - first, *self.scipys.D])


def _interpolated(F: Array, x: Array) -> Array:
    """x (F₀ + (1 − x) (F₁ + x (F₂ + …))), (rows, m): Hairer, Nørsett & Wanner (1993), section II.6."""
    y = np.zeros((F.shape[1], len(x)))
    for k, f in enumerate(F[::-1]):
        y = (y + f[:, None]) * (x if k % 2 == 0 else 1 - x)
    return y


def _radau() -> tuple[Array, Array, Array]:
    """Collocation at the three points of Radau IIA: a_ij = ∫₀^c_i of the j-th Lagrange polynomial."""
    c = np.array([(4 - 6**0.5) / 10, (4 + 6**0.5) / 10, 1.0])
    powers = np.arange(1, 4)
    A = np.linalg.solve((c[:, None] ** (powers - 1)).T, (c[:, None] ** powers / powers).T).T
    return A, A[-1], c


def method_named(method: Any) -> Method:
    """The method of a name, or of SciPy's class; NotImplementedError for those that cannot be repeated."""
    import scipy.integrate

    name = method if isinstance(method, str) else getattr(method, "__name__", str(method))
    if name not in METHODS or method not in (name, getattr(scipy.integrate, name)):
        raise NotImplementedError(
            f"solve_ivp: the steps of method {name!r} cannot be repeated on a tape; use {', '.join(METHODS[:-1])}, or "
            "for a stiff system Radau"
        )
    return Method(getattr(scipy.integrate, name))


class Run:
    """What SciPy's solve_ivp returned, and its N steps.

    t, h: (N,), where they start, and their lengths. y: (N + 1, n), the states between them. stages: (N, rows, n).
    between: True if the result has these states, False if it has those at times that the user wants.
    """

    def __init__(self, method: Method, result: Any, steps: list[Step], y0: Array, between: bool) -> None:
        self.method, self.result, self.between = method, result, between
        self.t, self.h = (np.array([step[k] for step in steps]) for k in (0, 1))
        self.y = np.stack([*(step.y for step in steps), steps[-1].y_new if steps else y0])
        self.stages = np.array([step.stages for step in steps])

    def part(self, start: int, end: int) -> Run:
        """The steps from `start` to before `end`, with the times of the result that lie in them."""
        part = copy(self)
        part.t, part.h, part.stages = self.t[start:end], self.h[start:end], self.stages[start:end]
        part.y = self.y[start : end + 1]
        if self.between:
            times, y = np.append(part.t, part.t[-1] + part.h[-1]), part.y.T
        else:
            k, _ = self.places()
            inside = (k >= start) & (k < end)
            times, y = self.result.t[inside], self.result.y[:, inside]
        part.result = SimpleNamespace(t=times, y=y)
        return part

    def places(self) -> tuple[Array, Array]:
        """For every time in the result the step that it lies in, and where in it, from 0 to 1."""
        ends = np.append(self.t[1:], self.t[-1] + self.h[-1])
        direction = np.sign(self.h[0])
        k = np.minimum(np.searchsorted(direction * ends, direction * self.result.t), len(ends) - 1)
        return k, (self.result.t - self.t[k]) / self.h[k]


def run(fun: Any, t_span: Any, y0: Any, method: Method, options: dict[str, Any]) -> Run:
    """SciPy's solve_ivp, step by step."""
    from scipy.integrate import solve_ivp

    steps: list[Step] = []

    class Recorded(method.scipys):  # type: ignore[misc, name-defined]
        def _step_impl(self) -> Any:
            t, y = self.t, self.y
            done, message = super()._step_impl()
            if done:
                stages = self.Z if method.implicit else self.K
                steps.append(Step(t, self.t - t, y, self.y, stages.copy()))
            return done, message

    result = solve_ivp(fun, t_span, y0, method=Recorded, **options)
    dtype = complex if np.iscomplexobj(y0) else float
    return Run(method, result, steps, np.asarray(y0, dtype), options.get("t_eval") is None)
