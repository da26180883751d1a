"""Gradients of initial value problems, in solves of SciPy's solve_ivp.

    python benchmarks/solve_ivp.py

lotka_volterra   two species, four parameters, 40 times, rtol = 1e-8: each method
reaction         diffusion and reaction on 50 points, by slices: each method
rolled           the same on a ring by np.roll, which cannot take columns: stage by stage
arenstorf        two bodies and a satellite, a list of four numbers with square roots

One gradient is that of a sum of squares in the initial state and the parameters. CPU time of one BLAS thread; both in
turn, the medians. The last column is what differences cost: one solve more than there are numbers.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import rmad

# isort: split
import numpy as np
import scipy.integrate


def lotka_volterra(t: Any, y: Any, p: Any) -> Any:
    return np.array([p[0] * y[0] - p[1] * y[0] * y[1], -p[2] * y[1] + p[3] * y[0] * y[1]])


def reaction(t: Any, y: Any, p: Any) -> Any:
    d = np.zeros_like(y)
    d[1:-1] = p[0] * (y[2:] - 2 * y[1:-1] + y[:-2])
    d[0] = p[0] * (y[1] - y[0])
    d[-1] = p[0] * (y[-2] - y[-1])
    return d + p[1] * y * (1 - y)


def rolled(t: Any, y: Any, p: Any) -> Any:
    return p[0] * (np.roll(y, 1) - 2 * y + np.roll(y, -1)) + p[1] * y * (1 - y)


def arenstorf(t: Any, y: Any, p: Any) -> Any:
    m = p[0]
    d = ((y[0] + m) ** 2 + y[1] ** 2) ** 1.5
    e = ((y[0] - (1 - m)) ** 2 + y[1] ** 2) ** 1.5
    return [
        y[2],
        y[3],
        y[0] + 2 * y[3] - (1 - m) * (y[0] + m) / d - m * (y[0] - (1 - m)) / e,
        y[1] - 2 * y[2] - (1 - m) * y[1] / d - m * y[1] / e,
    ]


BUMP = np.exp(-(np.linspace(-3, 3, 50) ** 2))
PROBLEMS: dict[Callable[..., Any], tuple[Any, Any, float]] = {
    lotka_volterra: (np.array([10.0, 5.0]), np.array([1.0, 0.1, 1.5, 0.075]), 10),
    reaction: (BUMP, np.array([20.0, 1.0]), 1),
    rolled: (BUMP, np.array([20.0, 1.0]), 1),
    arenstorf: (np.array([0.994, 0.0, 0.0, -2.00158510637908]), np.array([0.012277471]), 5),
}


def medians(*calls: Callable[[], Any], runs: int = 7) -> list[float]:
    """CPU seconds of each call, made in turn."""
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(runs):
        for call, times in zip(calls, found, strict=True):
            start = time.process_time()
            call()
            times.append(time.process_time() - start)
    return [statistics.median(times) for times in found]


def main() -> None:
    print(
        f"{'problem':16s} {'method':8s} {'steps':>6s} {'solve, ms':>10s} {'gradient, solves':>17s} {'differences':>12s}"
    )
    for f, (y0, p, end) in PROBLEMS.items():
        for method in ("RK23", "RK45", "DOP853", "Radau"):
            tolerances = {"rtol": 1e-4, "atol": 1e-6} if method == "RK23" else {"rtol": 1e-8, "atol": 1e-8}
            options = {"method": method, "t_eval": np.linspace(0, end, 40), **tolerances}

            def misfit(both: Any, f: Any = f, end: Any = end, options: Any = options) -> Any:
                return np.sum(rmad.solve_ivp(f, (0, end), both[0], args=(both[1],), **options).y ** 2)

            def solve(f: Any = f, y0: Any = y0, p: Any = p, end: Any = end, options: Any = options) -> Any:
                return scipy.integrate.solve_ivp(f, (0, end), y0, args=(p,), **options)

            gradient = rmad.grad(misfit)
            steps = len(scipy.integrate.solve_ivp(f, (0, end), y0, args=(p,), **{**options, "t_eval": None}).t) - 1
            plain, reverse = medians(solve, lambda y0=y0, p=p, gradient=gradient: gradient((y0, p)))
            n = y0.size + p.size + 1
            print(f"{f.__name__:16s} {method:8s} {steps:6d} {1e3 * plain:10.1f} {reverse / plain:17.1f} {n:12d}")


if __name__ == "__main__":
    main()
