"""Recurrent layers: one Gauss-Newton product in rmad, PyTorch and JAX, and the cost and gain of checkpoints in time.

    python benchmarks/recurrent.py                      RNN, LSTM and GRU at T = 100, checkpoints at T = 400
    python benchmarks/recurrent.py --kinds lstm --rounds 3 --json results.json

100 units, 2 inputs, 1000 cases, float32, a linear readout of the last state. The linearization is cached and products
are timed; each contender runs in a process of its own, in turn, and the figures are medians over rounds. `gemms` are
the unavoidable matrix products of rmad's sweeps, in two halves on two threads like the shards. Memory is the peak of
traced allocations, for a gradient, and for a linearization with one product. The same RNN as a loop in plain NumPy,
swept by the engine alone, is in ggn_product.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

from ggn_problems import median_ms
from workers import work

N, T, UNITS, INPUTS, OUTPUTS = 1000, 100, 100, 2, 2
LONG = 400  # steps in the comparison of checkpoints
GATES = {"rnn": 1, "lstm": 4, "gru": 3}


# -- rmad and the bare GEMMs ----------------------------------------------------------------------------------------


def problem(kind: str, steps: int, checkpoint: bool = False) -> tuple[Any, Any, Any, Any]:
    import rmad  # first: it may choose the BLAS kernel

    assert rmad
    import numpy as np

    import nn

    rng = np.random.default_rng(0)
    layer = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind]
    recurrent = layer(INPUTS, UNITS, rng=rng, last=True, checkpoint=checkpoint)
    model = nn.Sequential(recurrent, nn.Linear(UNITS, OUTPUTS, rng=rng))
    x = rng.standard_normal((N, steps, INPUTS), dtype=np.float32)
    return model, nn.SquaredError(), x, rng.standard_normal((N, OUTPUTS), dtype=np.float32)


def gemms(kind: str, crew: Any) -> Callable[[], None]:
    """Returns the matrix products of one GGN product, in two halves of the cases, each on its own thread."""
    import numpy as np

    k, o, n = INPUTS + UNITS + 1, GATES[kind] * UNITS, N // 2

    def half() -> list[Callable[[], Any]]:
        ones = partial(np.ones, dtype=np.float32)
        P, inputs, ua, v = ones((o, k)), ones((k, n)), ones((o, n)), ones((UNITS, n))
        return [
            partial(np.dot, P, inputs, ones((o, n))),
            partial(np.dot, ones((o, UNITS)), v, ones((o, n))),
            partial(np.dot, ua, inputs.T, ones((o, k))),
            partial(np.dot, ones((o, UNITS)).T, ua, ones((UNITS, n))),
        ]

    halves = [half(), half()]

    def task(k: int) -> None:
        for _ in range(T):
            for call in halves[k]:
                call()

    def run() -> None:
        crew.run(task, 2)

    return run


def run_rmad(kind: str) -> dict[str, float]:
    model, loss, x, t = problem(kind, T)
    import numpy as np

    import optim

    calls: dict[str, Callable[[], Any]] = {"gemms": gemms(kind, optim.Objective(model, loss, threads=2).crew)}
    for name, threads in (("rmad, one tape", 1), ("rmad, shards", None)):
        objective = optim.Objective(model, loss, threads=threads)
        quadratic = objective.quadratic(x, t)
        v = np.random.default_rng(1).standard_normal(objective.size, dtype=np.float32)
        calls[name] = partial(quadratic.ggn_product, v, np.empty_like(v))
        calls[f"{name}, gradient"] = partial(objective.value_and_gradient, x, t)
    turns = [{name: median_ms(call, 7) for name, call in calls.items()} for _ in range(3)]
    return {name: statistics.median(turn[name] for turn in turns) for name in calls}


def run_checkpoints(kind: str) -> dict[str, float]:
    import numpy as np

    figures: dict[str, float] = {}
    for checkpoint in (False, True):
        name = f"T = {LONG}, " + ("checkpoints" if checkpoint else "without")
        model, loss, x, t = problem(kind, LONG, checkpoint)
        import optim

        objective = optim.Objective(model, loss)
        v = np.random.default_rng(1).standard_normal(objective.size, dtype=np.float32)
        out, gradient = np.empty_like(v), partial(objective.value_and_gradient, x, t)
        quadratic = objective.quadratic(x, t)
        figures[f"{name}, product"] = median_ms(partial(quadratic.ggn_product, v, out), 5)
        del quadratic

        def linearized(objective: Any = objective, x: Any = x, t: Any = t, v: Any = v, out: Any = out) -> None:
            objective.quadratic(x, t).ggn_product(v, out)

        figures[f"{name}, linearization and product"] = median_ms(linearized, 3)
        figures[f"{name}, gradient"] = median_ms(gradient, 3)
        figures[f"{name}, gradient (MB)"] = peak_mb(gradient)
        figures[f"{name}, product (MB)"] = peak_mb(linearized)
    return figures


def peak_mb(call: Callable[[], Any]) -> float:
    import gc
    import tracemalloc

    gc.collect()
    tracemalloc.start()
    call()
    found = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return found


# -- the peers --------------------------------------------------------------------------------------------------------


def shapes(kind: str) -> dict[str, tuple[int, ...]]:
    o = GATES[kind] * UNITS
    more = {"e": (UNITS,)} if kind == "gru" else {}
    return {"W": (INPUTS, o), "U": (UNITS, o), "b": (o,), "V": (UNITS, OUTPUTS), "c": (OUTPUTS,), **more}


def run_torch(kind: str) -> dict[str, float]:
    import warnings

    import torch
    from torch.func import grad, linearize, vjp

    warnings.filterwarnings("ignore", "Attempted to insert a get_attr Node")  # of linearize, on every use
    torch.manual_seed(0)
    params = {name: 0.1 * torch.randn(shape) for name, shape in shapes(kind).items()}
    x, target = torch.randn(N, T, INPUTS), torch.randn(N, OUTPUTS)

    def forward(p: Any) -> Any:
        h = c = torch.zeros(N, UNITS)
        for t in range(T):
            if kind == "gru":
                a, s = torch.addmm(p["b"], x[:, t], p["W"]), h @ p["U"]
                r, z = torch.sigmoid(a[:, : 2 * UNITS] + s[:, : 2 * UNITS]).chunk(2, 1)
                n = torch.tanh(a[:, 2 * UNITS :] + r * (s[:, 2 * UNITS :] + p["e"]))
                h = n + z * (h - n)
                continue
            a = torch.addmm(torch.addmm(p["b"], x[:, t], p["W"]), h, p["U"])
            if kind == "rnn":
                h = torch.tanh(a)
                continue
            i, f, g, o = a.chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h @ p["V"] + p["c"]

    _, jvp = linearize(forward, params)
    pull = vjp(forward, params)[1]
    gradient = grad(lambda p: 0.5 * ((forward(p) - target) ** 2).sum() / N)
    v = {name: torch.randn_like(p) for name, p in params.items()}
    return {
        "torch": median_ms(lambda: pull(jvp(v) / N), 7),
        "torch, gradient": median_ms(lambda: gradient(params), 7),
    }


def run_jax(kind: str) -> dict[str, float]:
    import jax
    import jax.numpy as jnp

    key = jax.random.key(0)
    params = {name: 0.1 * jax.random.normal(key, shape) for name, shape in shapes(kind).items()}
    x, target = jax.random.normal(key, (T, N, INPUTS)), jax.random.normal(key, (N, OUTPUTS))

    def forward(p: Any) -> Any:
        def cell(state: Any, x_t: Any) -> Any:
            h, c = state
            if kind == "gru":
                a, s = x_t @ p["W"] + p["b"], h @ p["U"]
                r, z = jnp.split(jax.nn.sigmoid(a[:, : 2 * UNITS] + s[:, : 2 * UNITS]), 2, axis=1)
                n = jnp.tanh(a[:, 2 * UNITS :] + r * (s[:, 2 * UNITS :] + p["e"]))
                return (n + z * (h - n), c), None
            a = x_t @ p["W"] + h @ p["U"] + p["b"]
            if kind == "rnn":
                return (jnp.tanh(a), c), None
            i, f, g, o = jnp.split(a, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        zeros = jnp.zeros((N, UNITS))
        (h, _), _ = jax.lax.scan(cell, (zeros, zeros), x)
        return h @ p["V"] + p["c"]

    _, jvp = jax.linearize(forward, params)
    pull = jax.linear_transpose(jvp, params)
    product = jax.jit(lambda v: pull(jvp(v) / N)[0])
    gradient = jax.jit(jax.grad(lambda p: 0.5 * jnp.sum((forward(p) - target) ** 2) / N))
    return {
        "jax": median_ms(lambda: jax.block_until_ready(product(params)), 7),
        "jax, gradient": median_ms(lambda: jax.block_until_ready(gradient(params)), 7),
    }


# -- taking turns -----------------------------------------------------------------------------------------------------

WORKERS = {"rmad": run_rmad, "torch": run_torch, "jax": run_jax, "checkpoints": run_checkpoints}


def report(kind: str, found: dict[str, list[float]]) -> None:
    middle = {name: statistics.median(figures) for name, figures in found.items()}
    print(f"\n{kind}: medians over rounds")
    for name, figure in middle.items():
        line = f"  {name:46s}{figure:9.1f} {'  ' if '(MB)' in name else 'ms'}"
        without = name.replace("checkpoints", "without")
        if without != name:
            line += f"   {figure / middle[without]:5.2f} × without"
        elif "gradient" not in name and not name.startswith("T =") and "gemms" in middle:
            line += f"   {figure / middle['gemms']:5.2f} × gemms"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=tuple(GATES), default=tuple(GATES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="write all figures to this file")
    parser.add_argument("--worker", choices=tuple(WORKERS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(WORKERS[args.worker](args.kinds[0])))
        return
    results: dict[str, dict[str, list[float]]] = {}
    for kind in args.kinds:
        found: dict[str, list[float]] = {}
        for k in range(args.rounds):
            for worker in WORKERS:
                if worker == "checkpoints" and k:
                    continue  # one round says enough, and takes as long as the others together
                for name, figure in work(__file__, worker, "--kinds", kind).items():
                    found.setdefault(name, []).append(figure)
        report(kind, found)
        results[kind] = found
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
