"""One Gauss-Newton product with a cached linearization: rmad, bare GEMMs, PyTorch and JAX compared.

    python benchmarks/ggn_product.py                    every problem, every contender that is installed
    python benchmarks/ggn_product.py --problem rnn --rounds 5 --json results.json

Each contender runs in a process of its own (the spinning threads of one BLAS slow the others down), the processes take
turns, and the figures are medians over rounds of medians; in rmad's process the calls take turns, too. `gemms` are
the unavoidable matrix products, called back to back in rmad's process on NumPy's BLAS with all cores; ratios refer to
them, round by round. cifar is SGN's convolutional net on 250 images, cifar-1000 on 1000; PyTorch has the images both as
(n, c, h, w) and as channels_last.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

from ggn_peers import run_jax, run_torch
from ggn_problems import PROBLEMS, gemms, median_ms, our_problem
from workers import work

IMAGES = 25  # at a time in the bare products

# -- rmad and the bare GEMMs --------------------------------------------------------------------------------


def run_rmad(problem: str) -> dict[str, float]:
    p = PROBLEMS[problem]
    model, loss, x, t = our_problem(p)
    import numpy as np

    import optim

    calls = {"gemms": gemms(p, False, np, IMAGES), "gemms of a gradient": gemms(p, True, np, IMAGES)}
    for name, threads in (("rmad, one tape", 1), ("rmad, shards", None)):
        objective = optim.Objective(model, loss, threads=threads)
        quadratic = objective.quadratic(x, t)
        v = np.random.default_rng(1).standard_normal(objective.size, dtype=np.float32)
        calls[name] = partial(quadratic.ggn_product, v, np.empty_like(v))
        calls[f"{name}, gradient"] = partial(objective.value_and_gradient, x, t)
        calls[f"{name}, value"] = partial(objective.value, x, t)
    turns = [{name: median_ms(call, 7) for name, call in calls.items()} for _ in range(3)]
    return {name: statistics.median(turn[name] for turn in turns) for name in calls}


def run_small() -> dict[str, float]:
    """Times a net of five layers of 16 units at batch 8, whose cost is that of Python."""
    import rmad

    assert rmad
    import numpy as np

    import nn
    import optim

    rng = np.random.default_rng(0)
    layers: list[Any] = []
    for k in range(5):
        layers += [nn.Linear(16, 16, rng=rng), nn.Tanh()] if k < 4 else [nn.Linear(16, 16, rng=rng)]
    x, t = rng.random((8, 16), dtype=np.float32), rng.random((8, 16), dtype=np.float32)
    objective = optim.Objective(nn.Sequential(*layers), nn.SquaredError())
    quadratic = objective.quadratic(x, t)
    v = rng.standard_normal(objective.size, dtype=np.float32)
    out = np.empty_like(v)

    def thousand() -> None:
        for _ in range(1000):
            quadratic.ggn_product(v, out)

    return {"rmad, small net (µs)": median_ms(thousand)}


def run_memory(problem: str) -> dict[str, float]:
    """Returns the peak of traced allocations above the start, in MB, for a gradient, and for linearization and product.

    The result counts in both; θ, x, t, and the multiplied vector do not.
    """
    import gc
    import tracemalloc

    model, loss, x, t = our_problem(PROBLEMS[problem])
    import numpy as np

    import optim

    objective = optim.Objective(model, loss, threads=1)
    v = np.ones(objective.size, np.float32)

    def gradient() -> None:
        objective.value_and_gradient(x, t)

    def product() -> None:
        objective.quadratic(x, t).ggn_product(v, np.empty_like(v))

    figures = {}
    for name, call in (("memory of a gradient (MB)", gradient), ("memory of a GGN product (MB)", product)):
        call()
        gc.collect()
        tracemalloc.start()
        call()
        figures[name] = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    return figures


# -- taking turns -----------------------------------------------------------------------------------------------

WORKERS: dict[str, Callable[[str], dict[str, float]]] = {
    "rmad": run_rmad,
    "torch": lambda problem: run_torch(PROBLEMS[problem]),
    "jax": lambda problem: run_jax(PROBLEMS[problem]),
    "memory": run_memory,
}
ONLY_IMAGES = {"channels last": lambda problem: run_torch(PROBLEMS[problem], channels_last=True)}


def compare(problem: str, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        more = ["small"] if problem == "mlp" else [*ONLY_IMAGES] if problem.startswith("cifar") else []
        for worker in [*WORKERS, *more]:
            for name, figure in work(__file__, worker, "--problem", problem).items():
                found.setdefault(name, []).append(figure)
    return found


def report(problem: str, found: dict[str, list[float]]) -> None:
    print(f"\n{problem}: medians over {len(found['gemms'])} rounds")
    for name, figures in found.items():
        base = "gemms of a gradient" if "gradient" in name else "gemms"
        line = f"  {name:32s}{statistics.median(figures):9.1f}"
        if "(" not in name:
            ratios = [f / g for f, g in zip(figures, found[base], strict=False)]
            line += f" ms   {statistics.median(ratios):5.2f} × {base}"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", choices=(*PROBLEMS, "all"), default="all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="write all figures to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        figures = run_small() if args.worker == "small" else (WORKERS | ONLY_IMAGES)[args.worker](args.problem)
        print(json.dumps(figures))
        return
    problems = PROBLEMS if args.problem == "all" else (args.problem,)
    results = {}
    for problem in problems:
        results[problem] = compare(problem, args.rounds)
        report(problem, results[problem])
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
