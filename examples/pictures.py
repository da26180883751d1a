"""Pictures of curvature, each from a few lines; docs/tutorials/seeing.md goes through them.

    python examples/pictures.py                          # all, half a minute
    python examples/pictures.py spectrum cosines --out pictures

cg         what CG does to a quadratic: spectra, damping
spectrum   eigenvalues of the Hessian and the Gauss-Newton matrix, before and after training
along      the loss along an update, and the quadratic model of it
steps      objective and model over the steps of CG (figure 4 of the Hessian-free report)
run        damping and reduction ratio over a run
cosines    how the updates of different methods point relative to each other
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from runner import one_line
from scipy.sparse.linalg import eigsh

import nn
import optim
from optim.cg import pcg


def problem() -> tuple[Any, Any, Any, Any]:
    """Which side of a wave? A network of two hidden layers in double precision, 501 parameters."""
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, (500, 2))
    t = np.float64(np.sin(5 * x[:, :1]) > 2 * x[:, 1:])
    how: dict[str, Any] = {"rng": rng, "dtype": np.float64}
    model = nn.Sequential(
        nn.Linear(2, 20, **how), nn.Tanh(), nn.Linear(20, 20, **how), nn.Tanh(), nn.Linear(20, 1, **how)
    )
    return model, nn.SigmoidCrossEntropy(), x, t


def trained(updates: int) -> tuple[Any, Any, Any, Any]:
    """The same after some Hessian-free updates."""
    model, loss, x, t = problem()
    opt = optim.HessianFree(model, loss)
    for _ in range(updates):
        opt.step(x, t)
    return model, loss, x, t


def cg() -> Any:
    p = 100
    rng = np.random.default_rng(0)
    b = rng.normal(size=p)
    b /= np.linalg.norm(b)
    spectra = {
        "evenly on a log scale": np.logspace(0, 3, p),
        "five clusters": np.repeat([1.0, 10, 50, 200, 1000], p // 5) * (1 + 0.01 * rng.normal(size=p)),
        "a bulk and three outliers": np.concatenate([np.linspace(1, 5, p - 3), [200.0, 500.0, 1000.0]]),
    }
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True)
    for name, d in spectra.items():
        left.semilogy(_gaps(d, b), label=name)
    for damping in (0, 1, 10, 100):
        right.semilogy(_gaps(spectra["evenly on a log scale"] + damping, b), label=f"λ = {damping}")
    left.set(xlabel="step of CG", ylabel="(φ − min φ) / (φ₀ − min φ)", title="condition number 1000, three spectra")
    right.set(xlabel="step of CG", title="damped: the first spectrum + λ", ylim=(1e-12, 2))
    for axes in (left, right):
        axes.legend(fontsize=8)
    return figure


def _gaps(d: Any, b: Any) -> Any:
    """How far φ is above its minimum after every step, relative to the start; A = diag(d), b along all of them."""
    run = pcg(lambda v, out: np.multiply(d, v, out), b, iterations=70, keep=range(71))
    lowest = -0.5 * float(b @ (b / d))
    x = [np.zeros_like(b), *(iterate.x for iterate in run.iterates)]
    gaps = [0.5 * float((a - b / d) @ (d * (a - b / d))) for a in x]
    return np.maximum(np.array(gaps) / -lowest, 1e-16)


def spectrum() -> Any:
    figure, rows = plt.subplots(2, 1, figsize=(8, 5.5))
    for axes, updates in zip(rows, (0, 30), strict=True):
        model, loss, x, t = trained(updates)
        q = optim.Objective(model, loss).quadratic(x, t)
        low, top = np.quantile(optim.spectral_density(q.hessian, rng=np.random.default_rng(1)).nodes, (0, 1))
        grid, width = np.linspace(low - 0.1 * top, 1.15 * top, 800), top / 100
        for name, A, color in (("Hessian", q.hessian, "C0"), ("Gauss-Newton", q.ggn, "C1")):
            density, error = optim.spectral_density(A, rng=np.random.default_rng(0), probes=12).density(grid, width)
            axes.semilogy(grid, density, color=color, label=name)
            axes.fill_between(grid, np.maximum(density - 2 * error, 1e-9), density + 2 * error, color=color, alpha=0.3)
            ends = eigsh(A, k=3, which="LA", return_eigenvectors=False)
            axes.plot(ends, np.full(3, 0.3), "|", color=color, ms=14, mew=2)
        most = 3 * optim.spectral_density(q.ggn, rng=np.random.default_rng(0), probes=2).density(grid, width)[0].max()
        axes.set(ylabel="eigenvalues per unit of λ", ylim=(0.1, most), title=f"after {updates} updates")
        axes.legend()
    rows[1].set(xlabel="λ (bands: 2 standard errors; ticks: the three largest by eigsh)")
    return figure


def along() -> Any:
    model, loss, x, t = trained(18)
    objective = optim.Objective(model, loss)
    q, theta = objective.quadratic(x, t), objective.flat()
    figure, axes = plt.subplots(figsize=(7, 4))
    s = np.linspace(-0.5, 2, 101)
    for k, damping in enumerate((0.01, 0.001)):
        delta = pcg(q.ggn_product, -q.gradient, damping=damping, iterations=200).x
        values = [objective.value_at(theta + a * delta, x, t) for a in s]
        slope, curvature = float(q.gradient @ delta), float(delta @ (q.ggn @ delta))
        axes.plot(s, values, color=f"C{k}", label=f"loss, λ = {damping:g}, ‖δ‖ = {np.linalg.norm(delta):.2g}")
        axes.plot(s, q.value + slope * s + 0.5 * curvature * s**2, "--", color=f"C{k}", label="its quadratic model M")
    axes.axvline(1, color="0.8", zorder=0)
    axes.set(xlabel="α", ylabel="f(θ + αδ)", ylim=(-0.5 * q.value, 3 * q.value), title="along an update")
    axes.legend(fontsize=8)
    return figure


def steps() -> Any:
    model, loss, x, t = trained(18)
    objective = optim.Objective(model, loss)
    q, theta = objective.quadratic(x, t), objective.flat()
    figure, columns = plt.subplots(1, 3, figsize=(12, 3.6), sharey=True)
    for axes, damping in zip(columns, (0.01, 0.001, 0.0001), strict=True):
        run = pcg(q.ggn_product, -q.gradient, damping=damping, iterations=60, keep=range(61))
        at = [iterate.i for iterate in run.iterates]
        actual = [objective.value_at(theta + iterate.x, x, t) - q.value for iterate in run.iterates]
        undamped = [iterate.phi - damping / 2 * float(iterate.x @ iterate.x) for iterate in run.iterates]
        axes.plot(at, actual, label="f(θ + δᵢ) − f(θ)")
        axes.plot(at, undamped, label="model M")
        axes.plot(at, [iterate.phi for iterate in run.iterates], "--", label="with damping, φ")
        axes.plot(at[int(np.argmin(actual))], min(actual), "o", color="C0")
        axes.set(xlabel="step of CG", title=f"λ = {damping:g}", xlim=(0, 30), ylim=(-0.45 * q.value, 0.45 * q.value))
    columns[0].set(ylabel="change")
    columns[0].legend(fontsize=8)
    return figure


def run() -> Any:
    model, loss, x, t = problem()
    opt = optim.HessianFree(model, loss)
    infos = [opt.step(x, t) for _ in range(60)]
    figure, rows = plt.subplots(3, 1, figsize=(7, 6), sharex=True)
    rows[0].semilogy([info.loss for info in infos])
    rows[1].semilogy([info.damping for info in infos])
    rows[2].plot([info.reduction_ratio for info in infos], ".-", lw=1)
    for threshold in (0.25, 0.75):
        rows[2].axhline(threshold, color="0.7", lw=1)
    for axes, name in zip(rows, ("loss", "damping λ", "reduction ratio ρ"), strict=True):
        axes.set(ylabel=name)
    rows[2].set(xlabel="update (λ × 2/3 where ρ > 3/4, λ × 3/2 where ρ < 1/4; gaps: the loss rose, ρ = −∞)")
    return figure


def cosines() -> Any:
    model, loss, x, t = trained(18)
    damping = 0.001
    methods: dict[str, Any] = {
        "SGD": lambda m: optim.SGD(m, loss, lr=0.1),
        "Adam": lambda m: optim.Adam(m, loss),
        "CurveBall": lambda m: optim.CurveBall(m, loss, damping=damping),
        "SGN, 10 CG": lambda m: optim.SGN(m, loss, damping=damping),
        "KFAC": lambda m: optim.KFAC(m, loss, damping=damping),
        "KFLR": lambda m: optim.KFLR(m, loss, damping=damping),
        "KFRA": lambda m: optim.KFRA(m, loss, damping=damping),
        "HF": lambda m: optim.HessianFree(m, loss, damping=damping, preconditioner=False),
    }
    q = optim.Objective(model, loss).quadratic(x, t)
    updates = {name: _update(make, model, x, t) for name, make in methods.items()}
    exact = np.linalg.solve(q.ggn @ np.eye(q.gradient.size) + damping * np.eye(q.gradient.size), -q.gradient)
    updates[f"(G + {damping:g} I)⁻¹"] = exact
    units = np.stack([u / np.linalg.norm(u) for u in updates.values()])
    figure, axes = plt.subplots(figsize=(6.4, 5.4))
    image = axes.imshow(units @ units.T, vmin=-1, vmax=1, cmap="RdBu_r")
    for i, row in enumerate(units @ units.T):
        for j, value in enumerate(row):
            color = "white" if abs(value) > 0.7 else "black"
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=color)
    axes.set_xticks(range(len(updates)), list(updates), rotation=45, ha="right")
    axes.set_yticks(range(len(updates)), list(updates))
    axes.set_title("cosine between first updates from the same θ")
    figure.colorbar(image)
    return figure


def _update(make: Any, model: Any, x: Any, t: Any) -> Any:
    """What the first step of a method adds to θ."""
    opt = make(copy.deepcopy(model))
    before = opt.objective.flat()
    opt.step(x, t)
    return opt.objective.flat() - before


PICTURES = {"cg": cg, "spectrum": spectrum, "along": along, "steps": steps, "run": run, "cosines": cosines}


@one_line("pictures.py")
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="which of them; all by default")
    parser.add_argument("--out", type=Path, default=Path("runs/pictures"), help="folder for the PNGs")
    args = parser.parse_args()
    if unknown := set(args.names) - set(PICTURES):
        parser.error(f"there is no picture {', '.join(sorted(unknown))}; there are {', '.join(PICTURES)}")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or PICTURES:
        figure = PICTURES[name]()
        figure.tight_layout()
        figure.savefig(args.out / f"{name}.png", dpi=110)
        plt.close(figure)
        print(args.out / f"{name}.png")


if __name__ == "__main__":
    main()
