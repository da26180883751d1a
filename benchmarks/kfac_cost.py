"""The cost of an update of KFAC, KFRA and EKFAC, in gradients: MNIST's autoencoder D-1000-500-250-30, 1000 cases.

    python benchmarks/kfac_cost.py                    the table, medians over --updates updates
    python benchmarks/kfac_cost.py --clock cpu        in CPU time of one thread, for a machine with other work
    python benchmarks/kfac_cost.py --cases 1000 --fraction 1       factors and α from all cases
    python benchmarks/kfac_cost.py --parts KFAC       a profile of an update

The methods and the gradient take turns, one inverse period of updates each, so a change in the machine's speed
affects all of them. A gradient is `Objective.value_and_gradient`, the main cost of Adam. Data: random pixels, which
cost the same.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from typing import Any

import rmad  # noqa: F401 (before NumPy: it picks the BLAS kernel that suits the CPU)

# isort: split
import numpy as np

import nn
import optim

METHODS = ("KFAC", "KFRA", "EKFAC")


def build(name: str, args: argparse.Namespace) -> Any:
    model = nn.models.autoencoder(args.sizes, rng=np.random.default_rng(0), init=nn.init.glorot_uniform)
    hyper = {"inverses_every": args.period, "factors_every": args.factors_every, "adapt_every": args.period}
    method = getattr(optim, name)(model, nn.SigmoidCrossEntropy(), cases=args.fraction, **hyper)
    if args.clock == "cpu":
        method.objective.threads = 1
    return method


def seconds(task: Any, times: int, clock: str = "wall") -> float:
    now = time.thread_time if clock == "cpu" else time.perf_counter
    start = now()
    for _ in range(times):
        task()
    return (now() - start) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=(784, 1000, 500, 250, 30))
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--period", type=int, default=5, help="updates between inversions")
    parser.add_argument("--factors-every", type=int, default=2)
    parser.add_argument("--fraction", type=float, default=0.25, help="of the cases, for factors and α")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--updates", type=int, default=50)
    parser.add_argument("--parts", choices=METHODS, help="profile this method instead")
    args = parser.parse_args()
    x = np.random.default_rng(0).random((args.cases, args.sizes[0]), np.float32)
    methods = {name: build(name, args) for name in ([args.parts] if args.parts else METHODS)}
    for method in methods.values():
        for _ in range(args.period):  # every inversion of the start
            method.step(x, x)
    if args.parts:
        profile = cProfile.Profile(time.thread_time if args.clock == "cpu" else time.perf_counter)
        profile.enable()
        seconds(lambda: methods[args.parts].step(x, x), args.updates)
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return
    objective = next(iter(methods.values())).objective
    tasks = {"gradient": lambda: objective.value_and_gradient(x, x)}
    tasks |= {name: (lambda method=method: method.step(x, x)) for name, method in methods.items()}
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(max(1, args.updates // args.period)):
        for name, task in tasks.items():
            found[name].append(seconds(task, args.period, args.clock))
    base = float(np.median(found["gradient"]))
    print("| | ms | gradients |\n|---|---|---|")
    for name, times in found.items():
        print(f"| {name} | {1e3 * float(np.median(times)):.1f} | {float(np.median(times)) / base:.2f} |")


if __name__ == "__main__":
    main()
