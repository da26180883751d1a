"""Mistakes of the first hour with optimizers, and the message that names each.

A row: the call, the kind of error, and a part of its message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from first_hour import LOSS, Refuses, T, X, net, rng

import nn
import optim


class InATuple(nn.Module):
    def __init__(self) -> None:
        self.pair = (np.ones((4, 3), np.float32), np.ones(3, np.float32))

    def forward(self, x: Any) -> Any:
        return x @ self.pair[0] + self.pair[1]


class NoReturn(nn.Module):
    def __init__(self) -> None:
        self.w = np.ones((4, 3), np.float32)

    def forward(self, x: Any) -> None:
        _ = x @ self.w


METHODS: dict[str, Callable[..., Any]] = {
    "SGD": lambda m, loss, **hyper: optim.SGD(m, loss, **{"lr": 0.1, **hyper}),
    "Adam": optim.Adam,
    "LBFGS": optim.LBFGS,
    "HessianFree": optim.HessianFree,
    "CurveBall": optim.CurveBall,
    "SGN": optim.SGN,
}

STEPS: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "a generator": (
        lambda make: make(net(), LOSS).step((X, T) for _ in range(2)),
        TypeError,
        r"one batch of arrays, not a generator.*for x, t in batches: opt.step\(x, t\)",
    ),
    "a pair": (
        lambda make: make(net(), LOSS).step((X, T)),
        TypeError,
        r"x must be an array of floats, not a tuple of 2; a batch is given in two, opt.step\(x, t\)",
    ),
    "no target": (lambda make: make(net(), LOSS).step(X), ValueError, "no target t"),
    "no cases": (lambda make: make(net(), LOSS).step(X[:0], T[:0]), ValueError, "the batch is empty"),
    "too few targets": (lambda make: make(net(), LOSS).step(X, T[:3]), ValueError, r"it has shape \(3,\)"),
    "model and loss swapped": (lambda make: make(LOSS, net()), TypeError, "the model comes first, then the loss"),
    "a class for a loss": (
        lambda make: make(net(), nn.SquaredError),
        TypeError,
        r"the class SquaredError; give an object",
    ),
    "a name for a loss": (
        lambda make: make(net(), "mse"),
        TypeError,
        "loss must be a loss object or a callable.*got str",
    ),
    "a loss per case": (lambda make: make(net(), lambda z, t: z).step(X, T), TypeError, "scalar"),
    "a list of parameters": (
        lambda make: make(net().parameters(), LOSS),
        TypeError,
        "model must be callable.*got list",
    ),
    "integers as parameters": (
        lambda make: make(optim.Function(lambda p, x: x @ p, np.ones((4, 3), int)), LOSS),
        TypeError,
        "no float arrays to train, NumPy arrays among its attributes; it holds int64, which is constant",
    ),
    "no parameters": (lambda make: make(nn.Tanh(), LOSS), TypeError, "no float arrays to train"),
    "parameters in a tuple": (
        lambda make: make(InATuple(), LOSS),
        TypeError,
        r"model.pair\[0\] sits in a tuple and cannot be rebound; use a list or a dict",
    ),
    "the state of a model": (
        lambda make: make(net().state_dict(), LOSS),
        TypeError,
        r"model must be callable, model\(x\) -> z; got dict. optim.Function\(forward, params\) makes one",
    ),
    "a batch in a dict": (
        lambda make: make(net(), LOSS).step({"x": X, "t": T}),
        TypeError,
        r"x must be an array of floats, not a dict of 2; a batch is given in two, opt.step\(x, t\)",
    ),
    "a data set": (
        lambda make: make(net(), LOSS).step(nn.data.Dataset(X, T, X, T)),
        TypeError,
        "x must be an array of floats, not a Dataset of 4; a batch is given in two",
    ),
    "features of a whole batch": (
        lambda make: make(net(), LOSS).step(X[:, :3], T),
        ValueError,
        r"Linear\(4, 8\): x has 3 features: its shape is \(5, 3\), expected \(…, 4\)",
    ),
    "a model without return": (lambda make: make(NoReturn(), LOSS).step(X, T), TypeError, r"model\(x\) is None: does"),
    "a loss without return": (
        lambda make: make(net(), lambda z, t: None).step(X, T),
        TypeError,
        r"loss\(z, t\) is None: does it end without a return",
    ),
    "a plain function": (
        lambda make: make(lambda x: x, LOSS),
        TypeError,
        r"optim.Function\(forward, params\) makes one",
    ),
    "half precision": (
        lambda make: make(nn.Linear(4, 3, rng=rng(), dtype=np.float16), LOSS),
        TypeError,
        "float16.*make its parameters float32",
    ),
    "a word for a number": (lambda make: make(net(), LOSS, l2="a"), TypeError, "l2 must be a number, got 'a'"),
    "a negative penalty": (lambda make: make(net(), LOSS, l2=-1.0), ValueError, "l2 must be ≥ 0, got -1"),
    "a name that is none": (lambda make: make(net(), LOSS, learning_rate=1), TypeError, "learning_rate"),
}


@pytest.mark.parametrize("case", STEPS)
@pytest.mark.parametrize("method", METHODS)
def test_optimizers_say_what_is_wrong(refuses: Refuses, method: str, case: str) -> None:
    call, kind, message = STEPS[case]
    refuses(lambda: call(METHODS[method]), kind, message)


def test_a_seed_is_no_generator_for_an_optimizer(refuses: Refuses) -> None:
    message = r"rng must be a Generator, as np.random.default_rng\(0\), not int"
    refuses(lambda: optim.KFAC(net(), LOSS, rng=0), TypeError, message)
    refuses(lambda: optim.Roles(X, T, rng=0), TypeError, message)
    refuses(lambda: optim.check_ggn(net(), LOSS, X, T, rng=0), TypeError, message)
    refuses(lambda: optim.Adam(net(), LOSS, betas=0.9), ValueError, "betas must be two numbers, got 0.9")


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"LBFGS"}))
def test_a_word_for_a_step_size(refuses: Refuses, method: str) -> None:
    refuses(lambda: METHODS[method](net(), LOSS, lr="a"), TypeError, "lr must be a number, got 'a'")
    refuses(lambda: METHODS[method](net(), LOSS, lr=-1), ValueError, "lr must be > 0, got -1")


@pytest.mark.parametrize("method", [*METHODS, "KFAC"])
def test_a_state_is_a_dict(refuses: Refuses, method: str) -> None:
    opt = METHODS.get(method, optim.KFAC)(net(), LOSS)
    message = rf"^{method}: a state is a dict, as state_dict gives it, not list$"
    refuses(lambda: opt.load_state_dict([1]), TypeError, message)


def test_a_batch_of_curvature_is_a_pair(refuses: Refuses) -> None:
    opt = optim.HessianFree(net(), LOSS)
    refuses(
        lambda: opt.step(X, T, curvature_batch=X), TypeError, r"curvature_batch must be a pair \(x, t\), not ndarray"
    )


def test_a_parameter_in_a_function_of_ones_own(refuses: Refuses) -> None:
    refuses(lambda: optim.Function({"W": np.ones(3)}, np.tanh), TypeError, "forward must be callable, not dict")
