"""SGN's classification benchmarks: SGN and SGD on MNIST, Fashion-MNIST and CIFAR-10.

    python examples/sgn_classification.py                                  # table 1: MNIST, 784-20-20-20-10
    python examples/sgn_classification.py --methods sgn:3 --seeds 1
    python examples/sgn_classification.py --data fashion --methods sgn:5,sgd:0.1 --epochs 5
    python examples/sgn_classification.py --data cifar10 --methods sgn:10,sgd --seconds 300 --epochs 1000
    python examples/sgn_classification.py --resume                         # continues an interrupted command

Batches of 1000, softmax cross-entropy. MNIST: sigmoid layers, the same weights from N(0, 1) for every run.
Fashion-MNIST (6-16 filters of 5 × 5, 120-84) and CIFAR-10 (32-64-64 filters of 3 × 3, 64): ReLU, uniform weights as in
the authors' code, every image standardised. Seeds determine the order of the cases. SGN as in the paper: damping 1e-4,
floor 1e-6, line search, trust region. Source: Gargiani et al. (2020), sections 4.3 to 4.5.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import comparison
import numpy as np
import runner
from comparison import Curve

import nn

SGN = {"damping": 1e-4, "damping_min": 1e-6}
CLASSES = 10
RATES, TUNING_EPOCHS = (1.0, 0.3, 0.1, 0.03), 5  # grid of "sgd" without a learning rate


class Problem(NamedTuple):
    """A network and its data; published: test accuracies in percent by method and epochs; methods: the default."""

    load: comparison.Load
    model: Callable[[], Any]
    published: dict[str, dict[int, float]]
    methods: str
    epochs: int  # of a method that the paper does not have


def filters(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    """W ~ U(−a, a) with a = √(6 / number of weights), as in the authors' code; smaller than Glorot's."""
    a = math.sqrt(6 / math.prod(shape))
    return rng.uniform(-a, a, shape).astype(dtype)


def affine(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    """W ~ U(−a, a) with a = √(6 / (inputs + classes)), as in the authors' code."""
    a = math.sqrt(6 / (shape[0] + CLASSES))
    return rng.uniform(-a, a, shape).astype(dtype)


