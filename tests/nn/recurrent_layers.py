"""Recurrent layers of every kind, with data for them."""

import numpy as np
import pytest

import nn

KINDS = {
    "rnn": (nn.RNN, {}),
    "relu": (nn.RNN, {"activation": "relu"}),
    "lstm": (nn.LSTM, {}),
    "gru": (nn.GRU, {}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind, i=3, h=4, dtype=np.float64, **options):
    """A layer with biases that are not zero."""
    layer, more = KINDS[kind]
    rng = np.random.default_rng(0)
    made = layer(i, h, rng=rng, dtype=dtype, **more, **options)
    for name in ("bias", "recurrent_bias"):
        if getattr(made, name, None) is not None:
            setattr(made, name, rng.normal(0, 0.3, getattr(made, name).shape).astype(dtype))
    return made


def data(*shape, dtype=np.float64):
    return np.random.default_rng(7).standard_normal(shape).astype(dtype)


def state_of(kind, n, h, dtype=np.float64):
    states = data(2, n, h, dtype=dtype) / 2
    return (states[0], states[1]) if kind == "lstm" else states[0]
