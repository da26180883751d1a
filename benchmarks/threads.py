"""The gain of a second thread: gradient, value and GGN product of batches of several sizes, in one shard and in two.

    OPENBLAS_NUM_THREADS=1 python benchmarks/threads.py

Times are medians of calls that alternate between the two, on an otherwise idle machine. The work is that of the matrix
products of a forward pass, in multiply-adds (`optim.Objective` counts ten more for an elementwise entry).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np

import nn
import optim

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import runner

PROBLEMS = (  # cases, sizes
    (64, (784, 128, 64, 32, 10)),
    (1000, (784, 20, 20, 20, 10)),
    (250, (784, 128, 64, 32, 10)),
    (1000, (784, 50, 10)),
    (1000, (784, 100, 10)),
    (500, (784, 200, 100, 10)),
    (1000, (784, 300, 10)),
    (1000, (784, 600, 300, 10)),
)
ROUNDS = 60
KINDS = ("gradient", "value", "product")


def calls(n: int, sizes: tuple[int, ...], shards: int) -> list[Callable[[], object]]:
    """Returns gradient with its tapes, value and GGN product of n cases in so many shards, each on a thread."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(n, sizes[0])).astype(np.float32), rng.integers(0, sizes[-1], n)
    objective = optim.Objective(nn.models.mlp(sizes, rng=rng), nn.SoftmaxCrossEntropy(), shards=shards, threads=shards)
    q = objective.quadratic(x, t)
    v = rng.normal(size=objective.size).astype(np.float32)
    out = np.empty_like(v)
    return [
        lambda: objective.quadratic(x, t).gradient,
        lambda: objective.value(x, t),
        lambda: q.ggn_product(v, out),
    ]


def main() -> int:
    rows = [["cases, net", "work", *(f"{kind}, ms: one shard, two shards (ratio)" for kind in KINDS)]]
    for n, sizes in PROBLEMS:
        pairs = list(zip(calls(n, sizes, 1), calls(n, sizes, 2), strict=True))
        cells = []
        for pair in pairs:
            times = np.array([[_seconds(call) for call in pair] for _ in range(ROUNDS)])[5:]
            one, two = np.median(times, axis=0) * 1e3
            cells.append(f"{one:.2f}, {two:.2f} ({one / two:.2f} ×)")
        work = n * sum(a * b for a, b in pairwise(sizes))
        rows.append([f"{n}, {'-'.join(map(str, sizes))}", f"{work / 1e6:.0f} million", *cells])
    print(runner.markdown(rows))
    return 0


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
