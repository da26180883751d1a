"""Networks of affine layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import DTypeLike

from nn import init as _init
from nn.activations import Sigmoid, Tanh
from nn.checks import MakesLayer, check_maker
from nn.containers import Sequential
from nn.linear import Linear
from nn.module import Module

__all__ = ["curveball_mnist", "mlp", "sgn_boston", "sgn_mnist", "sgn_sine"]


def mlp(
    sizes: Sequence[int],
    *,
    rng: np.random.Generator,
    activation: MakesLayer = Tanh,
    init: _init.Init = _init.glorot_uniform,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """z = W_m a(… a(W_1 x + b_1) …) + b_m: Linear layers of these sizes with an activation after all but the last.

    x: (n, sizes[0]), z: (n, sizes[-1]).

    Parameters
    ----------
    sizes : sequence of int
        Sizes from the input to the output.
    rng : np.random.Generator
        Source of the first weights.
    activation : class or function that makes a layer, default Tanh
        The activation a.
    init : function (rng, shape, dtype) → array, default glorot_uniform
        Makes the weights: one of nn.init.
    dtype : dtype, default float32
        Type of the parameters.

    Returns
    -------
    Sequential

    Raises
    ------
    ValueError
        For fewer than two sizes.

    Examples
    --------
    >>> import nn
    >>> nn.models.mlp((784, 100, 10), rng=np.random.default_rng(0))
    Sequential(
      0: Linear(784, 100)
      1: Tanh()
      2: Linear(100, 10)
    )  # 79,510 parameters
    """
    if len(sizes) < 2:
        raise ValueError(f"mlp: sizes must name the input and the output at least, not {tuple(sizes)}")
    check_maker("mlp", "activation", activation)
    layers: list[Module] = []
    for i, o in pairwise(sizes):
        layers += [Linear(i, o, rng=rng, init=init, dtype=dtype), activation()]
    return Sequential(*layers[:-1])


def curveball_mnist(*, rng: np.random.Generator, dtype: DTypeLike = np.float32) -> Sequential:
    """The MLP 784-128-64-32-10 with tanh; x: (n, 784), z: (n, 10), linear, for SoftmaxCrossEntropy.

    Parameters
    ----------
    rng : np.random.Generator
        Source of the first weights.
    dtype : dtype, default float32
        Type of the parameters.

    Returns
    -------
    Sequential

    References
    ----------
    Henriques et al. (2019), section 4.4. Its first weights are said to be those of Martens & Grosse (2015); here they
    are Glorot's.
    """
    return mlp((784, 128, 64, 32, 10), rng=rng, dtype=dtype)


def sgn_boston(*, rng: np.random.Generator, dtype: DTypeLike = np.float32) -> Sequential:
    """The MLP 13-100-100-1 with sigmoids; x: (n, 13), z: (n, 1), for SquaredError on Boston housing.

    Parameters
    ----------
    rng : np.random.Generator
        Source of the first weights.
    dtype : dtype, default float32
        Type of the parameters.

    Returns
    -------
    Sequential

    References
    ----------
    Gargiani et al. (2020), section 4.1. Open there: the first weights; here Glorot's.
    """
    return mlp((13, 100, 100, 1), rng=rng, activation=Sigmoid, dtype=dtype)


def sgn_sine(*, rng: np.random.Generator, dtype: DTypeLike = np.float32) -> Sequential:
    """The MLP 1-20-20-20-1 with sigmoids; x: (n, 1), z: (n, 1), for SquaredError on the sine wave.

    Parameters
    ----------
    rng : np.random.Generator
        Source of the first weights.
    dtype : dtype, default float32
        Type of the parameters.

    Returns
    -------
    Sequential

    References
    ----------
    Gargiani et al. (2020), section 4.2. Open there: the first weights; here Glorot's.
    """
    return mlp((1, 20, 20, 20, 1), rng=rng, activation=Sigmoid, dtype=dtype)


def sgn_mnist(*, rng: np.random.Generator, dtype: DTypeLike = np.float32) -> Sequential:
    """The MLP 784-20-20-20-10 with sigmoids; x: (n, 784), z: (n, 10), linear, for SoftmaxCrossEntropy.

    Parameters
    ----------
    rng : np.random.Generator
        Source of the first weights.
    dtype : dtype, default float32
        Type of the parameters.

    Returns
    -------
    Sequential

    References
    ----------
    Gargiani et al. (2020), section 4.3 ("the same architecture as in 4.2").
    """
    return mlp((784, 20, 20, 20, 10), rng=rng, activation=Sigmoid, dtype=dtype)
