"""CurveBall's table 1 and figure 1: small degenerate problems with known solutions.

    python examples/rosenbrock.py                 # 100 runs of every method, two minutes
    python examples/rosenbrock.py --runs 10 --methods curveball,lm
    python examples/rosenbrock.py --tune          # search the grids of SGD and Adam again

Rosenbrock's function with noise ε in its steep term, (1 − u)² + 100 ε (v − u²)², a new ε ~ U[a, b] for every update,
starts uniform in [−2, 2]²; and the network of two linear layers that Rahimi and Recht propose, fitted to y = Ax with a
badly conditioned A. The table counts the updates until the objective without noise is below 10⁻⁴.
Source: Henriques et al. (2018), section 4.1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np
import runner

import nn
import optim

TOLERANCE, MOST = 1e-4, 10_000
INPUTS, HIDDEN, OUTPUTS, CASES, CONDITION = 6, 10, 10, 1000, 1e5


class Squares:
    """L = ‖z‖² of one vector of residuals."""

    mean_over_cases = False

    def value(self, z: Any, t: Any) -> Any:
        return np.sum(z * z)

    def gradient(self, z: Any, t: Any) -> Any:
        return 2 * z

    def hessian_product(self, z: Any, t: Any, v: Any) -> Any:
        return 2 * v


@dataclass(frozen=True)
class Problem:
    """A column of the table: start(rng) makes model and loss, noise(rng) an update's x; value(model) is the true f."""

    title: str
    start: Callable[[np.random.Generator], tuple[Any, Any]]
    noise: Callable[[np.random.Generator], Any]
    value: Callable[[Any], float]
    t: Any = None


def residuals(p: Any, epsilon: Any) -> Any:
    return np.stack([1 - p[0], 10 * np.sqrt(epsilon) * (p[1] - p[0] ** 2)])


def rosenbrock(title: str, low: float, high: float) -> Problem:
    return Problem(
        title,
        lambda rng: (optim.Function(residuals, rng.uniform(-2, 2, 2)), Squares()),
        lambda rng: np.array(rng.uniform(low, high)),
        lambda model: float(np.sum(residuals(model.params, 1.0) ** 2)),
    )


def two_linear_layers() -> Problem:
    """x W₁W₂ ≈ x Aᵀ, mean over the cases of ‖·‖².

    Rahimi and Recht's data: the rows of A shrink from 1 to 10⁻⁵. The weights start as in the authors' code: N(0, 1)
    times 2/(hidden + inputs) and 1/hidden.
    """
    rng = np.random.default_rng(0)
    A = np.linspace(1, 1 / CONDITION, OUTPUTS)[:, None] * rng.random((OUTPUTS, INPUTS))
    x = rng.standard_normal((CASES, INPUTS))
    t = x @ A.T

    def start(rng: np.random.Generator) -> tuple[Any, Any]:
        weights = {
            "W1": 2 / (HIDDEN + INPUTS) * rng.standard_normal((INPUTS, HIDDEN)),
            "W2": 1 / HIDDEN * rng.standard_normal((HIDDEN, OUTPUTS)),
        }
        return optim.Function(lambda p, x: x @ p["W1"] @ p["W2"], weights), Doubled()

    return Problem("Rahimi & Recht", start, lambda rng: x, lambda model: float(np.sum((model(x) - t) ** 2)) / CASES, t)


class Doubled(nn.SquaredError):
    """L = Σ (z − t)² / n, without the half."""

    def value(self, z: Any, t: Any) -> Any:
        return 2 * super().value(z, t)

    def gradient(self, z: Any, t: Any) -> Any:
        return 2 * super().gradient(z, t)

    def value_and_gradient(self, z: Any, t: Any) -> tuple[Any, Any]:
        value, gradient = super().value_and_gradient(z, t)
        return 2 * value, 2 * gradient

    def curvature(self, z: Any, t: Any = None) -> Any:
        return type(super().curvature(z))(2 / len(z))


