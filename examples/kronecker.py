"""KFAC, KFRA (and KFLR) beside tuned first-order methods: autoencoders on CURVES, MNIST and FACES, batch 1000.

    python examples/kronecker.py --data curves --seconds 600 --out runs/kronecker
    python examples/kronecker.py --data mnist --methods kfra,adam:1e-3 --updates 500
    python examples/kronecker.py --data curves --cosine 20 --updates 200        # alignment with Gauss-Newton
    python examples/kronecker.py --out runs/kronecker --resume                  # where the same command was cut
    python examples/kronecker.py --draw --out runs/kronecker                    # the figures, from the files

A method is a name, with a learning rate after a colon for adam, sgd and nesterov; these take the grid
--grid where no rate is given. Momentum on the factors is off in kfac:0 and kfra:0. --decay halves the rates of
first-order methods after so many updates. Records: one JSON line per --every updates in OUT/DATA-METHOD/metrics.jsonl,
the objective on --judged training cases, seconds of training (evaluation excluded), and the step. --cosine k: in
records at a multiple of k updates, the cosine of the method's direction C̃⁻¹∇f with that of Gauss-Newton,
(G + λI)⁻¹∇f by converged CG on the same batch and λ.
Source: Botev, Ritter & Barber (2017), sections 5.1 and 5.2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np
import runner
from runner import Record, Run

import nn
import optim
from optim.cg import pcg
from optim.kronecker import Inverse
from optim.schedules import Step

BATCH = 1000
SETS: dict[str, tuple[Callable[[], Any], Any, Callable[[], Any]]] = {
    "curves": (nn.data.curves, (784, 1000, 500, 250, 30), nn.SigmoidCrossEntropy),
    "mnist": (nn.data.mnist, (784, 1000, 500, 250, 30), nn.SigmoidCrossEntropy),
    "faces": (nn.data.faces, (625, 1000, 500, 250, 30), nn.SquaredError),
}
HIDDEN = "1000,500,250,30"
SECOND_ORDER = {"kfac": optim.KFAC, "kflr": optim.KFLR, "kfra": optim.KFRA}
GRID = "adam:1e-4,adam:3e-4,adam:1e-3,adam:3e-3,nesterov:1e-3,nesterov:1e-2,sgd:1e-2,sgd:1e-1"


def build(method: str, model: Any, loss: Any, decay: int) -> Any:
    name, _, setting = method.partition(":")
    if name in SECOND_ORDER:
        average: dict[str, Any] = {"average": 0.0} if setting == "0" else {}
        return SECOND_ORDER[name](model, loss, rng=np.random.default_rng(3), **average)
    lr: Any = float(setting)
    if decay:
        lr = Step(lr, every=decay, factor=0.5)
    if name == "adam":
        return optim.Adam(model, loss, lr=lr)
    if name not in ("sgd", "nesterov"):
        raise ValueError(f"no method is called {name}")
    return optim.SGD(model, loss, lr=lr, momentum=0.9 if name == "nesterov" else 0.0, nesterov=name == "nesterov")


def autoencoder(sizes: Any, init: str = "glorot") -> Any:
    own: dict[str, Any] = {"init": nn.init.glorot_uniform} if init == "glorot" else {}
    return nn.models.autoencoder(sizes, rng=np.random.default_rng(0), **own)


def cosine(opt: Any, x: Any, iterations: int) -> float:
    """Of the angle between the method's direction and that of Gauss-Newton on the same batch."""
    q, lam = opt.objective.quadratic(x, x), opt.damping
    exact = pcg(q.ggn_product, np.negative(q.gradient), damping=lam, iterations=iterations, keep=False).x
    own = np.negative(Inverse(opt.factors, lam, opt.exact_damping)(q.gradient))
    return float(own @ exact / (np.linalg.norm(own) * np.linalg.norm(exact)))


@dataclass
class Config(runner.Config):
    """A run; `optimizer` is the method as the command line has it."""

    def known_hyper(self) -> dict[str, Any]:
        return {"decay": 0, "hidden": HIDDEN, "init": "glorot"}


