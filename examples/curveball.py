"""CurveBall's figure 2 and table 2: training error per epoch and per second, compared with momentum SGD and Adam.

    python examples/curveball.py                          # MNIST: 784-128-64-32-10 with tanh
    python examples/curveball.py --net basic              # CIFAR-10: five convolutions, also basic-bn, resnet
    python examples/curveball.py --net resnet --n-train 1000 --epochs 2 --methods curveball-lambda,sgd:0.01
    python examples/curveball.py --resume                 # continues an interrupted command

curveball-lambda rescales λ, curveball does not; λ is 1 at the start with batch normalisation and 10 without. sgd (with
momentum 0.9) and adam take the learning rate 10⁻ᵏ with the lowest loss of a short run, unless one is given, as in
sgd:0.01. Images of CIFAR-10 are standardised, but not augmented. Errors are measured after every epoch, in percent;
with batch normalisation the training error is measured on batches with their own statistics, as in training.
Source: Henriques et al. (2018), sections 4.2 and 4.4; batch sizes: the authors' code.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import comparison
import numpy as np
import runner
from comparison import Curve

import nn
import optim

Make = Callable[..., Any]


class Problem(NamedTuple):
    """A network and its data; published: best error in percent, training / validation, by method."""

    load: comparison.Load
    model: Make
    batch: int
    epochs: int
    damping: float
    published: dict[str, str]


cifar10 = comparison.standardized(comparison.cases(nn.data.cifar10))
NAMES = ("curveball-lambda", "curveball", "sgd", "adam")


def published(*cells: str) -> dict[str, str]:
    """Returns the paper's cells by method."""
    return dict(zip(NAMES, cells, strict=True))


PROBLEMS = {
    "mnist": Problem(comparison.cases(nn.data.mnist), nn.models.curveball_mnist, 64, 10, 10.0, {}),
    "basic": Problem(
        cifar10,
        nn.models.curveball_cifar,
        128,
        20,
        10.0,
        published("14.1 / 19.9", "15.3 / 19.3", "18.9 / 21.1", "15.7 / 19.7"),
    ),
    "basic-bn": Problem(
        cifar10,
        functools.partial(nn.models.curveball_cifar, batch_norm=True),
        128,
        20,
        1.0,
        published("7.6 / 16.3", "9.4 / 15.8", "10.0 / 16.1", "9.6 / 16.1"),
    ),
    "resnet": Problem(
        cifar10,
        nn.models.resnet18,
        128,
        120,
        1.0,
        published("0.7 / 15.3", "1.3 / 16.1", "2.1 / 12.8", "1.4 / 14.0"),
    ),
}
MAKERS: dict[str, Make] = {
    "sgd": functools.partial(optim.SGD, momentum=0.9),
    "adam": optim.Adam,
}
RATES = {"sgd": (0.1, 0.01, 0.001), "adam": (0.01, 0.001, 0.0001)}


class Study:
    """The runs of one network: a seed determines the weights and the order of the cases."""

    def __init__(self, series: runner.Series, problem: Problem, data: Any, args: argparse.Namespace) -> None:
        self.series, self.problem, self.data, self.args = series, problem, data, args
        self.damping = problem.damping if args.damping is None else args.damping
        self.model = functools.partial(problem.model, **({"width": args.width} if args.width else {}))

    def train(self, label: str, make: Make, data: Any, epochs: int, seed: int) -> Curve:
        """Trains a new model with one method."""
        batch, judged = self.args.batch or self.problem.batch, slice(self.args.judged)

        def measure(model: Any) -> dict[str, float]:
            test = comparison.error(model, data.x_test, data.t_test)
            model.train()  # the paper measures the training error on batches with their own statistics
            return {"test": test, "error": comparison.error(model, data.x_train[judged], data.t_train[judged], batch)}

        model = runner.on_device(self.series, self.model(rng=np.random.default_rng(seed)))
        optimizer = make(model, nn.SoftmaxCrossEntropy())
        return comparison.train(self.series, label, optimizer, data, batch, epochs, seed, measure, self.args.seconds)

    def method(self, name: str) -> tuple[str, Make]:
        """Returns label and maker; first-order methods without a learning rate are tuned."""
        kind, _, rate = name.partition(":")
        if kind in MAKERS:
            lr = float(rate) if rate else self.tuned(kind)
            return f"{kind}:{lr:g}", functools.partial(MAKERS[kind], lr=lr)
        damping, rescaled = float(rate) if rate else self.damping, kind == "curveball-lambda"
        return f"{kind}:{damping:g}", functools.partial(optim.CurveBall, damping=damping, adapt_damping=rescaled)

    def tuned(self, kind: str) -> float:
        """Returns the learning rate with the lowest mean loss in the last of --tuning-epochs, from other weights."""
        data = comparison.first(self.data, self.args.tuning_cases, 1)

        def run(label: str, lr: float) -> Curve:
            make = functools.partial(MAKERS[kind], lr=lr)
            return self.train(label, make, data, self.args.tuning_epochs, self.args.seed + 1000)

        return comparison.tuned(kind, RATES[kind], run)

    def run(self, methods: list[str]) -> dict[str, list[Curve]]:
        """Returns the curves of every method, one per seed."""
        curves: dict[str, list[Curve]] = {}
        for label, make in map(self.method, methods):
            curves[label] = []
            for seed in range(self.args.seed, self.args.seed + self.args.seeds):
                epochs = self.args.epochs or self.problem.epochs
                curve = self.train(label, make, self.data, epochs, seed)
                curves[label].append(curve)
                last = f"{curve.error[-1]:.2f} / {curve.test[-1]:.2f} %" if curve.error else curve.end
                print(f"{label}, seed {seed}: {len(curve.error)} epochs, {last}", file=sys.stderr, flush=True)
        return curves


