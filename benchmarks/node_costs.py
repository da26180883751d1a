"""Costs of small arrays: per recorded node, for a gradient, for a product, and in memory, next to autograd.

    python benchmarks/node_costs.py [--rounds 15]

nodes       functions of 1,000 operations of one kind on an array of 4 numbers, recorded: microseconds per node
Rosenbrock  the gradient of Rosenbrock's function of 10 numbers, written with slices
loop        the gradient of 200 steps x = x + 0.01 sin x of a number
net         lin.JTu(lin.Jv(v)) on five layers of 16 units at batch 8, next to the same NumPy calls by hand
memory      bytes that a node of each kind holds, residuals included (an array of 4 numbers takes 144)

CPU time of one BLAS thread; contenders alternate, medians over rounds.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

AUTOGRAD = importlib.util.find_spec("autograd") is not None
NODES = 1000
LAYERS, UNITS, CASES = 5, 16, 8

Contenders = dict[str, Callable[[], Any]]


def operations(np: Any) -> dict[str, Callable[[Any], Any]]:
    """One call of each kind, on an array x of 4 numbers; or on one number."""
    A = np.array([[0.5, 0.1, 0.2, 0.1]] * 4)
    return {
        "sin(x)": lambda x: np.sin(x),
        "x * x": lambda x: x * x,
        "x + 0.5": lambda x: x + 0.5,
        "0.5 * x, a number": lambda x: 0.5 * x,
        "x[1], again": lambda x: x[1],
        "x[1:]": lambda x: x[1:],
        "sum(x)": lambda x: np.sum(x),
        "A @ x": lambda x: A @ x,
    }


def repeated(name: str, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of NODES calls: a chain, unless the result has another shape."""

    def chain(x: Any) -> Any:
        for _ in range(NODES):
            x = call(x)
        return x

    def calls(x: Any) -> Any:
        for _ in range(NODES):
            y = call(x)
        return y

    return calls if name in ("x[1], again", "x[1:]", "sum(x)") else chain


def nodes() -> dict[str, tuple[Contenders, float]]:
    """Contenders by kind of node, and the microseconds that a second counts for."""
    import numpy as np

    from rmad.extend import Record

    theirs: dict[str, Any] = {}
    if AUTOGRAD:
        import autograd.numpy as anp
        from autograd import make_vjp

        theirs = {name: repeated(name, call) for name, call in operations(anp).items()}
    found: dict[str, tuple[Contenders, float]] = {}
    for name, call in operations(np).items():
        x = np.float64(0.5) if "number" in name else np.full(4, 0.5)
        f = repeated(name, call)
        found[name] = {"rmad": lambda f=f, x=x: Record(f, x, ())}, 1e6 / NODES
        if AUTOGRAD:
            found[name][0]["autograd"] = lambda g=theirs[name], x=x: make_vjp(g)(x)
    return found


def gradients() -> dict[str, tuple[Contenders, float]]:
    import numpy as np

    import rmad

    def rosenbrock(np: Any) -> Callable[[Any], Any]:
        return lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    def loop(np: Any) -> Callable[[Any], Any]:
        def f(x: Any) -> Any:
            for _ in range(200):
                x = x + 0.01 * np.sin(x)
            return x

        return f

    found: dict[str, tuple[Contenders, float]] = {}
    for name, f, x in (
        ("∇ Rosenbrock, n = 10", rosenbrock, np.linspace(0, 1, 10)),
        ("∇ loop of 200 steps", loop, np.float64(0.5)),
        ("∇ loop, of a Python float", loop, 0.5),
    ):
        of_rmad = rmad.grad(f(np))
        found[name] = {"rmad": lambda g=of_rmad, x=x: g(x)}, 1e6
        if AUTOGRAD:
            import autograd
            import autograd.numpy as anp

            theirs = autograd.grad(f(anp))
            found[name][0]["autograd"] = lambda g=theirs, x=x: g(x)
    return found


