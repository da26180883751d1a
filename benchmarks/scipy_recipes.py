"""SciPy's solvers with rmad's derivatives, next to their own finite differences: the recipes of the page on SciPy.

    python benchmarks/scipy_recipes.py [--rounds 5] [--only NAME]

A whole solve each: CPU time of one BLAS thread, both in turn, medians over rounds; and calls of the function with plain
numbers, without the runs that rmad records. Both must find the same.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import rmad  # first: it may choose the BLAS kernel

# isort: split
import numpy as np
from scipy import integrate, optimize, sparse
from scipy.sparse.linalg import LinearOperator, splu

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

Solve = Callable[..., Any]  # (f, **options) → the solution
Recipe = tuple[Callable[..., Any], Solve, dict[str, Any], dict[str, Any]]  # f, solve, options of rmad, of SciPy alone
RNG = np.random.default_rng(0)


def peaks(t: Any, *p: Any) -> Any:
    """A sum of Gaussian peaks: height, place and width of each."""
    a, m, s = np.array(p).reshape(-1, 3, 1).swapaxes(0, 1)
    return np.sum(a * np.exp(-(((t - m) / s) ** 2)), axis=0)


def curve_fit() -> Recipe:
    t = np.linspace(0, 10, 1000)
    true = np.ravel([[1 + k % 3, 0.7 + k, 0.3] for k in range(10)])
    y = peaks(t, *true) + 0.02 * RNG.normal(size=len(t))
    start = true * RNG.uniform(0.95, 1.05, len(true))
    jac = rmad.jacobian(peaks, argnums=range(1, 31), flat=True)
    return peaks, lambda f, **o: optimize.curve_fit(f, t, y, start, **o)[0], {"jac": jac}, {}


def robust_fit() -> Recipe:
    t = np.linspace(0, 10, 1000)
    true = np.ravel([[1 + k % 3, 0.7 + k, 0.3] for k in range(10)])
    y = peaks(t, *true) + 0.02 * RNG.normal(size=len(t)) + 3 * (RNG.random(len(t)) < 0.05)
    start = true * RNG.uniform(0.98, 1.02, len(true))

    def residuals(p: Any) -> Any:
        return peaks(t, *p) - y

    def solve(f: Any, **options: Any) -> Any:
        return optimize.least_squares(f, start, loss="soft_l1", f_scale=0.1, bounds=(0, 12), **options).x

    return residuals, solve, {"jac": rmad.jacobian(residuals)}, {}


def bratu(n: int) -> tuple[Callable[[Any], Any], Any]:
    """−Δu − 3 eᵘ on n × n points, and the matrix of −Δ."""
    one = sparse.diags_array([-1.0, 2, -1], offsets=[-1, 0, 1], shape=(n, n)) * (n + 1) ** 2
    L = sparse.kronsum(one, one).tocsr()
    return lambda u: L @ u - 3 * np.exp(u), L


def sparse_least_squares(operator: bool = False) -> Recipe:
    f, L = bratu(24)

    def solve(f: Any, **options: Any) -> Any:
        return optimize.least_squares(f, np.zeros(576), tr_solver="lsmr", **options).x

    jac = partial(rmad.JacobianOperator, f) if operator else rmad.sparse_jacobian(f)
    return f, solve, {"jac": jac}, {"jac_sparsity": L != 0}


def regression() -> tuple[Callable[[Any], Any], int]:
    X, n = RNG.normal(size=(2000, 100)), 100
    sign = np.where(X @ RNG.normal(size=n) + RNG.normal(size=2000) > 0, -1.0, 1.0)
    return lambda w: np.sum(np.logaddexp(0, sign * (X @ w))) / 200 + w @ w, n


def bfgs() -> Recipe:
    f, n = regression()
    return f, lambda f, **o: optimize.minimize(f, np.zeros(n), **o).x, {"jac": rmad.grad(f)}, {}


def trust_krylov() -> Recipe:
    f, n = regression()
    second = {"hess": partial(rmad.HessianOperator, f), "method": "trust-krylov"}
    return f, lambda f, **o: optimize.minimize(f, np.zeros(n), **o).x, {"jac": rmad.grad(f), **second}, {}


def chain(method: str) -> Recipe:
    """A hanging chain of 30 links: the least energy, with links of length one."""
    n = 29
    span = np.array([20.0, 0.0])

    def energy(x: Any) -> Any:
        return np.sum(x[n:])

    def links(x: Any) -> Any:
        points = np.concatenate([np.zeros((1, 2)), x.reshape(2, n).T, span[None]])
        return np.sum((points[1:] - points[:-1]) ** 2, axis=1) - 1

    def weighted(x: Any, v: Any) -> Any:
        return v @ links(x)

    inside = np.linspace(0, 20, n + 2)[1:-1]
    start = np.concatenate([inside, inside * (inside - 20) / 12])

    def solve(f: Any, jac: Any = "2-point", hess: Any = None, links_too: Any = None) -> Any:
        tight = optimize.NonlinearConstraint(links, 0, 0, **(links_too or {}))
        options = {"maxiter": 3000, **({"gtol": 1e-6, "xtol": 1e-9} if method == "trust-constr" else {"ftol": 1e-9})}
        return optimize.minimize(f, start, method=method, jac=jac, hess=hess, constraints=tight, options=options).x

    if method == "SLSQP":
        return energy, solve, {"jac": rmad.grad(energy), "links_too": {"jac": rmad.jacobian(links)}}, {}
    exact = {"jac": rmad.jacobian(links), "hess": rmad.hessian(weighted)}
    first = {"hess": optimize.BFGS(), "links_too": {"hess": optimize.BFGS()}}
    return energy, solve, {"jac": rmad.grad(energy), "hess": rmad.hessian(energy), "links_too": exact}, first


def root() -> Recipe:
    f, _ = bratu(14)
    return f, lambda f, **o: optimize.root(f, np.zeros(196), **o).x, {"jac": rmad.jacobian(f)}, {}


def newton_krylov() -> Recipe:
    f, _ = bratu(40)

    def solve(f: Any, factored: bool = False) -> Any:
        inner = {}
        if factored:
            inner = {
                "inner_M": LinearOperator((1600, 1600), splu(rmad.sparse_jacobian(f)(np.zeros(1600)).tocsc()).solve)
            }
        return optimize.newton_krylov(f, np.zeros(1600), f_tol=1e-6, **inner)

    return f, solve, {"factored": True}, {}


def brusselator(n: int) -> Callable[[Any, Any], Any]:
    def slopes(t: Any, y: Any) -> Any:
        u, v = y[:n], y[n:]
        wide = np.concatenate([[1.0], u, [1.0]]), np.concatenate([[3.0], v, [3.0]])
        du, dv = (0.02 * (n + 1) ** 2 * (w[2:] - 2 * w[1:-1] + w[:-2]) for w in wide)
        return np.concatenate([1 + u * u * v - 4 * u + du, 3 * u - u * u * v + dv])

    return slopes


def stiff(method: str, by_sparse: bool) -> Recipe:
    n = 60
    f, x = brusselator(n), np.linspace(0, 1, n + 2)[1:-1]
    y0 = np.concatenate([1 + np.sin(2 * np.pi * x), np.full(n, 3.0)])

    def solve(f: Any, **options: Any) -> Any:
        return integrate.solve_ivp(f, (0, 10), y0, method=method, rtol=1e-5, **options).y[:, -1]

    near = sparse.diags_array([1] * 5, offsets=[-n, -1, 0, 1, n], shape=(2 * n, 2 * n))
    kind = rmad.sparse_jacobian if by_sparse else rmad.jacobian
    return f, solve, {"jac": kind(f, argnums=1)}, {"jac_sparsity": near} if by_sparse else {}


def boundary() -> Recipe:
    def shock(x: Any, y: Any) -> Any:
        return np.vstack(
            (y[1], -(x * y[1] + 0.001 * np.pi**2 * np.cos(np.pi * x) + np.pi * x * np.sin(np.pi * x)) / 0.001)
        )

    def ends(ya: Any, yb: Any) -> Any:
        return np.array([ya[0] + 2, yb[0]])

    def solve(f: Any, **options: Any) -> Any:
        x = np.linspace(-1, 1, 9)
        start = np.vstack((x - 1, np.ones(9)))
        return integrate.solve_bvp(f, ends, x, start, max_nodes=5000, **options).sol(np.linspace(-1, 1, 9))

    jacs = {"fun_jac": rmad.jacobian(shock, 1, points=(0, 1)), "bc_jac": rmad.jacobian(ends, (0, 1))}
    return shock, solve, jacs, {}


def standard_errors() -> Recipe:
    f, n = regression()
    w = np.zeros(n)

    def solve(f: Any, hessian: Any = None) -> Any:
        if hessian is None:  # second differences
            gradient = partial(optimize.approx_fprime, f=f, epsilon=1e-5)
            H = np.array([gradient(w + e) - gradient(w - e) for e in 1e-4 * np.eye(n)]) / 2e-4
        else:
            H = hessian(w)
        return np.sqrt(np.diag(np.linalg.inv(H)))

    return f, solve, {"hessian": rmad.hessian(f)}, {}


RECIPES: dict[str, Callable[[], Recipe]] = {
    "curve_fit, 1000 points, 30 parameters": curve_fit,
    "least_squares, robust, in bounds, 30 parameters": robust_fit,
    "least_squares, sparse Jacobian, 576 unknowns": sparse_least_squares,
    "least_squares, operator, 576 unknowns": partial(sparse_least_squares, True),
    "minimize, BFGS, 100 variables": bfgs,
    "minimize, trust-krylov (differences: BFGS), 100 variables": trust_krylov,
    "minimize, SLSQP, 58 variables, 30 constraints": partial(chain, "SLSQP"),
    "minimize, trust-constr with Hessians, the same": partial(chain, "trust-constr"),
    "root, 196 unknowns": root,
    "newton_krylov, preconditioned, 1600 unknowns": newton_krylov,
    "solve_ivp, Radau, 120 equations, dense": partial(stiff, "Radau", False),
    "solve_ivp, Radau, 120 equations, sparse": partial(stiff, "Radau", True),
    "solve_ivp, BDF, 120 equations, dense": partial(stiff, "BDF", False),
    "solve_ivp, BDF, 120 equations, sparse": partial(stiff, "BDF", True),
    "solve_bvp, a shock layer": boundary,
    "standard errors from a Hessian, 100 parameters": standard_errors,
}


class Counted:
    def __init__(self, f: Any) -> None:
        self.f, self.calls = f, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self.f(*args, **kwargs)


def measured(name: str, rounds: int) -> list[str]:
    f, solve, ours, theirs = RECIPES[name]()
    both = {"rmad": ours, "SciPy": theirs}
    times: dict[str, list[float]] = {who: [] for who in both}
    calls, found = {}, {}
    for k in range(rounds + 1):
        for who, options in both.items():
            counted = Counted(f)
            start = time.process_time()
            found[who] = solve(counted, **options)
            if k:  # the first one imports
                times[who].append(time.process_time() - start)
            calls[who] = counted.calls
    error = np.max(np.abs(found["rmad"] - found["SciPy"])) / np.max(np.abs(found["SciPy"]))
    if not error < 0.02:
        raise ArithmeticError(f"{name}: the solutions differ by {error:.1e}")
    ours_ms, theirs_ms = (1e3 * statistics.median(times[who]) for who in both)
    counts = [str(calls[who]) for who in both]
    return [name, f"{ours_ms:.0f}", f"{theirs_ms:.0f}", f"{theirs_ms / ours_ms:.1f}", *counts]


def main() -> None:
    import runner
    from threadpoolctl import threadpool_limits

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="recipes whose names contain this")
    options = parser.parse_args()
    head = ["task", "rmad, ms", "differences, ms", "ratio", "calls with rmad", "with differences"]
    with threadpool_limits(1):
        table = [measured(name, options.rounds) for name in RECIPES if options.only in name]
    print(runner.markdown([head, *table]))


if __name__ == "__main__":
    main()
