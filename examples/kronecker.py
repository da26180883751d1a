"""KFAC, KFRA (and KFLR) compared with tuned first-order methods: autoencoders on CURVES, MNIST and FACES, batch 1000.

    python examples/kronecker.py --data curves,mnist,faces --out runs/kronecker
    python examples/kronecker.py --data mnist --methods kfac,adam --seconds 300 --tuning-seconds 60 --clock cpu
    python examples/kronecker.py --data mnist --methods kfac,kfac:cases=1 --updates 500
    python examples/kronecker.py --data curves --cosine 20 --updates 200        # alignment with Gauss-Newton
    python examples/kronecker.py --out runs/kronecker --resume                  # continues an interrupted command
    python examples/kronecker.py --draw --out runs/kronecker                    # figures and tables from the files

A method is a name. kfac, kflr and kfra have their defaults, except for arguments after a colon: kfra:average=0 has no
momentum on the factors, kfac:cases=1+exact_damping=yes takes them from the whole batch and damps exactly.
adam, nesterov and sgd take a learning rate after the colon, and adam:1e-3:500 halves it every 500 updates; without a
rate every pair of --rates and --decays runs for --tuning-seconds (by default in full), and the pair with the lowest
objective at the end is taken.
Records: one JSON line per --every updates in OUT/DATA-METHOD/metrics.jsonl, with the objective on --judged training
cases, seconds of training (evaluation excluded), and the step. --cosine k adds to records at multiples of k updates
the cosine of the method's direction C̃⁻¹∇f with that of Gauss-Newton, (G + λI)⁻¹∇f by CG on the same batch and λ, and
CG's relative residual. First weights: sparse; from Glorot's these nets stay on a plateau (docs/kronecker.md).
Source: Botev, Ritter & Barber (2017), sections 5.1 and 5.2.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np
import runner
from runner import Record

import nn
import optim
from optim import KroneckerInverse, pcg
from optim.schedules import Step

BATCH = 1000
ENTRIES = ("objective",)  # of every record
SETS: dict[str, tuple[Callable[[], Any], Any, Callable[[], Any]]] = {
    "curves": (nn.data.curves, (784, 1000, 500, 250, 30), nn.SigmoidCrossEntropy),
    "mnist": (nn.data.mnist, (784, 1000, 500, 250, 30), nn.SigmoidCrossEntropy),
    "faces": (nn.data.faces, (625, 1000, 500, 250, 30), nn.SquaredError),
}
HIDDEN = "1000,500,250,30"
METHODS = "kfac,kfra,kfac:average=0,kfra:average=0,adam,nesterov,sgd"
RATES = {
    "adam": (1e-4, 3e-4, 1e-3, 3e-3),
    "nesterov": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "sgd": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
}
SECOND_ORDER = {"kfac": optim.KFAC, "kflr": optim.KFLR, "kfra": optim.KFRA, "ekfac": optim.EKFAC}
FIRST_ORDER = ("adam", "nesterov", "sgd")
INITS = {
    "sparse": nn.init.sparse,
    "glorot": nn.init.glorot_uniform,
    "glorot4": lambda rng, shape, dtype: 4 * nn.init.glorot_uniform(rng, shape, dtype),  # σ′ is at most 1/4
}
UPDATES = (100, 200, 500, 1000, 2000, 5000)
SECONDS = (30, 60, 120, 300, 600)


def build(method: str, model: Any, loss: Any) -> Any:
    """Makes the optimizer; ValueError or TypeError if there is none of that name."""
    name, _, setting = method.partition(":")
    if name in SECOND_ORDER:
        pairs = (pair.partition("=") for pair in setting.split("+") if pair)
        own: dict[str, Any] = {key: number(value) for key, _, value in pairs}
        return SECOND_ORDER[name](model, loss, rng=np.random.default_rng(3), **own)
    if name not in FIRST_ORDER:
        raise ValueError(f"no method is called {name}")
    rate, _, decay = setting.partition(":")
    lr: Any = float(rate)
    if int(decay or 0):
        lr = Step(lr, every=int(decay), factor=0.5)
    if name == "adam":
        return optim.Adam(model, loss, lr=lr)
    return optim.SGD(model, loss, lr=lr, momentum=0.9 if name == "nesterov" else 0.0, nesterov=name == "nesterov")


def number(text: str) -> float | int:
    """Reads a flag, a whole number or a float."""
    return text == "yes" if text in ("yes", "no") else int(text) if text.isdigit() else float(text)


def autoencoder(sizes: Any, init: str = "sparse") -> Any:
    """Returns the network, always with the same first weights."""
    return nn.models.autoencoder(sizes, rng=np.random.default_rng(0), init=INITS[init])


def cosine(opt: Any, x: Any, iterations: int) -> Record:
    """Returns the cosine between the directions of the method and of Gauss-Newton on a batch, and CG's residual."""
    q, lam = opt.objective.quadratic(x, x), opt.damping
    b, out = np.negative(q.gradient), np.empty_like(q.gradient)
    exact = pcg(q.ggn_product, b, damping=lam, iterations=iterations, keep=False).x
    q.ggn_product(exact, out)
    own = KroneckerInverse(opt.factors, lam, opt.exact_damping)(b)
    return {
        "cosine": float(own @ exact / (np.linalg.norm(own) * np.linalg.norm(exact))),
        "residual": float(np.linalg.norm(out + lam * exact - b) / np.linalg.norm(b)),
    }