PROBLEMS = {
    "deterministic": rosenbrock("Rosenbrock", 1, 1),
    "noise1": rosenbrock("ε ~ U[0, 1]", 0, 1),
    "noise3": rosenbrock("ε ~ U[0, 3]", 0, 3),
    "linear": two_linear_layers(),
}
PUBLISHED = {
    "sgd": ("370 ± 40", "846 ± 217", "4069 ± 565", "95 ± 2"),
    "adam": ("799 ± 160.5", "1290 ± 476", "2750 ± 257", "95 ± 5"),
    "lm": ("16 ± 4", "8 ± 3", "11 ± 5", "9 ± 4"),
    "bfgs": ("19 ± 4", "44 ± 21", "63 ± 29", "43 ± 21"),
    "curveball": ("13 ± 0.5", "12 ± 1", "13 ± 1", "35 ± 11"),
}
METHODS: dict[str, tuple[str, Callable[..., Any]]] = {
    "sgd": ("SGD + momentum", optim.SGD),
    "adam": ("Adam", optim.Adam),
    "lm": ("Levenberg-Marquardt", optim.LevenbergMarquardt),
    "bfgs": ("BFGS", optim.BFGS),
    "curveball": ("CurveBall", optim.CurveBall),
}
ROSENBROCK_GRIDS: dict[str, dict[str, list[Any]]] = {
    "sgd": {"momentum": [0.98, 0.99, 0.95, 0.9, 0.8], "lr": [2e-4, 1e-4, 5e-5, 5e-4, 1e-3, 2e-3]},
    "adam": {"lr": [0.1, 0.3, 0.03, 0.01, 1.0], "betas": [(0.9, 0.999), (0.9, 0.99), (0.5, 0.999)]},
}
LINEAR_GRIDS: dict[str, dict[str, list[Any]]] = {
    "sgd": {"momentum": [0.8, 0.9, 0.5, 0.95], "lr": [0.05, 0.1, 0.02, 0.2, 0.01]},
    "adam": ROSENBROCK_GRIDS["adam"],
}
# The best points of the grids: the fewest updates on average, over other starts than those of the table.
TUNED: dict[str, dict[str, dict[str, Any]]] = {
    "sgd": {
        "deterministic": {"momentum": 0.98, "lr": 2e-4},
        "noise1": {"momentum": 0.99, "lr": 5e-5},
        "noise3": {"momentum": 0.95, "lr": 1e-4},
        "linear": {"momentum": 0.5, "lr": 0.2},
    },
    "adam": {
        "deterministic": {"lr": 1.0, "betas": (0.9, 0.999)},
        "noise1": {"lr": 0.03, "betas": (0.9, 0.99)},
        "noise3": {"lr": 0.03, "betas": (0.9, 0.99)},
        "linear": {"lr": 0.03, "betas": (0.5, 0.999)},
    },
}


@dataclass
class Run:
    """One start: the number of updates to the tolerance, MOST if it was not reached, the objectives and the path."""

    updates: int
    values: list[float]
    path: list[Any]


def run(method: str, problem: Problem, hyper: dict[str, Any], seed: list[int], most: int = MOST) -> Run:
    """Runs from one start until the true objective is below the tolerance; counts `most` updates if it never is."""
    rng = np.random.default_rng(seed)
    model, loss = problem.start(rng)
    opt = METHODS[method][1](model, loss, **hyper)
    opt.objective.threads = 1
    values, path = [problem.value(model)], [opt.objective.flat()[:2]]
    for k in range(1, most + 1):
        try:
            opt.step(problem.noise(rng), problem.t)
        except optim.TrainingDiverged:
            break
        values.append(problem.value(model))
        path.append(opt.objective.flat()[:2])
        if values[-1] < TOLERANCE:
            return Run(k, values, path)
        if not values[-1] < 1e12:
            break
    return Run(most, values, path)


def tune(method: str, name: str, starts: int) -> Any:
    """Finds the grid's point with the fewest updates on average; a point with more than the best so far ends early."""
    best = MOST * starts

    def score(**hyper: Any) -> float:
        nonlocal best
        total = 0
        for k in range(starts):
            total += run(method, PROBLEMS[name], hyper, [1, k], min(MOST, best - total + 1)).updates
            if total > best:
                return float("inf")
        best = total
        return total / starts

    return optim.grid_search(score, **(LINEAR_GRIDS if name == "linear" else ROSENBROCK_GRIDS)[method])


