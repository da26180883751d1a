"""The quadratic model: no product runs the network again, nothing is overwritten."""

from __future__ import annotations

import numpy as np
import pytest
from divided import batch, everything, mlp

import nn
import optim


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_no_product_runs_the_model_again(shards, threads):
    calls = []

    def forward(params, x):
        calls.append(1)
        return np.tanh(x @ params["W"]) @ params["V"]

    rng = np.random.default_rng(4)
    model = optim.Function(forward, {"W": rng.standard_normal((4, 5)), "V": rng.standard_normal((5, 3))})
    x, t = batch()
    objective = optim.Objective(model, nn.SquaredError(), shards=shards, threads=threads)
    q = objective.quadratic(x, t)
    v, out = rng.standard_normal(objective.size), np.empty(objective.size)
    for _ in range(10):
        q.ggn_product(v, out)
    assert q.gradient is q.gradient
    q.squared_gradients()
    assert len(calls) == shards
    for _ in range(10):
        q.hessian_product(v, out)
    assert len(calls) == 2 * shards  # the gradient's tape is made once
    assert q.products == 20
    objective.value_and_gradient(x, t)
    assert len(calls) == 3 * shards


@pytest.mark.parametrize("shards", [1, 3])
def test_a_quadratic_refers_to_the_parameters_it_was_made_at(shards):
    """Every product is first asked for after the model has moved on."""
    model, (x, t) = mlp(), batch()
    objective = optim.Objective(model, nn.SquaredError(), 0.2, shards=shards)
    expected = everything(objective, x, t)
    squared = objective.quadratic(x, t).squared_gradients()
    theta, v = objective.flat(), np.random.default_rng(2).standard_normal(objective.size)
    q = objective.quadratic(x, t)
    objective.assign(theta + 0.5)
    np.testing.assert_array_equal(q.hessian @ v, expected["Hv"])
    np.testing.assert_array_equal(q.ggn @ v, expected["Gv"])
    np.testing.assert_array_equal(q.gradient, expected["gradient of the model"])
    np.testing.assert_array_equal(q.squared_gradients(), squared)
    np.testing.assert_array_equal(q.theta, theta)
    assert q.value == expected["value of the model"]
    assert abs(objective.quadratic(x, t).value - q.value) > 1e-3


def test_products_may_be_written_in_place_and_interleaved():
    model, (x, t) = mlp(), batch()
    q = optim.Objective(model, nn.SquaredError(), 0.2, shards=2).quadratic(x, t)
    v = np.random.default_rng(2).standard_normal(q.gradient.size)
    Gv, Hv, gradient = q.ggn @ v, q.hessian @ v, q.gradient.copy()
    for _ in range(2):
        out = v.copy()
        q.ggn_product(out, out)
        np.testing.assert_array_equal(out, Gv)
        out = v.copy()
        q.hessian_product(out, out)
        np.testing.assert_array_equal(out, Hv)
        q.squared_gradients()
        np.testing.assert_array_equal(q.gradient, gradient)
    np.testing.assert_allclose(q.ggn.T @ v, Gv)
    assert q.ggn.shape == q.hessian.shape == (v.size, v.size)
