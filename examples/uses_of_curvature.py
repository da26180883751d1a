"""What optim.Curvature is for: errors of estimates, calibrated probabilities, influential training images.

    python examples/uses_of_curvature.py estimates --out pictures     error of each estimator against its products
    python examples/uses_of_curvature.py calibration --out pictures   Laplace approximations of a digit classifier
    python examples/uses_of_curvature.py influence --out pictures     images that help and harm a few test digits

All on MNIST, pooled to --side × --side pixels. estimates: on a small net with the exact numbers from its dense
matrices, the median over --seeds of the relative error, and the standard error that the estimator gives with it.
calibration: a net trained on few cases (--cases) with hardly any weight decay, tested on --tested others; the
reliability diagram, the expected calibration error over 15 bins and the mean log-likelihood of the network alone and of
four Laplace approximations, whose prior precision has the largest evidence, or is the best of --priors for --held-out
further cases. influence: the training images that raise, and
that lower, the loss of a test image most if they are left out, by EKFAC's factors.
Source: Epperly, Tropp & Webber (2024); Daxberger et al. (2021); Koh & Liang (2017), Grosse et al. (2023).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from runner import Parser, one_line, save_figure

import nn
import optim

BINS = 15
LOSS = nn.SoftmaxCrossEntropy()


def digits(side: int) -> tuple[Any, Any, Any, Any]:
    """Loads MNIST's images, (n, side²) in [0, 1], and labels: training and test set."""
    data = nn.data.mnist()

    def pooled(images: Any) -> Any:
        step = 28 // side
        squares = np.reshape(images, (-1, 28, 28))[:, : side * step, : side * step]
        return squares.reshape(len(squares), side, step, side, step).mean(axis=(2, 4)).reshape(len(squares), -1)

    return pooled(data.x_train), np.asarray(data.t_train), pooled(data.x_test), np.asarray(data.t_test)


def trained(x: Any, t: Any, hidden: int, updates: int, l2: float, dtype: Any = np.float64) -> Any:
    """Returns a net of one hidden layer after some updates of KFAC on all cases."""
    model = nn.models.mlp((x.shape[1], hidden, 10), rng=np.random.default_rng(0), dtype=dtype)
    opt = optim.KFAC(model, LOSS, l2=l2)
    for _ in range(updates):
        opt.step(x.astype(dtype), t)
    return model


# -- estimates ------------------------------------------------------------------------------------------------------

Estimate: TypeAlias = "Callable[[int, Any], tuple[float, float]]"


