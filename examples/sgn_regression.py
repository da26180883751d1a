"""SGN's regression benchmarks: SGN and SGD on Boston housing and on a noisy sine wave.

    python examples/sgn_regression.py                        # both, 5 seeds: about a minute
    python examples/sgn_regression.py --problem sine --methods sgn:20 --seeds 10

Sigmoid nets 13-100-100-1 (batches of 101, 20 epochs) and 1-20-20-20-1 (batches of 1000 of 7000, 10 epochs) on the plain
mean square; every run starts from the same N(0, 1) weights, seeds determine the order of the cases. SGN as in the
paper: damping 1e-4, floor 1e-6, line search, trust region. Source: Gargiani et al. (2020), sections 4.1, 4.2.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import comparison
import numpy as np
import runner
from comparison import Curve

import nn

SGN = {"damping": 1e-4, "damping_min": 1e-6}
METHODS = "sgn:10,sgn:20,sgd:0.001,sgd:0.01,sgd:0.1"


class MeanSquare:
    """L = Σ (z − t)² over the number of entries, without a half, as in the paper's code."""

    def value(self, z: Any, t: Any) -> Any:
        """Returns L."""
        return np.mean(np.square(z - t), dtype=np.float64)

    def gradient(self, z: Any, t: Any) -> Any:
        """Returns ∂L/∂z."""
        return (2 / z.size) * (z - t)

    def hessian_product(self, z: Any, t: Any, v: Any) -> Any:
        """Returns L″ v."""
        return (2 / z.size) * v


@dataclass(frozen=True)
class Problem:
    """A network and its training; published: training and test loss by method, after these epochs."""

    sizes: tuple[int, ...]
    batch: int
    epochs: int
    published: dict[str, tuple[str, str]]


PROBLEMS = {
    "boston": Problem(
        (13, 100, 100, 1),
        101,
        20,
        {"SGN(10)": ("0.0107", "0.0102")} | {f"SGD({lr})": ("0.035", "") for lr in ("0.001", "0.01", "0.1")},
    ),
    "sine": Problem((1, 20, 20, 20, 1), 1000, 10, {"SGN(10)": ("", "3.1e-4"), "SGN(20)": ("", "1.2e-4")}),
}


def load(name: str, data_dir: str | None) -> Any:
    """Loads the data of a problem."""
    return nn.data.boston(data_dir) if name == "boston" else nn.data.sine(7000, 3000)


def run(
    series: runner.Series, name: str, methods: list[str], seeds: int, data: Any, epochs: int
) -> dict[str, list[Curve]]:
    """Returns the curves of every method, one per seed."""
    problem, loss = PROBLEMS[name], MeanSquare()

    def measure(model: Any) -> dict[str, float]:
        return {"test": float(loss.value(model(data.x_test), data.t_test))}

    curves: dict[str, list[Curve]] = {}
    for method in methods:
        label, make = comparison.method(method, **SGN)
        curves[label] = []
        for seed in range(seeds):
            optimizer = make(runner.on_device(series, comparison.mlp(problem.sizes)), loss)
            curve = comparison.train(series, label, optimizer, data, problem.batch, epochs, seed, measure)
            curves[label].append(curve)
    return curves


def table(name: str, curves: dict[str, list[Curve]], epochs: int) -> str:
    """Returns the losses after the epochs: ours over the seeds, and the paper's."""
    rows = [["", "training loss: median [range], mean", "paper", "test loss: median [range], mean", "paper", "seconds"]]
    for label, runs in curves.items():
        published = PROBLEMS[name].published.get(label, ("", ""))
        train, test = (comparison.at_epoch(runs, what, epochs) for what in ("train", "test"))
        seconds = comparison.at_epoch(runs, "seconds", epochs)
        rows.append(
            [
                label + "".join(f" ({len(runs) - len(train)} diverged)" for _ in range(len(train) < len(runs))),
                comparison.spread(train),
                published[0],
                comparison.spread(test),
                published[1],
                f"{np.mean(seconds):.2f}" if len(seconds) else "–",
            ]
        )
    return f"{name}, after {epochs} epochs\n\n{runner.markdown(rows)}\n"


def parser() -> runner.Parser:
    """Returns the parser of the command line."""
    p = runner.Parser("sgn_regression.py", __doc__)
    p.add_argument("--problem", choices=(*PROBLEMS, "both"), default="both")
    p.add_argument("--methods", default=METHODS, help=f"sgn:STEPS and sgd:LR, comma-separated ({METHODS})")
    text = "prefix of results: figures OUT-boston.png, …; runs in OUT-boston, …"
    p.add_runs(seeds=5, epochs="20 for boston, 10 for sine", out="sgn", text=text)
    runner.Series.add_options(p)
    return p


@runner.one_line("sgn_regression.py")
def main() -> int:
    """Trains with every method, prints the tables and draws the figures."""
    p = parser()
    args = p.parse_args()
    methods = args.methods.split(",")
    names = tuple(PROBLEMS) if args.problem == "both" else (args.problem,)
    with p.refusing():
        for method in methods:
            comparison.method(method)
        data = {name: runner.on_device(args, load(name, args.data_dir)) for name in names}
    for name in names:
        epochs = args.epochs or PROBLEMS[name].epochs
        with runner.Series(p.prog, comparison.results(args, name), args) as series:
            curves = run(series, name, methods, args.seeds, data[name], epochs)
        print(table(name, curves, epochs))
        labels = {"train": "training loss", "test": "test loss"}
        comparison.draw(args, name, curves, labels, logarithmic=True)
        print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
