"""Infinite derivatives of numbers that are not used, because something else is chosen or written over them."""

from __future__ import annotations

import numpy as np
import pytest

import rmad

pytestmark = pytest.mark.filterwarnings("ignore:(divide by zero|invalid value):RuntimeWarning")
X = np.array([0.0, 1.0, 4.0])


def chosen_by_where(x):
    return np.where(x > 0, np.sqrt(x), 0.0)


def chosen_by_where_with_a_slope(x):
    return np.where(x > 0, np.log(x) * x, 3 * x)


def picked_by_a_mask(x):
    y = np.zeros(3)
    y[x > 0] = np.sqrt(x)[x > 0]
    return y


def picked_by_a_slice(x):
    return np.concatenate([[0.0], np.log(x)[1:]])


def picked_above_the_diagonal(x):
    d = x[:, None] - x
    r = np.sqrt(d**2)
    return r[np.triu_indices(3, 1)]


def written_over(x):
    r = np.sqrt(x)
    w = 1 / r
    w[r == 0] = 0
    return w


def written_over_before(x):
    r = np.sqrt(x)
    r[0] = np.inf
    return 1 / r


def filled_diagonal(x):
    d = x[:, None] - x
    w = 1 / np.sqrt(np.sum(d[..., None] ** 2, axis=-1))
    np.fill_diagonal(w, 0)
    return w @ np.arange(1.0, 4.0)


FUNCTIONS = (
    *(chosen_by_where, chosen_by_where_with_a_slope, picked_by_a_mask, picked_by_a_slice, picked_above_the_diagonal),
    *(written_over, written_over_before, filled_diagonal),
)


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_every_product(f):
    fixed = f not in (picked_above_the_diagonal, filled_diagonal, chosen_by_where_with_a_slope)
    h, J = 1e-6, np.zeros((len(f(X)), 3))
    for k in range(1 if fixed else 0, 3):
        e = h * np.eye(3)[k]
        J[:, k] = (f(X + e) - f(X - e)) / (2 * h)
    if f is chosen_by_where_with_a_slope:
        J[0, 0] = 3.0
    u, v = np.arange(1.0, len(J) + 1), np.array([2.0, -1.0, 0.5])
    _, lin = rmad.linearize(f, X)
    for _ in range(8):  # the last ones by a plan, where there is one
        np.testing.assert_allclose(lin.JTu(u), J.T @ u, atol=1e-7)
        np.testing.assert_allclose(lin.Jv(v), J @ v, atol=1e-7)
    np.testing.assert_allclose(rmad.jacobian(f)(X), J, atol=1e-7)
    np.testing.assert_allclose(rmad.grad(lambda x: u @ f(x))(X), J.T @ u, atol=1e-7)


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_second_derivatives(f):
    def g(x):
        return np.sum(np.sin(f(x)))

    H = rmad.hessian(g)(X)
    assert np.isfinite(H).all()
    np.testing.assert_allclose(H, H.T, atol=1e-12)
    e = 1e-6 * np.array([0.0, 1.0, 0.0])
    column = (rmad.grad(g)(X + e) - rmad.grad(g)(X - e)) / 2e-6
    np.testing.assert_allclose(H[:, 1], column, atol=1e-6)
    reverse = rmad.grad(lambda x: rmad.grad(g)(x) @ np.arange(1.0, 4.0))(X)
    np.testing.assert_allclose(reverse, H @ np.arange(1.0, 4.0), atol=1e-12)


def test_numbers_that_are_used_keep_their_derivative():
    assert rmad.grad(lambda x: np.sum(np.sqrt(x)))(X)[0] == np.inf
    assert np.isnan(rmad.grad(lambda x: np.sum(np.sqrt(x) ** 2))(X)[0]), "0 by its value is no zero by a choice"
    J = rmad.jacobian(np.sqrt)(X)
    np.testing.assert_array_equal(J, np.diag([np.inf, 0.5, 0.25]))