@dataclass
class Config(runner.Config):
    """A run; `optimizer` is the method, as on the command line."""

    def known_hyper(self) -> dict[str, Any]:
        return {"hidden": HIDDEN, "init": "sparse"}


class Study:
    """The runs on one set of images."""

    def __init__(self, series: runner.Series, args: argparse.Namespace, data: str) -> None:
        load, sizes, self.make_loss = SETS[data]
        self.series, self.args, self.data = series, args, data
        self.x = runner.on_device(series, load().x_train)
        self.sizes = (sizes[0], *map(int, args.hidden.split(","))) if args.hidden != HIDDEN else sizes

    def train(self, method: str, seconds: float | None = None, folder: str = "") -> optim.History:
        """Trains with one method; `folder` is a prefix of the folder's name."""
        args, x = self.args, self.x
        judged = x[: args.judged]
        opt = build(method, runner.on_device(self.series, autoencoder(self.sizes, args.init)), self.make_loss())
        batches = nn.data.batches(x, x, BATCH, np.random.default_rng(1))

        def measured(model: Any) -> Record:
            found = {"objective": opt.objective.value(judged, judged)}
            if args.cosine and getattr(opt, "factors", None) is not None and opt.k % args.cosine == 0:
                found |= cosine(opt, upcoming(batches), args.cg_iterations)
            return found

        budget: dict[str, Any] = {"time_budget": seconds or args.seconds, "updates": args.updates}
        config = Config(
            optimizer=method, hyper={"hidden": args.hidden, "init": args.init}, log_every=args.every, **budget
        )
        name = f"{folder}{self.data}-{method.replace(':', '-')}"
        run = self.series.train(name, config, opt, batches, measured, ENTRIES)
        last = run.records[-1]["objective"]
        print(f"{name}: {run.end}: {run.update} updates, {run.seconds:.0f} s, {last:.5g}", flush=True)
        return run

    def tuned(self, name: str) -> str:
        """Returns the method with its best rate and decay period, by a grid search."""
        rates = self.args.rates or RATES[name]
        short = self.args.tuning_seconds

        def score(method: str) -> float:
            run = self.train(method, short, "tuning-" if short else "")
            return math.inf if run.failed else run.records[-1]["objective"]

        grid = [f"{name}:{rate:g}" + (f":{decay}" if decay else "") for rate in rates for decay in self.args.decays]
        found = optim.grid_search(score, method=grid)
        points = ", ".join(f"{hyper['method'].partition(':')[2]}: {value:.4g}" for hyper, value in found.scores)
        print(f"{self.data}, {name}: {found.best['method']} of {points}", flush=True)
        return found.best["method"]

    def run(self, methods: list[str]) -> None:
        """Trains with all methods, the first-order ones after tuning."""
        for method in methods:
            if method not in FIRST_ORDER:
                self.train(method)
                continue
            best = self.tuned(method)
            if self.args.tuning_seconds:
                self.train(best)


def upcoming(batches: nn.data.Batches) -> Any:
    """Returns the batch of the next update without consuming it."""
    state = batches.state_dict()
    x, _ = next(batches)
    batches.load_state_dict(state)
    return x


def curves(out: Path) -> dict[str, dict[str, list[Record]]]:
    """Returns the records by set and method, without those of tuning."""
    found: dict[str, dict[str, list[Record]]] = {}
    for path in sorted(out.glob("*/metrics.jsonl")):
        data, _, method = path.parent.name.partition("-")
        records = runner.read_records(path, ENTRIES) if data in SETS else []
        if records:  # a run that has just begun has none
            found.setdefault(data, {})[method] = records
    return found


def is_best(method: str, methods: dict[str, list[Record]]) -> bool:
    """Returns False if another rate of the same first-order method ends lower."""
    name = method.partition("-")[0]
    if name in SECOND_ORDER:
        return True

    def last(other: str) -> float:
        value = methods[other][-1]["objective"]
        return value if math.isfinite(value) else math.inf  # NaN stands for infinity, too, in the files

    return method == min((other for other in methods if other.partition("-")[0] == name), key=last)


