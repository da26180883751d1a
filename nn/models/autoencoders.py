"""Deep autoencoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nn import init as _init
from nn.activations import Sigmoid
from nn.checks import check_maker
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
    activation: Callable[[], Module] = Sigmoid,
    code: str | Callable[[], Module] = "linear",
    bias: bool | float = True,
    init: Callable[..., Any] = _init.sparse,
    dtype: Any = np.float32,
) -> Sequential:
    """z = decoder(encoder(x)): Linear layers of these sizes down to the code and mirrored back up.

    x, z: (n, sizes[0]). An activation follows every layer but the code (linear, unless `code` makes
    one) and the last: z is linear, because the loss holds the sigmoid.

    Source: Hinton & Salakhutdinov (2006); the encoders of its networks for curves, MNIST and faces: `CURVES`, `MNIST`,
    `FACES`. Sparse first weights: Martens (2010), section 5.
    """
    if len(sizes) < 2:
        raise ValueError(f"autoencoder: sizes must name the input and at least one layer, not {tuple(sizes)}")
    if isinstance(code, str) and code != "linear":
        raise ValueError(f"autoencoder: code must be 'linear' or make an activation, not {code!r}")
    check_maker("autoencoder", "activation", activation)
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
