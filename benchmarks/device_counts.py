"""Counts the calls of a product and of a step to a GPU: launches, products, copies to the host, allocations.

    python benchmarks/device_counts.py           # prints the table
    python benchmarks/device_counts.py --write   # puts it into docs/benchmarks.md

Needs no GPU: the real CuPy runs on the host's memory and counts (tests/device/README.md says what to install). The
counts are the same in every run. The network is a small autoencoder, because no count depends on the sizes.

GGN product        one product with the Gauss-Newton matrix, the linearization cached
… of a net         the same for two convolutions with pooling and two layers, or for one block of attention, …
… per step of time what one more step of time adds to such a product of a recurrent layer
CG iteration       one iteration without a preconditioner, that product included
step of …          one update in the middle of a run; with CG, 10 iterations of it
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Callable
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "device"))

import cupy_on_host  # noqa: E402  # before cupy
import numpy as np  # noqa: E402

import nn  # noqa: E402
import optim  # noqa: E402
import rmad  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks.md"
START, END = "<!-- device counts -->\n", "<!-- end -->\n"
COLUMNS = ("launches", "products", "library_calls", "copies_to_host", "allocations")
HEAD = """\
| | elementwise kernels | products (cuBLAS) | cuSOLVER | copies to the host | allocations |
|---|---|---|---|---|---|
"""
WARM = 4  # calls that make the plans, before one is counted; KFAC's inverses are made in the first and the sixth
LOSS = nn.SigmoidCrossEntropy()


def problem() -> tuple[Any, Any]:
    """A network 20-16-12-16-20 and a batch, on the device."""
    import cupy

    model = nn.models.mlp((20, 16, 12, 16, 20), rng=np.random.default_rng(1))
    x = np.random.default_rng(0).random((64, 20), dtype=np.float32)
    return rmad.map_leaves(cupy.asarray, model), cupy.asarray(x)


def counted(call: Callable[[], object], warm: int = WARM) -> list[int]:
    """The counts of one call, after a few that are not counted."""
    for _ in range(warm):
        call()
    with cupy_on_host.recorded() as counts:
        call()
    return [getattr(counts, column) for column in COLUMNS]


def product() -> list[int]:
    """One product with G."""
    model, x = problem()
    q = optim.Objective(model, LOSS).quadratic(x, x)
    v = rmad.ravel(model)[0]
    out = v.copy()
    return counted(lambda: q.ggn_product(v, out))


def product_of(layers: Callable[[np.random.Generator], list[Any]], *shape: int) -> list[int]:
    """One product with G of other networks, float32 and squared errors; shape: of x."""
    import cupy

    rng = np.random.default_rng(0)
    model = rmad.map_leaves(cupy.asarray, nn.Sequential(*layers(rng)))
    x = cupy.asarray(rng.random(shape, dtype=np.float32))
    q = optim.Objective(model, nn.SquaredError()).quadratic(x, model(x) * 0.5)
    v = rmad.ravel(model)[0]
    out = v.copy()
    return counted(lambda: q.ggn_product(v, out))


def convolutions(rng: np.random.Generator) -> list[Any]:
    """SGN's net for CIFAR-10, smaller."""
    first, second = (nn.Conv2d(i, o, 3, padding="same", rng=rng) for i, o in ((3, 4), (4, 6)))
    pooled = [first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), nn.MaxPool2d(2)]
    return [*pooled, nn.Flatten(), nn.Linear(24, 6, rng=rng), nn.ReLU(), nn.Linear(6, 10, rng=rng)]


def normalized(rng: np.random.Generator) -> list[Any]:
    """Two convolutions with batch normalization, and means over windows and over images."""
    first, second = nn.Conv2d(3, 4, 3, padding="same", rng=rng), nn.Conv2d(4, 6, 3, stride=2, rng=rng)
    blocks = [first, nn.BatchNorm(4), nn.ReLU(), nn.AvgPool2d(2), second, nn.BatchNorm(6), nn.ReLU()]
    return [*blocks, nn.GlobalAvgPool2d(), nn.Linear(6, 10, rng=rng)]


def transformer(rng: np.random.Generator) -> list[Any]:
    """One block."""
    return [nn.Linear(6, 8, rng=rng), nn.TransformerBlock(8, 2, rng=rng), nn.LayerNorm(8), nn.Linear(8, 3, rng=rng)]


