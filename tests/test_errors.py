"""What goes wrong in the first hour, and what the message says about it: what is wrong and what to do.

A row: what was written, the kind of error, and a part of its message. The engine and the optimizers are here, layers,
losses, data and files in test_errors_of_layers.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import scipy.special

import nn
import optim
import rmad

Refuses = Callable[[Callable[[], Any], type[Exception], str], None]
ONES = np.ones(3)


class NotATree:
    def __init__(self) -> None:
        self.w = np.ones(3)


def no_return(x):
    np.sum(x)


def writes_into_x(x):
    x[0] = 1.0
    return np.sum(x)


def collects_in_a_plain_array(x):
    y = np.zeros(3)
    y[:2] = x[:2]
    return np.sum(y)


def collects_numbers(x):
    y = np.zeros(3)
    y[0] = x[0]
    return np.sum(y)


def adds_to_a_plain_array(x):
    y = np.zeros(3)
    y += x
    return np.sum(y)


def keeps_a_traced_array():
    kept = []
    rmad.grad(lambda x: kept.append(x) or np.sum(x))(ONES)
    return kept[0] * 2


def grad_of(f: Callable[..., Any], x: Any = ONES) -> Callable[[], Any]:
    return lambda: rmad.grad(f)(x)


half_a_rule = rmad.primitive(lambda x: x * 1.0, lambda y, x: lambda v: v, name="half_a_rule")

ENGINE = {
    "integers": (grad_of(np.sum, np.arange(3)), TypeError, r"x is int64; pass floats, e.g. x.astype\(float\)"),
    "an integer": (grad_of(lambda x: x * x, 3), TypeError, "pass floats"),
    "strings": (grad_of(np.sum, np.array(["a"])), TypeError, "pass floats"),
    "a string": (grad_of(lambda x: x, "a"), TypeError, "x is of type str, not an array of floats"),
    "a set": (grad_of(np.sum, {1.0, 2.0}), TypeError, "x is of type set.*make it a list"),
    "a generator": (grad_of(np.sum, (a for a in ONES)), TypeError, "x is of type generator.*make it a list"),
    "an object that is no tree": (
        grad_of(lambda p: np.sum(p.w), NotATree()),
        TypeError,
        "x is of type NotATree.*tuples, lists, dicts and objects with __tree_items__, as nn.Module has",
    ),
    "masked": (grad_of(np.sum, np.ma.masked_array(ONES)), TypeError, "MaskedArray"),
    "no scalar": (
        grad_of(lambda x: x * x),
        TypeError,
        "of a scalar, but f returned shape.*use rmad.vjp or rmad.linearize",
    ),
    "no return": (grad_of(no_return), TypeError, "f returned None: does it end without a return?"),
    "arguments swapped": (
        lambda: rmad.linearize(ONES, np.tanh),
        TypeError,
        r"the function comes first.*linearize\(f, x\)",
    ),
    "a function for x": (lambda: rmad.linearize(np.tanh, no_return), TypeError, "a function; the function to diff"),
    "writing into x": (grad_of(writes_into_x), TypeError, r"never written into.*np.where, np.concatenate or np.stack"),
    "a slice into a plain array": (
        grad_of(collects_in_a_plain_array),
        TypeError,
        "without losing its derivative.*np.stack",
    ),
    "x added to a plain array": (grad_of(adds_to_a_plain_array), TypeError, "use y = y [+] x"),
    "np.array of numbers": (grad_of(lambda x: np.sum(np.array([x[0], x[1]]))), TypeError, "np.stack for a list"),
    "math.sin": (grad_of(lambda x: math.sin(x), 1.0), TypeError, r"float\(x\) of a traced array.*rmad.stop_gradient"),
    "scipy.linalg": (grad_of(lambda x: np.sum(scipy.linalg.expm(x)), np.eye(3)), TypeError, "rmad.expm"),
    "a sparse matrix": (grad_of(lambda x: np.sum(scipy.sparse.eye(3) @ x)), TypeError, "use NumPy functions on it"),
    "out=": (grad_of(lambda x: np.sum(np.exp(x, out=np.zeros(3)))), TypeError, r"exp: .*`out=`"),
    "where=": (
        grad_of(lambda x: np.sum(np.exp(x, where=x > 0))),
        TypeError,
        "exp of a traced array takes no where=; use np.where",
    ),
    "no rule": (
        grad_of(lambda x: np.sum(np.histogram(x)[0])),
        NotImplementedError,
        "numpy.histogram has no derivative rule in rmad. Add one with rmad.elementwise.*keep its argument constant",
    ),
    "no rule for a ufunc": (
        grad_of(lambda x: scipy.special.airy(x)[0][0]),
        NotImplementedError,
        "scipy.special.airy has",
    ),
    "a traced array kept": (keeps_a_traced_array, RuntimeError, "after the function.*has returned; return it"),
    "half precision in linalg": (
        grad_of(lambda x: np.sum(np.linalg.inv(x)), np.eye(3, dtype=np.float16)),
        TypeError,
        "float16",
    ),
    "a tangent of another shape": (
        lambda: rmad.linearize(np.tanh, ONES)[1].Jv(np.ones(4)),
        ValueError,
        r"v has shape \(4,\), but x has shape \(3,\)",
    ),
    "a cotangent of another shape": (
        lambda: rmad.linearize(np.tanh, ONES)[1].JTu(np.ones(4)),
        ValueError,
        r"u has shape \(4,\), but f\(x\) has shape \(3,\)",
    ),
    "a tangent of another structure": (
        lambda: rmad.linearize(lambda p: p["a"] * 2, {"a": ONES})[1].Jv(ONES),
        ValueError,
        r"v must have the keys of x: \['a'\]",
    ),
    "a vector of another length": (
        lambda: rmad.HessianOperator(lambda x: np.sum(x**3), ONES) @ np.ones(4),
        ValueError,
        r"HessianOperator of shape \(3, 3\): v has shape \(4,\), expected \(3,\)",
    ),
    "a Hessian of no scalar": (lambda: rmad.HessianOperator(np.tanh, ONES), TypeError, "of a scalar"),
    "unravel": (
        lambda: rmad.ravel({"a": ONES})[1](np.ones(4)),
        ValueError,
        r"expected a vector of shape \(3,\), got \(4,\)",
    ),
    "a derivative that is a number": (lambda: rmad.elementwise(np.copy, 2.0), TypeError, "must be a function of"),
    "a rule that is no pair": (
        grad_of(lambda x: np.sum(half_a_rule(x))),
        TypeError,
        r"half_a_rule: .*pair \(push, pull\)",
    ),
    "show": (lambda: rmad.show(ONES), TypeError, "what rmad.linearize returns second"),
}


def rng():
    return np.random.default_rng(0)


X, T = np.ones((5, 4), np.float32), np.array([0, 1, 2, 0, 1])


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8, rng=rng()), nn.Tanh(), nn.Linear(8, 3, rng=rng()))


class InATuple(nn.Module):
    def __init__(self) -> None:
        self.pair = (np.ones((4, 3), np.float32), np.ones(3, np.float32))

    def forward(self, x: Any) -> Any:
        return x @ self.pair[0] + self.pair[1]


LOSS = nn.SoftmaxCrossEntropy()
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


@pytest.mark.parametrize("case", ENGINE)
def test_the_engine_says_what_is_wrong(refuses: Refuses, case: str) -> None:
    refuses(*ENGINE[case])


@pytest.mark.parametrize("case", STEPS)
@pytest.mark.parametrize("method", METHODS)
def test_optimizers_say_what_is_wrong(refuses: Refuses, method: str, case: str) -> None:
    call, kind, message = STEPS[case]
    refuses(lambda: call(METHODS[method]), kind, message)


def test_numbers_collected_in_a_plain_array() -> None:
    """The message is NumPy's own; ours is its cause, which Python prints above it."""
    with pytest.raises(ValueError, match="setting an array element") as caught:
        rmad.grad(collects_numbers)(ONES)
    assert "collect with np.stack" in str(caught.value.__cause__)


def test_a_tensor_of_pytorch(refuses: Refuses) -> None:
    torch = pytest.importorskip("torch")
    refuses(grad_of(np.sum, torch.ones(3)), TypeError, r"x is of type torch.Tensor.*pass x.numpy\(\)")


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


def test_a_batch_of_curvature_is_a_pair(refuses: Refuses) -> None:
    opt = optim.HessianFree(net(), LOSS)
    refuses(
        lambda: opt.step(X, T, curvature_batch=X), TypeError, r"curvature_batch must be a pair \(x, t\), not ndarray"
    )


def test_a_parameter_in_a_function_of_ones_own(refuses: Refuses) -> None:
    refuses(lambda: optim.Function({"W": ONES}, no_return), TypeError, "forward must be callable, not dict")
