"""Derivatives of the incomplete gamma and beta functions in their parameters, against mpmath: from 0.001 to 1e4."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import scipy.special as sc

import rmad

mp.mp.dps = 40
H = mp.mpf(10) ** -11  # relative step of the differences, of which 40 digits leave enough

GAMMA = [
    *((1e-3, x) for x in (1e-300, 1e-5, 0.3, 20)),
    *((0.4, x) for x in (1e-12, 0.02, 0.4, 3, 50)),
    *((1.0, x) for x in (1e-8, 1, 30)),
    *((7.3, x) for x in (0.01, 3, 7, 12, 150)),
    *((400.0, x) for x in (100, 380, 400, 430, 900)),
    *((1e4, x) for x in (8e3, 9.9e3, 1e4, 1.02e4)),
]
BETA = [
    *((0.01, 0.02, x) for x in (1e-9, 0.3, 0.999)),
    *((0.5, 0.5, x) for x in (1e-6, 0.5, 1 - 1e-9)),
    *((1.3, 0.03, x) for x in (0.2, 1 - 1e-7)),
    *((3.0, 40.0, x) for x in (1e-3, 0.05, 0.5)),
    *((300.0, 20.0, x) for x in (0.6, 0.93, 0.99)),
    *((2e3, 1e3, x) for x in (0.6, 0.66, 0.7)),
]


def gamma_twin(x, a0):
    """P or -Q, whichever has the digits."""
    if x < a0:
        return lambda a: mp.gammainc(a, 0, mp.mpf(x), regularized=True)
    return lambda a: -mp.gammainc(a, mp.mpf(x), mp.inf, regularized=True)


def beta_twin(x, a0, b0):
    if x < a0 / (a0 + b0):
        return lambda a, b: mp.betainc(a, b, 0, mp.mpf(x), regularized=True)
    return lambda a, b: -mp.betainc(b, a, 0, 1 - mp.mpf(x), regularized=True)


def close(got, want, scale=0.0):
    """To 1e-11, relative to the value or to the scale of what is summed for it."""
    assert abs(mp.mpf(float(got)) - want) <= 1e-11 * max(abs(want), scale), (float(got), float(want))


@pytest.mark.parametrize(("a", "x"), GAMMA)
def test_gamma(a, x):
    f = gamma_twin(x, a)
    first = mp.diff(f, mp.mpf(a), 1, h=a * H)
    if abs(first) > 1e-300:
        close(rmad.grad(sc.gammainc)(a, x), first)
        close(rmad.grad(sc.gammaincc)(a, x), -first)
        curvature = mp.diff(f, mp.mpf(a), 2, h=a * H)
        close(rmad.hessian(sc.gammainc)(a, x), curvature, abs(first) / max(a, a**0.5))


@pytest.mark.parametrize(("a", "b", "x"), BETA)
def test_beta(a, b, x):
    f, at = beta_twin(x, a, b), (mp.mpf(a), mp.mpf(b))
    g = rmad.grad(lambda p: sc.betainc(p[0], p[1], x))
    first = [mp.diff(f, at, order, h=min(a, b) * H) for order in ((1, 0), (0, 1))]
    for got, want in zip(g(np.array([a, b])), first, strict=True):
        close(got, want)
    H2 = rmad.jacobian(g)(np.array([a, b]))
    for i, j, order in ((0, 0, (2, 0)), (0, 1, (1, 1)), (1, 1, (0, 2))):
        scale = abs(first[j]) / (a, b)[i]
        close(H2[i, j], mp.diff(f, at, order, h=min(a, b) * H), scale)


def test_ends_of_the_range():
    """Nothing changes at the ends of x; invalid parameters give NaN, as in SciPy."""
    x = np.array([0.0, np.inf])
    np.testing.assert_array_equal(rmad.jacobian(sc.gammainc)(np.array([2.0, 3.0]), x), np.zeros((2, 2)))
    np.testing.assert_array_equal(rmad.grad(sc.betainc)(2.0, 3.0, 1.0), 0)
    assert np.isnan(rmad.grad(sc.gammainc)(-1.5, 0.5))


@pytest.mark.parametrize("t", [-30.0, -1.3, -1e-8, 0.0, 2.0, 60.0])
@pytest.mark.parametrize("df", [0.3, 1.0, 4.5, 300.0])
def test_students_t(df, t):
    def tail(v):
        """The smaller half."""
        return mp.betainc(v / 2, mp.mpf(1) / 2, 0, v / (v + mp.mpf(t) ** 2), regularized=True) / 2

    want = mp.diff(tail, mp.mpf(df), 1, h=df * H) if t else mp.mpf(0)
    cancels = abs(t) * float(sc.stdtr(df, -abs(t))) / df  # the size of its two parts
    close(rmad.grad(sc.stdtr)(df, t), -want if t > 0 else want, scale=cancels)
    assert rmad.grad(sc.stdtr)(np.inf, t) == 0
