"""The quadratic model: no product runs the network again, nothing is overwritten, little of a product is Python."""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import pytest
from divided import LOSSES, batch, everything, mlp

import nn
import optim
import rmad


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
    objective.divide(x, t)  # runs the model on a few cases, once: if it works case by case
    calls.clear()
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


# -- the overhead of a product ----------------------------------------------------------------------------------

PACKAGES = [str(pathlib.Path(package.__file__).parent) for package in (rmad, nn, optim)]


def functions_called(f):
    """The Python functions of our packages that run in f(), each counted once; NumPy's and C functions are not."""
    seen = set()

    def profile(frame, event, arg):
        if event == "call" and frame.f_code.co_filename.startswith(tuple(PACKAGES)):
            seen.add((frame.f_code.co_filename, frame.f_code.co_qualname))

    sys.setprofile(profile)
    try:
        f()
    finally:
        sys.setprofile(None)
    return {name for _, name in seen}


@pytest.mark.parametrize(("widths", "in_place"), [((4, 6, 3), False), ((4, 600, 600, 3), True)])
@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("name", ["squared", "sigmoid"])
def test_a_product_goes_through_eight_functions_at_most(widths, in_place, l2, name):
    """One shard on one thread, affine layers and tanh, L″ diagonal: from there on all calls are bound NumPy calls.

    A product on arrays that it has seen before; the first one on other arrays plans its sweeps. Two of the functions
    take the turn of the model, 0.6 µs.
    """
    model, (x, t) = nn.models.mlp(widths, rng=np.random.default_rng(0)), batch(dtype=np.float32)
    loss, target = LOSSES[name]
    q = optim.Objective(model, loss, l2, threads=1).quadratic(x, target(t))
    v, out = np.ones(q.objective.size, np.float32), np.empty(q.objective.size, np.float32)
    q.ggn_product(v, out)
    found = functions_called(lambda: q.ggn_product(v, out))
    sweeps = {"Quadratic.ggn_product", "Shards.ggn", "LinearizedShard.ggn", "Plan.push", "Plan.pull"}
    assert sweeps <= found
    assert len(found - {"_alone.<locals>.alone", "turn"}) <= 6, found
    assert q._may_bind == in_place
    assert (v == 1).all()


def test_functions_called_sees_what_is_called():
    assert functions_called(lambda: batch()) == set()
    assert "Sequential.forward" in functions_called(lambda: mlp()(batch()[0]))


OPERATORS = {
    "ggn": lambda q: q.ggn,
    "hessian": lambda q: q.hessian,
    "kronecker": lambda q: optim.KroneckerOperator(optim.kronecker_factors(q, "kflr"), 0.3),
    "inverse": lambda q: optim.KroneckerOperator(optim.kronecker_factors(q, "kflr"), 0.3).inverse(),
}


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_operators_take_complex_and_traced_vectors(operator):
    x, t = batch()
    A = operator(optim.Objective(mlp(), nn.SquaredError(), 0.1).quadratic(x, t))
    M, (v, w) = A @ np.eye(A.shape[0]), np.random.default_rng(0).standard_normal((2, A.shape[0]))
    np.testing.assert_allclose(A @ (v + 1j * w), M @ v + 1j * (M @ w), rtol=1e-10, atol=1e-12)
    ours, theirs = (lambda v, A=A: np.sum(np.sin(v @ A) * (A @ np.cos(v))) for A in (A, M))
    np.testing.assert_allclose(rmad.grad(ours)(v), rmad.grad(theirs)(v), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(rmad.hvp(ours, v, w), rmad.hvp(theirs, v, w), rtol=1e-9, atol=1e-11)
