"""The cost of an update of CurveBall and of SGN, in gradients, on the CURVES autoencoder.

    python benchmarks/optimizer_cost.py
    python benchmarks/optimizer_cost.py --rounds 9 --threads 1

A gradient is `Objective.value_and_gradient` on the same batch: 784-400-200-100-50-25-6 and back, 1000 cases, float32.
The contenders take turns in one process; a figure is the median over rounds of the ratio to the gradient of that round.
The bounds: CurveBall 2.2, SGN with k CG steps 1.3 + 1.4 k.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np

import nn
import optim

N = 1000
STEPS = (1, 3, 10)


def median_of(call: Callable[[], Any], repeats: int) -> float:
    """Returns the median time of `repeats` calls, in seconds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def contenders(threads: int | None) -> dict[str, Callable[[], Any]]:
    x = nn.data.curves(N, 10).x_train

    def step(make: Callable[[Any, Any], Any]) -> Callable[[], Any]:
        """Makes a step from the same θ each time: its cost depends on the network and the damping."""
        opt = make(nn.models.autoencoder(nn.models.CURVES, rng=np.random.default_rng(0)), nn.SigmoidCrossEntropy())
        if threads:
            opt.objective.threads = threads
        theta = opt.objective.flat()

        def call() -> None:
            opt.step(x, x)
            opt.objective.assign(theta)

        return call

    model, loss = nn.models.autoencoder(nn.models.CURVES, rng=np.random.default_rng(0)), nn.SigmoidCrossEntropy()
    objective = optim.Objective(model, loss, threads=threads)
    calls: dict[str, Callable[[], Any]] = {"gradient": partial(objective.value_and_gradient, x, x)}
    calls["SGD"] = step(lambda m, f: optim.SGD(m, f, 1e-6, momentum=0.9))
    calls["Adam"] = step(lambda m, f: optim.Adam(m, f, 1e-6))
    calls["CurveBall"] = step(lambda m, f: optim.CurveBall(m, f))
    calls["CurveBall, fixed"] = step(lambda m, f: optim.CurveBall(m, f, momentum=0.9, beta=0.1, adapt_damping=False))
    for k in STEPS:
        calls[f"SGN({k})"] = step(lambda m, f, k=k: optim.SGN.preset("paper", m, f, cg_iterations=k, cg_tolerance=0.0))
    return calls


def bound(name: str) -> float | None:
    if name.startswith("SGN("):
        return 1.3 + 1.4 * int(name[4:-1])
    return 2.2 if name == "CurveBall" else None


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--repeats", type=int, default=5, help="calls of each contender in a round (5: CurveBall's λ once)")
    p.add_argument("--threads", type=int, help="threads of rmad (the cores of this machine)")
    args = p.parse_args()
    calls = contenders(args.threads)
    for call in calls.values():
        call()
    turns = [{name: median_of(call, args.repeats) for name, call in calls.items()} for _ in range(args.rounds)]
    print(f"{'':18} {'ms':>8} {'gradients':>10} {'at most':>8}")
    for name in calls:
        ms = 1e3 * statistics.median(turn[name] for turn in turns)
        ratio = statistics.median(turn[name] / turn["gradient"] for turn in turns)
        most = bound(name)
        print(f"{name:18} {ms:8.1f} {ratio:10.2f} {'' if most is None else f'{most:8.1f}'}")


if __name__ == "__main__":
    main()
