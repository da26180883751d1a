"""What goes wrong in the first hour, and what the message says about it: what is wrong and what to do.

A row: what was written, the kind of error, and a part of its message.
"""

from __future__ import annotations

import math
import operator
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
from nn.torch_names import HERE

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
Z = np.ones((5, 3))

LAYERS = {
    "features": (lambda: nn.Linear(4, 8, rng=rng())(np.ones((5, 3))), ValueError, r"Linear\(4, 8\): x has 3 features"),
    "a float as a size": (lambda: nn.Linear(4.0, 8, rng=rng()), TypeError, "must be whole"),
    "a word as a size": (lambda: nn.Linear("4", 8, rng=rng()), TypeError, "must be whole, not '4' and 8"),
    "a float as a number of channels": (lambda: nn.Conv2d(1.0, 6, 5, rng=rng()), TypeError, "must be whole"),
    "a float as a number of units": (lambda: nn.LSTM(3, 4.0, rng=rng()), TypeError, "must be whole"),
    "a float as a number of heads": (lambda: nn.MultiHeadAttention(12, 3.0, rng=rng()), TypeError, "must be whole"),
    "a float as a number of features": (lambda: nn.BatchNorm(4.0), TypeError, "must be whole, not 4.0"),
    "a shape that is none": (lambda: nn.LayerNorm(None), TypeError, "must be whole, not None"),
    "a name for init": (
        lambda: nn.Linear(4, 8, rng=rng(), init="he"),
        TypeError,
        r"init must be a function \(rng, shape, dtype\), as nn.init.he_normal, not str",
    ),
    "a word for a share": (lambda: nn.Dropout("0.5", rng=rng()), ValueError, r"p must be in \[0, 1\), got '0.5'"),
    "integers for features": (
        lambda: nn.Linear(4, 8, rng=rng())(np.ones((5, 4), int)),
        TypeError,
        r"Linear\(4, 8\): x must be an array of floats, not of int64; x.astype\(np.float32\) makes one of it",
    ),
    "a word for an array": (lambda: nn.Linear(4, 8, rng=rng())("x"), TypeError, "must be an array of floats, not str"),
    "images before a dense layer": (
        lambda: nn.Linear(12, 8, rng=rng())(np.ones((5, 2, 2, 3))),
        ValueError,
        r"its shape is \(5, 2, 2, 3\), expected \(…, 12\); nn.Flatten\(\) before it",
    ),
    "rows for images": (
        lambda: nn.Conv2d(1, 6, 5, rng=rng())(np.ones((5, 784))),
        ValueError,
        r"x has shape \(5, 784\), expected \(n, h, w, 1\); x.reshape\(len\(x\), h, w, c\) makes images of rows",
    ),
    "grey images without a channel": (
        lambda: nn.Conv2d(1, 6, 5, rng=rng())(np.ones((5, 28, 28))),
        ValueError,
        r"x\[..., None\] adds the channel",
    ),
    "images in torch's layout": (
        lambda: nn.Conv2d(3, 6, 5, rng=rng())(np.ones((5, 3, 28, 28))),
        ValueError,
        r"expected \(n, h, w, 3\); np.moveaxis\(x, 1, -1\)",
    ),
    "one case and batch statistics": (
        lambda: nn.BatchNorm(4)(X[:1]),
        ValueError,
        r"has 1 values per channel, needs 2 in training; to use a model, call model.eval\(\) first",
    ),
    "words for tokens": (lambda: nn.Embedding(10, 4, rng=rng())("abc"), TypeError, "must hold integers, not str"),
    "floats for tokens": (lambda: nn.Embedding(10, 4, rng=rng())(X), TypeError, "must hold integers, not float32"),
    "a token beyond the table": (
        lambda: nn.Embedding(10, 4, rng=rng())([[10]]),
        ValueError,
        "holds the token 10, expected 0 … 9",
    ),
    "a seed for rng": (
        lambda: nn.Linear(4, 8, rng=0),
        TypeError,
        r"rng must be a Generator, as np.random.default_rng\(0\)",
    ),
    "integer parameters": (lambda: nn.Linear(4, 8, rng=rng(), dtype=int), TypeError, "must be a float type, not int64"),
    "a list of layers": (lambda: nn.Sequential([nn.Tanh()]), TypeError, "layers one by one"),
    "a class for a layer": (lambda: nn.Sequential(nn.Tanh), TypeError, r"the class Tanh; give an object, Tanh\(\)"),
    "a module without forward": (lambda: nn.Module()(X), NotImplementedError, r"define forward\(self, x\)"),
    "a state that is a path": (
        lambda: net().load_state_dict("model.safetensors"),
        TypeError,
        r"a state is {name: array}, as state_dict gives it, not str; nn.load\(model, path\) reads a file",
    ),
    "a state that is a model": (
        lambda: net().load_state_dict(net()),
        TypeError,
        r"Sequential; pass its state_dict\(\)",
    ),
    "a state of lists": (
        lambda: net().load_state_dict({name: a.tolist() for name, a in net().state_dict().items()}),
        TypeError,
        "'0.weight' of the state must be an array, not list",
    ),
    "a state that lacks an array": (
        lambda: net().load_state_dict({}),
        ValueError,
        "the state lacks '0.weight' of shape",
    ),
    "PyTorch's names": (
        lambda: nn.load_torch_state_dict(net(), {"fc.weight": X}),
        ValueError,
        r"the state has 'fc.weight' \(5, 4\), the model has not. It takes 0.bias, 0.weight, 2.bias, 2.weight; `rename`",
    ),
    "PyTorch's file": (
        lambda: nn.load_torch_state_dict(net(), "model.pt"),
        TypeError,
        "state must be a state dict, .*, not str; torch.load or safetensors read a file",
    ),
    "state and model swapped": (
        lambda: nn.load_torch_state_dict({}, net()),
        TypeError,
        "model must be an nn.Module, not dict",
    ),
    "half a size of images": (
        lambda: nn.load_torch_state_dict(net(), {}, flattened={"0.weight": (1, 2)}),
        ValueError,
        r"flattened\['0.weight'\] must be \(c, h, w\), not \(1, 2\)",
    ),
    "load with path and model swapped": (
        lambda: nn.load("m.safetensors", net()),
        TypeError,
        r"load: the model comes first, nn.load\(model, path\); it is of type str",
    ),
    "save with path and model swapped": (
        lambda: nn.save("m.safetensors", net()),
        TypeError,
        r"save: the model comes first, nn.save\(model, path\); it is of type str",
    ),
    "save to a model": (lambda: nn.save(net(), net()), TypeError, "the path must be a str or a Path, not Sequential"),
    "an activation that is made": (
        lambda: nn.TransformerBlock(4, 2, activation=nn.ReLU(), rng=rng()),
        TypeError,
        "activation must make a layer, as the class nn.ReLU does, not a ReLU that is made already",
    ),
    "a name for an activation": (
        lambda: nn.models.mlp((4, 8, 3), activation="relu", rng=rng()),
        TypeError,
        "mlp: activation must make a layer, as the class nn.ReLU does, not 'relu'",
    ),
    "a name for the activation of an autoencoder": (
        lambda: nn.models.autoencoder((4, 3), activation="relu", rng=rng()),
        TypeError,
        "autoencoder: activation must make a layer, as the class nn.ReLU does, not 'relu'",
    ),
    "a list for a mask": (
        lambda: nn.MultiHeadAttention(4, 2, rng=rng())(X[None], mask=np.tri(5).tolist()),
        TypeError,
        r"mask must be an array of booleans, True for what is seen, or of floats, not list; np.array\(mask\) makes one",
    ),
    "integers for a mask": (
        lambda: nn.MultiHeadAttention(4, 2, rng=rng())(X[None], mask=np.tri(5, dtype=int)),
        TypeError,
        r"mask must be .* or of floats, not of int64; mask.astype\(bool\) makes one",
    ),
    "a word for a mask": (
        lambda: nn.MultiHeadAttention(4, 2, rng=rng())(X[None], mask="causal"),
        TypeError,
        "mask must be .* or of floats, not str",
    ),
    "a mask of another batch": (
        lambda: nn.MultiHeadAttention(4, 2, rng=rng())(X[None], mask=np.ones((3, 5, 5), bool)),
        ValueError,
        r"mask has shape \(3, 1, 5, 5\), expected \(…, 5, 5\), as \(1, 2, 5, 5\)",
    ),
    "keys and values as in PyTorch": (
        lambda: nn.MultiHeadAttention(4, 2, rng=rng())(X[None], X[None], X[None]),
        ValueError,
        r"mask has shape \(1, 1, 5, 4\), expected",
    ),
    "outputs and more": (
        lambda: nn.SquaredError()((Z, Z), Z),
        TypeError,
        r"SquaredError: z must be one array, not a tuple of 2; a loss of your own, any function \(z, t\) -> scalar",
    ),
    "outputs by name": (lambda: LOSS({"logits": Z}, T), TypeError, "z must be one array, not a dict of 1"),
    "two targets": (lambda: nn.SquaredError()(Z, [Z, Z]), TypeError, "t must be one array, not a list of 2"),
    "a data set in batches": (
        lambda: nn.data.batches(nn.data.Dataset(X, T, X, T), None, 2),
        TypeError,
        r"x must be an array, not a Dataset; batches\(data.x_train, data.t_train, size\)",
    ),
    "a list in batches": (lambda: nn.data.batches(X, [0] * 5, 2), TypeError, "t must be an array, not a list"),
    "a seed for batches": (lambda: nn.data.batches(X, T, 2, 0), TypeError, "batches: rng must be a Generator"),
    "half a case in batches": (lambda: nn.data.batches(X, T, 2.5), TypeError, "size must be whole, not 2.5"),
    "no case in batches": (lambda: nn.data.batches(X, T, 0), ValueError, "batches: size must be positive"),
    "other targets in batches": (lambda: nn.data.batches(X, T[:3], 2), ValueError, "x has 5 cases, t has 3"),
    "bytes for a text": (lambda: nn.data.Text(b"to be"), TypeError, r"must be a str, not bytes; text.decode\(\) makes"),
    "a seed for samples of a text": (
        lambda: nn.data.Text("to be or not to be").sample(2, 3, 0),
        TypeError,
        "Text.sample: rng must be a Generator",
    ),
    "minus one sample of a text": (
        lambda: nn.data.Text("to be or not to be").sample(-1, 3, rng()),
        ValueError,
        "Text.sample: n and length must be positive",
    ),
    "a file for a folder": (
        lambda: nn.data.mnist(__file__),
        FileNotFoundError,
        "data_dir is a file, give the folder that it lies in",
    ),
    "an image without channels": (
        lambda: nn.models.sgn_cifar(rng=rng(), image=(28, 28)),
        ValueError,
        r"sgn_cifar: image must be a shape \(h, w, c\), not \(28, 28\)",
    ),
    "an image too small": (
        lambda: nn.models.sgn_cifar(rng=rng(), image=(2, 2, 3)),
        ValueError,
        "a window of 2 × 2 does not fit into 1 × 1 pixels",
    ),
    "a word for a number of curves": (
        lambda: nn.data.curves("x"),
        TypeError,
        "n_train and n_test must be whole, not 'x'",
    ),
    "a folder without the data": (
        lambda: nn.data.mnist("no/such/folder"),
        FileNotFoundError,
        "mnist: no train-images-idx3-ubyte.gz in no/such/folder/mnist or no/such/folder",
    ),
    "a summary of a function": (lambda: nn.summary(np.tanh, (4,)), TypeError, "must be an nn.Module, not ufunc"),
    "a summary at an array": (lambda: nn.summary(net(), X), TypeError, r"not an array; pass x.shape, \(5, 4\)"),
    "a summary at a number": (lambda: nn.summary(net(), 4), TypeError, r"must be a shape, as \(28, 28, 1\), .* not 4"),
    "a summary at half a feature": (lambda: nn.summary(net(), (4.5,)), TypeError, r"must be a shape.* not \(4.5,\)"),
    "a summary at another shape": (
        lambda: nn.summary(net(), (5, 3)),
        ValueError,
        r"does not take zeros of float32 of shape \(5, 3\): ValueError: Linear\(4, 8\): x has 3 features",
    ),
    "a summary of a model of tokens": (
        lambda: nn.summary(nn.Embedding(10, 4, rng=rng()), (5,)),
        ValueError,
        "must hold integers, not float32; for a model of tokens: dtype=int",
    ),
    "a state of another model": (
        lambda: nn.Linear(4, 8, rng=rng()).load_state_dict({"a": X}),
        ValueError,
        "the state has 'a'",
    ),
    "float labels": (
        lambda: nn.SoftmaxCrossEntropy()(Z, np.ones(5)),
        TypeError,
        "labels t must be integers, not float64",
    ),
    "labels as a column": (
        lambda: nn.SoftmaxCrossEntropy()(Z, T[:, None]),
        ValueError,
        r"must be labels of shape \(5,\)",
    ),
    "a label too many": (
        lambda: nn.SoftmaxCrossEntropy()(Z, T + 1),
        ValueError,
        "has the label 3, but.*has 3 classes, 0 … 2",
    ),
    "targets beyond one": (lambda: nn.SigmoidCrossEntropy()(Z, 2 * Z), ValueError, r"t must lie in \[0, 1\]"),
    "a row for a column": (
        lambda: nn.SquaredError()(Z[:, :1], Z[:, 0]),
        ValueError,
        r"z has shape \(5, 1\), but t has shape \(5,\)",
    ),
    "words for targets": (lambda: nn.SquaredError()(np.ones((1, 1)), [["a"]]), TypeError, "t must hold real numbers"),
    "no target": (lambda: nn.SquaredError()(Z, None), ValueError, r"there is no target t.*opt.step\(x, t\)"),
}


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