def table(results: dict[str, dict[str, list[int]]], problems: list[str]) -> str:
    """Returns our numbers with the published ones, mean ± standard deviation, and how many runs failed, if any."""
    rows = [["", *(f"{PROBLEMS[p].title}: ours, published" for p in problems)]]
    for method, columns in results.items():
        row = [METHODS[method][0]]
        for p in problems:
            counts = np.array(columns[p])
            done = counts[counts < MOST]
            ours = f"{done.mean():.1f} ± {done.std():.1f}" if len(done) else "–"
            missed = f" ({len(counts) - len(done)} of {len(counts)} not)" if len(done) < len(counts) else ""
            row.append(f"{ours}{missed}, {PUBLISHED[method][list(PROBLEMS).index(p)]}")
        rows.append(row)
    return runner.markdown(rows)


def draw(problem: Problem, hypers: dict[str, dict[str, Any]], seed: int, out: Path) -> None:
    """Draws figure 1: the paths of the methods from one start over the function's levels, and the objectives."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    u, v = np.meshgrid(np.linspace(-2, 2, 300), np.linspace(-2, 3, 300))
    levels = np.log10(1e-4 + (1 - u) ** 2 + 100 * (v - u**2) ** 2)
    left.contourf(u, v, levels, 30, cmap="Greys", alpha=0.8)
    for method, hyper in hypers.items():
        found = run(method, problem, hyper, [2, seed])
        label = f"{METHODS[method][0]}, {found.updates}"
        left.plot(*np.array(found.path).T, ".-", ms=3, lw=1, label=label)
        right.loglog(np.arange(1, len(found.values) + 1), found.values, label=label)
    left.plot(1, 1, "r*", ms=12)
    left.set(xlim=(-2, 2), ylim=(-2, 3), xlabel="u", ylabel="v", title=problem.title)
    right.set(xlabel="updates + 1", ylabel="objective without noise")
    right.grid(True, alpha=0.3)
    right.legend()
    runner.save_figure(figure, out, dpi=120)


def parser() -> runner.Parser:
    """Returns the parser of the command line."""
    p = runner.Parser("rosenbrock.py", __doc__)
    p.add_argument("--runs", type=runner.positive(int), default=100, help="number of starts per method (100)")
    p.add_argument("--methods", default=",".join(METHODS), help=f"some of {','.join(METHODS)}")
    p.add_argument("--problems", default=",".join(PROBLEMS), help=f"some of {','.join(PROBLEMS)}")
    p.add_argument("--seed", type=runner.natural, default=0, help="seed of starts and noise (0)")
    p.add_argument("--tune", action="store_true", help="search the grids of SGD and Adam")
    p.add_argument(
        "--tuning-starts", type=runner.positive(int), default=10, metavar="N", help="number of starts per point (10)"
    )
    p.add_argument("--out", type=Path, default=Path("rosenbrock.png"), help="the figure (rosenbrock.png)")
    return p


def chosen(p: runner.Parser, text: str, known: Any, what: str) -> list[str]:
    """Returns the names in a comma-separated list; ends the program if one is unknown."""
    names = text.split(",")
    for name in names:
        if name not in known:
            p.error(f"--{what}: {name} is none of {', '.join(known)}")
    return names


@runner.one_line("rosenbrock.py")
def main() -> int:
    """Runs every method on every problem, prints the table and draws the figure."""
    p = parser()
    args = p.parse_args()
    methods, problems = (
        chosen(p, args.methods, METHODS, "methods"),
        chosen(p, args.problems, PROBLEMS, "problems"),
    )
    results: dict[str, dict[str, list[int]]] = {method: {} for method in methods}
    for name in problems:
        for method in methods:
            hyper = TUNED.get(method, {}).get(name, {})
            if args.tune and method in TUNED:
                found = tune(method, name, args.tuning_starts)
                hyper = TUNED[method][name] = found.best
                print(f"{name}, {method}: {hyper}, {found.score:.1f} updates", flush=True)
            runs = [run(method, PROBLEMS[name], hyper, [args.seed, k]) for k in range(args.runs)]
            results[method][name] = [one.updates for one in runs]
            print(f"{name}, {method}: {np.mean(results[method][name]):.1f}", file=sys.stderr, flush=True)
    print(table(results, problems))
    column = next((name for name in ("noise1", "noise3", "deterministic") if name in problems), None)
    if column:
        hypers = {method: TUNED.get(method, {}).get(column, {}) for method in methods}
        draw(PROBLEMS[column], hypers, args.seed, args.out)
        print(f"figure: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
