"""Networks of affine layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nn import init as _init
from nn.activations import Sigmoid, Tanh
from nn.checks import check_maker
from nn.containers import Sequential
from nn.linear import Linear
from nn.module import Module

__all__ = ["curveball_mnist", "mlp", "sgn_boston", "sgn_mnist", "sgn_sine"]


def mlp(
    sizes: Sequence[int],
    *,
    rng: np.random.Generator,
    activation: Callable[[], Module] = Tanh,
    init: Callable[..., Any] = _init.glorot_uniform,
    dtype: Any = np.float32,
) -> Sequential:
    """z = W_m a(… a(W_1 x + b_1) …) + b_m: Linear layers of these sizes with an activation after all but the last.

    x: (n, sizes[0]), z: (n, sizes[-1]). Raises ValueError for fewer than two sizes.
    """
    if len(sizes) < 2:
        raise ValueError(f"mlp: sizes must name the input and the output at least, not {tuple(sizes)}")
    check_maker("mlp", "activation", activation)
    layers: list[Module] = []
    for i, o in pairwise(sizes):
        layers += [Linear(i, o, rng=rng, init=init, dtype=dtype), activation()]
    return Sequential(*layers[:-1])


def curveball_mnist(*, rng: np.random.Generator, dtype: Any = np.float32) -> Sequential:
    """The MLP 784-128-64-32-10 with tanh; z linear, for SoftmaxCrossEntropy.

    Source: Henriques et al. (2019), section 4.4. Open there: the first weights are said to be those of Martens &
    Grosse (2015); here they are Glorot's.
    """
    return mlp((784, 128, 64, 32, 10), rng=rng, dtype=dtype)


def sgn_boston(*, rng: np.random.Generator, dtype: Any = np.float32) -> Sequential:
    """The MLP 13-100-100-1 with sigmoids, for SquaredError on Boston housing.

    Source: Gargiani et al. (2020), section 4.1. Open there: the first weights; here Glorot's.
    """
    return mlp((13, 100, 100, 1), rng=rng, activation=Sigmoid, dtype=dtype)


def sgn_sine(*, rng: np.random.Generator, dtype: Any = np.float32) -> Sequential:
    """The MLP 1-20-20-20-1 with sigmoids, for SquaredError on the sine wave.

    Source: Gargiani et al. (2020), section 4.2. Open there: the first weights; here Glorot's.
    """
    return mlp((1, 20, 20, 20, 1), rng=rng, activation=Sigmoid, dtype=dtype)


def sgn_mnist(*, rng: np.random.Generator, dtype: Any = np.float32) -> Sequential:
    """The MLP 784-20-20-20-10 with sigmoids; z linear, for SoftmaxCrossEntropy.

    Source: Gargiani et al. (2020), section 4.3 ("the same architecture as in 4.2").
    """
    return mlp((784, 20, 20, 20, 10), rng=rng, activation=Sigmoid, dtype=dtype)
