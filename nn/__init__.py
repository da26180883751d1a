"""Layers, losses and data for rmad: a model is a tree of arrays that can be called.

    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(784, 100, rng=rng), nn.Sigmoid(), nn.Linear(100, 10, rng=rng))
    loss = nn.SoftmaxCrossEntropy()

Layers take the names of torch's; `weight` is (in, out). The models are differentiated by rmad like
any function of a tree: rmad.linearize(lambda m: m(x), model). This package imports rmad and NumPy;
the optimizers know models and losses by what they do, not by these classes.
"""

import rmad  # noqa: F401 (before NumPy: it chooses the BLAS kernel)

# isort: split
from nn import data, functional, init, models
from nn.activations import ELU, GELU, Identity, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from nn.batch_norm import BatchNorm
from nn.containers import Residual, Sequential
from nn.dropout import Dropout
from nn.embedding import Embedding
from nn.io import load, save
from nn.layer_norm import LayerNorm
from nn.linear import Linear
from nn.losses import Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from nn.module import Module

__all__ = [
    "ELU",
    "GELU",
    "BatchNorm",
    "Dropout",
    "Embedding",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "Loss",
    "Module",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "SquaredError",
    "Tanh",
    "data",
    "functional",
    "init",
    "load",
    "models",
    "save",
]
