"""KFAC, KFRA (and KFLR) beside tuned first-order methods: autoencoders on CURVES, MNIST and FACES, batch 1000.

    python examples/kronecker.py --data curves --seconds 600 --out runs/kronecker
    python examples/kronecker.py --data mnist --methods kfra,adam:1e-3 --updates 500
    python examples/kronecker.py --data curves --cosine 20 --updates 200        # alignment with Gauss-Newton
    python examples/kronecker.py --draw --out runs/kronecker                    # the figures, from the files

A method is a name, with a learning rate after a colon for adam, sgd and nesterov; these take the grid
--grid where no rate is given. Momentum on the factors is off in kfac:0 and kfra:0. --decay halves the rates of
first-order methods after so many updates. Records: one JSON line per --every updates, the objective on --judged
training cases, seconds of training (evaluation excluded). --cosine k: every k updates, the cosine of the method's
direction C̃⁻¹∇f with that of Gauss-Newton, (G + λI)⁻¹∇f by converged CG on the same batch and λ.
Source: Botev, Ritter & Barber (2017), sections 5.1 and 5.2.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np

import nn
import optim
from optim.cg import pcg
from optim.kronecker import Inverse

BATCH = 1000
SETS: dict[str, tuple[Callable[[], Any], Any, Callable[[], Any]]] = {
    "curves": (nn.data.curves, (784, 1000, 500, 250, 30), nn.SigmoidCrossEntropy),
    "mnist": (nn.data.mnist, (784, 1000, 500, 250, 30), nn.SigmoidCrossEntropy),
    "faces": (nn.data.faces, (625, 1000, 500, 250, 30), nn.SquaredError),
}
SECOND_ORDER = {"kfac": optim.KFAC, "kflr": optim.KFLR, "kfra": optim.KFRA}
GRID = "adam:1e-4,adam:3e-4,adam:1e-3,adam:3e-3,nesterov:1e-3,nesterov:1e-2,sgd:1e-2,sgd:1e-1"


def build(method: str, model: Any, loss: Any, decay: int) -> Any:
    name, _, setting = method.partition(":")
    if name in SECOND_ORDER:
        average: dict[str, Any] = {"average": 0.0} if setting == "0" else {}
        return SECOND_ORDER[name](model, loss, rng=np.random.default_rng(3), **average)
    lr: Any = float(setting)
    if decay:
        lr = optim.schedules.Step(lr, every=decay, factor=0.5)
    if name == "adam":
        return optim.Adam(model, loss, lr=lr)
    return optim.SGD(model, loss, lr=lr, momentum=0.9 if name == "nesterov" else 0.0, nesterov=name == "nesterov")


def autoencoder(sizes: Any) -> Any:
    return nn.models.autoencoder(sizes, rng=np.random.default_rng(0), init=nn.init.glorot_uniform)


def cosine(opt: Any, x: Any, iterations: int) -> float:
    """Of the angle between the method's direction and that of Gauss-Newton on the same batch."""
    q, lam = opt.objective.quadratic(x, x), opt.damping
    exact = pcg(q.ggn_product, np.negative(q.gradient), damping=lam, iterations=iterations, keep=False).x
    own = np.negative(Inverse(opt.factors, lam, opt.exact_damping)(q.gradient))
    return float(own @ exact / (np.linalg.norm(own) * np.linalg.norm(exact)))


def train(args: argparse.Namespace, data: str, method: str) -> Iterator[dict[str, Any]]:
    load, sizes, make_loss = SETS[data]
    x = load().x_train
    judged = x[: args.judged]
    opt = build(method, autoencoder(sizes), make_loss(), args.decay)
    spent = 0.0
    batches = nn.data.batches(x, None, BATCH, np.random.default_rng(1))
    for k in range(args.updates + 1):
        if k % args.every == 0:
            value = opt.objective.value(judged, judged)
            yield {"data": data, "method": method, "update": k, "seconds": spent, "loss": value}
        batch, _ = next(batches)
        if args.cosine and k and k % args.cosine == 0 and method.partition(":")[0] in SECOND_ORDER:
            yield {"data": data, "method": method, "update": k, "cosine": cosine(opt, batch, args.cg_iterations)}
        if spent >= args.seconds:
            break
        start = time.perf_counter()
        info = opt.step(batch, batch)
        spent += time.perf_counter() - start
        if not np.isfinite(info.loss):
            break


def draw(out: Path) -> None:
    """A figure per set: the objective against updates and against seconds, and the cosines."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    records = [json.loads(line) for path in sorted(out.glob("*.jsonl")) for line in path.open()]
    for data in sorted({record["data"] for record in records}):
        figure, axes = plt.subplots(1, 3, figsize=(13, 4))
        for method in sorted({record["method"] for record in records if record["data"] == data}):
            own = [r for r in records if r["data"] == data and r["method"] == method]
            losses, cosines = [r for r in own if "loss" in r], [r for r in own if "cosine" in r]
            style = "-" if method.partition(":")[0] in SECOND_ORDER else "--"
            for axis, key in zip(axes, ("update", "seconds"), strict=False):
                axis.plot([r[key] for r in losses], [r["loss"] for r in losses], style, label=method)
                axis.set(xlabel=key, ylabel="objective", yscale="log")
            if cosines:
                axes[2].plot([r["update"] for r in cosines], [r["cosine"] for r in cosines], label=method)
        axes[2].set(xlabel="update", ylabel="cosine with the Gauss-Newton step")
        axes[0].legend()
        figure.suptitle(data)
        figure.tight_layout()
        figure.savefig(out / f"{data}.png", dpi=120)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="curves", help=f"comma-separated, of {', '.join(SETS)}")
    parser.add_argument("--methods", default=f"kfac,kfra,kfac:0,kfra:0,{GRID}")
    parser.add_argument("--seconds", type=float, default=600.0, help="of training, per method")
    parser.add_argument("--updates", type=int, default=5000, help="the most")
    parser.add_argument("--every", type=int, default=10, help="updates between records")
    parser.add_argument("--judged", type=int, default=5000, help="training cases that the objective is recorded on")
    parser.add_argument("--decay", type=int, default=0, help="updates after which first-order rates halve")
    parser.add_argument("--cosine", type=int, default=0, help="updates between two cosines")
    parser.add_argument("--cg-iterations", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("runs/kronecker"))
    parser.add_argument("--draw", action="store_true", help="only draw what the files hold")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.draw:
        for data in args.data.split(","):
            for method in args.methods.split(","):
                with open(args.out / f"{data}-{method.replace(':', '-')}.jsonl", "w") as file:
                    for record in train(args, data, method):
                        print(json.dumps(record), file=file, flush=True)
                        print(json.dumps(record), flush=True)
    draw(args.out)


if __name__ == "__main__":
    main()
