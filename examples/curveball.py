"""CurveBall's figure 2 and table 2: training error per epoch and per second, beside SGD with momentum and Adam.

    python examples/curveball.py                          # MNIST: 784-128-64-32-10 with tanh
    python examples/curveball.py --net basic              # CIFAR-10: five convolutions, also basic-bn, resnet
    python examples/curveball.py --net resnet --n-train 1000 --epochs 2 --methods curveball-lambda,sgd:0.01
    python examples/curveball.py --resume                 # where the same command was cut

curveball-lambda rescales λ, curveball does not; λ is 1 at the start with batch normalisation and 10 without. sgd (its
momentum 0.9) and adam take the learning rate 10⁻ᵏ with the lowest loss of a short run, unless one is given, as in
sgd:0.01. Images of CIFAR-10 are standardised, and not augmented. Errors are measured after every epoch, in percent;
with batch normalisation the training error is that of batches with their own statistics, as in training.
Source: Henriques et al. (2018), sections 4.2 and 4.4; batch sizes: the authors' code.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections.abc import Callable
from pathlib import Path
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
    """published: best error in percent, training and validation, by method."""

    load: Callable[[str | None], Any]
    model: Make
    batch: int
    epochs: int
    damping: float
    published: dict[str, str]


def cifar10(folder: str | None) -> Any:
    return comparison.standardized(nn.data.cifar10(folder))


NAMES = ("curveball-lambda", "curveball", "sgd", "adam")


def published(*cells: str) -> dict[str, str]:
    return dict(zip(NAMES, cells, strict=True))


PROBLEMS = {
    "mnist": Problem(nn.data.mnist, nn.models.curveball_mnist, 64, 10, 10.0, {}),
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
    """The runs of one network: seeds give the weights and the order of the cases."""

    def __init__(self, series: runner.Series, problem: Problem, data: Any, args: argparse.Namespace) -> None:
        self.series, self.problem, self.data, self.args = series, problem, data, args
        self.damping = problem.damping if args.damping is None else args.damping
        self.model = functools.partial(problem.model, **({"width": args.width} if args.width else {}))

    def train(self, label: str, make: Make, data: Any, epochs: int, seed: int) -> Curve:
        batch, judged = self.args.batch or self.problem.batch, slice(self.args.judged)

        def measure(model: Any) -> dict[str, float]:
            test = comparison.error(model, data.x_test, data.t_test)
            model.train()  # the training error is that of batches with their own statistics, as in the paper
            return {"test": test, "error": comparison.error(model, data.x_train[judged], data.t_train[judged], batch)}

        optimizer = make(self.model(rng=np.random.default_rng(seed)), nn.SoftmaxCrossEntropy())
        return comparison.train(self.series, label, optimizer, data, batch, epochs, seed, measure, self.args.seconds)

    def method(self, name: str) -> tuple[str, Make]:
        """Label and maker; first-order methods without a learning rate are tuned."""
        kind, _, rate = name.partition(":")
        if kind in MAKERS:
            lr = float(rate) if rate else self.tuned(kind)
            return f"{kind}:{lr:g}", functools.partial(MAKERS[kind], lr=lr)
        damping, rescaled = float(rate) if rate else self.damping, kind == "curveball-lambda"
        return f"{kind}:{damping:g}", functools.partial(optim.CurveBall, damping=damping, adapt_damping=rescaled)

    def tuned(self, kind: str) -> float:
        """The learning rate with the lowest mean loss in the last of --tuning-epochs, of weights of their own."""
        data = comparison.first(self.data, self.args.tuning_cases, 1)

        def run(label: str, lr: float) -> Curve:
            make = functools.partial(MAKERS[kind], lr=lr)
            return self.train(label, make, data, self.args.tuning_epochs, self.args.seed + 1000)

        return comparison.tuned(kind, RATES[kind], run)

    def run(self, methods: list[str]) -> dict[str, list[Curve]]:
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
    """Best errors, means over the seeds, beside the paper's; and the training error epoch by epoch."""
    most = max((len(c.error) for runs in curves.values() for c in runs), default=0)
    shown = [e for e in range(1, most + 1) if e <= 5 or e % 5 == 0 or e == most]
    best = [["best error, %", "epochs", "training", "test", "paper", "seconds"]]
    each = [["training error, % after epochs", *map(str, shown)]]
    for label, runs in curves.items():
        done = [c for c in runs if c.error]
        paper = problem.published.get(label.partition(":")[0], "")
        if not done:
            best.append([label, "0", "–", "–", paper, "–"])
            continue
        training, test = (f"{np.mean([min(getattr(c, name)) for c in done]):.2f}" for name in ("error", "test"))
        epochs, seconds = max(len(c.error) for c in done), np.mean([c.seconds[-1] for c in done])
        best.append([label, str(epochs), training, test, paper, f"{seconds:.0f}"])
        means = [comparison.at_epoch(done, "error", e) for e in shown]
        each.append([label, *(f"{np.mean(m):.2f}" if len(m) else "–" for m in means)])
    return runner.markdown(best) + "\n\n" + runner.markdown(each)


