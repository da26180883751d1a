"""One Gauss-Newton product with the linearization cached, side by side: rmad, bare GEMMs, PyTorch, JAX.

    python benchmarks/ggn_product.py                    every problem, every contender that is installed
    python benchmarks/ggn_product.py --problem rnn --rounds 5 --json results.json

Each contender runs in a process of its own (the spinning threads of one BLAS slow the others down), the processes take
turns, and the figures are medians over rounds of medians; in rmad's process the calls take turns again. `gemms` are
the matrix products that cannot be avoided, called back to back in rmad's process on NumPy's BLAS with all cores;
ratios are to them, round by round. cifar is SGN's convolutional net on 250 images, cifar-1000 on 1000; PyTorch has its
images there as (n, c, h, w) and as channels_last.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

SIZES = (784, 400, 200, 100, 50, 25, 6)
N, T, HIDDEN, INPUTS, OUTPUTS = 1000, 100, 100, 2, 2
PROBLEMS = ("mlp", "rnn", "cifar", "cifar-1000")
CONVOLUTIONS = ((32, 3, 32), (16, 32, 64), (8, 64, 64))  # of SGN's net: size of the images, channels in and out
CLASSES, SLICE = 10, 25  # images at a time in the bare products


def images(problem: str) -> int:
    return 1000 if problem == "cifar-1000" else 250


def layer_sizes() -> list[tuple[int, int]]:
    sizes = [*SIZES, *SIZES[-2::-1]]
    return list(pairwise(sizes))


def median_ms(call: Callable[[], Any], repeats: int = 15) -> float:
    start = time.perf_counter()
    call()
    if time.perf_counter() - start > 0.1:  # s
        repeats = (repeats + 2) // 3
    else:
        call(), call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


# -- rmad and the bare GEMMs --------------------------------------------------------------------------------


def rmad_problem(problem: str) -> tuple[Any, Any, Any, Any]:
    import rmad  # first: it may choose the BLAS kernel

    assert rmad
    import numpy as np

    import nn
    import optim

    rng = np.random.default_rng(0)
    if problem == "mlp":
        model: Any = nn.models.autoencoder(SIZES, rng=rng)
        x = rng.random((N, SIZES[0]), dtype=np.float32)
        return model, nn.SigmoidCrossEntropy(), x, x
    if problem.startswith("cifar"):
        n = images(problem)
        layers: list[Any] = []
        for size, i, o in CONVOLUTIONS:
            layers += [nn.Conv2d(i, o, 3, padding="same", rng=rng), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if size > 8 else []
        layers += [nn.Flatten(), nn.Linear(4096, 64, rng=rng), nn.ReLU(), nn.Linear(64, CLASSES, rng=rng)]
        x = rng.random((n, 32, 32, 3), dtype=np.float32)
        return nn.Sequential(*layers), nn.SoftmaxCrossEntropy(), x, rng.integers(0, CLASSES, n)

    def forward(p: Any, x: Any) -> Any:
        h = np.zeros((len(x), HIDDEN), np.float32)
        for t in range(x.shape[1]):
            h = np.tanh(x[:, t] @ p["U"] + h @ p["W"] + p["b"])
        return h @ p["V"] + p["c"]

    def weights(*shape: int) -> Any:
        return rng.normal(0, 0.1, shape).astype(np.float32)

    params = {"U": weights(INPUTS, HIDDEN), "W": weights(HIDDEN, HIDDEN), "b": weights(HIDDEN)}
    params |= {"V": weights(HIDDEN, OUTPUTS), "c": weights(OUTPUTS)}
    return optim.Function(forward, params), nn.SquaredError(), weights(N, T, INPUTS), weights(N, OUTPUTS)


def gemms(problem: str, gradient: bool) -> Callable[[], None]:
    """The matrix products of one GGN product (or of one gradient), bound to buffers."""
    import numpy as np

    def product(n: int, k: int, m: int, left: bool = False, right: bool = False) -> Callable[[], Any]:
        a = np.ones((k, n), np.float32).T if left else np.ones((n, k), np.float32)
        b = np.ones((m, k), np.float32).T if right else np.ones((k, m), np.float32)
        return partial(np.dot, a, b, np.empty((n, m), np.float32))

    calls = []
    if problem == "mlp":
        for layer, (i, o) in enumerate(layer_sizes()):
            forward = [product(N, i, o)] if gradient or layer == 0 else [product(N, i, o), product(N, i, o)]
            calls += [*forward, product(i, N, o, left=True)]
            if layer:
                calls.append(product(N, o, i, right=True))
    elif problem.startswith("cifar"):
        for size, i, o in (*CONVOLUTIONS, (0, 4096, 64), (0, 64, CLASSES)):
            rows, taps, first = SLICE * (size**2 or 1), 9 if size else 1, i == 3
            calls += [product(rows, taps * i, o)] * (1 if gradient or first else 2)
            calls.append(product(taps * i, rows, o, left=True))
            if not first:
                calls.append(product(rows, taps * o, i))
        calls *= images(problem) // SLICE
    else:
        k = HIDDEN + INPUTS
        forward = [product(N, k, HIDDEN)] if gradient else [product(N, k, HIDDEN), product(N, HIDDEN, HIDDEN)]
        calls = [*forward, product(k, N, HIDDEN, left=True), product(N, HIDDEN, HIDDEN, right=True)] * T

    def run() -> None:
        for call in calls:
            call()

    return run


def run_rmad(problem: str) -> dict[str, float]:
    model, loss, x, t = rmad_problem(problem)
    import numpy as np

    import optim

    calls = {"gemms": gemms(problem, False), "gemms of a gradient": gemms(problem, True)}
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
    """A net of five layers of 16 units at batch 8: what is left is Python."""
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
    """Peak of traced allocations above the start, in MB, for a gradient and for a product with its linearization."""
    import gc
    import tracemalloc

    model, loss, x, t = rmad_problem(problem)
    import numpy as np

    import optim

    objective = optim.Objective(model, loss, threads=1)
    v, out = np.ones(objective.size, np.float32), np.empty(objective.size, np.float32)

    def gradient() -> None:
        objective.value_and_gradient(x, t)

    def product() -> None:
        objective.quadratic(x, t).ggn_product(v, out)

    figures = {}
    for name, call in (("memory of a gradient (MB)", gradient), ("memory of a GGN product (MB)", product)):
        call()
        gc.collect()
        tracemalloc.start()
        call()
        figures[name] = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    return figures


# -- the peers ----------------------------------------------------------------------------------------------------


def run_torch(problem: str, channels_last: bool = False) -> dict[str, float]:
    import warnings

    import torch
    from torch import nn as tnn
    from torch.func import functional_call, grad, linearize, vjp

    warnings.filterwarnings("ignore", "Attempted to insert a get_attr Node")  # of linearize, on every use

    torch.manual_seed(0)
    if problem == "mlp":
        layers: list[Any] = []
        for k, (i, o) in enumerate(layer_sizes()):
            layers += [tnn.Linear(i, o), tnn.Sigmoid()] if k not in (5, 11) else [tnn.Linear(i, o)]
        model: Any = tnn.Sequential(*layers)
        x = torch.rand(N, SIZES[0])
    elif problem.startswith("cifar"):
        layers = []
        for size, i, o in CONVOLUTIONS:
            layers += [tnn.Conv2d(i, o, 3, padding=1), tnn.ReLU(), *([tnn.MaxPool2d(2)] if size > 8 else [])]
        model = tnn.Sequential(*layers, tnn.Flatten(), tnn.Linear(4096, 64), tnn.ReLU(), tnn.Linear(64, CLASSES))
        x = torch.rand(images(problem), 3, 32, 32)
        if channels_last:
            model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    else:

        class Net(tnn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.U, self.W, self.V = (
                    tnn.Linear(INPUTS, HIDDEN),
                    tnn.Linear(HIDDEN, HIDDEN, bias=False),
                    tnn.Linear(HIDDEN, OUTPUTS),
                )

            def forward(self, x: Any) -> Any:
                h = torch.zeros(len(x), HIDDEN)
                for t in range(x.shape[1]):
                    h = torch.tanh(self.U(x[:, t]) + self.W(h))
                return self.V(h)

        model, x = Net(), torch.rand(N, T, INPUTS)
    params = {k: p.detach() for k, p in model.named_parameters()}
    n = len(x)
    target = x if problem == "mlp" else torch.rand(N, OUTPUTS)
    labels = torch.randint(0, CLASSES, (n,))

    def forward(p: Any) -> Any:
        return functional_call(model, p, (x,))

    def value(p: Any) -> Any:
        z = forward(p)
        if problem == "mlp":
            return tnn.functional.binary_cross_entropy_with_logits(z, target, reduction="sum") / N
        if problem.startswith("cifar"):
            return tnn.functional.cross_entropy(z, labels)
        return 0.5 * ((z - target) ** 2).sum() / N

    z, jvp = linearize(forward, params)
    pull = vjp(forward, params)[1]
    s = torch.sigmoid(z) if problem == "mlp" else torch.softmax(z, 1)

    def curvature(v: Any) -> Any:
        if problem == "mlp":
            return s * (1 - s) / n * v
        return s / n * (v - (s * v).sum(1, keepdim=True)) if problem.startswith("cifar") else v / n

    v = {k: torch.randn_like(p) for k, p in params.items()}
    gradient = grad(value)
    name = "torch, channels last" if channels_last else "torch"
    with torch.no_grad():
        forward_ms = median_ms(lambda: forward(params))
    return {
        name: median_ms(lambda: pull(curvature(jvp(v)))),
        f"{name}, gradient": median_ms(lambda: gradient(params)),
        f"{name}, value": forward_ms,
    }


def run_channels_last(problem: str) -> dict[str, float]:
    return run_torch(problem, True)


def run_jax(problem: str) -> dict[str, float]:
    import jax
    import jax.numpy as jnp

    key = jax.random.key(0)
    if problem == "mlp":
        params: Any = [(0.05 * jax.random.normal(key, (i, o)), jnp.zeros(o)) for i, o in layer_sizes()]
        x = jax.random.uniform(key, (N, SIZES[0]))

        def forward(p: Any) -> Any:
            y = x
            for k, (W, b) in enumerate(p):
                y = y @ W + b
                if k not in (5, 11):
                    y = jax.nn.sigmoid(y)
            return y
    elif problem.startswith("cifar"):
        shapes = {f"W{k}": (3, 3, i, o) for k, (_, i, o) in enumerate(CONVOLUTIONS)}
        shapes |= {f"b{k}": (o,) for k, (_, _, o) in enumerate(CONVOLUTIONS)}
        shapes |= {"V": (4096, 64), "c": (64,), "U": (64, CLASSES), "d": (CLASSES,)}
        params = {k: 0.05 * jax.random.normal(key, shape) for k, shape in shapes.items()}
        x = jax.random.uniform(key, (images(problem), 32, 32, 3))

        def forward(p: Any) -> Any:
            y = x
            for k, (size, _, _) in enumerate(CONVOLUTIONS):
                axes = ("NHWC", "HWIO", "NHWC")
                y = jax.nn.relu(
                    jax.lax.conv_general_dilated(y, p[f"W{k}"], (1, 1), "SAME", dimension_numbers=axes) + p[f"b{k}"]
                )
                if size > 8:
                    y = jnp.max(jnp.reshape(y, (len(y), size // 2, 2, size // 2, 2, -1)), (2, 4))
            return jax.nn.relu(y.reshape(len(y), -1) @ p["V"] + p["c"]) @ p["U"] + p["d"]
    else:
        shapes = {"U": (INPUTS, HIDDEN), "W": (HIDDEN, HIDDEN), "b": (HIDDEN,), "V": (HIDDEN, OUTPUTS), "c": (OUTPUTS,)}
        params = {k: 0.1 * jax.random.normal(key, shape) for k, shape in shapes.items()}
        x = jax.random.normal(key, (T, N, INPUTS))

        def forward(p: Any) -> Any:
            def cell(h: Any, x_t: Any) -> Any:
                return jnp.tanh(x_t @ p["U"] + h @ p["W"] + p["b"]), None

            h, _ = jax.lax.scan(cell, jnp.zeros((N, HIDDEN)), x)
            return h @ p["V"] + p["c"]

    n = len(x) if problem != "rnn" else N
    target = x if problem == "mlp" else jax.random.normal(key, (N, OUTPUTS))
    labels = jax.random.randint(key, (n,), 0, CLASSES)

    def value(p: Any) -> Any:
        z = forward(p)
        if problem == "mlp":
            return jnp.sum(jax.nn.softplus(z) - z * target) / N
        if problem.startswith("cifar"):
            return -jnp.sum(jax.nn.log_softmax(z)[jnp.arange(n), labels]) / n
        return 0.5 * jnp.sum((z - target) ** 2) / N

    z, jvp = jax.linearize(forward, params)
    pull = jax.linear_transpose(jvp, params)
    s = jax.nn.sigmoid(z) if problem == "mlp" else jax.nn.softmax(z)

    def curvature(v: Any) -> Any:
        if problem == "mlp":
            return s * (1 - s) / n * v
        return s / n * (v - jnp.sum(s * v, 1, keepdims=True)) if problem.startswith("cifar") else v / n

    product = jax.jit(lambda v: pull(curvature(jvp(v)))[0])
    gradient, run = jax.jit(jax.grad(value)), jax.jit(forward)
    return {
        "jax": median_ms(lambda: jax.block_until_ready(product(params))),
        "jax, gradient": median_ms(lambda: jax.block_until_ready(gradient(params))),
        "jax, value": median_ms(lambda: jax.block_until_ready(run(params))),
    }


# -- taking turns -----------------------------------------------------------------------------------------------

WORKERS = {"rmad": run_rmad, "torch": run_torch, "jax": run_jax, "memory": run_memory}
ONLY_IMAGES = {"channels last": run_channels_last}


def work(worker: str, problem: str) -> dict[str, float]:
    """The figures of one worker, from a process of its own; empty where its library is not installed."""
    command = [sys.executable, __file__, "--worker", worker, "--problem", problem]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{worker}: left out ({(done.stderr.strip().splitlines() or ['no output'])[-1]})", file=sys.stderr)
        return {}
    return json.loads(done.stdout.splitlines()[-1])


def compare(problem: str, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for worker in [*WORKERS, *(ONLY_IMAGES if problem.startswith("cifar") else ())]:
            for name, figure in work(worker, problem).items():
                found.setdefault(name, []).append(figure)
        if problem == "mlp":
            for name, figure in work("small", problem).items():
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
    results = {problem: compare(problem, args.rounds) for problem in problems}
    for problem, found in results.items():
        report(problem, found)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
