"""Curvature over ten batches: rmad next to curvlinops and BackPACK, on the same nets, weights and data.

    python benchmarks/curvature_peers.py                        both nets, every contender that is installed
    python benchmarks/curvature_peers.py --net mlp --rounds 5 --json results.json

Tasks, all over ten batches of 100 cases: a gradient; a GGN product, the first (rmad records its tapes) and those that
follow at the same parameters; KFAC's factors; the trace from 40 products (XTrace); the diagonal of the GGN (exact:
rmad and BackPACK; curvlinops has none). CPU time of one thread, medians over calls, then over rounds in which the
contenders take turns, each in a process of its own. The products are compared: all contenders have the same vector.
Memory is the peak of a product, tapes included, over that of a gradient of all cases at once (rmad, by tracemalloc).
Needs torch, curvlinops-for-pytorch and backpack-for-pytorch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from workers import work

BATCHES, CASES, CLASSES, PRODUCTS = 10, 100, 10, 40
WIDTHS = (784, 400, 200, 100, CLASSES)
CHANNELS = (1, 16, 32, 32)
CONTENDERS = ("rmad", "curvlinops", "backpack")
TASKS = ("gradient", "product, first", "product", "KFAC factors", "trace, 40 products", "diagonal")


def arrays(net: str) -> tuple[list[Any], list[tuple[Any, Any]], Any]:
    """Returns weights and biases in rmad's layout, the batches and a vector like the weights."""
    import numpy as np

    rng = np.random.default_rng(0)

    def normal(*shape: int, scale: float = 1.0) -> Any:
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    if net == "mlp":
        shapes: list[tuple[int, ...]] = list(pairwise(WIDTHS))
        images: tuple[int, ...] = (784,)
    else:
        shapes = [(3, 3, i, o) for i, o in pairwise(CHANNELS)] + [(CHANNELS[-1], CLASSES)]
        images = (28, 28, 1)
    weights = []
    for shape in shapes:
        fan_in = int(np.prod(shape[:-1]))
        weights += [normal(*shape, scale=(2 / fan_in) ** 0.5), normal(shape[-1], scale=0.1)]
    data = [(normal(CASES, *images), rng.integers(0, CLASSES, CASES)) for _ in range(BATCHES)]
    return weights, data, [normal(*w.shape) for w in weights]


def median_of(call: Callable[[], Any], calls: int) -> float:
    times = []
    for _ in range(calls):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1e3 * statistics.median(times)


# -- rmad ----------------------------------------------------------------------------------------------------------


