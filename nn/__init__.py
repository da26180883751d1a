"""Layers, losses and data for rmad: a model is a tree of arrays that can be called.

    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(784, 100, rng=rng), nn.Sigmoid(), nn.Linear(100, 10, rng=rng))
    loss = nn.SoftmaxCrossEntropy()

Layers take the names of torch's; `weight` is (in, out). The models are differentiated by rmad like
any function of a tree: rmad.linearize(lambda m: m(x), model). This package imports rmad and NumPy;
the optimizers know models and losses by what they do, not by these classes.
"""

import sys
from typing import TYPE_CHECKING

import rmad  # noqa: F401 (before NumPy: it chooses the BLAS kernel)

# isort: split
from nn import data, functional, init, models
from nn.activations import ELU, GELU, Identity, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from nn.attention import MultiHeadAttention, TransformerBlock
from nn.batch_norm import BatchNorm
from nn.containers import Residual, Sequential
from nn.conv import Conv2d, ConvTranspose2d
from nn.dropout import Dropout
from nn.embedding import Embedding
from nn.files.checkpoint import Checkpoints, DamagedCheckpoint
from nn.files.claim import Claim, FolderInUse
from nn.files.io import load, save, write_whole
from nn.files.torch_weights import load_torch_state_dict
from nn.layer_norm import LayerNorm
from nn.linear import Linear
from nn.losses import DiagonalCurvature, Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from nn.module import Module
from nn.pooling import AvgPool2d, Flatten, GlobalAvgPool2d, GlobalMaxPool2d, MaxPool2d
from nn.recurrent import GRU, LSTM, RNN
from nn.summary import Summary, summary

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "AvgPool2d",
    "BatchNorm",
    "Checkpoints",
    "Claim",
    "Conv2d",
    "ConvTranspose2d",
    "DamagedCheckpoint",
    "DiagonalCurvature",
    "Dropout",
    "Embedding",
    "Flatten",
    "FolderInUse",
    "GlobalAvgPool2d",
    "GlobalMaxPool2d",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "Loss",
    "MaxPool2d",
    "Module",
    "MultiHeadAttention",
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
    "Summary",
    "Tanh",
    "TransformerBlock",
    "data",
    "functional",
    "init",
    "load",
    "load_torch_state_dict",
    "models",
    "save",
    "summary",
    "write_whole",
]

if not TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> object:
        """Raises AttributeError for an unknown name; for one of PyTorch or Keras, the message gives the name here."""
        from nn.other_names import HERE
        from rmad.extend import other_names

        raise other_names.absent(sys.modules[__name__], HERE, name)