def products() -> dict[str, tuple[Contenders, float]]:
    """JᵀJ v of a small net: by rmad's public methods, and by hand in arrays that are allocated once."""
    import numpy as np

    import rmad

    rng = np.random.default_rng(0)
    x0 = rng.standard_normal((CASES, UNITS))
    W = [rng.standard_normal((UNITS, UNITS)) / 4 for _ in range(LAYERS)]
    b = [np.zeros(UNITS) for _ in range(LAYERS)]
    params = [{"W": W_k, "b": b_k} for W_k, b_k in zip(W, b, strict=True)]

    def net(params: Any) -> Any:
        h = x0
        for layer in params:
            h = np.tanh(h @ layer["W"] + layer["b"])
        return h

    _, lin = rmad.linearize(net, params)
    v = [{"W": rng.standard_normal(W_k.shape), "b": rng.standard_normal(UNITS)} for W_k in W]
    by_hand = hand_written(x0, W, b)
    for theirs, ours in zip(by_hand(v), lin.JTu(lin.Jv(v)), strict=True):
        assert all(np.allclose(theirs[k], ours[k]) for k in "Wb")
    return {"JᵀJ v, 5 × 16, batch 8": ({"rmad": lambda: lin.JTu(lin.Jv(v)), "by hand": lambda: by_hand(v)}, 1e6)}


def hand_written(x0: Any, W: Any, b: Any) -> Callable[[Any], Any]:
    """v → JᵀJ v, as one writes it for this net: parameters of a layer as one matrix [W; b], work arrays kept."""
    import numpy as np

    h, stacked, slopes = x0, [], []
    for W_k, b_k in zip(W, b, strict=True):
        stacked.append(np.hstack([h, np.ones((CASES, 1))]))
        h = np.tanh(h @ W_k + b_k)
        slopes.append(1 - h * h)
    V = [np.empty((UNITS + 1, UNITS)) for _ in W]
    t, s = np.empty((CASES, UNITS)), np.empty((CASES, UNITS))

    def product(v: Any) -> Any:
        for k, layer in enumerate(v):
            V[k][:UNITS], V[k][UNITS] = layer["W"], layer["b"]
            np.dot(stacked[k], V[k], t)
            if k:
                np.add(t, np.dot(s, W[k]), t)
            np.multiply(t, slopes[k], s)
        found: list[Any] = [None] * LAYERS
        for k in range(LAYERS - 1, -1, -1):
            np.multiply(s, slopes[k], t)
            U = np.dot(stacked[k].T, t)
            found[k] = {"W": U[:UNITS], "b": U[UNITS]}
            if k:
                np.dot(t, W[k].T, s)
        return found

    return product


def bytes_per_node() -> list[list[str]]:
    """Rows of the table: what the tape holds for each node, its residual arrays included."""
    import numpy as np

    import rmad

    found: dict[str, float] = {}
    for name, call in operations(np).items():
        if "again" in name:  # leaves no node
            continue

        def f(x: Any, name: str = name, call: Callable[[Any], Any] = call) -> Any:
            gc.collect()  # empties the interpreter's lists of free objects
            tracemalloc.start()
            for _ in range(NODES):
                y = call(x)
            found[name] = tracemalloc.get_traced_memory()[0] / NODES
            tracemalloc.stop()
            return y

        rmad.linearize(f, np.float64(0.5) if "number" in name else np.full(4, 0.5))
    return [[f"memory of {name}", f"{size:.0f} B", "", "", ""] for name, size in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds

    import rmad  # noqa: F401 (first: it may choose the BLAS kernel)

    # isort: split
    import runner
    from threadpoolctl import threadpool_limits

    table = [["", "rmad, µs", "autograd", "by hand", "ratio"]]
    with threadpool_limits(1):
        for name, (contenders, unit) in {**nodes(), **gradients(), **products()}.items():
            times = {who: unit * t for who, t in in_turn(contenders, rounds).items()}
            other = times.get("autograd", times.get("by hand"))
            figures = [f"{times[who]:.1f}" if who in times else "" for who in ("rmad", "autograd", "by hand")]
            table.append([name, *figures, "" if other is None else f"{times['rmad'] / other:.2f}"])
    print(runner.markdown(table + bytes_per_node()))


def in_turn(contenders: Contenders, rounds: int) -> dict[str, float]:
    """CPU seconds of one call, medians over rounds in which the contenders alternate."""
    times: dict[str, list[float]] = {who: [] for who in contenders}
    repeats = {}
    for who, call in contenders.items():
        call()
        start = time.process_time()
        call()
        repeats[who] = max(1, int(2e-3 / max(time.process_time() - start, 1e-6)))
    for _ in range(rounds):
        for who, call in contenders.items():
            start = time.process_time()
            for _ in range(repeats[who]):
                call()
            times[who].append((time.process_time() - start) / repeats[who])
    return {who: statistics.median(found) for who, found in times.items()}


if __name__ == "__main__":
    main()
