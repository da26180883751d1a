"""Functions that count their calls, and small networks recorded on a tape."""

import numpy as np

import nn
from rmad.record import Record
from rmad.sweeps.factors import Meetings

F64 = {"dtype": np.float64}


class Counted:
    """f, with the number of its calls."""

    def __init__(self, f):
        self.f, self.calls = f, 0

    def __call__(self, *args):
        self.calls += 1
        return self.f(*args)


def rng(seed=0):
    return np.random.default_rng(seed)


def normal(*shape, seed=0):
    return rng(seed).standard_normal(shape)


def recorded(f, params, x, sharing="expand"):
    record = Record(f, params, (x,))
    return record, Meetings(record.tape, record.outputs, record.n_inputs, len(x), sharing)


def identity_columns(z):
    """The square root of L″ for ½ Σ z²: one column per output of a case."""
    n, c = len(z), z.size // len(z)
    return np.broadcast_to(np.eye(c)[:, None], (c, n, c)).reshape(c, *z.shape).copy()


def mlp(rng):
    return nn.Sequential(nn.Linear(4, 5, rng=rng, **F64), nn.Tanh(), nn.Linear(5, 3, rng=rng, **F64), nn.Sigmoid())