def convnet(channels: tuple[int, ...], kernel: int, sizes: tuple[int, ...], *, pool_last: bool) -> nn.Module:
    """Returns convolutions with ReLU and max-pooling between them, and dense layers of these sizes."""
    rng = np.random.default_rng(1)
    layers: list[nn.Module] = []
    for i, o in pairwise(channels):
        layers += [nn.Conv2d(i, o, kernel, rng=rng, init=filters), nn.ReLU(), nn.MaxPool2d(2)]
    layers = [*(layers if pool_last else layers[:-1]), nn.Flatten()]
    for i, o in pairwise((*sizes, CLASSES)):
        layers += [nn.Linear(i, o, rng=rng, init=affine), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def lenet() -> nn.Module:
    """Returns the network of table 2, for 28 × 28 images."""
    return convnet((1, 6, 16), 5, (256, 120, 84), pool_last=True)


def cifar_net() -> nn.Module:
    """Returns the network of table 3, for 32 × 32 images in colour."""
    return convnet((3, 32, 64, 64), 3, (1024, 64), pool_last=False)


PROBLEMS = {
    "mnist": Problem(
        comparison.cases(nn.data.mnist),
        lambda: comparison.mlp((784, 20, 20, 20, CLASSES)),
        {
            "SGD(0.001)": {36: 17.2, 145: 25.4},
            "SGD(0.01)": {36: 35.3, 145: 58.2},
            "SGD(0.1)": {36: 71.9, 144: 85.5},
            "SGD(1)": {36: 89.8, 144: 93.0},
            "SGD(10)": {36: 11.6, 144: 93.0},
            "SGN(2)": {10: 91.6, 43: 93.8},
            "SGN(3)": {8: 92.9, 33: 94.0},
            "SGN(5)": {5: 92.8, 22: 93.7},
            "SGN(10)": {3: 91.6, 12: 91.5},
        },
        "sgn:2,sgn:3,sgn:5,sgn:10,sgd:0.1,sgd:1",
        20,
    ),
    "fashion": Problem(
        comparison.standardized(comparison.cases(nn.data.fashion_mnist)),
        lenet,
        {
            "SGD(0.001)": {15: 63.1, 46: 76.5},
            "SGD(0.01)": {15: 82.3, 46: 85.5},
            "SGD(0.1)": {15: 86.7, 46: 88.5},
            "SGN(2)": {3: 84.5, 10: 86.2},
            "SGN(3)": {2: 85.2, 8: 87.2},
            "SGN(5)": {1: 85.6, 5: 87.8},
            "SGN(10)": {1: 85.4, 3: 86.0},
        },
        "sgn:5,sgd:0.1",
        5,
    ),
    "cifar10": Problem(
        comparison.standardized(comparison.cases(nn.data.cifar10)),
        cifar_net,
        {
            "SGD(0.001)": {46: 10.0},
            "SGD(0.01)": {45: 19.0},
            "SGD(0.1)": {45: 63.1, 135: 60.9},
            "SGN(2)": {10: 44.9},
            "SGN(3)": {8: 49.3},
            "SGN(5)": {5: 56.9},
            "SGN(10)": {3: 64.7, 9: 71.0},
        },
        "sgn:10,sgd:0.1",
        9,
    ),
}


def run(
    series: runner.Series,
    problem: Problem,
    methods: list[str],
    seeds: Sequence[int],
    data: Any,
    epochs: int | None,
    seconds: float | None,
) -> dict[str, list[Curve]]:
    """Returns the curves of every method, one per seed; as many epochs as the paper's longer run."""
    loss = nn.SoftmaxCrossEntropy()

    def model() -> nn.Module:
        return runner.on_device(series, problem.model())

    def measure(model: Any) -> dict[str, float]:
        return {"test": 100 - comparison.error(model, data.x_test, data.t_test)}

    curves: dict[str, list[Curve]] = {}

    def short(label: str, lr: float) -> Curve:
        optimizer = comparison.method(f"sgd:{lr}")[1](model(), loss)
        return comparison.train(series, label, optimizer, data, 1000, TUNING_EPOCHS, 1000, measure)

    for method in methods:
        if method == "sgd":
            method = f"sgd:{comparison.tuned('sgd', RATES, short):g}"
        label, make = comparison.method(method, **SGN)
        n = epochs or max(problem.published.get(label, {problem.epochs: 0}))
        curves[label] = []
        for seed in seeds:
            optimizer = make(model(), loss)
            measured = comparison.train(series, label, optimizer, data, 1000, n, seed, measure, seconds)
            curves[label].append(measured)
            last = f"{measured.test[-1]:.1f} %, {measured.seconds[-1]:.1f} s" if measured.test else measured.end
            print(f"{label}, seed {seed}: {len(measured.test)} epochs, {last}", file=sys.stderr, flush=True)
    return curves


def table(problem: Problem, curves: dict[str, list[Curve]]) -> str:
    """Returns the test accuracies in percent at the paper's epochs and the last."""
    rows = [["", "epochs", "test accuracy: median [range], mean", "paper", "seconds"]]
    for label, runs in curves.items():
        published = problem.published.get(label, {})
        last = max(len(c.test) for c in runs)
        for epoch in sorted({*published, last}):
            found = comparison.at_epoch(runs, "test", epoch)
            if len(found):
                seconds = comparison.at_epoch(runs, "seconds", epoch)
                paper = f"{published[epoch]}" if epoch in published else ""
                rows.append([label, str(epoch), comparison.spread(found), paper, f"{np.mean(seconds):.1f}"])
    return runner.markdown(rows)


def parser() -> runner.Parser:
    """Returns the parser of the command line."""
    p = runner.Parser("sgn_classification.py", __doc__)
    p.add_argument("--data", choices=PROBLEMS, default="mnist")
    text = "sgn:STEPS, sgd:LR, and sgd, which is tuned; comma-separated (those of the paper's table)"
    p.add_argument("--methods", help=text)
    text = "prefix of results: figure OUT-mnist.png, runs in OUT-mnist, …"
    p.add_runs(seeds=5, epochs="as in the paper's longer runs by default", out="sgn", text=text)
    p.add_limits()
    runner.Series.add_options(p)
    return p


@runner.one_line("sgn_classification.py")
def main() -> int:
    """Trains with every method, prints the table and draws the figure."""
    p = parser()
    args = p.parse_args()
    problem = PROBLEMS[args.data]
    methods = (args.methods or problem.methods).split(",")
    with p.refusing():
        for method in methods:
            comparison.method("sgd:0.1" if method == "sgd" else method)
        data = runner.on_device(args, problem.load(args.data_dir, args.n_train, args.n_test))
    with runner.Series(p.prog, comparison.results(args, args.data), args) as series:
        seeds = range(args.seed, args.seed + args.seeds)
        curves = run(series, problem, methods, seeds, data, args.epochs, args.seconds)
    print(table(problem, curves))
    labels = {"train": "training loss", "test": "test accuracy, %"}
    comparison.draw(args, args.data, curves, labels, logarithmic=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