def train(series: runner.Series, args: argparse.Namespace, data: str, method: str) -> Run:
    load, sizes, make_loss = SETS[data]
    x = load().x_train
    judged = x[: args.judged]
    sizes = (sizes[0], *map(int, args.hidden.split(","))) if args.hidden != HIDDEN else sizes
    opt = build(method, autoencoder(sizes, args.init), make_loss(), args.decay)
    batches = nn.data.batches(x, x, BATCH, np.random.default_rng(1))

    def measured(model: Any) -> Record:
        found = {"objective": opt.objective.value(judged, judged)}
        if args.cosine and getattr(opt, "factors", None) is not None and opt.k % args.cosine == 0:
            found["cosine"] = cosine(opt, upcoming(batches), args.cg_iterations)
        return found

    budget: dict[str, Any] = {"time_budget": args.seconds, "updates": args.updates, "log_every": args.every}
    hyper = {"decay": args.decay, "hidden": args.hidden, "init": args.init}
    config = Config(optimizer=method, hyper=hyper, **budget)
    return series.train(f"{data}-{method.replace(':', '-')}", config, opt, batches, measured)


def upcoming(batches: nn.data.Batches) -> Any:
    """The batch of the next update, which is not used up by that."""
    state = batches.state_dict()
    x, _ = next(batches)
    batches.load_state_dict(state)
    return x


def draw(out: Path) -> None:
    """A figure per set: the objective against updates and against seconds, and the cosines."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    records = []
    for path in sorted(out.glob("*/metrics.jsonl")):
        data, _, method = path.parent.name.partition("-")
        records += [record | {"data": data, "method": method} for record in runner.read_records(path)]
    for data in sorted({record["data"] for record in records}):
        figure, axes = plt.subplots(1, 3, figsize=(13, 4))
        for method in sorted({record["method"] for record in records if record["data"] == data}):
            own = [r for r in records if r["data"] == data and r["method"] == method]
            cosines = [r for r in own if "cosine" in r]
            style = "-" if method.partition("-")[0] in SECOND_ORDER else "--"
            for axis, key in zip(axes, ("update", "seconds"), strict=False):
                axis.plot([r[key] for r in own], [r["objective"] for r in own], style, label=method)
                axis.set(xlabel=key, ylabel="objective", yscale="log")
            if cosines:
                axes[2].plot([r["update"] for r in cosines], [r["cosine"] for r in cosines], label=method)
        axes[2].set(xlabel="update", ylabel="cosine with the Gauss-Newton step")
        axes[0].legend()
        figure.suptitle(data)
        figure.tight_layout()
        figure.savefig(out / f"{data}.png", dpi=120)


def parser() -> runner.Parser:
    p = runner.Parser(prog="kronecker.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", default="curves", help=f"comma-separated, of {', '.join(SETS)}")
    p.add_argument("--methods", default=f"kfac,kfra,kfac:0,kfra:0,{GRID}")
    p.add_argument("--seconds", type=runner.positive(float), default=600.0, help="of training, per method")
    p.add_argument("--updates", type=runner.positive(int), default=5000, help="the most")
    p.add_argument("--every", type=runner.positive(int), default=10, help="updates between records")
    p.add_argument("--judged", type=runner.positive(int), default=5000, help="training cases of the objective recorded")
    p.add_argument("--decay", type=int, default=0, help="updates after which first-order rates halve")
    p.add_argument("--cosine", type=int, default=0, help="updates between two cosines: a multiple of --every")
    p.add_argument("--cg-iterations", type=int, default=500)
    p.add_argument("--hidden", default=HIDDEN, help="sizes of the encoder; a small one for a quick look")
    p.add_argument("--init", choices=("glorot", "sparse"), default="glorot")
    p.add_argument("--out", type=Path, default=Path("runs/kronecker"))
    p.add_argument("--draw", action="store_true", help="only draw what the files hold")
    runner.Series.add_options(p)
    return p


@runner.one_line("kronecker.py")
def main() -> int:
    p = parser()
    args = p.parse_args()
    if args.cosine % args.every:
        p.error(f"--cosine {args.cosine} is no multiple of --every {args.every}")
    for data in args.data.split(","):
        if data not in SETS:
            p.error(f"--data {data}: expected one of {', '.join(SETS)}")
    for method in args.methods.split(","):
        try:
            build(method, autoencoder((2, 2)), nn.SquaredError(), 0)
        except ValueError:
            names = ", ".join(SECOND_ORDER)
            p.error(f"--methods {method}: expected one of {names}, or adam, sgd, nesterov with a colon and a rate")
    if not args.draw:
        with runner.Series(p.prog, args.out, args) as series:
            for data in args.data.split(","):
                for method in args.methods.split(","):
                    run = train(series, args, data, method)
                    last = run.records[-1]["objective"]
                    print(f"{data}, {method}: {run.end}: {run.update} updates, {run.seconds:.0f} s, {last:.4g}")
    draw(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