def refuses(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        call()
    assert type(caught.value) is kind


@pytest.mark.parametrize("case", ENGINE)
def test_the_engine_says_what_is_wrong(case: str) -> None:
    refuses(*ENGINE[case])


@pytest.mark.parametrize("case", LAYERS)
def test_layers_and_losses_say_what_is_wrong(case: str) -> None:
    refuses(*LAYERS[case])


RANDOM = {
    "Linear": lambda r: nn.Linear(4, 8, rng=r),
    "Conv2d": lambda r: nn.Conv2d(1, 6, 5, rng=r),
    "ConvTranspose2d": lambda r: nn.ConvTranspose2d(1, 6, 5, rng=r),
    "Dropout": lambda r: nn.Dropout(0.5, rng=r),
    "Embedding": lambda r: nn.Embedding(10, 4, rng=r),
    "RNN": lambda r: nn.RNN(3, 4, rng=r),
    "LSTM": lambda r: nn.LSTM(3, 4, rng=r),
    "GRU": lambda r: nn.GRU(3, 4, rng=r),
}


@pytest.mark.parametrize("layer", RANDOM)
def test_a_seed_is_no_generator(layer: str) -> None:
    with pytest.raises(
        TypeError, match=rf"^{layer}\(.*\): rng must be a Generator, as np.random.default_rng\(0\), not"
    ):
        RANDOM[layer](0)


LISTED = {
    "Linear": (lambda: nn.Linear(2, 3, rng=rng()), [[1.0, 2.0]]),
    "Conv2d": (lambda: nn.Conv2d(1, 2, 1, rng=rng()), [[[[1.0]]]]),
    "MaxPool2d": (lambda: nn.MaxPool2d(1), [[[[1.0]]]]),
    "GlobalAvgPool2d": (lambda: nn.GlobalAvgPool2d(), [[[[1.0]]]]),
    "BatchNorm": (lambda: nn.BatchNorm(2), [[1.0, 2.0], [3.0, 4.0]]),
    "LayerNorm": (lambda: nn.LayerNorm(2), [[1.0, 2.0]]),
    "Dropout": (lambda: nn.Dropout(0.5, rng=rng()), [[1.0, 2.0]]),
    "RNN": (lambda: nn.RNN(2, 3, rng=rng()), [[[1.0, 2.0]]]),
    "GRU": (lambda: nn.GRU(2, 3, rng=rng()), [[[1.0, 2.0]]]),
    "MultiHeadAttention": (lambda: nn.MultiHeadAttention(2, 1, rng=rng()), [[[1.0, 2.0]]]),
}


@pytest.mark.parametrize("layer", LISTED)
def test_a_list_is_no_array(layer: str) -> None:
    make, x = LISTED[layer]
    message = rf"^{layer}\(.*\): x must be an array of (real )?floats, not a list; np.array\(x, np.float32\) makes one"
    with pytest.raises(TypeError, match=message):
        make()(x)


@pytest.mark.parametrize("case", STEPS)
@pytest.mark.parametrize("method", METHODS)
def test_optimizers_say_what_is_wrong(method: str, case: str) -> None:
    call, kind, message = STEPS[case]
    refuses(lambda: call(METHODS[method]), kind, message)


def test_numbers_collected_in_a_plain_array() -> None:
    """The message is NumPy's own; ours is its cause, which Python prints above it."""
    with pytest.raises(ValueError, match="setting an array element") as caught:
        rmad.grad(collects_numbers)(ONES)
    assert "collect with np.stack" in str(caught.value.__cause__)


def test_a_tensor_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    refuses(grad_of(np.sum, torch.ones(3)), TypeError, r"x is of type torch.Tensor.*pass x.numpy\(\)")


def test_tensors_of_pytorch_for_arrays() -> None:
    torch = pytest.importorskip("torch")
    message = r"Linear\(4, 8\): x must be an array of floats, not a torch.Tensor; pass x.numpy\(\)"
    refuses(lambda: net()(torch.ones(5, 4)), TypeError, message)
    refuses(lambda: LOSS(torch.ones(5, 3), T), TypeError, r"z is a torch.Tensor; pass z.numpy\(\)")
    refuses(lambda: LOSS(Z, torch.zeros(5)), TypeError, r"t is a torch.Tensor; pass t.numpy\(\)")
    refuses(
        lambda: nn.load_torch_state_dict(net(), torch.nn.Linear(4, 8)),
        TypeError,
        r"not Linear; pass its state_dict\(\)",
    )


@pytest.mark.parametrize(("ours", "theirs"), [(ours, name) for ours, names in HERE.items() for name in names])
def test_pytorchs_names(ours: str, theirs: str) -> None:
    torch = pytest.importorskip("torch")
    assert hasattr(torch.nn, theirs)
    if ours.startswith("nn."):
        assert callable(operator.attrgetter(ours.removeprefix("nn.").split(",")[0])(nn))
    refuses(
        lambda: getattr(nn, theirs), AttributeError, f"^module 'nn' has no attribute '{theirs}'; here it is {ours}$"
    )


def test_a_name_that_nobody_has() -> None:
    refuses(lambda: nn.ReLu, AttributeError, "^module 'nn' has no attribute 'ReLu'$")


def test_a_seed_is_no_generator_for_an_optimizer() -> None:
    message = r"rng must be a Generator, as np.random.default_rng\(0\), not int"
    refuses(lambda: optim.KFAC(net(), LOSS, rng=0), TypeError, message)
    refuses(lambda: optim.Roles(X, T, rng=0), TypeError, message)
    refuses(lambda: optim.check_ggn(net(), LOSS, X, T, rng=0), TypeError, message)
    refuses(lambda: optim.Adam(net(), LOSS, betas=0.9), ValueError, "betas must be two numbers, got 0.9")


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"LBFGS"}))
def test_a_word_for_a_step_size(method: str) -> None:
    refuses(lambda: METHODS[method](net(), LOSS, lr="a"), TypeError, "lr must be a number, got 'a'")
    refuses(lambda: METHODS[method](net(), LOSS, lr=-1), ValueError, "lr must be > 0, got -1")


def test_a_batch_of_curvature_is_a_pair() -> None:
    opt = optim.HessianFree(net(), LOSS)
    refuses(
        lambda: opt.step(X, T, curvature_batch=X), TypeError, r"curvature_batch must be a pair \(x, t\), not ndarray"
    )


def test_a_parameter_in_a_function_of_ones_own() -> None:
    refuses(lambda: optim.Function({"W": ONES}, no_return), TypeError, "forward must be callable, not dict")
