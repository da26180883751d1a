"""Derivatives of Bessel functions in their order, and of ψ at complex arguments, against mpmath."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import scipy.special as sc

import rmad

mp.mp.dps = 40
H = mp.mpf(10) ** -10
TWINS = {"iv": mp.besseli, "kv": mp.besselk}
POINTS = [
    *((v, x) for v in (0.0, 1e-3, 0.5, 2.0, -1.0, -2.7) for x in (1e-6, 0.3, 4.0, 60.0, 400.0)),
    *((v, x) for v in (45.3, -45.3) for x in (1e-4, 3.0, 50.0, 400.0)),
]


@pytest.mark.parametrize(("v", "x"), POINTS)
@pytest.mark.parametrize("name", TWINS)
def test_derivatives_in_the_order(name, v, x):
    """To 1e-12, relative to the derivative for K, and relative to I if its derivative is smaller."""
    f, twin = getattr(sc, name), TWINS[name]
    size = abs(twin(v, x)) if name == "iv" else mp.mpf(0)
    for order, got in ((1, rmad.grad(f)(v, x)), (2, rmad.hessian(f)(v, x))):
        want = mp.diff(lambda v: twin(v, mp.mpf(x)), mp.mpf(v), order, h=H)
        assert abs(mp.mpf(float(got)) - want) <= 1e-12 * max(abs(want), size), (order, float(got), float(want))


def test_ends_of_the_range():
    assert rmad.grad(sc.kv)(1.5, np.inf) == 0
    assert rmad.grad(sc.kv)(0.0, 2.0) == 0  # K is even
    assert np.isnan(rmad.grad(sc.iv)(1.5, -1.0))
    with pytest.raises(NotImplementedError, match="iv of complex x has no derivative in its order"):
        rmad.grad(lambda v: np.real(sc.iv(v, 1 + 1j)))(1.5)


@pytest.mark.parametrize(("v", "x"), [*POINTS, (5.94115806, 5.9387), (17.2, 33.3)])
@pytest.mark.parametrize("name", ["jv", "yv"])
def test_derivatives_of_waves_in_the_order(name, v, x):
    """To 1e-11, relative to the derivative, or to the amplitude of the waves if that is larger."""
    f, twin = getattr(sc, name), {"jv": mp.besselj, "yv": mp.bessely}[name]
    for order, got in ((1, rmad.grad(f)(v, x)), (2, rmad.hessian(f)(v, x))):
        want = mp.diff(lambda v: twin(v, mp.mpf(x)), mp.mpf(v), order, h=H)
        size = max(abs(want), min(1, 1 / mp.sqrt(x)))
        assert abs(mp.mpf(float(got)) - want) <= 1e-11 * size, (order, float(got), float(want))


@pytest.mark.parametrize("z", [0.3 + 0.2j, -3.4 + 1j, -20.2 - 0.5j, 5 + 30j, 1e3 + 1j, 1 + 1e-9j, -0.5 + 1e3j])
def test_psi_of_complex_arguments(z):
    """ψ′ and ψ″."""
    _, pull = rmad.vjp(sc.digamma, z)
    want = complex(mp.psi(1, z))
    assert abs(np.conj(pull(1.0 + 0j)) - want) <= 1e-13 * abs(want)
    _, pull = rmad.vjp(lambda z: rmad.polygamma(1, z), z)
    want = complex(mp.psi(2, z))
    assert abs(np.conj(pull(1.0 + 0j)) - want) <= 1e-13 * abs(want)


@pytest.mark.parametrize(
    "f",
    [lambda x: sc.yn(1.4, x), lambda x: sc.kn(1.4, x), lambda x: sc.bdtr(0.4, 3.5, x), lambda x: sc.bdtrc(0.4, 3.5, x)],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::DeprecationWarning")
def test_integers_of_which_scipy_cuts_the_decimals_off(f):
    x, h = np.array([0.3, 0.6]), 1e-6
    slope = (f(x + h) - f(x - h)) / (2 * h)
    np.testing.assert_allclose(rmad.grad(lambda x: np.sum(f(x)))(x), slope, rtol=1e-7)