def check(name: str) -> str:
    """A method, as an argparse type."""
    kind, colon, number = name.partition(":")
    try:
        right = kind in NAMES and (not colon or 0 < float(number) < math.inf)
    except ValueError:  # no number
        right = False
    if not right:
        raise argparse.ArgumentTypeError(f"{name}: expected one of {', '.join(NAMES)}, and :NUMBER or nothing")
    return name


def parser() -> argparse.ArgumentParser:
    p = runner.Parser(prog="curveball.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    whole = runner.positive(int)
    p.add_argument("--net", choices=PROBLEMS, default="mnist")
    text = f"with commas between ({','.join(NAMES)}); a number after a colon is λ, or the learning rate"
    p.add_argument("--methods", type=lambda text: [check(n) for n in text.split(",")], default=NAMES, help=text)
    p.add_argument("--seeds", type=whole, default=1, help="runs of every method (1)")
    p.add_argument("--seed", type=runner.natural, default=0, help="the first of them (0)")
    p.add_argument("--epochs", type=whole, help="10 for mnist, else as in the paper")
    p.add_argument("--seconds", type=runner.positive(float), help="of the updates of a run, at most")
    p.add_argument("--batch", type=whole, help="64 for mnist, 128 for the others")
    p.add_argument("--damping", type=runner.positive(float), help="λ at the start")
    p.add_argument("--width", type=whole, help="channels of the first stage of resnet (64)")
    p.add_argument("--n-train", type=whole, help="cases to train on: the first of the set (all)")
    p.add_argument("--n-test", type=whole, help="cases to test on: the first of the set (all)")
    p.add_argument("--judged", type=whole, default=10000, help="training cases that the error is of (10000)")
    p.add_argument("--tuning-cases", type=whole, help="cases of a run of the grid search (all)")
    p.add_argument("--tuning-epochs", type=whole, default=5, help="its epochs (5)")
    p.add_argument("--data-dir", help="the folder of the data sets")
    p.add_argument("--out", type=Path, default=Path("curveball"), help="figure OUT-mnist.png, runs in OUT-mnist, …")
    runner.Series.add_options(p)
    return p


@runner.one_line("curveball.py")
def main() -> int:
    p = parser()
    args = p.parse_args()
    problem = PROBLEMS[args.net]
    if args.width and args.net != "resnet":
        p.error(f"--width means nothing to --net {args.net}")
    try:
        data = comparison.first(problem.load(args.data_dir), args.n_train, args.n_test)
    except (OSError, ValueError) as failure:
        p.error(" ".join(str(failure).split()))
    name = f"{args.out.name}-{args.net}"
    with runner.Series(p.prog, args.out.with_name(name), args) as series:
        curves = Study(series, problem, data, args).run(args.methods)
    print(table(problem, curves))
    path = args.out.with_name(f"{name}.png")
    labels = {"error": "training error, %", "test": "test error, %"}
    comparison.draw(curves, labels, path, f"{args.net}, {comparison.how_many(args.seeds)}", logarithmic=False)
    print(f"figure: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