def draw(out: Path) -> None:
    """Draws a figure per set: the objective by updates and by seconds, and the cosines; other rates in grey."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    for data, methods in curves(out).items():
        aligned = any("cosine" in record for own in methods.values() for record in own)
        figure, axes = plt.subplots(1, 2 + aligned, figsize=(10 + 4 * aligned, 4))
        for method, own in methods.items():
            draw_method(axes, method, own, best=is_best(method, methods))
        if aligned:
            axes[2].set(xlabel="update", ylabel="cosine with the Gauss-Newton step")
        axes[0].legend()
        figure.suptitle(data)
        figure.tight_layout()
        runner.save_figure(figure, out / f"{data}.png", dpi=120)
        plt.close(figure)


def draw_method(axes: Any, method: str, records: list[Record], best: bool) -> None:
    """Draws the curves of one run."""
    style: dict[str, Any] = {"ls": "-" if method.partition("-")[0] in SECOND_ORDER else "--", "label": method}
    if not best:
        style = {"color": "0.8", "lw": 0.7, "zorder": 0}
    for axis, key in zip(axes, ("update", "seconds"), strict=False):
        axis.plot([r[key] for r in records], [r["objective"] for r in records], **style)
        axis.set(xlabel=key, ylabel="objective", yscale="log")
    cosines = [r for r in records if "cosine" in r]
    if cosines:
        axes[2].plot([r["update"] for r in cosines], [r["cosine"] for r in cosines], label=method)


def print_tables(out: Path) -> None:
    """Prints the objectives of all runs after some numbers of updates, and of seconds."""
    for data, methods in curves(out).items():
        for key, unit, every in (("update", "updates", UPDATES), ("seconds", "s", SECONDS)):
            longest = max(own[-1][key] for own in methods.values())
            marks = [mark for mark in every if mark <= 1.02 * longest]
            if marks:
                print(f"\n| {data} | {' | '.join(f'{mark} {unit}' for mark in marks)} |\n|{'---|' * (len(marks) + 1)}")
                for method, own in methods.items():
                    print(f"| {method} | {' | '.join(objective_at(own, key, mark) for mark in marks)} |")


def objective_at(records: list[Record], key: str, mark: int) -> str:
    """Returns the objective of the last record until the mark; "–" if the run ended before it, or diverged."""
    until = [r["objective"] for r in records if r[key] <= 1.02 * mark]
    reached = records[-1][key] >= 0.98 * mark
    return f"{until[-1]:.5g}" if reached and math.isfinite(until[-1]) else "–"


def encoder(text: str) -> str:
    """Checks for comma-separated numbers above zero; an argparse type. The config keeps the text."""
    runner.listed(runner.positive(int))(text)
    return text


def parser() -> runner.Parser:
    """Returns the parser of the command line."""
    p = runner.Parser("kronecker.py", __doc__)
    rate, whole = runner.positive(float), runner.positive(int)
    p.add_argument("--data", default="curves", help=f"comma-separated list of {', '.join(SETS)}")
    p.add_argument("--methods", default=METHODS)
    p.add_argument("--seconds", type=rate, default=600.0, help="training time per method")
    p.add_argument("--updates", type=whole, default=5000, help="number of updates at the most")
    p.add_argument("--rates", type=runner.listed(rate), help="learning rates of the grid, for all first-order methods")
    text = "updates after which the rate is halved; 0 keeps it"
    p.add_argument("--decays", type=runner.listed(runner.natural), default=[0, 500, 2000], help=text)
    p.add_argument("--tuning-seconds", type=rate, help="training time per point of the grid (as --seconds)")
    p.add_argument("--every", type=whole, default=10, help="number of updates between records")
    p.add_argument("--judged", type=whole, default=5000, help="number of training cases for the recorded objective")
    text = "number of updates between two cosines, a multiple of --every"
    p.add_argument("--cosine", type=runner.natural, default=0, help=text)
    p.add_argument("--cg-iterations", type=whole, default=500)
    p.add_argument("--hidden", type=encoder, default=HIDDEN, help="sizes of the encoder; small ones for a quick test")
    p.add_argument("--init", choices=tuple(INITS), default="sparse")
    p.add_argument("--out", type=Path, default=Path("runs/kronecker"))
    p.add_argument("--draw", action="store_true", help="only draw the records in the files")
    runner.Series.add_options(p)
    return p


@runner.one_line("kronecker.py")
def main() -> int:
    """Trains on every set with every method, draws the figures and prints the tables."""
    p = parser()
    args = p.parse_args()
    if args.cosine % args.every:
        p.error(f"--cosine {args.cosine} is no multiple of --every {args.every}")
    for data in args.data.split(","):
        if data not in SETS:
            p.error(f"--data {data}: expected one of {', '.join(SETS)}")
    methods = args.methods.split(",")
    for method in methods:
        try:
            build(f"{method}:1" if method in FIRST_ORDER else method, autoencoder((2, 2)), nn.SquaredError())
        except (TypeError, ValueError) as problem:
            names = ", ".join((*SECOND_ORDER, *FIRST_ORDER))
            p.error(f"--methods {method}: expected one of {names} ({problem})")
    if not args.draw:
        with runner.Series(p.prog, args.out, args) as series:
            for data in args.data.split(","):
                Study(series, args, data).run(methods)
    if not curves(args.out):
        p.error(f"{args.out} has no records")
    draw(args.out)
    print_tables(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