def estimators(C: optim.Curvature) -> dict[str, dict[str, Estimate]]:
    """Per panel and method: (products, rng) → relative error, and the relative standard error that is given."""
    G = C.ggn.dense()
    values = np.maximum(np.linalg.eigvalsh(G), 0)
    damping = 1e-3 * float(values[-1])
    exact = {"trace": values.sum(), "norm": np.linalg.norm(G), "log det": np.sum(np.log(values + damping))}
    middle, d = float(values[-20]), np.diag(G)
    above = float(np.sum(values > middle))

    def of(name: str, estimate: Any) -> tuple[float, float]:
        return abs(estimate - exact[name]) / abs(exact[name]), estimate.error / abs(exact[name])

    def diagonal(method: str) -> Estimate:
        def run(k: int, rng: Any) -> tuple[float, float]:
            found, error = C.ggn.diagonal(method, k, rng=rng, return_error=True)
            return tuple(float(np.linalg.norm(a) / np.linalg.norm(d)) for a in (found - d, error))  # type: ignore[return-value]

        return run

    def count(k: int, rng: Any) -> tuple[float, float]:
        mean, error = C.ggn.spectral_density(probes=4, steps=k // 4, rng=rng).count(middle, np.inf)
        return abs(mean - above) / above, error / above

    def lanczos(k: int, rng: Any) -> tuple[float, float]:
        return of("log det", C.ggn.logdet(damping, probes=4, steps=k // 4, rng=rng))

    def trace(method: str) -> Estimate:
        return lambda k, rng: of("trace", C.ggn.trace(method, k, rng=rng))

    def norm(method: str) -> Estimate:
        return lambda k, rng: of("norm", C.ggn.norm(method, k, rng=rng))

    traces = ("hutchinson", "hutch++", "xtrace")
    return {
        "trace": {m: trace(m) for m in traces},
        "diagonal": {m: diagonal(m) for m in ("hutchinson", "xdiag")},
        "Frobenius norm": {m: norm(m) for m in traces[:2]},
        "log det, eigenvalues above the 20th": {"log det (4 probes)": lanczos, "count (4 probes)": count},
    }


def estimates(args: argparse.Namespace) -> Any:
    """Draws the error of every estimator against its products, and the error that it gives."""
    x, t, *_ = digits(args.side)
    x, t = x[: args.cases].astype(np.float64), t[: args.cases]
    C = optim.Curvature(trained(x, t, args.hidden, args.updates, 1e-3), LOSS, (x, t))
    print(f"{C.theta.size} parameters\n\n| | method | products | error | standard error that is given |\n|{'---|' * 5}")
    figure, panels = plt.subplots(1, 4, figsize=(15, 3.6))
    for axes, (name, methods) in zip(panels, estimators(C).items(), strict=True):
        for k, (method, estimate) in enumerate(methods.items()):
            runs = [[estimate(n, np.random.default_rng(seed)) for seed in range(args.seeds)] for n in args.products]
            found = np.median(np.array(runs), axis=1)
            axes.loglog(args.products, found[:, 0], "o-", color=f"C{k}", label=method)
            axes.loglog(args.products, found[:, 1], ":", color=f"C{k}")
            for n, (error, given) in zip(args.products, found, strict=True):
                print(f"| {name} | {method} | {n} | {error:.2g} | {given:.2g} |")
        axes.set(title=name, xlabel="products")
        axes.set_xticks(args.products, [str(n) for n in args.products])
        axes.minorticks_off()
        axes.legend(fontsize="x-small")
    panels[0].set(ylabel="relative error (dotted: as given)")
    return figure


# -- calibration ------------------------------------------------------------------------------------------------------


def reliability(p: Any, t: Any) -> tuple[Any, Any, float]:
    """Returns mean confidence and accuracy per bin of confidence, and the expected calibration error."""
    confidence, right = np.max(p, axis=1), np.argmax(p, axis=1) == t
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    sums = [np.bincount(place, a, minlength=BINS) for a in (confidence, right)]
    with np.errstate(invalid="ignore"):
        mean, accuracy = (s / count for s in sums)
    return mean, accuracy, float(np.abs(sums[0] - sums[1]).sum() / len(p))


def log_likelihood(p: Any, t: Any) -> float:
    """Returns the mean over cases of log p(t)."""
    return float(np.mean(np.log(np.maximum(p[np.arange(len(p)), t], 1e-30))))


def calibration(args: argparse.Namespace) -> Any:
    """Compares a net with its Laplace approximations, the prior by its evidence and by cases that are held out."""
    x, t, x_test, t_test = digits(args.side)
    held = slice(args.cases, args.cases + args.held_out)
    (x, t), (x_held, t_held) = ((x[part].astype(np.float64), t[part]) for part in (slice(args.cases), held))
    x_test, t_test = x_test[: args.tested].astype(np.float64), t_test[: args.tested]
    model = trained(x, t, args.hidden, args.updates, args.l2)

    def softmax(z: Any) -> Any:
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    left.plot([0, 1], [0, 1], "k:", lw=1)
    print("| | prior precision | accuracy | log-likelihood | calibration error |\n|---|---|---|---|---|")

    def row(name: str, prior: str, p: Any, **style: Any) -> None:
        confidence, accuracy, error = reliability(p, t_test)
        hits = float(np.mean(np.argmax(p, axis=1) == t_test))
        print(f"| {name} | {prior} | {hits:.3f} | {log_likelihood(p, t_test):.3f} | {error:.3f} |")
        if style:
            left.plot(confidence, accuracy, "o-", ms=3, label=f"{name}: {error:.3f}", **style)

    row("network", "–", softmax(model(x_test)), color="k")
    right.axhline(log_likelihood(softmax(model(x_held)), t_held), color="k", label="network")
    for k, structure in enumerate(args.structures):
        posterior = optim.Laplace(model, LOSS, (x, t), structure).tuned()
        by_evidence = posterior.prior_precision
        row(structure, f"{by_evidence:.2g}, evidence", posterior.predict(x_test))
        found = []
        for posterior.prior_precision in (*args.priors, by_evidence):
            found.append(log_likelihood(posterior.predict(x_held), t_held))
        right.semilogx(args.priors, found[:-1], "o-", ms=3, color=f"C{k}", label=structure)
        right.plot(by_evidence, found[-1], "*", ms=11, color=f"C{k}")
        posterior.prior_precision = args.priors[int(np.argmax(found[:-1]))]
        row(structure, f"{posterior.prior_precision:.2g}, held out", posterior.predict(x_test), color=f"C{k}")
    left.set(xlabel="confidence", ylabel="accuracy", title="test cases, calibration error; prior by held-out cases")
    right.set(xlabel="prior precision (star: largest evidence)", ylabel="log-likelihood of held-out cases")
    for axes in (left, right):
        axes.legend(fontsize="small")
    return figure


# -- influence --------------------------------------------------------------------------------------------------------


def influence(args: argparse.Namespace) -> Any:
    """Draws the most helpful and the most harmful training images of some test images."""
    x, t, x_test, t_test = digits(args.side)
    x, t = x[: args.cases].astype(np.float32), t[: args.cases]
    model = trained(x, t, args.hidden, args.updates, args.l2, np.float32)
    z = model(x_test[: args.tested].astype(np.float32))
    margin = np.sort(z, axis=1)[:, -1] - np.sort(z, axis=1)[:, -2]
    chosen = np.sort(np.argsort(margin)[: args.queries])  # those that the net is least sure of
    batches = [(x[k : k + 1000], t[k : k + 1000]) for k in range(0, len(x), 1000)]
    query = x_test[chosen].astype(np.float32), t_test[chosen]
    found = optim.influence(model, LOSS, batches, query, damping=args.l2, method=args.method)
    m, few = args.side, 4
    figure, panels = plt.subplots(len(chosen), 1 + 2 * few, figsize=(1.1 * (1 + 2 * few), 1.25 * len(chosen)))
    print("| test image | label | the net says | most helpful | most harmful |\n|---|---|---|---|---|")
    for row, (place, column) in enumerate(zip(chosen, found.T, strict=True)):
        order = np.argsort(column)
        best, worst = order[::-1][:few], order[:few]
        said = int(np.argmax(z[place]))
        labels = [", ".join(str(t[n]) for n in group) for group in (best, worst)]
        print(f"| {place} | {t_test[place]} | {said} | {labels[0]} | {labels[1]} |")
        pictures = [(x_test[place], f"{t_test[place]}, said {said}"), *((x[n], str(t[n])) for n in (*best, *worst))]
        for axes, (image, title) in zip(np.atleast_2d(panels)[row], pictures, strict=True):
            axes.imshow(np.reshape(image, (m, m)), cmap="gray_r")
            axes.set_title(title, fontsize=7)
            axes.axis("off")
    figure.suptitle("test image | helpful | harmful", fontsize=9)
    return figure


DEFAULTS: dict[str, dict[str, Any]] = {
    "estimates": {"side": 7, "hidden": 16, "cases": 500, "updates": 30},
    "calibration": {"side": 7, "hidden": 20, "cases": 1000, "updates": 150, "l2": 1e-5, "tested": 2000},
    "influence": {"side": 28, "hidden": 100, "cases": 10000, "updates": 60, "l2": 1e-3, "tested": 2000},
}


@one_line("uses_of_curvature.py")
def main() -> int:
    """Makes the figure that the first argument names."""
    p = Parser("uses_of_curvature.py", __doc__)
    p.add_argument("what", choices=tuple(DEFAULTS))
    for name, kind in {"side": int, "hidden": int, "cases": int, "updates": int, "l2": float, "tested": int}.items():
        p.add_argument(f"--{name}", type=kind)
    p.add_argument("--seeds", type=int, default=10)
    p.add_argument("--products", type=int, nargs="+", default=[12, 24, 48, 96, 192])
    p.add_argument("--structures", nargs="+", default=["full", "kron", "diag", "last-layer"])
    p.add_argument("--held-out", type=int, default=300, help="cases that choose the prior precision")
    p.add_argument("--priors", type=float, nargs="+", default=[0.1, 1, 3, 10, 30, 100, 1000])
    p.add_argument("--queries", type=int, default=5)
    p.add_argument("--method", default="ekfac", help="of the inverse: cg, minres, lsmr, kfac or ekfac")
    p.add_argument("--out", type=Path, default=Path("pictures"))
    args = p.parse_args()
    for name, value in DEFAULTS[args.what].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    with p.refusing():
        figure = {"estimates": estimates, "calibration": calibration, "influence": influence}[args.what](args)
    args.out.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    save_figure(figure, args.out / f"curvature-{args.what}.png", dpi=90)
    return 0


if __name__ == "__main__":
    sys.exit(main())
