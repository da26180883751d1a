"""Derivatives of derivatives: every order of the transforms, closures, Hessians, products of products."""

from __future__ import annotations

import numpy as np
import pytest

import rmad

RNG = np.random.default_rng(0)
W, X, B = RNG.standard_normal((3, 4)), RNG.standard_normal((5, 3)), RNG.standard_normal(4)


def dense(f, x):
    """The Jacobian of f: R^n -> R^m, column by column."""
    columns = [rmad.jvp(f, x, e)[1].ravel() for e in np.eye(x.size).reshape(-1, *x.shape)]
    return np.stack(columns, axis=1)


def forward(f):
    return lambda x: rmad.jvp(f, x, 1.0)[1]


def reverse(f):
    return lambda x: rmad.vjp(f, x)[1](1.0)


def cached_forward(f):
    return lambda x: rmad.linearize(f, x)[1].Jv(1.0)


def cached_reverse(f):
    return lambda x: rmad.linearize(f, x)[1].JTu(1.0)


WAYS = [forward, reverse, cached_forward, cached_reverse, rmad.grad]


@pytest.mark.parametrize("outer", WAYS)
@pytest.mark.parametrize("inner", WAYS)
def test_nesting_to_order_four(inner, outer):
    f = lambda x: np.sin(x) * x  # noqa: E731
    x = 0.7
    wanted = [
        np.sin(x) + x * np.cos(x),
        2 * np.cos(x) - x * np.sin(x),
        -3 * np.sin(x) - x * np.cos(x),
        -4 * np.cos(x) + x * np.sin(x),
    ]
    for k, y in enumerate(wanted):
        f = (outer if k % 2 else inner)(f)
        assert abs(f(x) - y) < 1e-13


@pytest.mark.parametrize("outer", WAYS)
@pytest.mark.parametrize("inner", WAYS)
def test_no_perturbation_confusion(inner, outer):
    """d/dx [x · d/dy (x + y)] = 1, and d/dx [x · d/dy (x y)] = 2x: the inner d sees y alone."""
    assert outer(lambda x: x * inner(lambda y: x + y)(1.0))(1.0) == 1
    assert outer(lambda x: x * inner(lambda y: x * y)(2.0))(3.0) == 6
    assert outer(lambda x: inner(lambda y: x * y * y)(x))(3.0) == 12


def test_closures_over_an_outer_traced_array():
    c = np.arange(1.0, 4.0)

    def f(w):
        return np.sum(rmad.grad(lambda x: np.sum(w * np.sin(x)))(c) * w)

    np.testing.assert_allclose(rmad.grad(f)(c), 2 * c * np.cos(c))
    np.testing.assert_allclose(rmad.hvp(f, c, c), 2 * c * np.cos(c))


def test_hvp_is_the_dense_hessian():
    f = lambda w: np.sum(np.tanh(X @ w) * np.exp(w[0] * 0.1))  # noqa: E731
    w, v = W[:, 0], W[:, 1]
    H = dense(rmad.grad(f), w)
    np.testing.assert_allclose(H, H.T, atol=1e-12)
    np.testing.assert_allclose(rmad.hvp(f, w, v), H @ v, rtol=1e-12)
    np.testing.assert_allclose(rmad.linearize(rmad.grad(f), w)[1].Jv(v), H @ v, rtol=1e-12)
    np.testing.assert_allclose(rmad.linearize(rmad.grad(f), w)[1].JTu(v), H @ v, rtol=1e-12)
    np.testing.assert_allclose(rmad.grad(lambda w: np.sum(rmad.grad(f)(w) * v))(w), H @ v, rtol=1e-12)


def test_grad_through_products():
    """The derivatives of ½‖Jv‖² and ½‖Jᵀu‖² in x, where J comes from linearize inside."""
    x, v, u = X[0], X[1], B
    f = lambda x: np.tanh(x @ W) * np.sin(x[0])  # noqa: E731
    rmad.check_grads(lambda x: np.sum(np.square(rmad.linearize(f, x)[1].Jv(v))), x)
    rmad.check_grads(lambda x: np.sum(np.square(rmad.linearize(f, x)[1].JTu(u))), x)
    rmad.check_grads(lambda v: rmad.linearize(f, x)[1].Jv(v), v)  # linear in v
    rmad.check_grads(lambda u: rmad.linearize(f, x)[1].JTu(u), u)


def test_one_linearization_in_and_outside_of_a_trace():
    """Products with plain and with traced vectors come from the same tape."""
    _, lin = rmad.linearize(np.sin, X)
    v = np.ones_like(X)
    np.testing.assert_allclose(lin.Jv(v), np.cos(X))
    np.testing.assert_allclose(rmad.jvp(lin.Jv, v, v)[1], np.cos(X))
    np.testing.assert_allclose(lin.JTu(v), np.cos(X))
    np.testing.assert_allclose(rmad.vjp(lin.JTu, v)[1](v), np.cos(X))
    np.testing.assert_allclose(lin.Jv(v), np.cos(X))
