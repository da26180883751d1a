"""Quadratic.residual: G v + ∇f by one push and one pull, with the inner products that fall out of it."""

import numpy as np
import pytest

import optim


@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("shards", [1, 3])
def test_residual_and_inner_products_against_dense_matrices(problem, shards, l2):
    objective = optim.Objective(problem.model, problem.loss, l2=l2, shards=shards, threads=2)
    q = objective.quadratic(problem.x, problem.t)
    _, u, G = problem.dense()
    u, G = u + l2 * problem.theta, G + l2 * np.eye(u.size)
    v, w = np.random.default_rng(0).standard_normal((2, u.size))
    out = np.empty_like(v)
    np.testing.assert_allclose(q.residual(v, out), (v @ G @ v, u @ v), rtol=1e-11)
    np.testing.assert_allclose(out, G @ v + u, rtol=1e-10, atol=1e-13)
    for _ in range(2):  # what it needs of v stays
        np.testing.assert_allclose(q.residual_along(w, v), (w @ G @ w, v @ G @ w, u @ w), rtol=1e-11)
    q.ggn_product(v, out)
    np.testing.assert_allclose(out, G @ v, rtol=1e-10, atol=1e-13)


def test_a_constant_output_takes_no_part():
    def forward(params, x):
        return x * params["a"], x

    def loss(z, t):
        return np.sum((z[0] - t) ** 2 + z[1]) / len(t)

    x, t = np.arange(1.0, 4.0), np.ones(3)
    model = optim.Function(forward, {"a": np.array([2.0])})
    q = optim.Objective(model, loss).quadratic(x, t)
    G, u = 2 * np.sum(x * x) / 3, np.sum(2 * x * (2 * x - t)) / 3
    out = np.empty(1)
    np.testing.assert_allclose(q.residual(np.array([3.0]), out), (9 * G, 3 * u))
    np.testing.assert_allclose(out, [3 * G + u])
    np.testing.assert_allclose(q.residual_along(out, np.array([3.0]))[2], u * out[0])


def test_scalars_that_are_stacked():
    """Rosenbrock as residuals: each is a 0-d node, and its place in the stack must be a view."""
    p = np.array([-1.2, 1.5])
    model = optim.Function(lambda p, x: np.stack([1 - p[0], 10 * (p[1] - p[0] ** 2)]), p)
    q = optim.Objective(model, lambda z, t: np.sum(z * z)).quadratic(None)
    J, r = np.array([[-1, 0], [-20 * p[0], 10]]), np.array([1 - p[0], 10 * (p[1] - p[0] ** 2)])
    np.testing.assert_allclose(q.gradient, 2 * J.T @ r, rtol=1e-13)
    np.testing.assert_allclose(q.ggn @ np.eye(2), 2 * J.T @ J, rtol=1e-13)