def table(problem: Problem, curves: dict[str, list[Curve]]) -> str:
    """Returns the best errors, means over the seeds, with the paper's, and the training errors by epochs."""
    finished = {label: [c for c in runs if c.error] for label, runs in curves.items()}
    best = [["best error, %", "epochs", "training", "test", "paper", "seconds"]]
    best += [best_errors(problem, label, runs) for label, runs in finished.items()]
    return runner.markdown(best) + "\n\n" + runner.markdown(errors_by_epoch(finished))


def best_errors(problem: Problem, label: str, runs: list[Curve]) -> list[str]:
    """Returns the row of a method in the table of best errors."""
    paper = problem.published.get(label.partition(":")[0], "")
    if not runs:
        return [label, "0", "–", "–", paper, "–"]
    training, test = (f"{np.mean([min(getattr(c, name)) for c in runs]):.2f}" for name in ("error", "test"))
    epochs, seconds = max(len(c.error) for c in runs), np.mean([c.seconds[-1] for c in runs])
    return [label, str(epochs), training, test, paper, f"{seconds:.0f}"]


def errors_by_epoch(finished: dict[str, list[Curve]]) -> list[list[str]]:
    """Returns the table of training errors after the first five epochs, every fifth one, and the last."""
    most = max((len(c.error) for runs in finished.values() for c in runs), default=0)
    shown = [e for e in range(1, most + 1) if e <= 5 or e % 5 == 0 or e == most]
    rows = [["training error, % after epochs", *map(str, shown)]]
    for label, runs in finished.items():
        if runs:
            means = [comparison.at_epoch(runs, "error", e) for e in shown]
            rows.append([label, *(f"{np.mean(m):.2f}" if len(m) else "–" for m in means)])
    return rows


def check(name: str) -> str:
    """Reads a method; an argparse type."""
    kind, colon, number = name.partition(":")
    try:
        right = kind in NAMES and (not colon or 0 < float(number) < math.inf)
    except ValueError:  # no number
        right = False
    if not right:
        raise argparse.ArgumentTypeError(f"{name}: expected one of {', '.join(NAMES)}, and :NUMBER or nothing")
    return name


def parser() -> runner.Parser:
    """Returns the parser of the command line."""
    p = runner.Parser("curveball.py", __doc__)
    whole = runner.positive(int)
    p.add_argument("--net", choices=PROBLEMS, default="mnist")
    text = f"comma-separated ({','.join(NAMES)}); a number after a colon is λ, or the learning rate"
    p.add_argument("--methods", type=runner.listed(check), default=NAMES, help=text)
    text = "prefix of results: figure OUT-mnist.png, runs in OUT-mnist, …"
    p.add_runs(seeds=1, epochs="10 for mnist, otherwise as in the paper", out="curveball", text=text)
    p.add_limits()
    runner.Series.add_options(p)
    p.add_argument("--batch", type=whole, help="64 for mnist, 128 for the others")
    p.add_argument("--damping", type=runner.positive(float), help="λ at the start")
    p.add_argument("--width", type=whole, help="number of channels of the first stage of resnet (64)")
    p.add_argument("--judged", type=whole, default=10000, help="number of training cases for the error (10000)")
    p.add_argument("--tuning-cases", type=whole, help="number of cases of a run of the grid search (all)")
    p.add_argument("--tuning-epochs", type=whole, default=5, help="number of epochs of such a run (5)")
    return p


@runner.one_line("curveball.py")
def main() -> int:
    """Trains with every method, prints the tables and draws the figure."""
    p = parser()
    args = p.parse_args()
    problem = PROBLEMS[args.net]
    if args.width and args.net != "resnet":
        p.error(f"--width means nothing to --net {args.net}")
    with p.refusing():
        data = runner.on_device(args, problem.load(args.data_dir, args.n_train, args.n_test))
    with runner.Series(p.prog, comparison.results(args, args.net), args) as series:
        curves = Study(series, problem, data, args).run(args.methods)
    print(table(problem, curves))
    labels = {"error": "training error, %", "test": "test error, %"}
    comparison.draw(args, args.net, curves, labels, logarithmic=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
