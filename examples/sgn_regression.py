"""SGN's regression benchmarks: Boston housing and a noisy sine wave, SGN beside SGD.

    python examples/sgn_regression.py                        # both, 5 seeds: about a minute
    python examples/sgn_regression.py --problem sine --methods sgn:20 --seeds 10

Sigmoid nets 13-100-100-1 (batches of 101, 20 epochs) and 1-20-20-20-1 (batches of 1000 of 7000, 10 epochs) on the plain
mean square; every run starts from the same N(0, 1) weights, the seeds give the order of the cases. SGN as in the
paper: damping 1e-4, floor 1e-6, line search, trust region. Source: Gargiani et al. (2020), sections 4.1, 4.2.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
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
    """Σ (z − t)² over the number of entries, as the paper's code has it (no half)."""

    def value(self, z: Any, t: Any) -> Any:
        return np.mean(np.square(z - t), dtype=np.float64)

    def gradient(self, z: Any, t: Any) -> Any:
        return (2 / z.size) * (z - t)

    def hessian_product(self, z: Any, t: Any, v: Any) -> Any:
        return (2 / z.size) * v


@dataclass(frozen=True)
class Problem:
    sizes: tuple[int, ...]
    batch: int
    epochs: int
    published: dict[str, tuple[str, str]]  # of training and of test, after these epochs


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
    return nn.data.boston(data_dir) if name == "boston" else nn.data.sine(7000, 3000)


def run(
    series: runner.Series, name: str, methods: list[str], seeds: int, data: Any, epochs: int
) -> dict[str, list[Curve]]:
    """The curves of every method, one for each seed."""
    problem, loss = PROBLEMS[name], MeanSquare()

    def measure(model: Any) -> dict[str, float]:
        return {"test": float(loss.value(model(data.x_test), data.t_test))}

    curves = {}
    for method in methods:
        label, make = comparison.method(method, **SGN)
        curves[label] = [
            comparison.train(
                series, label, make(comparison.mlp(problem.sizes), loss), data, problem.batch, epochs, seed, measure
            )
            for seed in range(seeds)
        ]
    return curves


def table(name: str, curves: dict[str, list[Curve]], epochs: int) -> str:
    """Losses after the epochs: ours over the seeds, and the paper's."""
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


def parser() -> argparse.ArgumentParser:
    p = runner.Parser(
        prog="sgn_regression.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--problem", choices=(*PROBLEMS, "both"), default="both")
    p.add_argument("--methods", default=METHODS, help=f"sgn:STEPS and sgd:LR, with commas between ({METHODS})")
    p.add_argument("--seeds", type=runner.positive(int), default=5, help="runs of every method (5)")
    p.add_argument("--epochs", type=runner.positive(int), help="20 for boston, 10 for sine")
    p.add_argument("--data-dir", help="the folder of the data sets")
    p.add_argument("--out", type=Path, default=Path("sgn"), help="figures OUT-boston.png, …; runs in OUT-boston, …")
    runner.Series.add_options(p)
    return p


@runner.one_line("sgn_regression.py")
def main() -> int:
    p = parser()
    args = p.parse_args()
    methods = args.methods.split(",")
    try:
        for method in methods:
            comparison.method(method)
        names = tuple(PROBLEMS) if args.problem == "both" else (args.problem,)
        data = {name: load(name, args.data_dir) for name in names}
    except (OSError, ValueError) as problem:
        p.error(" ".join(str(problem).split()))
    for name in names:
        epochs = args.epochs or PROBLEMS[name].epochs
        with runner.Series(p.prog, args.out.with_name(f"{args.out.name}-{name}"), args) as series:
            curves = run(series, name, methods, args.seeds, data[name], epochs)
        print(table(name, curves, epochs))
        path = args.out.with_name(f"{args.out.name}-{name}.png")
        labels = {"train": "training loss", "test": "test loss"}
        comparison.draw(curves, labels, path, f"{name}, {comparison.how_many(args.seeds)}", logarithmic=True)
        print(f"figure: {path}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
