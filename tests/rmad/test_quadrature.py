"""quad: SciPy's value, and the derivative in limits and parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special

import rmad
from rmad.solvers import quadrature

INF = np.inf
CASES = {  # f(x, p), limits of p, and whether arrays are taken
    "smooth": (lambda x, p: np.exp(-p[0] * x) * np.sin(p[1] * x), lambda p: (0, 3), True),
    "limits": (lambda x, p: np.cos(p[1] * x), lambda p: (p[0], p[1] ** 2), True),
    "backward": (lambda x, p: np.cos(p[1] * x), lambda p: (p[1] ** 2 + 3, p[0]), True),
    "to infinity": (lambda x, p: np.exp(-p[0] * x**2) * x, lambda p: (p[1], INF), True),
    "from infinity": (lambda x, p: np.exp(p[0] * x), lambda p: (-INF, p[1]), True),
    "to minus infinity": (lambda x, p: np.exp(p[0] * x), lambda p: (p[1], -INF), True),
    "everywhere": (lambda x, p: np.exp(-p[0] * (x - p[1]) ** 2), lambda p: (-INF, INF), True),
    "everywhere, backward": (lambda x, p: np.exp(-p[0] * (x - p[1]) ** 2), lambda p: (INF, -INF), True),
    "a peak": (lambda x, p: p[0] / (1e-3 + (x - p[1] / 3) ** 2), lambda p: (0, 1), True),
    "math": (lambda x, p: math.exp(-p[0] * float(x)) * p[1], lambda p: (0, 1), False),
    "a branch": (lambda x, p: p[0] * x if x < 0.5 else p[0] * x**2 + p[1], lambda p: (0, 1), False),
    "a constant": (lambda x, p: p[0] + 0 * p[1], lambda p: (0, p[1]), False),
    "a matrix": (lambda x, p: np.linalg.det(np.stack([p**2, p * x]) + np.eye(2)), lambda p: (0, 2), False),
}
P = np.array([0.7, 1.1])


@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives(name, monkeypatch):
    f, limits, arrays = CASES[name]
    found, takes = [], quadrature._takes_arrays
    monkeypatch.setattr(quadrature, "_takes_arrays", lambda *a: found.append(takes(*a)) or found[-1])
    if name == "math":  # float(x) of a point, which is plain where no limit is traced
        f = lambda x, p: np.exp(-p[0] * math.sqrt(x) ** 2) * p[1]  # noqa: E731
    options = {"points": [0.5]} if name == "a branch" else {"epsabs": 1e-12, "epsrel": 1e-12}
    g = lambda p: rmad.quad(f, *limits(p), args=(p,), **options)[0]  # noqa: E731
    wanted = scipy.integrate.quad(f, *limits(P), args=(P,), **options)
    y, _ = rmad.linearize(g, P)
    assert y == wanted[0]
    assert found == [arrays]
    rmad.check_grads(g, P, order=2)


def test_closures_and_single_arguments():
    f = lambda p: rmad.quad(lambda x: np.exp(-p * x), 0.0, 2.0)[0]  # noqa: E731
    g = lambda p: rmad.quad(lambda x, q: np.exp(-q * x), 0.0, 2.0, p)[0]  # noqa: E731
    exact = lambda p: (1 - np.exp(-2 * p)) / p  # noqa: E731
    for order in (rmad.grad, rmad.hessian):
        np.testing.assert_allclose(order(f)(0.8), order(exact)(0.8), rtol=1e-12)
        np.testing.assert_allclose(order(g)(0.8), order(exact)(0.8), rtol=1e-12)


def test_limits_that_are_equal():
    area = lambda b: rmad.quad(lambda x: 3 + x, 1.0, b)[0]  # noqa: E731
    np.testing.assert_allclose(rmad.grad(area)(1.0), 4.0)


def test_plain_values_are_scipys_business():
    f = np.cos
    assert rmad.quad(f, -1, 1, weight="cauchy", wvar=0) == scipy.integrate.quad(f, -1, 1, weight="cauchy", wvar=0)


def test_an_integrable_singularity():
    """The parts that SciPy makes are not enough where it extrapolates: that is an error, and has a way out."""
    with pytest.raises(ValueError, match="f has a singularity, which a substitution of x can remove"):
        rmad.grad(lambda p: rmad.quad(lambda x: p / np.sqrt(x), 0, 1)[0])(2.0)
    substituted = rmad.grad(lambda p: rmad.quad(lambda s: p / s * 2 * s, 0, 1)[0])(2.0)
    np.testing.assert_allclose(substituted, 2.0)


def test_errors_and_warnings():
    with pytest.raises(NotImplementedError, match="full_output, weight= cannot be differentiated through"):
        rmad.grad(lambda p: rmad.quad(lambda x: p * x, 0, 1, weight="sin", full_output=1)[0])(1.0)
    with pytest.warns(scipy.integrate.IntegrationWarning, match="maximum number of subdivisions"):
        rmad.grad(lambda p: rmad.quad(lambda x: np.sin(p * x), 0, 40, limit=2)[0])(3.0)
