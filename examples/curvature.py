"""The difference between Fisher and Gauss-Newton, and the rank of a batch's curvature.

    python examples/curvature.py mixture --out pictures     odd or even digits, a mixture of two binary classifiers
    python examples/curvature.py rank --out pictures        rank of the Gauss-Newton matrix of n cases
    python examples/curvature.py cosine --out pictures      angles between Kronecker-factored and Gauss-Newton steps

mixture: p(odd | x) = σ(h₁)σ(h₂) + (1 − σ(h₁))σ(h₃), trained by KFAC, KFLR, KFRA and Adam. The loss −log p(t) is
convex in p, so Gauss-Newton has 1/p(t)² there, and the Fisher matrix, which KFAC samples, 1/(p(1 − p)). Their 3 × 3
blocks at h, means over the training cases, are compared during the run.
cosine: at points of a run on MNIST's autoencoder, in double precision, the angle between C̃⁻¹∇f, with factors of the
same batch by each method and factored or exact damping, and (G + λI)⁻¹∇f: by CG until the residual is --tolerance of ∇f
(preconditioned by KFLR's factors), and by 20 steps of plain CG. The mean over the points for each seed (of weights,
order of the cases, draws), then mean and standard error over the seeds.
rank: the rank of the exact matrix and its bound n · rank(L″ᵢᵢ), its eigenvalues and those of Kronecker factors.
Source: Botev, Ritter & Barber (2017), sections 5.1 to 5.3.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import rmad  # (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from runner import Parser, one_line, save_figure

import nn
import optim
from nn import DiagonalCurvature, Loss
from nn.functional import sigmoid
from optim import KroneckerInverse, kronecker_factors, pcg

EDGE = 1e-3  # p lies in [EDGE, 1 − EDGE]: 1/p² stays within single precision


class Mixture(nn.Module):
    """p = σ(h₁)σ(h₂) + (1 − σ(h₁))σ(h₃), h = net(x); p: (n, 1)."""

    def __init__(self, net: Any) -> None:
        self.net = net

    def forward(self, x: Any) -> Any:
        return mixed(self.net(x))


def mixed(h: Any) -> Any:
    """Returns p: (n, 1) for h: (n, 3)."""
    s = sigmoid(h)
    first = s[:, :1]
    return EDGE + (1 - 2 * EDGE) * (first * s[:, 1:2] + (1 - first) * s[:, 2:])


class Likelihood(Loss):
    """L = −1/n Σ log p(t), z = p(1): (n, 1), t 0 or 1.  L″ = 1/p(t)²/n.

    L″ depends on t, so it is not the Fisher matrix.
    """

    def value(self, z: Any, t: Any) -> Any:
        return -np.sum(np.log(self._of_target(z, t)), dtype=np.float64) / len(z)

    def gradient(self, z: Any, t: Any) -> Any:
        return (1 - 2 * t.astype(z.dtype)) / self._of_target(z, t) / z.dtype.type(len(z))

    def value_and_gradient(self, z: Any, t: Any) -> tuple[Any, Any]:
        return self.value(z, t), self.gradient(z, t)

    def curvature(self, z: Any, t: Any = None) -> DiagonalCurvature:
        return DiagonalCurvature(self._of_target(z, t) ** -2 / z.dtype.type(len(z)))

    def sqrt_hessian(self, z: Any, t: Any = None) -> Any:
        return np.sqrt(self.curvature(z, t).diagonal)[None]

    def sample(self, z: Any, rng: np.random.Generator) -> Any:
        return (rng.random(z.shape) < z).astype(z.dtype)

    def _of_target(self, z: Any, t: Any) -> Any:
        t = t.astype(z.dtype)
        return t * z + (1 - t) * (1 - z)


def network(sizes: list[int], rng: np.random.Generator, dtype: Any = np.float32) -> nn.Sequential:
    """Returns layers of these sizes with tanh."""
    return nn.models.mlp(sizes, rng=rng, dtype=dtype)


def digits(cases: int) -> tuple[Any, Any]:
    """Loads images (n, 28, 28) and labels of MNIST."""
    data = nn.data.mnist()
    return np.reshape(data.x_train[:cases], (-1, 28, 28)), np.asarray(data.t_train[:cases])


# -- Fisher and Gauss-Newton ------------------------------------------------------------------------------------


def both_curvatures(model: Mixture, x: Any, t: Any) -> tuple[Any, Any]:
    """Returns the means over cases of the 3 × 3 blocks at h: Fisher and Gauss-Newton."""
    p, pull = rmad.vjp(mixed, model.net(x))
    J, n = pull(np.ones_like(p)), len(x)
    return (J / (p * (1 - p))).T @ J / n, J.T @ (J * Likelihood().curvature(p, t).diagonal)


def mixture(args: argparse.Namespace) -> Any:
    """Compares both matrices along runs of four methods, and returns the figure."""
    x, labels = digits(args.cases)
    x, t = np.reshape(x, (len(x), -1)), (labels % 2).astype(np.float32)[:, None]
    loss = Likelihood()
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    print("| | objective | trace of Fisher / of Gauss-Newton | ‖F − G‖ / ‖G‖ |\n|---|---|---|---|")
    for name in ("KFAC", "KFLR", "KFRA", "Adam"):
        model = Mixture(network([784, *args.hidden, 3], np.random.default_rng(0)))
        own: dict[str, Any] = {"lr": 1e-3} if name == "Adam" else {"rng": np.random.default_rng(3)}
        opt = getattr(optim, name)(model, loss, **own)
        batches = nn.data.batches(x, t, min(args.batch, len(x)), np.random.default_rng(1))
        records = []
        for k in range(args.updates + 1):
            if k % args.every == 0:
                F, G = both_curvatures(model, x, t)
                away = float(np.linalg.norm(F - G) / np.linalg.norm(G))
                records.append((k, opt.objective.value(x, t), float(np.trace(F) / np.trace(G)), away))
            if k < args.updates:
                opt.step(*next(batches))
        for row in (records[0], records[-1]):
            print(f"| {name}, {row[0]} updates | {row[1]:.4g} | {row[2]:.3g} | {row[3]:.3g} |")
        updates = [r[0] for r in records]
        axes[0].semilogy(updates, [r[1] for r in records], label=name)
        axes[1].semilogy(updates, [r[2] for r in records], label=name)
    axes[0].set(xlabel="update", ylabel="objective", title="odd or even, mixture of two classifiers")
    axes[1].set(xlabel="update", ylabel="tr Fisher / tr Gauss-Newton, at h")
    axes[0].legend()
    return figure


# -- the rank ---------------------------------------------------------------------------------------------------


def problems(x: Any, labels: Any) -> dict[str, tuple[Any, Any, Any, int]]:
    """Returns model, loss, targets and the rank of L″ of a case, by name."""
    sizes, kw = [x.shape[1], 12, 8], {"dtype": np.float64}
    odd = (labels % 2).astype(np.float64)[:, None]

    def rng() -> np.random.Generator:
        return np.random.default_rng(0)

    return {
        "mixture of two": (Mixture(network([*sizes, 3], rng(), **kw)), Likelihood(), odd, 1),
        "softmax of 10": (network([*sizes, 10], rng(), **kw), nn.SoftmaxCrossEntropy(), labels.astype(np.int64), 9),
        "10 bits": (network([*sizes, 10], rng(), **kw), nn.SigmoidCrossEntropy(), np.eye(10)[labels], 10),
    }


def rank(args: argparse.Namespace) -> Any:
    """Computes ranks and eigenvalues, and returns the figure."""
    x, labels = digits(args.cases)
    x = x.reshape(len(x), 7, 4, 7, 4).mean(axis=(2, 4)).reshape(len(x), -1).astype(np.float64)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    numbers = [n for n in (1, 4, 16, 64) if n <= len(x)]
    print("| | n | rank | n · rank L″ | parameters | of KFLR's factors |\n|---|---|---|---|---|---|")
    p, eigenvalues, factored = 0, np.zeros(0), np.zeros(0)
    for color, (name, (model, loss, t, own)) in enumerate(problems(x, labels).items()):
        ranks = []
        for n in numbers:
            q = optim.Objective(model, loss, shards=1).quadratic(x[:n], t[:n])
            p = q.objective.size
            eigenvalues = np.linalg.eigvalsh(q.ggn.matmat(np.eye(p)))[::-1]
            blocks = kronecker_factors(q, "kflr").blocks
            spectra = [np.multiply.outer(np.linalg.eigvalsh(b.A), np.linalg.eigvalsh(b.G)).ravel() for b in blocks]
            factored = np.sort(np.concatenate(spectra))[::-1]
            tolerance = p * np.finfo(float).eps
            ranks.append(int(np.sum(eigenvalues > tolerance * eigenvalues[0])))
            theirs = int(np.sum(factored > tolerance * factored[0]))
            print(f"| {name} | {n} | {ranks[-1]} | {n * own} | {p} | {theirs} |")
        style: dict[str, Any] = {"color": f"C{color}"}
        axes[0].loglog(numbers, ranks, "o-", label=name, **style)
        axes[0].loglog(numbers, [min(n * own, p) for n in numbers], ":", **style)
        axes[1].semilogy(np.maximum(eigenvalues, 1e-18), "-", label=f"{name}, exact", **style)
        axes[1].semilogy(np.maximum(factored, 1e-18), "--", **style)
    axes[0].set(xlabel="cases n", ylabel="rank (dotted: min(n rank L″, p))")
    axes[1].set(xlabel="number", ylabel=f"eigenvalue, n = {numbers[-1]} (dashed: A ⊗ G by KFLR)", ylim=(1e-12, None))
    axes[0].legend()
    return figure


# -- the angle --------------------------------------------------------------------------------------------------


NAMES = ("kfac", "kfra", "kflr", "kfac, 10 draws", "empirical")
TRUNCATED = 20  # CG steps


def gauss_newton(q: Any, b: Any, lam: float, inverse: KroneckerInverse, args: argparse.Namespace) -> tuple[Any, float]:
    """Returns (G + λI)⁻¹ b and the relative residual."""
    size, out = float(np.linalg.norm(b)), np.empty_like(b)

    def stop(i: int, phi: float, r: Any) -> str | None:
        return "small" if np.linalg.norm(r) <= args.tolerance * size else None

    budget: dict[str, Any] = {"damping": lam, "iterations": args.cg_iterations, "keep": False}
    x = pcg(q.ggn_product, b, None, inverse, stop=stop, **budget).x
    q.ggn_product(x, out)
    return x, float(np.linalg.norm(out + lam * x - b)) / size


def alignment(objective: Any, x: Any, lam: float, seed: int, args: argparse.Namespace) -> tuple[Any, float]:
    """Returns cosines on x: (CG converged or truncated, damping factored or exact, method), and CG's residual."""
    q = objective.quadratic(x, x)
    b = np.negative(q.gradient)
    factors = {n: kronecker_factors(q, n.partition(",")[0], seed=seed, samples=10 if "," in n else 1) for n in NAMES}
    exact, residual = gauss_newton(q, b, lam, KroneckerInverse(factors["kflr"], lam), args)
    truncated = pcg(q.ggn_product, b, damping=lam, iterations=TRUNCATED, keep=False).x
    found = np.zeros((2, 2, len(NAMES) + 1))
    for k in range(2):
        steps = [*(KroneckerInverse(own, lam, exact=bool(k))(b) for own in factors.values()), b]
        for r, reference in enumerate((exact, truncated)):
            norm = np.linalg.norm(reference)
            found[r, k] = [float(d @ reference / np.linalg.norm(d) / norm) for d in steps]
    return found, residual


