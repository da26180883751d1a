"""Derivatives in the tails, where a difference of y and a constant would cancel."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special as sc

import rmad


def slopes(f, x, order):
    """The first or second derivative of an elementwise function."""
    if order == 1:
        return rmad.grad(lambda x: np.sum(f(x)))(x)
    return rmad.hvp(lambda x: np.sum(f(x)), x, np.ones_like(x))


FAR = np.array([20.0, 30, 100, 300])
# To first order in e^−x, which is exact in double precision from 20 on.
EXPONENTIAL_TAILS = {
    "tanh": (np.tanh, lambda x: 4 * np.exp(-2 * x), lambda x: -8 * np.exp(-2 * x)),
    "tanh, left": (lambda x: np.tanh(-x), lambda x: -4 * np.exp(-2 * x), lambda x: 8 * np.exp(-2 * x)),
    "expit": (sc.expit, lambda x: np.exp(-x) - 2 * np.exp(-2 * x), lambda x: -np.exp(-x) + 4 * np.exp(-2 * x)),
    "expm1": (lambda x: np.expm1(-x), lambda x: -np.exp(-x), lambda x: np.exp(-x)),
    "logaddexp": (lambda x: np.logaddexp(x, 0), lambda x: sc.expit(x), lambda x: np.exp(-x) - 2 * np.exp(-2 * x)),
    "log_expit": (lambda x: sc.log_expit(-x), lambda x: -sc.expit(x), lambda x: -np.exp(-x) + 2 * np.exp(-2 * x)),
}


@pytest.mark.parametrize("scalar", [False, True])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", EXPONENTIAL_TAILS)
def test_exponential_tails(name, order, scalar):
    f, *derivatives = EXPONENTIAL_TAILS[name]
    want = derivatives[order - 1](FAR)
    got = np.array([slopes(f, x, order) for x in FAR]) if scalar else slopes(f, FAR, order)
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("layout", ["C", "F", "strided", "broadcast"])
@pytest.mark.parametrize("f", [np.tanh, sc.expit, np.expm1])
def test_few_and_many_elements_in_a_tail(f, layout):
    x = np.random.default_rng(0).normal(size=(40, 60))
    x[:, :3] -= 20
    x = {"C": x, "F": np.asfortranarray(x), "strided": x[::2, ::-3], "broadcast": np.broadcast_to(x[:1], x.shape)}[
        layout
    ]
    for part in (x, x[:, -4:]):
        single = np.array([[slopes(f, a, 1) for a in row] for row in part])
        np.testing.assert_allclose(slopes(f, part, 1), single, rtol=1e-11)


@pytest.mark.parametrize("f", [np.tanh, sc.expit])
def test_tails_in_single_precision_and_of_complex_numbers(f):
    x = np.array([-6.0, -3, 0.5, 3, 6, 20, 40], np.float32)
    np.testing.assert_allclose(slopes(f, x, 1), slopes(f, x.astype(np.float64), 1), rtol=1e-4)
    z = np.array([20.0 + 1j, -30 + 0.5j, 0.3 - 0.2j]) if f is np.tanh else np.array([20.0, -0.3])
    exact = 1 / np.cosh(z) ** 2 if f is np.tanh else np.exp(-z) / (1 + np.exp(-z)) ** 2
    np.testing.assert_allclose(rmad.jvp(f, z, np.ones_like(z))[1], exact, rtol=1e-12)


@pytest.mark.parametrize("value", [1e4, 1e8, -1e30, 1e38])
def test_softmax_of_large_numbers(value):
    """The gradient of logsumexp does not depend on a shift, whatever digits the sum loses."""
    a = np.full(4, value, np.float32)
    np.testing.assert_array_equal(rmad.grad(rmad.logsumexp)(a), np.full(4, 0.25, np.float32))
    with_weights = rmad.grad(lambda a: rmad.logsumexp(a, b=np.array([1, 2, 1, 0], np.float32)))(a)
    np.testing.assert_array_equal(with_weights, np.array([0.25, 0.5, 0.25, 0], np.float32))


def test_shift_of_complex_logsumexp():
    a = np.array([0.3 + 1j, -0.2, 1 - 0.5j])
    gradient = rmad.grad(lambda a: np.real(rmad.logsumexp(a)))
    np.testing.assert_allclose(gradient(a + 2.0**40), gradient(a), rtol=1e-3)  # a + 2⁴⁰ has 12 digits less
    np.testing.assert_allclose(gradient(np.array([2.0**60, 2.0**60 + 0j])), [0.5, 0.5], rtol=1e-15)


@pytest.mark.parametrize(("entries", "shares"), [([np.inf, 0.0, 3.0], [1, 0, 0]), ([np.inf, np.inf], [0.5, 0.5])])
def test_infinite_entries_of_logsumexp_share_evenly(entries, shares):
    np.testing.assert_array_equal(rmad.grad(rmad.logsumexp)(np.array(entries)), shares)


def test_derivatives_of_a_saturated_softmax():
    """With p = (1, e^−50, e^−700) to all digits, 1 − p₀ is e^−50."""
    x, s, t = np.array([0.0, -50, -700]), np.exp(-50), np.exp(-700)
    softmax = np.array([[s, -s, -t], [-s, s, 0], [-t, 0, t]])
    tiny = {"rtol": 1e-12, "atol": np.exp(-745)}
    np.testing.assert_allclose(rmad.jacobian(rmad.softmax)(x), softmax, **tiny)
    np.testing.assert_allclose(rmad.hessian(rmad.logsumexp)(x), softmax, **tiny)
    np.testing.assert_allclose(rmad.jacobian(rmad.log_softmax)(x), [[s, -s, -t], [-1, 1, -t], [-1, -s, 1]], **tiny)
    np.testing.assert_allclose(rmad.hessian(lambda x: rmad.log_softmax(x)[0])(x), -softmax, **tiny)
    np.testing.assert_allclose(rmad.hessian(lambda x: rmad.softmax(x)[1])(x)[0], [s, -s, 0], **tiny)
    for f in (rmad.softmax, rmad.log_softmax):
        _, lin = rmad.linearize(lambda x, f=f: f(x, axis=-1), np.array([x, x / 100, -x]))
        J = np.stack([lin.Jv(v) for v in np.eye(9).reshape(9, 3, 3)], axis=-1).reshape(9, 9)
        rows = np.stack([lin.JTu(u) for u in np.eye(9).reshape(9, 3, 3)]).reshape(9, 9)
        np.testing.assert_allclose(J, rows, **tiny)


def test_arcs_near_zero():
    """1 − x² has the derivative −2x, not (1 − x) − (1 + x)."""
    x = np.array([1e-12, -3e-9, 2e-5])
    for f, factor in ((np.arcsin, 1), (np.arccos, -1), (np.arctanh, 2)):
        np.testing.assert_allclose(slopes(f, x, 2), factor * x, rtol=1e-8)
