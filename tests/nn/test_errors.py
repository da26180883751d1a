"""Mistakes of the first hour with layers and losses, and the message that names each.

A row: the call, the kind of error, and a part of its message.
"""

from __future__ import annotations

import operator
import re

import numpy as np
import pytest
from first_hour import LOSS, Refuses, T, X, net, rng

import nn
from nn.other_names import HERE

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
    "one array for the state of an LSTM": (
        lambda: nn.LSTM(4, 3, rng=rng())(X[None], np.ones((1, 3))),
        ValueError,
        r"LSTM\(4, 3\): state has shape \(1, 3\), expected a pair \(h, c\) of arrays of shape \(1, 3\)",
    ),
    "a number for the state of an LSTM": (
        lambda: nn.LSTM(4, 3, rng=rng())(X[None], 0),
        ValueError,
        r"state has shape \(\), expected a pair",
    ),
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
        r"z has shape \(5, 1\), but t has shape \(5,\); t\[..., None\] has a column",
    ),
    "labels for numbers": (
        lambda: nn.SquaredError()(Z, T),
        ValueError,
        r"but t has shape \(5,\); labels are for nn.SoftmaxCrossEntropy, np.eye\(3\)\[t\] makes targets of them",
    ),
    "a row of images for columns": (
        lambda: nn.SquaredError()(np.ones((5, 3, 1)), np.ones((5, 3))),
        ValueError,
        r"z has shape \(5, 3, 1\), but t has shape \(5, 3\); t\[..., None\] has a column$",
    ),
    "labels of one position": (
        lambda: nn.SquaredError()(np.ones((5, 1, 3)), np.ones((5, 1), int)),
        ValueError,
        r"labels are for nn.SoftmaxCrossEntropy, np.eye\(3\)\[t\]",
    ),
    "numbers for rows": (
        lambda: nn.SquaredError()(np.ones((5, 1, 3)), np.ones((5, 1))),
        ValueError,
        r"z has shape \(5, 1, 3\), but t has shape \(5, 1\)$",
    ),
    "words for targets": (lambda: nn.SquaredError()(np.ones((1, 1)), [["a"]]), TypeError, "t must hold real numbers"),
    "no target": (lambda: nn.SquaredError()(Z, None), ValueError, r"there is no target t.*opt.step\(x, t\)"),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layers_and_losses_say_what_is_wrong(refuses: Refuses, case: str) -> None:
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


@pytest.mark.parametrize("layer", ["RNN", "LSTM", "GRU"])
def test_a_keyword_that_a_recurrent_layer_has_not(refuses: Refuses, layer: str) -> None:
    """Python's own message names the class that was called, not what it is made of."""
    make = getattr(nn, layer)
    refuses(lambda: make(3, 4, rng=rng(), droput=0.5), TypeError, rf"^{layer}.__init__\(\) got .* 'droput'")
    refuses(lambda: make(3, 4), TypeError, rf"^{layer}: rng is missing, .*default_rng")
    refuses(lambda: make(3), TypeError, rf"^{layer}.__init__\(\) missing .* 'h'")


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


def test_tensors_of_pytorch_for_arrays(refuses: Refuses) -> None:
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
def test_names_of_pytorch_and_keras(refuses: Refuses, ours: str, theirs: str) -> None:
    if ours.startswith("nn."):
        assert callable(operator.attrgetter(ours.removeprefix("nn.").split(",")[0])(nn))
    here = ours if ours.startswith("not here") else f"here it is {ours}"
    refuses(
        lambda: getattr(nn, theirs), AttributeError, f"^module 'nn' has no attribute '{theirs}'; {re.escape(here)}$"
    )


def test_a_name_that_nobody_has(refuses: Refuses) -> None:
    refuses(lambda: nn.ReLu, AttributeError, "^module 'nn' has no attribute 'ReLu'$")
