"""Recurrent nets on the pathological tasks, by Hessian-free optimization with structural damping.

    python examples/pathological.py --task addition --length 30
    python examples/pathological.py --task temporal_order --length 100 --seed 3 --mu 0       without structural damping

Every update has new sequences for the gradient, a part of them for the curvature; it is tested on others. The run ends
when less than one test case in a thousand is wrong, or after --updates. Source: Martens & Sutskever (2011);
λ₀ = 0.01 · outputs, μ = 0.03, 300 CG steps, no preconditioner: Sutskever's code.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import rmad  # noqa: F401 (first: it may choose the BLAS kernel)

# isort: split
import numpy as np

import nn
import optim
from nn.data import tasks

Draw = Callable[..., tuple[Any, Any]]
TASKS: dict[str, tuple[Draw, int]] = {  # and the number of outputs
    "addition": (tasks.addition, 1),
    "multiplication": (tasks.multiplication, 1),
    "xor": (tasks.xor, 1),
    "temporal_order": (tasks.temporal_order, 4),
    "temporal_order_3": (partial(tasks.temporal_order, symbols=3), 8),
    "random_permutation": (tasks.random_permutation, 100),
    "memorisation_5": (partial(tasks.noiseless_memorisation, bits=5), 3),
    "memorisation_20": (partial(tasks.noiseless_memorisation, bits=20), 6),
}
SOLVED = 1e-3


class WithStates(nn.Module):
    """(z, h): the outputs of nn.models.rnn and all of its hidden states, for structural damping."""

    def __init__(self, hidden: Any, out: Any, every_step: bool) -> None:
        self.hidden, self.out, self.every_step = hidden, out, every_step

    def forward(self, x: Any) -> tuple[Any, Any]:
        h = self.hidden(x)
        return self.out(h if self.every_step else h[:, -1]), h


def network(inputs: int, outputs: int, every_step: bool, rng: np.random.Generator) -> WithStates:
    whole = nn.models.rnn(inputs, outputs, rng=rng, every_step=True)
    hidden, out = list(whole)
    return WithStates(hidden, out, every_step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=TASKS, default="addition")
    parser.add_argument("--length", type=int, default=30, help="T")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--gradient", type=int, default=2000, help="sequences for the gradient of an update")
    parser.add_argument("--curvature", type=int, default=500, help="of these for the curvature")
    parser.add_argument("--mu", type=float, default=0.03, help="of structural damping; 0 is none")
    parser.add_argument("--cg", type=int, default=300, help="the most CG steps of an update")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    arguments = parser.parse_args()
    solved = train(arguments)
    print("solved" if solved else "not solved")


def train(arguments: argparse.Namespace) -> bool:
    draw, outputs = TASKS[arguments.task]
    rng = np.random.default_rng(arguments.seed)
    x_test, t_test = draw(2000, arguments.length, rng=rng)
    real = t_test.dtype.kind == "f"
    model = network(x_test.shape[2], outputs, every_step=not real and t_test.ndim == 2, rng=rng)
    opt = optim.HessianFree.preset(
        "rnn",
        model,
        nn.SquaredError() if real else nn.SoftmaxCrossEntropy(),
        damping=0.01 * outputs,
        structural=optim.StructuralDamping(arguments.mu),
        cg_iterations=arguments.cg,
    )
    start = time.perf_counter()
    print("update  seconds  products       loss  test error       λ")
    products = 0
    for k in range(arguments.updates):
        x, t = draw(arguments.gradient, arguments.length, rng=rng)
        part = slice(0, arguments.curvature)
        info = opt.step(x, t, curvature_batch=(x[part], t[part]))
        products += info.products
        error, seconds = tasks.zero_one(model(x_test)[0], t_test), time.perf_counter() - start
        print(f"{k + 1:6d}{seconds:9.1f}{products:10d}{info.loss:11.3g}{error:12.4f}{info.damping:8.2g}", flush=True)
        if error < SOLVED:
            return True
        if seconds > arguments.seconds:
            break
    return False


if __name__ == "__main__":
    main()
