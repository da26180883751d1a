"""Deep autoencoders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nn import init as _init
from nn.activations import Sigmoid
from nn.checks import MakesLayer, check_maker
from nn.containers import Sequential
from nn.linear import Linear
from nn.module import Module

__all__ = ["CURVES", "FACES", "MNIST", "autoencoder"]

CURVES = (784, 400, 200, 100, 50, 25, 6)
MNIST = (784, 1000, 500, 250, 30)
FACES = (625, 2000, 1000, 500, 30)


def autoencoder(
    sizes: Sequence[int],
    *,
    rng: np.random.Generator,
    activation: MakesLayer = Sigmoid,
    code: str | MakesLayer = "linear",
    bias: bool | float = True,
    init: _init.Init = _init.sparse,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """z = decoder(encoder(x)): Linear layers of these sizes down to the code and mirrored back up.

    x, z: (n, sizes[0]). An activation follows every layer but the code and the last: z is linear, because the loss
    includes the sigmoid.

    Parameters
    ----------
    sizes : sequence of int
        Sizes from the input to the code; `CURVES`, `MNIST`, `FACES` are those of the paper.
    rng : np.random.Generator
        Source of the first weights.
    activation : class or function that makes a layer, default Sigmoid
        The activation.
    code : "linear", or class or function that makes a layer
        Activation of the code.
    bias : bool or float, default True
        Number that fills the biases: True stands for 0, False for no biases.
    init : function (rng, shape, dtype) → array, default sparse
        Makes the weights (Martens 2010, section 5).
    dtype : dtype, default float32
        Type of the parameters.

    Returns
    -------
    Sequential

    Raises
    ------
    ValueError
        For fewer than two sizes.

    References
    ----------
    Hinton & Salakhutdinov (2006).

    Examples
    --------
    >>> import nn
    >>> nn.models.autoencoder(nn.models.CURVES, rng=np.random.default_rng(0)).n_parameters
    842340
    """
    if len(sizes) < 2:
        raise ValueError(f"autoencoder: sizes must name the input and at least one layer, not {tuple(sizes)}")
    if isinstance(code, str) and code != "linear":
        raise ValueError(f"autoencoder: code must be 'linear' or make an activation, not {code!r}")
    check_maker("autoencoder", "activation", activation)
    code_of = None if isinstance(code, str) else code
    return Sequential(*_layers(sizes, activation, code_of, rng=rng, bias=bias, init=init, dtype=dtype))


def _layers(sizes: Sequence[int], activation: MakesLayer, code: MakesLayer | None, **linear: Any) -> list[Module]:
    """Returns the layers of the encoder, and those of its mirror image without the last activation."""
    middle = len(sizes) - 2
    up_and_down = [*sizes, *reversed(sizes[:-1])]
    layers: list[Module] = []
    for k, (i, o) in enumerate(pairwise(up_and_down)):
        layers.append(Linear(i, o, **linear))
        if k != middle:
            layers.append(activation())
        elif code is not None:
            layers.append(code())
    return layers[:-1]