def recurrent(cell: Callable[..., Any], steps: int, cases: int = 5, units: int = 7) -> list[int]:
    """One product with G of a recurrent layer and a linear one on top, after so many steps of time."""
    import cupy

    rng = np.random.default_rng(0)
    model = nn.Sequential(cell(2, units, rng=rng), nn.Linear(units, 3, rng=rng))
    x, t = (cupy.asarray(rng.random((cases, steps, k), dtype=np.float32)) for k in (2, 3))
    model = rmad.map_leaves(cupy.asarray, model)
    q = optim.Objective(model, nn.SquaredError()).quadratic(x, t)
    v = rmad.ravel(model)[0]
    out = v.copy()
    return counted(lambda: q.ggn_product(v, out))


def step_of_time(cell: Callable[..., Any]) -> list[int]:
    """Counts of one step of time, as the difference of two products."""
    return [(many - few) // 10 for few, many in zip(recurrent(cell, 5), recurrent(cell, 15), strict=True)]


def iteration() -> list[int]:
    """One iteration of CG, as the difference of two runs."""
    model, x = problem()
    q = optim.Objective(model, LOSS).quadratic(x, x)
    b, few, many = -q.gradient, 2, 12

    def run(iterations: int) -> list[int]:
        return counted(lambda: optim.pcg(q.ggn_product, b, damping=1.0, iterations=iterations, keep=False))

    return [(n - m) // (many - few) for m, n in zip(run(few), run(many), strict=True)]


def step(make: Callable[..., Any], warm: int = WARM, **hyper: Any) -> list[int]:
    """One update."""
    model, x = problem()
    opt = make(model, LOSS, **hyper)
    return counted(lambda: opt.step(x, x), warm)


ROWS: dict[str, Callable[[], list[int]]] = {
    "GGN product": product,
    "GGN product of a convolutional net": lambda: product_of(convolutions, 5, 8, 8, 3),
    "GGN product of a convolutional net with batch normalization": lambda: product_of(normalized, 5, 8, 8, 3),
    "GGN product of a transformer's block": lambda: product_of(transformer, 5, 7, 6),
    "GGN product of an RNN, 20 steps of time": lambda: recurrent(nn.RNN, 20),
    "GGN product of an LSTM, 20 steps of time": lambda: recurrent(nn.LSTM, 20),
    "GGN product of a GRU, 20 steps of time": lambda: recurrent(nn.GRU, 20),
    "GGN product of an RNN, per step of time": lambda: step_of_time(nn.RNN),
    "GGN product of an LSTM, per step of time": lambda: step_of_time(nn.LSTM),
    "GGN product of a GRU, per step of time": lambda: step_of_time(nn.GRU),
    "CG iteration": iteration,
    "step of Adam": lambda: step(optim.Adam),
    "step of CurveBall": lambda: step(optim.CurveBall),
    "step of KFAC": lambda: step(optim.KFAC, rng=np.random.default_rng(0)),
    "step of KFAC that renews the inverses": lambda: step(optim.KFAC, WARM + 1, rng=np.random.default_rng(0)),
    "step of SGN": lambda: step(optim.SGN, cg_iterations=10),
    "step of HessianFree": lambda: step(optim.HessianFree, cg_iterations=10),
    "step of HessianFree without a preconditioner": lambda: step(
        optim.HessianFree, cg_iterations=10, preconditioner=False
    ),
}


def table(found: dict[str, list[int]]) -> str:
    """The table in Markdown."""
    return HEAD + "".join(f"| {name} | {' | '.join(map(str, counts))} |\n" for name, counts in found.items())


def in_page() -> str:
    """The table that stands in the documentation."""
    text = PAGE.read_text(encoding="utf-8")
    return text[text.index(START) + len(START) : text.index(END, text.index(START))]


def main() -> None:
    """Prints or writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="puts the table into docs/benchmarks.md")
    found = table({name: count() for name, count in ROWS.items()})
    if parser.parse_args().write:
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(text.replace(START + in_page(), START + found), encoding="utf-8")
    print(found, end="")


if __name__ == "__main__":
    main()
