"""Ranks: CPU and wall-clock seconds of a product, a gradient, and steps of HF and KFAC on 1, 2, 4 ranks; and a model.

    OMP_NUM_THREADS=1 python benchmarks/ranks.py [--cases 1000,10000] [--ranks 1,2,4] [--draw FILE]

It starts mpiexec itself (extra `mpi`). The net is the CURVES autoencoder in single precision. Per rank are given the
CPU seconds of its work and those in messages, where a rank that waits for others spins; medians over calls, of the
slowest rank. Messages are exchanges of `optim.Ranks`, per update; bytes are those of the arrays summed.

--draw writes the figure of docs/ranks.md: the time of a product and of a KFAC step on 1 to 4096 ranks,

    T(R) = W n / R + S + m ρ α + 2 b (R − 1) / (R B),   ρ = 2 ⌈log₂ R⌉ + (R − 1 up to 32 ranks, else ⌈log₂ R⌉)

with W (work of a case) and S (work that every rank does) as measured on one rank, m messages, b bytes summed, a latency
α and a bandwidth B of the network.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np

import nn
import optim

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import runner

KINDS = "product", "gradient", "HF step", "KFAC step"
SECONDS = 2.0  # of calls of a kind
FEWEST = {"HF step": 3, "KFAC step": 10}  # calls; KFAC renews what it has in ten updates
FIRST = {"KFAC step": 5}  # calls before, in which it renews everything
NETS = {"1 Gbit/s": (1e9 / 8, 30e-6), "10 Gbit/s": (1e10 / 8, 10e-6), "100 Gbit/s": (1e11 / 8, 2e-6)}  # B, α


class Clock:
    """CPU and wall-clock seconds, those in messages apart."""

    def __init__(self, ranks: optim.Ranks) -> None:
        self.ranks, self.waited = ranks, np.zeros(2)
        wait = getattr(ranks.backend, "_wait", None)
        if wait is not None:
            ranks.backend._wait = self._timed(wait)  # type: ignore[attr-defined]

    def _timed(self, wait: Callable[..., None]) -> Callable[..., None]:
        def timed(post: Any) -> None:
            before = self.now()
            wait(post)
            self.waited += self.now() - before

        return timed

    @staticmethod
    def now() -> Any:
        return np.array([time.process_time(), time.perf_counter()])

    def of(self, call: Callable[[], object]) -> list[float]:
        """CPU seconds of work and in messages, wall-clock seconds, messages, those beside products, and bytes."""
        self.waited[:] = 0
        before, counted = self.now(), (self.ranks.exchanges, self.ranks.bytes)
        products = getattr(call(), "products", 0)
        cpu, wall = self.now() - before
        messages, sent = self.ranks.exchanges - counted[0], self.ranks.bytes - counted[1]
        return [cpu - self.waited[0], self.waited[0], wall, messages, messages - products, sent]


def measure(n: int) -> dict[str, Any]:
    """The numbers of every kind of call, on this rank and the slowest."""
    ranks = runner.ranks()
    clock, rng = Clock(ranks), np.random.default_rng(0)
    x = rng.random((n, 784), dtype=np.float32)
    loss = nn.SigmoidCrossEntropy()

    def model() -> Any:
        return nn.models.autoencoder((784, 400, 200, 100, 50, 25, 6), rng=np.random.default_rng(0))

    objective = optim.Objective(model(), loss, ranks=ranks, threads=1)
    q, v = objective.quadratic(x, x), rng.normal(size=objective.size).astype(np.float32)
    out = np.empty_like(v)
    hf = optim.HessianFree(model(), loss, automatic=False, damping=45.0, cg_iterations=10, cg_tolerance=0, ranks=ranks)
    kfac = optim.KFAC(model(), loss, ranks=ranks)
    calls = {
        "product": lambda: q.ggn_product(v, out),
        "gradient": lambda: objective.value_and_gradient(x, x),
        "HF step": lambda: hf.step(x, x),
        "KFAC step": lambda: kfac.step(x, x),
    }
    found: dict[str, Any] = {"size": objective.size}
    for kind, call in calls.items():
        for _ in range(FIRST.get(kind, 1)):
            call()
        begin, rows = time.perf_counter(), []
        while len(rows) < FEWEST.get(kind, 6) or not ranks.share(time.perf_counter() - begin > SECONDS):
            rows.append(clock.of(call))
        if kind == "KFAC step":
            rows = rows[: len(rows) // 10 * 10]
        of_ranks = np.array(ranks.gathered(lambda rows=rows: rows))  # (ranks, calls, numbers)
        median, mean = np.median(of_ranks, axis=1).max(axis=0), of_ranks.mean(axis=1).max(axis=0)
        found[kind] = {
            **dict(zip(("cpu", "in messages", "wall"), median[:3].tolist(), strict=True)),
            "messages": float(mean[3]),
            "beyond products": float(of_ranks[..., 4].max()),
            "most": float(of_ranks[..., 3].max()),
            "bytes": float(mean[5]),
        }
    return found


def started(size: int, n: int) -> dict[str, Any]:
    """The measurement on so many ranks."""
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    mpiexec = shutil.which("mpiexec", path=paths)
    if mpiexec is None:
        raise SystemExit("benchmarks/ranks.py: there is no mpiexec: pip install -e '.[mpi]'")
    command = [mpiexec, "-n", str(size), sys.executable, __file__, "--measure", str(n)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(text)
    return found


def table(results: dict[tuple[int, int], dict[str, Any]]) -> str:
    """The numbers as a table."""
    head = ["cases", "", "ranks", "CPU of work, ms", "of ideal", "in messages, ms", "wall, ms", "messages", "MB summed"]
    rows = [head]
    for kind in KINDS:
        for (n, size), found in results.items():
            one, here = results[n, 1][kind], found[kind]
            rows.append(
                [
                    f"{n:,}",
                    kind,
                    str(size),
                    f"{here['cpu'] * 1e3:.1f}",
                    f"{one['cpu'] / size / here['cpu']:.2f}",
                    f"{here['in messages'] * 1e3:.1f}",
                    f"{here['wall'] * 1e3:.1f}",
                    f"{here['messages']:.1f}",
                    f"{here['bytes'] / 1e6:.1f}",
                ]
            )
    return runner.markdown(rows)


def seconds(ranks: Any, work: float, alone: float, messages: float, size: float, B: float, alpha: float) -> Any:
    """T(R)."""
    steps = np.ceil(np.log2(ranks))
    rounds = 2 * steps + np.where(ranks <= 32, ranks - 1, steps)
    return work / ranks + alone + messages * rounds * alpha + 2 * size * (ranks - 1) / ranks / B


def draw(results: dict[tuple[int, int], dict[str, Any]], path: Path) -> None:
    """Draws T(R) of a product and of a KFAC step, for the most cases measured and a hundred times as many."""
    from matplotlib.figure import Figure

    n = max(n for n, _ in results)
    few = min(n for n, _ in results)
    one, small = results[n, 1], results[few, 1]
    two = results[n, 2]
    ranks = 2.0 ** np.arange(13)
    figure = Figure(figsize=(9, 6.5), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    for row, kind in zip(axes, ("product", "KFAC step"), strict=True):
        of_case = (one[kind]["cpu"] - small[kind]["cpu"]) / (n - few)
        alone = max(one[kind]["cpu"] - n * of_case, 0.0)
        for ax, cases in zip(row, (n, 100 * n), strict=True):
            for name, (B, alpha) in NETS.items():
                messages, size = two[kind]["messages"], two[kind]["bytes"]
                ax.loglog(ranks, seconds(ranks, of_case * cases, alone, messages, size, B, alpha), label=name)
            ax.loglog(ranks, of_case * cases / ranks + alone, "k:", label="without messages")
            ax.set_title(f"{kind}, {cases:,} cases")
            ax.grid(True, alpha=0.3)
    for ax in axes[1]:
        ax.set_xlabel("ranks")
        ax.set_xticks(ranks[::3], [f"{r:.0f}" for r in ranks[::3]])
    for ax in axes[:, 0]:
        ax.set_ylabel("seconds")
    axes[0, 0].legend()
    runner.save_figure(figure, path, dpi=100)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cases", type=runner.listed(int), default=[1000, 10_000])
    p.add_argument("--ranks", type=runner.listed(int), default=[1, 2, 4])
    p.add_argument("--draw", type=Path, metavar="FILE")
    p.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = p.parse_args()
    if arguments.measure:
        found = measure(arguments.measure)
        if runner.ranks().rank == 0:
            print(json.dumps(found))
        return 0
    sizes = sorted({1, *arguments.ranks})
    results = {(n, size): started(size, n) for n in arguments.cases for size in sizes}
    print(table(results))
    for (n, size), found in results.items():
        if size > 1:
            hf, kfac = found["HF step"], found["KFAC step"]
            print(
                f"{n} cases, {size} ranks: HF step at most {hf['beyond products']:.0f} messages beyond its products, "
                f"KFAC step {kfac['messages']:.1f} in the mean, at most {kfac['most']:.0f}"
            )
    if arguments.draw:
        draw(results, arguments.draw)
    return 0


if __name__ == "__main__":
    sys.exit(main())