def along_a_run(x: Any, seed: int, points: list[int], args: argparse.Namespace) -> Any:
    """Returns the cosines at those updates of a run; the seed determines its weights, batches and draws."""
    rng = np.random.default_rng(seed)
    model = nn.models.autoencoder((x.shape[1], *args.hidden), rng=rng, dtype=np.float64)
    opt = getattr(optim, args.along)(model, nn.SigmoidCrossEntropy(), rng=rng)
    batches, found = nn.data.batches(x, x, min(args.batch, len(x)), rng), []
    for k in range(points[-1] + 1):
        batch, _ = next(batches)
        if k in points:
            lam = opt.damping if args.damping is None else args.damping
            own, residual = alignment(opt.objective, batch, lam, k, args)
            found.append(own)
            cells = " | ".join(f"{value:.3f}" for value in own[0, 0])
            print(f"| {seed} | {k} | {opt.damping:.1e} | {lam:.1e} | {residual:.1e} | {cells} |", flush=True)
        opt.step(batch, batch)
    return found


def spread(values: Any) -> str:
    """Returns mean ± standard error as text."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{np.mean(values):.3f} ± {error:.3f}"


def cosine(args: argparse.Namespace) -> Any:
    """Compares directions along runs, and returns the figure."""
    images, side = digits(args.cases)[0], 28 // args.pool
    pooled = images.reshape(len(images), side, args.pool, side, args.pool).mean(axis=(2, 4))
    x = pooled.reshape(len(images), -1).astype(np.float64)
    points, names = list(range(args.every, args.updates + 1, args.every)), (*NAMES, "gradient")
    print(f"| seed | update | λ of the run | λ | residual | {' | '.join(names)} |\n|{'---|' * (len(names) + 5)}")
    found = np.stack([along_a_run(x, seed, points, args) for seed in range(args.seeds)])
    print(f"\n| CG, damping | {' | '.join(names)} | kfra − kfac | above at |\n|{'---|' * (len(names) + 3)}")
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for r, reference in enumerate(("converged", f"{TRUNCATED} steps")):
        for k, damping in enumerate(("factored", "exact")):
            own = found[:, :, r, k]
            means, more = own.mean(axis=1), own[..., 1] - own[..., 0]
            cells = " | ".join(spread(column) for column in means.T)
            above = f"{np.sum(more > 0)} of {more.size}"
            print(f"| {reference}, {damping} | {cells} | {spread(more.mean(axis=1))} | {above} |")
            for m, name in enumerate(names[: len(names) - k]):
                label = f"{name}, {damping}" if name != "gradient" else name
                axes[r].plot(points, own[..., m].mean(axis=0), ("o-", "s--")[k], color=f"C{m}", label=label)
        axes[r].set(xlabel="update", title=f"CG: {reference}", ylim=(0, 0.85))
    axes[0].set(ylabel="cosine with the Gauss-Newton step")
    axes[1].legend(fontsize="x-small", ncols=2, loc="upper right")
    return figure


@one_line("curvature.py")
def main() -> int:
    """Makes the figure that the first argument names."""
    p = Parser("curvature.py", __doc__)
    p.add_argument("what", choices=("mixture", "rank", "cosine"))
    p.add_argument("--cases", type=int, default=10000)
    p.add_argument("--hidden", type=int, nargs="+", default=[100, 50, 20])
    p.add_argument("--batch", type=int, default=1000)
    p.add_argument("--updates", type=int, default=200)
    p.add_argument("--every", type=int, default=10, help="number of updates between records")
    p.add_argument("--cg-iterations", type=int, default=2000)
    p.add_argument("--tolerance", type=float, default=1e-4, help="relative residual at which CG stops")
    p.add_argument("--damping", type=float, help="λ of the compared directions (that of the run)")
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument(
        "--pool", type=int, default=2, help="side of the squares of pixels that are averaged, a divisor of 28"
    )
    p.add_argument("--along", choices=("KFAC", "KFRA", "KFLR"), default="KFAC", help="method of the run")
    p.add_argument("--out", type=Path, default=Path("pictures"))
    args = p.parse_args()
    figure = {"mixture": mixture, "rank": rank, "cosine": cosine}[args.what](args)
    args.out.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    save_figure(figure, args.out / f"kronecker-{args.what}.png", dpi=100)
    return 0


if __name__ == "__main__":
    sys.exit(main())
