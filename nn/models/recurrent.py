"""Recurrent networks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from nn import init as _init
from nn.containers import Sequential
from nn.linear import Linear
from nn.recurrent import RNN

__all__ = ["rnn"]


def rnn(
    i: int,
    o: int,
    *,
    rng: np.random.Generator,
    units: int = 100,
    every_step: bool = False,
    checkpoint: bool = False,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """z = h_t V + c of the last step t, or of every one, with h_t = tanh(x_t W + h_{t−1} U + b).

    x: (n, t, i), z: (n, o), or (n, t, o) with every_step. Every unit has 15 incoming weights ~ N(0, 1/15), those from
    the input × 0.25; biases are 0.

    Parameters
    ----------
    i : int
        Number of input features.
    o : int
        Number of outputs.
    rng : np.random.Generator
        Source of the first weights.
    units : int, default 100
        Number of hidden units.
    every_step : bool, default False
        Whether there is an output at every step.
    checkpoint : bool, default False
        Whether the tape keeps √t of the t states; see nn.RNN.
    dtype : dtype, default float32
        Type of the parameters.

    Returns
    -------
    Sequential

    References
    ----------
    Martens & Sutskever (2011), section 5; scales as in Sutskever's code.
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
