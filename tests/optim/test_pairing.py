"""A loss in which z and t broadcast against each other is an error that names both shapes; every other loss runs.

A row: the outputs of the model made of its column z (n, 1), the targets made of t (n,), and the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

import nn
import optim
import rmad
from optim.problem.losses import loss_value

N = 7
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
T = X @ np.array([1.0, -2.0, 0.5])

Row = tuple[Callable[[Any], Any], Any, Any]


def same(z):
    return z


def written_part(z, t):
    y = np.zeros((len(z), len(t) + 1))
    y[:, 1:] = z - t
    return np.mean(y * y)


def squares(z, t):
    return np.mean((z - t) ** 2)


class Value:
    def value(self, z, t):
        return squares(z, t)


class Closed(Value):
    def gradient(self, z, t):
        return (z - np.reshape(t, z.shape)) * (2 / len(z))

    def hessian_product(self, z, t, v):
        return v * (2 / len(z))


class Both(Closed):
    def value_and_gradient(self, z, t):
        return self.value(z, t), self.gradient(z, t)


class NoHash(Value):
    __hash__ = None  # type: ignore[assignment]


COLUMN, FLAT = r"z of shape \(7, 1\)", r"t of shape \(7,\)"

REFUSED: dict[str, tuple[Callable[[Any], Any], Any, Any, str]] = {
    "a column and a vector": (same, T, squares, f"{COLUMN} and {FLAT} to \\(7, 7\\) in subtract"),
    "a vector and a column": (lambda z: z[:, 0], T[:, None], squares, r"z of shape \(7,\) and t of shape \(7, 1\)"),
    "a row of targets": (same, T[None], squares, r"t of shape \(1, 7\)"),
    "a list of targets": (same, list(T), squares, FLAT),
    "three axes": (lambda z: z[:, None], T[:, None], squares, r"z of shape \(7, 1, 1\) and t of shape \(7, 1\)"),
    "a trailing axis": (lambda z: z @ np.ones((1, 2)), np.stack([T, T], 1)[:, None], squares, r"\(7, 7, 2\)"),
    "integers": (same, np.round(T).astype(int), squares, FLAT),
    "booleans": (same, T > 0, lambda z, t: np.mean(np.where(t, z, 1 - z) ** 2), "where"),
    "cases of a choice": (same, T, lambda z, t: np.mean(np.select([t > 0, t > 1], [z, 2 * z], -z)), "select"),
    "a tuple of outputs": (lambda z: (z, z), T, lambda z, t: squares(z[1], t), r"z\[1\] of shape \(7, 1\)"),
    "a dict of outputs": (lambda z: {"mean": z}, T, lambda z, t: squares(z["mean"], t), r"z\['mean'\]"),
    "two outputs": (
        lambda z: (z, z[:, 0]),
        T,
        lambda z, t: np.mean((z[0] - t[:, None]) ** 2 * np.exp(z[1])),
        r"z\[0\] of shape \(7, 1\) and z\[1\] of shape \(7,\)",
    ),
    "weights": (same, (T[:, None], T), lambda z, t: np.mean((z - t[0]) ** 2 * t[1]), r"t\[1\] of shape \(7,\)"),
    "functions of both": (same, T, lambda z, t: np.mean(np.logaddexp(0, -np.tanh(z) * np.sign(t))), "multiply"),
    "a function of SciPy": (same, abs(T), lambda z, t: np.mean(scipy.special.xlogy(t, np.exp(z))), "xlogy"),
    "copies": (same, T, lambda z, t: squares(z.copy(), t.astype(z.dtype)), FLAT),
    "an object": (same, T, Value(), FLAT),
    "an object with a gradient": (same, T, Closed(), FLAT),
    "an object with both at once": (same, T, Both(), FLAT),
    "an object without hash": (same, T, NoHash(), FLAT),
    "a loss in another": (same, T, optim.ClippedCurvature(squares), FLAT),
    "a column of z": (same, T[:, None], lambda z, t: squares(z[:, 0], t), r"z\[:, 0\] of shape \(7,\) and t of shape"),
    "a raveled z": (same, T[:, None], lambda z, t: squares(z.ravel(), t), r"z.ravel\(\) of shape \(7,\)"),
    "a reshaped z": (same, T[:, None], lambda z, t: squares(z.reshape(-1), t), r"z.ravel\(\) of shape \(7,\)"),
    "a squeezed z": (same, T[:, None], lambda z, t: squares(np.squeeze(z), t), r"z.squeeze\(\) of shape \(7,\)"),
    "a squeezed t": (same, T[:, None], lambda z, t: squares(z, t.squeeze()), r"t.squeeze\(\) of shape \(7,\)"),
    "a mean and a variance": (
        lambda z: z @ np.ones((1, 2)),
        T,
        lambda z, t: np.mean((z[:, :1] - t) ** 2 * np.exp(-z[:, 1:]) + z[:, 1:]),
        r"z\[:, :1\] of shape \(7, 1\) and t of shape \(7,\)",
    ),
    "one output of two": (
        lambda z: z @ np.ones((1, 2)),
        T[:, None],
        lambda z, t: squares(z[..., 1], t),
        r"z\[..., 1\] of shape \(7,\) and t of shape \(7, 1\)",
    ),
    "into an array": (same, T, lambda z, t: np.mean(np.subtract(z, t, out=np.empty((7, 7))) ** 2), "subtract"),
    "into a part": (same, T, lambda z, t: written_part(z, t), "subtract"),
    "a loss of nn": (same, T, nn.SquaredError(), r"z has shape \(7, 1\), but t has shape \(7,\)"),
}

ACCEPTED: dict[str, Row] = {
    "one shape": (same, T[:, None], squares),
    "no target": (same, None, lambda z, t: np.mean(z**2)),
    "a number": (same, 0.5, squares),
    "a vector of the output": (same, T, lambda z, t: squares(z[:, 0], t)),
    "a column of the target": (same, T, lambda z, t: squares(z, t[:, None])),
    "columns of both": (same, T[:, None], lambda z, t: squares(z[:, 0], t[:, 0]) + squares(z.ravel(), t.ravel())),
    "squared distances": (
        lambda z: z @ np.ones((1, 2)),
        T[:, None],
        lambda z, t: np.mean(np.sum(z * z, axis=1, keepdims=True) + np.sum(t * t, axis=1) - 2 * z[:, :1] @ t.T),
    ),
    "pairs of columns": (same, T[:, None], lambda z, t: squares(z[:, 0], t[:, 0][:, None])),
    "all pairs": (same, T, lambda z, t: squares(z, t[None])),
    "energy distance": (same, T, lambda z, t: np.mean(np.abs(z - t[None])) - np.mean(np.abs(z - z.T)) / 2),
    "pairs by a new column": (same, T, lambda z, t: squares(z.reshape(-1, 1), t)),
    "pairs of outputs": (same, T, lambda z, t: np.mean(np.exp(z - z[:, 0])) + squares(z[:, 0], t)),
    "pairs of differences": (same, T, lambda z, t: squares(z[:, 0] - t, (z[:, 0] - t)[:, None])),
    "ranking": (
        lambda z: z[:, 0],
        T,
        lambda z, t: np.mean(np.logaddexp(0, (z - z[:, None]) * np.sign(t[:, None] - t))),
    ),
    "a kernel of labels": (same, T > 0, lambda z, t: np.mean(np.exp(-np.square(z - z.T)) * (t[:, None] == t))),
    "an outer product": (same, T, lambda z, t: np.mean(np.subtract.outer(z[:, 0], t) ** 2)),
    "a matrix product": (same, T, lambda z, t: np.mean((z.T @ t) ** 2)),
    "labels as an index": (same, np.arange(N), lambda z, t: np.mean(z[t] ** 2)),
    "writes into a copy": (same, T, lambda z, t: squares(*np.broadcast_arrays(z[:, 0], t.copy()))),
    "a gradient": (same, T, lambda z, t: np.mean(rmad.grad(lambda z: squares(z[:, 0], t))(z) ** 2)),
    "one output per grid point": (same, np.arange(3.0), lambda z, t: np.mean((z - t) ** 2)),
    "a vector for every case": (lambda z: z @ np.ones((1, N)), T, squares),
}


def step(make, outputs, t, loss):
    model = optim.Function(lambda p, x: outputs(x @ p), np.ones((3, 1)))
    return make(model, loss).step(X, t)


@pytest.mark.parametrize("make", [optim.Adam, optim.HessianFree], ids=["gradient", "local model"])
@pytest.mark.parametrize("name", REFUSED)
def test_an_error_names_both_shapes(make, name):
    outputs, t, loss, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        step(make, outputs, t, loss)


@pytest.mark.parametrize("make", [optim.Adam, optim.HessianFree], ids=["gradient", "local model"])
@pytest.mark.parametrize("name", ACCEPTED)
def test_other_losses_run(make, name):
    assert np.isfinite(step(make, *ACCEPTED[name]).loss)


@pytest.mark.parametrize("kind", [{"shards": 2}, {"cases_in_memory": 3}])
@pytest.mark.parametrize("call", ["value", "value_and_gradient", "quadratic"])
def test_a_divided_batch(kind, call):
    objective = optim.Objective(optim.Function(lambda p, x: x @ p, np.ones((3, 1))), squares, **kind)
    with pytest.raises(ValueError, match="every entry of one meets every entry of the other"):
        getattr(objective, call)(X, T)
    assert np.isfinite(objective.value(X, T[:, None]))
    assert objective.divide(X, T[:, None])[0].weight < 1, "the error must not pass for a loss that is no mean"


def test_a_loss_is_looked_at_once_for_each_pair_of_shapes():
    shapes = []

    def loss(z, t):
        shapes.append(z.shape)
        return squares(z[:, 0], t)

    value = loss_value(loss)
    for n in (5, 5, 7, 5):
        value(np.ones((n, 1)), np.ones(n))
    assert shapes == [(5, 1), (5, 1), (5, 1), (7, 1), (7, 1), (5, 1)]
    value(np.ones((3, 2)), np.ones(()))
    assert len(shapes) == 7, "shapes that broadcast to no larger one are not looked at"
