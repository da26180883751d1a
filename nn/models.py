"""Networks by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nn import init as _init
from nn.activations import Sigmoid
from nn.containers import Sequential
from nn.linear import Linear
from nn.module import Module
from nn.recurrent import RNN

__all__ = ["CURVES", "MNIST", "autoencoder", "rnn"]

CURVES = (784, 400, 200, 100, 50, 25, 6)
MNIST = (784, 1000, 500, 250, 30)


def autoencoder(
    sizes: Sequence[int],
    *,
    rng: np.random.Generator,
    activation: Callable[[], Module] = Sigmoid,
    code: str | Callable[[], Module] = "linear",
    bias: bool | float = True,
    init: Callable[..., Any] = _init.sparse,
    dtype: Any = np.float32,
) -> Sequential:
    """z = decoder(encoder(x)): Linear layers of these sizes down to the code and mirrored back up.

    x, z: (n, sizes[0]). An activation follows every layer but the code (linear, unless `code` makes
    one) and the last: z is linear, because the loss holds the sigmoid.

    Source: Hinton & Salakhutdinov (2006); sizes of its CURVES and MNIST networks: `CURVES`, `MNIST`.
    """
    if len(sizes) < 2:
        raise ValueError(f"autoencoder: sizes must name the input and at least one layer, not {tuple(sizes)}")
    if isinstance(code, str) and code != "linear":
        raise ValueError(f"autoencoder: code must be 'linear' or make an activation, not {code!r}")
    middle = len(sizes) - 2
    up_and_down = [*sizes, *reversed(sizes[:-1])]
    layers: list[Module] = []
    for k, (i, o) in enumerate(pairwise(up_and_down)):
        layers.append(Linear(i, o, rng=rng, bias=bias, init=init, dtype=dtype))
        if k != middle:
            layers.append(activation())
        elif not isinstance(code, str):
            layers.append(code())
    layers.pop()  # the activation of the output
    return Sequential(*layers)


def rnn(
    i: int,
    o: int,
    *,
    rng: np.random.Generator,
    units: int = 100,
    every_step: bool = False,
    checkpoint: bool = False,
    dtype: Any = np.float32,
) -> Sequential:
    """z = h_t V + c of the last step t, or of every one, with h_t = tanh(x_t W + h_{t−1} U + b)

    x: (n, t, i), z: (n, o), with every_step (n, t, o). Every unit has 15 incoming weights ~ N(0, 1/15), those from the
    input × 0.25; biases are 0. checkpoint: of the √t kind, see nn.RNN.

    Source: Martens & Sutskever (2011), section 5; scales as in Sutskever's code.
    """
    scale = 1 / math.sqrt(15)
    inputs, weights = _init.sparse_with(scale=0.25 * scale), _init.sparse_with(scale=scale)
    layer = RNN(
        i,
        units,
        rng=rng,
        init=inputs,
        recurrent_init=weights,
        dtype=dtype,
        last=not every_step,
        checkpoint=checkpoint,
    )
    return Sequential(layer, Linear(units, o, rng=rng, init=weights, dtype=dtype))
