"""The time of a Hessian-free update on the CURVES autoencoder: products, other sweeps, the optimizer itself.

    python benchmarks/hf_overhead.py                         1000 cases, 842,340 parameters, up to 50 CG steps an update
    python benchmarks/hf_overhead.py --updates 20 --cg 250 --json results.json
    python benchmarks/hf_overhead.py --vectors-on-one-thread

Every update is timed as a whole, and within it every sweep of the model: products G v, forward passes with their
tape, gradients, the preconditioner's sweep, values of f (for backtracking, the ratio and the line search). The rest
belongs to the optimizer: the vectors of CG, P⁻¹, stored iterates, the new parameters. `overhead` is this rest
relative to the products. The first update plans the sweeps and is not counted. Medians over updates.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import rmad  # noqa: F401 (first: it may choose the BLAS kernel)

# isort: split
import numpy as np

import nn
import optim
from optim.parts import directions

PARTS = ("products", "forward and tape", "gradient", "preconditioner", "values of f", "vectors of CG", "the rest")


class Clock:
    """Times functions by name; the time of a timed function inside another counts for the inner one only."""

    def __init__(self) -> None:
        self.times: defaultdict[str, float] = defaultdict(float)
        self._inner: list[float] = []

    def timed(self, name: str, f: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            start = time.perf_counter()
            result = f(*args, **kwargs)
            spent = time.perf_counter() - start
            self.times[name] += spent - self._inner.pop()
            if self._inner:
                self._inner[-1] += spent
            return result

        return call

    def watch(self, owner: Any, attribute: str, name: str) -> None:
        setattr(owner, attribute, self.timed(name, getattr(owner, attribute)))


def watch_everything(clock: Clock) -> None:
    clock.watch(optim.Quadratic, "ggn_product", "products")
    clock.watch(optim.Objective, "quadratic", "forward and tape")
    clock.watch(optim.Objective, "value_at", "values of f")
    clock.watch(optim.Quadratic, "squared_gradients", "preconditioner")
    clock.watch(directions, "pcg", "vectors of CG")
    gradient = optim.Quadratic.gradient.func  # type: ignore[attr-defined]
    optim.Quadratic.gradient.func = clock.timed("gradient", gradient)  # type: ignore[attr-defined]


def measure(n: int, updates: int, cg: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    model = nn.models.autoencoder(nn.models.CURVES, rng=rng)
    x = rng.random((n, nn.models.CURVES[0]), dtype=np.float32)
    opt = optim.HessianFree(model, nn.SigmoidCrossEntropy(), damping=45.0, cg_iterations=cg, cg_tolerance=0.0)
    clock = Clock()
    watch_everything(clock)
    rows: list[dict[str, float]] = []
    for _ in range(updates + 1):
        clock.times.clear()
        start = time.perf_counter()
        info = opt.step(x, x)
        total = time.perf_counter() - start
        row = dict(clock.times)
        rows.append(row | {"the rest": total - sum(row.values()), "total": total, "count": info.products})
    rows = rows[1:]
    found = {name: statistics.median(row.get(name, 0.0) for row in rows) * 1e3 for name in (*PARTS, "total")}
    own = [(row["vectors of CG"] + row["the rest"]) / row["products"] for row in rows]
    return {
        "milliseconds": found,
        "products per update": statistics.median(row["count"] for row in rows),
        "overhead": statistics.median(own),
        "beyond products": statistics.median(row["total"] / row["products"] - 1 for row in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1000, help="cases")
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--cg", type=int, default=50, help="CG steps of an update")
    parser.add_argument(
        "--vectors-on-one-thread", action="store_true", help="apply it to the vectors of CG, not to the products"
    )
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    if arguments.vectors_on_one_thread:
        optim.tuning.BLOCKS_ON_THREADS_FROM = sys.maxsize
    found = measure(arguments.n, arguments.updates, arguments.cg)
    times = found["milliseconds"]
    count = found["products per update"]
    print(f"{count:.0f} products per update, {times['products'] / count:.2f} ms each; milliseconds per update:")
    for name in (*PARTS, "total"):
        print(f"  {name:18}{times[name]:9.1f}{times[name] / times['total']:8.1%}")
    print(f"overhead, the optimizer's own time over that of its products: {found['overhead']:.1%}")
    print(f"everything but products, values and gradients included, over products: {found['beyond products']:.1%}")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=2)


if __name__ == "__main__":
    main()
