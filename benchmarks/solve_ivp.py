"""Gradients of initial value problems, in solves of SciPy's solve_ivp.

    python benchmarks/solve_ivp.py              the table of problems
    python benchmarks/solve_ivp.py constants    the constants of rmad/tuning.py, each on both sides of its value
    python benchmarks/solve_ivp.py memory       long runs: memory and time, in pieces and in one

lotka_volterra   two species, four parameters, 40 times, rtol = 1e-8: each method
reaction         diffusion and reaction on 50 points, by slices: each method
rolled           the same on a ring by np.roll, which cannot take columns, but lanes
arenstorf        two bodies and a satellite, a list of four numbers with square roots
switched         a spring whose force changes its sign at a time: a branch, at which the lanes part
singly           the same with float(t), which is a number: stage by stage

One gradient is that of a sum of squares in the initial state and the parameters. CPU time of one BLAS thread; both in
turn, the medians. The last column is what differences cost: one solve more than there are numbers.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import rmad

# isort: split
import numpy as np
import scipy.integrate

from rmad import tuning


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


def switched(t: Any, y: Any, p: Any) -> Any:
    return np.array([y[1], -p[0] * y[0] + (p[1] if t < 2.05 else -p[1])])


def singly(t: Any, y: Any, p: Any) -> Any:
    return np.array([y[1], -p[0] * y[0] + p[1] * float(t)])


BUMP = np.exp(-(np.linspace(-3, 3, 50) ** 2))
PROBLEMS: dict[Callable[..., Any], tuple[Any, Any, float]] = {
    lotka_volterra: (np.array([10.0, 5.0]), np.array([1.0, 0.1, 1.5, 0.075]), 10),
    reaction: (BUMP, np.array([20.0, 1.0]), 1),
    rolled: (BUMP, np.array([20.0, 1.0]), 1),
    arenstorf: (np.array([0.994, 0.0, 0.0, -2.00158510637908]), np.array([0.012277471]), 5),
    switched: (np.array([0.0, 1.0]), np.array([2.0, 0.1]), 10),
    singly: (np.array([0.0, 1.0]), np.array([2.0, 0.1]), 10),
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


def gradient_of(f: Any, y0: Any, p: Any, end: float, **options: Any) -> Callable[[], Any]:
    """A call that takes the gradient of a sum of squares in the initial state and the parameters."""

    def misfit(both: Any) -> Any:
        return np.sum(rmad.solve_ivp(f, (0, end), both[0], args=(both[1],), **options).y ** 2)

    gradient = rmad.grad(misfit)
    return lambda: gradient((y0, p))


def problems() -> None:
    print(
        f"{'problem':16s} {'method':8s} {'steps':>6s} {'solve, ms':>10s} {'gradient, solves':>17s} {'differences':>12s}"
    )
    for f, (y0, p, end) in PROBLEMS.items():
        for method in ("RK23", "RK45", "DOP853", "Radau"):
            tolerances = {"rtol": 1e-4, "atol": 1e-6} if method == "RK23" else {"rtol": 1e-8, "atol": 1e-8}
            options = {"method": method, "t_eval": np.linspace(0, end, 40), **tolerances}

            def solve(f: Any = f, y0: Any = y0, p: Any = p, end: Any = end, options: Any = options) -> Any:
                return scipy.integrate.solve_ivp(f, (0, end), y0, args=(p,), **options)

            steps = len(scipy.integrate.solve_ivp(f, (0, end), y0, args=(p,), **{**options, "t_eval": None}).t) - 1
            plain, reverse = medians(solve, gradient_of(f, y0, p, end, **options))
            n = y0.size + p.size + 1
            print(f"{f.__name__:16s} {method:8s} {steps:6d} {1e3 * plain:10.1f} {reverse / plain:17.1f} {n:12d}")


def with_constants(call: Callable[[], Any], **values: int) -> Callable[[], Any]:
    """The call with other values of constants of rmad.tuning."""

    def changed() -> Any:
        before = {name: getattr(tuning, name) for name in values}
        try:
            for name, value in values.items():
                setattr(tuning, name, value)
            return call()
        finally:
            for name, value in before.items():
                setattr(tuning, name, value)

    return changed


def constants() -> None:
    """Milliseconds of a gradient of `reaction` on n points, 40 RK45 steps, below and above a constant."""

    def gradient(n: int) -> Callable[[], Any]:
        y0, p = np.exp(-(np.linspace(-3, 3, n) ** 2)), np.array([20.0, 1.0])
        return gradient_of(reaction, y0, p, 1.0, rtol=1e3, atol=1e3, first_step=0.025, max_step=0.025)

    print(f"{'constant':20s} {'n':>6s} {'at n':>8s} {'above n':>8s}")
    for name, sizes in (("GROUPED_FROM", (8, 12, 16, 24, 48)), ("SPARSE_RATES_FROM", (50, 100, 200, 400, 800))):
        for n in sizes:
            calls = [with_constants(gradient(n), **{name: value}) for value in (n, n + 1)]
            at, above = medians(*calls, runs=5)
            print(f"{name:20s} {n:6d} {1e3 * at:8.1f} {1e3 * above:8.1f}")
    print(f"{'COLUMNS_AT_A_TIME':20s} {'n':>6s}" + "".join(f" {f'2^{k}':>8s}" for k in range(12, 21, 2)))
    for n in (50, 200, 800):
        found = medians(*(with_constants(gradient(n), COLUMNS_AT_A_TIME=1 << k) for k in range(12, 21, 2)), runs=5)
        print(f"{'':20s} {n:6d}" + "".join(f" {1e3 * seconds:8.1f}" for seconds in found))


def memory() -> None:
    """The peak of Python's and NumPy's memory, and the time, of the gradient of a run of N steps."""
    print(f"{'problem':16s} {'steps':>7s} {'RUN_NUMBERS':>12s} {'megabytes':>10s} {'seconds':>8s} {'solve':>8s}")
    for f, N in ((singly, 2_000), (singly, 5_000), (lotka_volterra, 20_000), (rolled, 5_000)):
        y0, p, _ = PROBLEMS[f]
        end = N * 1e-3
        options = {"rtol": 1e3, "atol": 1e3, "first_step": 1e-3, "max_step": 1e-3}
        start = time.process_time()
        scipy.integrate.solve_ivp(f, (0, end), y0, args=(p,), **options)
        solve = time.process_time() - start
        for numbers in (1 << 21, 1 << 23, 1 << 25, 1 << 40):
            call = with_constants(gradient_of(f, y0, p, end, **options), RUN_NUMBERS=numbers)
            start = time.process_time()
            call()
            seconds = time.process_time() - start
            tracemalloc.start()
            call()
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            print(
                f"{f.__name__:16s} {N:7d} {f'2^{numbers.bit_length() - 1}':>12s} {peak / 1e6:10.0f} {seconds:8.2f} "
                f"{solve:8.2f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["problems", "constants", "memory"], default="problems")
    {"problems": problems, "constants": constants, "memory": memory}[parser.parse_args().what]()


if __name__ == "__main__":
    main()
