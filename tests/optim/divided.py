"""Objectives on divided batches: a network, losses, and all that an objective computes."""

from __future__ import annotations

import numpy as np

import nn

N = 11
DIVISIONS = [{"shards": k, "threads": j} for k in (1, 2, 3, 5, N) for j in (1, 2, 3)]


def mlp(dtype=np.float64, seed=0, activation=nn.Tanh):
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Linear(4, 6, rng=rng, dtype=dtype), activation(), nn.Linear(6, 3, rng=rng, dtype=dtype))


def batch(n=N, dtype=np.float64, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 4)).astype(dtype), rng.standard_normal((n, 3)).astype(dtype)


LOSSES = {
    "squared": (nn.SquaredError(), lambda t: t),
    "sigmoid": (nn.SigmoidCrossEntropy(), lambda t: (t > 0).astype(t.dtype)),
    "softmax": (nn.SoftmaxCrossEntropy(), lambda t: np.argmax(t, axis=1)),
    "callable": (lambda z, t: np.sum(np.logaddexp(0, z - t)) / len(z), lambda t: t),
}


def everything(objective, x, t, seed=2):
    """Value, gradient and products of the objective on the batch, through every way there is."""
    v = np.random.default_rng(seed).standard_normal(objective.size).astype(objective.dtype)
    value, gradient = objective.value_and_gradient(x, t)
    q = objective.quadratic(x, t)
    found = {
        "value": objective.value(x, t),
        "value too": value,
        "value of the model": q.value,
        "value at": objective.value_at(objective.flat() + v / 10, x, t),
        "gradient": gradient,
        "gradient of the model": q.gradient,
        "Gv": q.ggn @ v,
        "Hv": q.hessian @ v,
        "Gv again": q.ggn @ v,
    }
    assert q.products == 3
    return found


def assert_close(found, expected, tolerance=1e-12):
    for name, a in expected.items():
        scale = np.max(np.abs(a))
        np.testing.assert_allclose(found[name], a, rtol=0, atol=tolerance * scale, err_msg=name)
