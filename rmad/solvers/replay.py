"""The steps of a run again, stage by stage, on the tape: for every right-hand side, of any size, real or complex.

    y = y₀ + Σ_j c_j k_j       one node for every stage, with the value that SciPy had
    k = f(t, y)                the nodes that f leaves

The stages of an implicit method are a solution of their equations, corrected on the tape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmad.rules import Primitive
from rmad.solvers.implicit import implicit
from rmad.solvers.runs import Run
from rmad.tapes.blocks import ONE, Diagonal
from rmad.tapes.tape import ArraySpec
from rmad.tracing.traced import stop
from rmad.tracing.valued import with_value
from rmad.types import Array

__all__ = ["replayed"]

Slope = Callable[[Any, Any], Any]


class Combination(Primitive):
    """y = y₀ + Σ_j c_j k_j, called with the value y, (c₁, …), y₀, k₁, …"""

    captures = False

    def blocks(self, argnums: Sequence[int], y: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        spec, coefficients = ArraySpec.of(y), args[1]
        return [Diagonal(self, k, ArraySpec.of(args[k]), spec, ONE if k == 2 else coefficients[k - 3]) for k in argnums]


_combination = Combination(lambda value, coefficients, y, *slopes: value, name="runge_kutta_stage")


def _combined(value: Array, h: float, coefficients: Array, y: Any, slopes: Sequence[Any]) -> Any:
    """y + h Σ_j c_j k_j, which has this value."""
    used = [j for j, c in enumerate(coefficients) if c]
    return _combination(value, tuple(h * coefficients[j] for j in used), y, *(slopes[j] for j in used))


def replayed(f: Slope, run: Run, y0: Any) -> tuple[Any, Any]:
    """The states at the times of the result as columns, (n, m), and that at the end; f: (t, y) → k, (n,)."""
    step = _implicit_step if run.method.implicit else _explicit_step
    at, x = run.places()
    parts, y, k = [y0[None]] if run.between else [], y0, None
    for m in range(len(run.h)):
        start, y, slopes = y, *step(f, run, m, y, k)
        k = slopes[-1]
        here = np.flatnonzero(at == m)
        if run.between:
            parts.append(y[None])
        elif len(here):
            slopes = _extended(f, run, m, start, slopes)
            W = run.method.weights(x[here], run.h[m][None])
            parts.append(np.concatenate([np.ones((1, len(here))), W]).T @ np.stack([start, *slopes]))
    return (np.concatenate(parts).T if parts else np.zeros((len(run.y[0]), 0))), y


def _explicit_step(f: Slope, run: Run, m: int, y: Any, k: Any) -> tuple[Any, list[Any]]:
    """The state after step m, and its slopes; k: the last slope of the step before."""
    method, t, h, K = run.method, run.t[m], run.h[m], run.stages[m]
    slopes = [f(t, y) if k is None else k]
    for i in range(1, len(method.c)):
        a = method.A[i, :i]
        value = run.y[m] + np.dot(K[:i].T, a) * h  # as SciPy has it
        slopes.append(f(t + method.c[i] * h, _combined(value, h, a, y, slopes)))
    y = _combined(run.y[m + 1], h, method.b, y, slopes)
    return y, [*slopes, f(t + h, y)]


def _extended(f: Slope, run: Run, m: int, y: Any, slopes: list[Any]) -> list[Any]:
    """The slopes of step m, and those that only an interpolant reads."""
    t, h, K = run.t[m], run.h[m], list(run.stages[m])
    for a, c in zip(*run.method.extra, strict=True):
        value = run.y[m] + np.dot(np.stack(K).T, a[: len(K)]) * h
        slopes = [*slopes, f(t + c * h, _combined(value, h, a[: len(K)], y, slopes))]
        K.append(np.asarray(stop(slopes[-1])))
    return slopes


def _implicit_step(f: Slope, run: Run, m: int, y: Any, k: Any) -> tuple[Any, list[Any]]:
    """The state after step m, and the slopes of its stages, which solve Z = h A f(t + c h, y + Z)."""
    method, t, h = run.method, run.t[m], run.h[m]

    def slopes(Z: Any, y: Any) -> list[Any]:
        return [f(t + c * h, y + Z_i) for c, Z_i in zip(method.c, Z, strict=True)]

    stages = implicit(lambda Z, y: Z - h * method.A @ np.stack(slopes(Z, y)), lambda y: run.stages[m], tol=np.inf)
    Z = stages(y)
    new = with_value(y + Z[-1], run.y[m + 1], "solve_ivp")
    return new, list(np.linalg.solve(h * method.A, Z))
