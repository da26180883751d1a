"""Where Fisher and Gauss-Newton differ, and how few directions a batch has curvature in.

    python examples/curvature.py mixture --out pictures     odd or even digits, a mixture of two binary classifiers
    python examples/curvature.py rank --out pictures        rank of the Gauss-Newton matrix of n cases
    python examples/curvature.py cosine --out pictures      which factors point where Gauss-Newton does

mixture: p(odd | x) = σ(h₁)σ(h₂) + (1 − σ(h₁))σ(h₃), trained by KFAC, KFLR, KFRA and Adam. The loss −log p(t) is
convex in p, so Gauss-Newton has 1/p(t)² there, and the Fisher matrix, which KFAC draws from, 1/(p(1 − p)). Their 3 × 3
blocks at h over the training cases are compared on the way.
cosine: at points of one run of KFAC on MNIST's autoencoder, the angle of C̃⁻¹∇f, with factors of the same batch by each
method, to (G + λI)⁻¹∇f by CG with the method's λ; the residual says how far CG came.
rank: of the exact matrix, beside the bound n · rank(L″ᵢᵢ), and its eigenvalues beside those of Kronecker factors.
Source: Botev, Ritter & Barber (2017), sections 5.1 to 5.3.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import rmad  # (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from runner import one_line

import nn
import optim
from nn.functional import sigmoid
from nn.losses.base import DiagonalCurvature, Loss
from optim.cg import pcg
from optim.factors import estimate
from optim.kronecker import Inverse

EDGE = 1e-3  # p lies in [EDGE, 1 − EDGE]: 1/p² stays within single precision


class Mixture(nn.Module):
    """p = σ(h₁)σ(h₂) + (1 − σ(h₁))σ(h₃), (n, 1), h = net(x)"""

    def __init__(self, net: Any) -> None:
        self.net = net

    def forward(self, x: Any) -> Any:
        return mixed(self.net(x))


def mixed(h: Any) -> Any:
    s = sigmoid(h)
    first = s[:, :1]
    return EDGE + (1 - 2 * EDGE) * (first * s[:, 1:2] + (1 - first) * s[:, 2:])


class Likelihood(Loss):
    """L = −1/n Σ log p(t), z = p(1): (n, 1), t 0 or 1.  L″ = 1/p(t)²/n

    It depends on t, so it is not the Fisher matrix.
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


def network(sizes: list[int], rng: np.random.Generator, dtype: Any = np.float32) -> Any:
    layers: list[Any] = []
    for i, o in pairwise(sizes):
        layers += [nn.Linear(i, o, rng=rng, dtype=dtype), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def digits(cases: int) -> tuple[Any, Any]:
    data = nn.data.mnist()
    return np.reshape(data.x_train[:cases], (-1, 28, 28)), np.asarray(data.t_train[:cases])


# -- Fisher and Gauss-Newton ------------------------------------------------------------------------------------


def both_curvatures(model: Mixture, x: Any, t: Any) -> tuple[Any, Any]:
    """The means over cases of the 3 × 3 blocks at h: Fisher and Gauss-Newton."""
    p, pull = rmad.vjp(mixed, model.net(x))
    J, n = pull(np.ones_like(p)), len(x)
    return (J / (p * (1 - p))).T @ J / n, J.T @ (J * Likelihood().curvature(p, t).diagonal)


def mixture(args: argparse.Namespace) -> Any:
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
    """Model, loss, targets, rank of L″ of a case."""
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
            eigenvalues = np.linalg.eigvalsh(q.ggn @ np.eye(p))[::-1]
            blocks = estimate(q, "kflr").blocks
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


def cosine(args: argparse.Namespace) -> Any:
    x = np.reshape(digits(args.cases)[0], (-1, 784))
    model = nn.models.autoencoder((784, *args.hidden), rng=np.random.default_rng(0))
    opt = optim.KFAC(model, nn.SigmoidCrossEntropy(), rng=np.random.default_rng(3))
    batches = nn.data.batches(x, x, min(args.batch, len(x)), np.random.default_rng(1))
    names = ("kfac", "kfra", "empirical")
    found: dict[str, list[float]] = {name: [] for name in (*names, "gradient")}
    updates = list(range(args.every, args.updates + 1, args.every))
    print(f"| update | residual | {' | '.join(found)} |\n|{'---|' * (len(found) + 2)}")
    for k in range(1, args.updates + 1):
        batch, _ = next(batches)
        opt.step(batch, batch)
        if k % args.every:
            continue
        q, lam = opt.objective.quadratic(batch, batch), opt.damping
        b, out = np.negative(q.gradient), np.empty_like(q.gradient)
        inverses = {name: Inverse(estimate(q, name, seed=k), lam) for name in names}
        exact = pcg(q.ggn_product, b, damping=lam, iterations=args.cg_iterations, keep=False).x
        q.ggn_product(exact, out)
        residual = float(np.linalg.norm(out + lam * exact - b) / np.linalg.norm(b))
        for name in found:
            d = inverses[name](b) if name in inverses else b
            found[name].append(float(d @ exact / np.linalg.norm(d) / np.linalg.norm(exact)))
        print(f"| {k} | {residual:.2g} | {' | '.join(f'{own[-1]:.3f}' for own in found.values())} |", flush=True)
    print(f"| mean | | {' | '.join(f'{np.mean(own):.3f}' for own in found.values())} |")
    figure, axis = plt.subplots(figsize=(6, 4))
    for name, own in found.items():
        axis.plot(updates, own, "o-", label=name)
    axis.set(xlabel="update", ylabel="cosine with the Gauss-Newton step", ylim=(0, None))
    axis.legend()
    return figure


@one_line("curvature.py")
def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("mixture", "rank", "cosine"))
    p.add_argument("--cases", type=int, default=10000)
    p.add_argument("--hidden", type=int, nargs="+", default=[100, 50, 20])
    p.add_argument("--batch", type=int, default=1000)
    p.add_argument("--updates", type=int, default=200)
    p.add_argument("--every", type=int, default=10, help="updates between records")
    p.add_argument("--cg-iterations", type=int, default=300)
    p.add_argument("--out", type=Path, default=Path("pictures"))
    args = p.parse_args()
    figure = {"mixture": mixture, "rank": rank, "cosine": cosine}[args.what](args)
    args.out.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(args.out / f"kronecker-{args.what}.png", dpi=100)
    return 0


if __name__ == "__main__":
    sys.exit(main())
