"""ResNet-18 (CIFAR form) and VGG-f: the cost of a Gauss-Newton product and of a gradient in rmad and PyTorch.

    python benchmarks/large_models.py                      both models, both contenders
    python benchmarks/large_models.py --model resnet18 --images 8 --json results.json

Each figure comes from a process of its own. Time: the median of a few calls after one; the linearization of a product
is cached. Memory: the rise of the process's peak (VmHWM) above the memory of the model and the batch, in a process
that does nothing else; for a product it includes the linearization. The result counts, a gradient or a product; θ and
the multiplied v do not. Both models are in training with batch normalisation, so rmad has the batch as one shard.
Bounds for product / gradient: time ≤ 2.0, memory ≤ 1.25.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from workers import work

MODELS = {"resnet18": ((32, 32, 3), 10), "vgg_f": ((224, 224, 3), 1000)}
CONTENDERS = ("rmad", "torch")
FIGURES = ("gradient", "product")


def kilobytes(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field))


def forget_the_peak() -> None:
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


# -- the contenders: from a model to a call that makes one figure --------------------------------------------------


def rmad_call(model: str, images: int, figure: str) -> Callable[[], Callable[[], Any]]:
    """Returns a function that prepares (linearizes, for a product) and returns the timed call."""
    import rmad  # first: it may choose the BLAS kernel

    assert rmad
    import numpy as np

    import nn
    import optim

    rng = np.random.default_rng(0)
    shape, classes = MODELS[model]
    objective = optim.Objective(getattr(nn.models, model)(classes, rng=rng), nn.SoftmaxCrossEntropy())
    x = rng.standard_normal((images, *shape), dtype=np.float32)
    t = rng.integers(0, classes, images)
    v = rng.standard_normal(objective.size, dtype=np.float32)

    def prepare() -> Callable[[], Any]:
        if figure == "gradient":
            return lambda: objective.value_and_gradient(x, t)
        quadratic = objective.quadratic(x, t)
        out = np.empty_like(v)  # made here, because the result counts
        return lambda: quadratic.ggn_product(v, out)

    return prepare


def torch_model(model: str) -> Any:
    from torch import nn as tnn

    def normalized(i: int, o: int, kernel: int, stride: int, padding: int) -> list[Any]:
        return [tnn.Conv2d(i, o, kernel, stride, padding, bias=False), batch_norm(o, 2)]

    def batch_norm(o: int, dims: int) -> Any:  # torch.func cannot write running statistics
        kind = tnn.BatchNorm2d if dims == 2 else tnn.BatchNorm1d
        return kind(o, track_running_stats=False)

    class Block(tnn.Module):
        def __init__(self, i: int, o: int, stride: int) -> None:
            super().__init__()
            self.body = tnn.Sequential(*normalized(i, o, 3, stride, 1), tnn.ReLU(), *normalized(o, o, 3, 1, 1))
            self.shortcut = tnn.Sequential(*(normalized(i, o, 1, stride, 0) if stride > 1 or i != o else []))

        def forward(self, x: Any) -> Any:
            return (self.body(x) + self.shortcut(x)).relu()

    classes = MODELS[model][1]
    if model == "resnet18":
        layers, i = [*normalized(3, 64, 3, 1, 1), tnn.ReLU()], 64
        for stage in range(4):
            o = 64 * 2**stage
            layers += [Block(i, o, 2 if stage else 1), Block(o, o, 1)]
            i = o
        return tnn.Sequential(*layers, tnn.AdaptiveAvgPool2d(1), tnn.Flatten(), tnn.Linear(i, classes))
    layers = [*normalized(3, 64, 11, 4, 0), tnn.ReLU(), tnn.ZeroPad2d((0, 1, 0, 1)), tnn.MaxPool2d(3, 2)]
    layers += [*normalized(64, 256, 5, 1, 2), tnn.ReLU(), tnn.MaxPool2d(3, 2)]
    for _ in range(3):
        layers += [*normalized(256, 256, 3, 1, 1), tnn.ReLU()]
    layers += [tnn.MaxPool2d(3, 2), tnn.Flatten()]
    for i in (9216, 4096):
        layers += [tnn.Linear(i, 4096, bias=False), batch_norm(4096, 1), tnn.ReLU()]
    return tnn.Sequential(*layers, tnn.Linear(4096, classes))


def torch_call(model: str, images: int, figure: str) -> Callable[[], Callable[[], Any]]:
    import warnings

    import torch
    from torch.func import functional_call, grad, linearize, vjp

    warnings.filterwarnings("ignore", "Attempted to insert a get_attr Node")  # of linearize, on every use
    torch.manual_seed(0)
    shape, classes = MODELS[model]
    net = torch_model(model)
    params = {k: p.detach() for k, p in net.named_parameters()}
    x = torch.randn(images, shape[2], *shape[:2])
    labels = torch.randint(0, classes, (images,))
    v = {k: torch.randn_like(p) for k, p in params.items()}

    def forward(p: Any) -> Any:
        return functional_call(net, p, (x,))

    def prepare() -> Callable[[], Any]:
        if figure == "gradient":
            gradient = grad(lambda p: torch.nn.functional.cross_entropy(forward(p), labels))
            return lambda: gradient(params)
        z, push = linearize(forward, params)
        pull, s = vjp(forward, params)[1], torch.softmax(z, 1)

        def product() -> Any:
            Jv = push(v)
            return pull(s / images * (Jv - (s * Jv).sum(1, keepdim=True)))

        return product

    return prepare


# -- one figure, and the table ------------------------------------------------------------------------------------


def measure(contender: str, model: str, images: int, figure: str, repeats: int) -> dict[str, float]:
    prepare = {"rmad": rmad_call, "torch": torch_call}[contender](model, images, figure)
    forget_the_peak()
    held = kilobytes("VmRSS")
    call = prepare()
    call()
    memory = (kilobytes("VmHWM") - held) / 1e3
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return {"ms": statistics.median(times) * 1e3, "MB": memory}


def compare(model: str, images: int, repeats: int) -> dict[str, dict[str, dict[str, float]]]:
    print(f"\n{model}, n = {images}")
    results = {}
    options = ["--model", model, "--images", str(images), "--repeats", str(repeats)]
    for contender in CONTENDERS:
        found = {figure: work(__file__, contender, *options, "--figure", figure) for figure in FIGURES}
        measured = {figure: numbers for figure, numbers in found.items() if numbers}
        if len(measured) < len(FIGURES):
            continue
        results[contender] = measured
        for unit in ("ms", "MB"):
            gradient, product = (measured[figure][unit] for figure in FIGURES)
            ratio = f"product / gradient {product / gradient:5.2f}"
            print(f"  {contender:6s} gradient {gradient:8.0f} {unit}   product {product:8.0f} {unit}   {ratio}")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=(*MODELS, "all"), default="all")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", help="write all figures to this file")
    parser.add_argument("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--figure", choices=FIGURES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(measure(args.worker, args.model, args.images, args.figure, args.repeats)))
        return
    models = MODELS if args.model == "all" else (args.model,)
    results = {model: compare(model, args.images, args.repeats) for model in models}
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