def our_model(net: str, weights: list[Any]) -> Any:
    import numpy as np

    import nn

    rng = np.random.default_rng(0)
    layers: list[Any] = []
    if net == "mlp":
        for i, o in pairwise(WIDTHS):
            layers += [nn.Linear(i, o, rng=rng), nn.ReLU()]
        layers.pop()
    else:
        for k, (i, o) in enumerate(pairwise(CHANNELS)):
            layers += [nn.Conv2d(i, o, 3, padding="same", rng=rng), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if k < len(CHANNELS) - 2 else [nn.GlobalAvgPool2d()]
        layers.append(nn.Linear(CHANNELS[-1], CLASSES, rng=rng))
    model = nn.Sequential(*layers)
    trained = [layer for layer in layers if hasattr(layer, "weight")]
    for layer, (w, b) in zip(trained, zip(weights[::2], weights[1::2], strict=True), strict=True):
        layer.weight, layer.bias = w, b
    return model


def run_rmad(net: str) -> dict[str, float]:
    import rmad

    assert rmad  # before NumPy: it picks the BLAS kernel that suits the CPU
    import tracemalloc

    import numpy as np

    import nn
    import optim

    weights, data, vector = arrays(net)
    model, loss = our_model(net, weights), nn.SoftmaxCrossEntropy()
    v = np.concatenate([np.ravel(a) for a in vector])
    objective = optim.Objective(model, loss, threads=1)

    def curvature() -> Any:
        return optim.Curvature(model, loss, data, threads=1)

    def gradient() -> None:
        for x, t in data:
            objective.value_and_gradient(x, t)

    kept = curvature()
    ggn = kept.ggn
    Gv = ggn @ v
    found = {
        "gradient": median_of(gradient, 5),
        "product, first": median_of(lambda: curvature().ggn @ v, 5),
        "product": median_of(lambda: ggn @ v, 15),
        "KFAC factors": median_of(lambda: curvature().kfac, 3),
        "trace, 40 products": median_of(lambda: curvature().ggn.trace("xtrace", PRODUCTS), 1),
        "diagonal": median_of(lambda: curvature().ggn.diagonal("exact"), 1),
        "norm of the product": float(np.linalg.norm(Gv)),
    }
    x, t = (np.concatenate(part) for part in zip(*data, strict=True))

    def peak(call: Callable[[], Any]) -> int:
        tracemalloc.start()
        call()
        bytes_ = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return bytes_

    found["memory, gradient of all cases"] = peak(lambda: objective.value_and_gradient(x, t)) / 2**20
    found["memory, product"] = peak(lambda: curvature().ggn @ v) / 2**20
    found["memory, product, a batch at a time"] = (
        peak(lambda: optim.Curvature(model, loss, data, threads=1, cases_in_memory=CASES).ggn @ v) / 2**20
    )
    found["memory, gradients, a batch at a time"] = peak(gradient) / 2**20
    return found


# -- PyTorch -------------------------------------------------------------------------------------------------------


def torch_problem(net: str) -> tuple[Any, Any, list[Any], list[Any]]:
    """Returns the model, the loss, the batches and the vector, a tensor like each parameter."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    weights, data, vector = arrays(net)
    layers: list[Any] = []
    if net == "mlp":
        for i, o in pairwise(WIDTHS):
            layers += [torch.nn.Linear(i, o), torch.nn.ReLU()]
        layers.pop()
    else:
        for k, (i, o) in enumerate(pairwise(CHANNELS)):
            layers += [torch.nn.Conv2d(i, o, 3, padding=1), torch.nn.ReLU()]
            layers.append(torch.nn.MaxPool2d(2) if k < len(CHANNELS) - 2 else torch.nn.AvgPool2d(7))
        layers += [torch.nn.Flatten(), torch.nn.Linear(CHANNELS[-1], CLASSES)]
    model = torch.nn.Sequential(*layers)

    def turned(a: Any) -> Any:
        axes = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[a.ndim]
        return torch.tensor(np.ascontiguousarray(np.transpose(a, axes)))

    with torch.no_grad():
        for parameter, a in zip(model.parameters(), weights, strict=True):
            parameter.copy_(turned(a))
    images = [x if x.ndim == 2 else np.transpose(x, (0, 3, 1, 2)) for x, _ in data]
    batches = [(torch.tensor(np.ascontiguousarray(x)), torch.tensor(t)) for x, (_, t) in zip(images, data, strict=True)]
    return model, torch.nn.CrossEntropyLoss(), batches, [turned(a) for a in vector]


def torch_gradient(model: Any, loss: Any, data: list[Any]) -> Callable[[], Any]:
    import torch

    params = list(model.parameters())
    return lambda: [torch.autograd.grad(loss(model(x), t), params) for x, t in data]


def run_curvlinops(net: str) -> dict[str, float]:
    import torch
    from curvlinops import GGNLinearOperator, KFACLinearOperator, xtrace

    model, loss, data, vector = torch_problem(net)
    params = list(model.parameters())
    how = {"check_deterministic": False, "num_data": BATCHES * CASES}

    def ggn() -> Any:
        return GGNLinearOperator(model, loss, params, data, **how)

    v = torch.cat([a.flatten() for a in vector])
    kept = ggn()
    Gv = kept @ v
    return {
        "gradient": median_of(torch_gradient(model, loss, data), 5),
        "product, first": median_of(lambda: ggn() @ v, 5),
        "product": median_of(lambda: kept @ v, 9),
        "KFAC factors": median_of(lambda: KFACLinearOperator(model, loss, params, data, **how) @ v, 3),
        "trace, 40 products": median_of(lambda: xtrace(ggn(), PRODUCTS), 1),
        "norm of the product": float(torch.linalg.norm(Gv)),
    }


def run_backpack(net: str) -> dict[str, float]:
    import torch
    from backpack import backpack, extend
    from backpack.extensions import KFAC, DiagGGNExact
    from backpack.hessianfree.ggnvp import ggn_vector_product_from_plist

    model, loss, data, vector = torch_problem(net)
    params = list(model.parameters())

    def product() -> Any:
        total = [torch.zeros_like(p) for p in params]
        for x, t in data:
            z = model(x)
            Gv = ggn_vector_product_from_plist(loss(z, t), z, params, vector)
            total = [a + b / BATCHES for a, b in zip(total, Gv, strict=True)]
        return total

    Gv = product()
    found = {
        "gradient": median_of(torch_gradient(model, loss, data), 5),
        "product, first": median_of(product, 5),
        "product": median_of(product, 9),
        "norm of the product": float(torch.linalg.norm(torch.cat([a.flatten() for a in Gv]))),
    }
    extended, extended_loss = extend(model), extend(loss)

    def with_extension(extension: Any) -> None:
        for x, t in data:
            extended.zero_grad()
            with backpack(extension):
                extended_loss(extended(x), t).backward()

    found["KFAC factors"] = median_of(lambda: with_extension(KFAC()), 3)
    found["diagonal"] = median_of(lambda: with_extension(DiagGGNExact()), 1)
    return found


WORKERS = {"rmad": run_rmad, "curvlinops": run_curvlinops, "backpack": run_backpack}


def main() -> None:
    """Runs the workers in turn and prints a table per net."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=("mlp", "cnn"), nargs="+", default=["mlp", "cnn"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(WORKERS[args.worker](args.net[0])))
        return
    everything = {}
    for net in args.net:
        rounds = [{name: work(__file__, name, "--net", net) for name in CONTENDERS} for _ in range(args.rounds)]
        figures = {
            name: {task: statistics.median(r[name][task] for r in rounds if r[name]) for task in rounds[0][name]}
            for name in CONTENDERS
            if all(r[name] for r in rounds)
        }
        everything[net] = {"figures": figures, "rounds": rounds}
        norms = {name: f["norm of the product"] for name, f in figures.items()}
        if max(norms.values()) > (1 + 1e-3) * min(norms.values()):
            raise SystemExit(f"{net}: the products differ, {norms}")
        print(f"\n{net}, CPU ms of one thread\n\n| | {' | '.join(figures)} |\n|---|{'---|' * len(figures)}")
        for task in TASKS:
            cells = [f"{f[task]:.1f}" if task in f else "–" for f in figures.values()]
            print(f"| {task} | {' | '.join(cells)} |")
        for name, value in figures.get("rmad", {}).items():
            if name.startswith("memory"):
                print(f"{name}: {value:.1f} MiB")
    if args.json:
        Path(args.json).write_text(json.dumps(everything, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
