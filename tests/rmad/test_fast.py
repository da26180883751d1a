"""exp, sigmoid, tanh and softplus of float32 by numba's loops: digits, special values, and who takes them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import special as sc

import nn
import rmad
from rmad import tuning
from rmad.kernels import elementwise as fast
from rmad.kernels import loader
from rmad.primitives.elementwise import sigmoid, softplus

F = np.float32
SMALLEST = np.finfo(F).smallest_normal


def some_floats() -> np.ndarray:
    """Numbers of every magnitude and sign; most of them where the functions bend."""
    bits = np.linspace(0, np.array(3e38, F).view(np.int32), 200_001).astype(np.int32)
    near = np.linspace(0, 110, 300_001).astype(F)
    positive = np.concatenate([bits.view(F), near])
    return np.concatenate([positive, -positive])


def slope(x):
    """σ′(x) = e/(1 + e)², e = exp(−|x|), in float64."""
    e = np.exp(-np.abs(x))
    return e / (1 + e) ** 2


def softplus64(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


FUNCTIONS = {  # of which loop, f in float64, units in the last place that it may be wrong by
    "exp": (np.exp, np.exp, 1.1),
    "tanh": (np.tanh, lambda x: 4 * slope(2 * x), 1.4),
    "sigmoid": (sc.expit, slope, 2.1),
    "softplus": (softplus64, sc.expit, 1.8),
}
RECORDED = {"exp": np.exp, "tanh": np.tanh, "sigmoid": sigmoid, "softplus": softplus}


@pytest.fixture
def loops():
    """numba's loops, where it is installed."""
    pytest.importorskip("numba")
    from rmad.kernels.compiled import maths as compiled_maths

    return compiled_maths


def ulps(y, exact):
    """|y − exact| in units of the last place of exact; for the smallest numbers, which may count as 0, in 2⁻¹²⁴."""
    size = np.abs(exact).astype(F)
    unit = np.where(size < 4 * SMALLEST, 4 * SMALLEST, np.spacing(np.maximum(size, SMALLEST)))
    return np.abs(y.astype(float) - exact) / unit


@pytest.mark.parametrize("name", FUNCTIONS)
def test_digits(loops, name):
    """Wrong by 1 to 2 units in the last place, from the smallest number to the largest."""
    x = some_floats()
    f, df, most = FUNCTIONS[name]
    y = fast.same(name, x)
    with np.errstate(over="ignore"):
        exact = f(x.astype(float))
        finite = np.isfinite(exact.astype(F))
    assert np.all(y[~finite] == np.inf)
    assert np.max(ulps(y[finite], exact[finite])) <= most
    if name != "exp":
        y_too, d = fast.with_derivative(name)(x)
        assert np.max(ulps(y_too, y.astype(float))) <= 1
        assert np.max(ulps(d, df(x.astype(float)))) <= 5


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values(loops, name):
    """±∞, NaN, signed zeros, the largest and the smallest number: as NumPy has them, without a warning."""
    x = np.zeros(tuning.ELEMENTWISE_LOOPS_FROM, F)
    x[:7] = np.inf, -np.inf, np.nan, 0.0, -0.0, 3e38, -3e38
    x[7:11] = 1e-40, -1e-40, 88.73, -104.1
    with np.errstate(all="ignore"):
        plain = RECORDED[name].f(x.astype(float)) if hasattr(RECORDED[name], "f") else RECORDED[name](x.astype(float))
        plain = plain.astype(F)
    y = fast.same(name, x)
    np.testing.assert_allclose(y, plain, rtol=3e-7, atol=4 * SMALLEST)
    np.testing.assert_array_equal(np.signbit(y) & (y == y), np.signbit(plain) & (y == y))
    if name != "exp":
        y, d = fast.with_derivative(name)(x)
        np.testing.assert_allclose(y, plain, rtol=3e-7, atol=4 * SMALLEST)
        exact = np.where(np.isnan(x), np.nan, FUNCTIONS[name][1](x.astype(float)))
        np.testing.assert_allclose(d, exact, rtol=1e-6, atol=4 * SMALLEST)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_with_and_without_numba(loops, monkeypatch, name):
    """Values, first and second derivatives agree to rounding, and products with them too."""
    f, rng = RECORDED[name], np.random.default_rng(0)
    x, v, u = (rng.uniform(-most, most, (150, 120)).astype(F) for most in (5, 1, 1))

    def products():
        y, lin = rmad.linearize(f, x)
        second = rmad.jvp(lambda x: rmad.vjp(f, x)[1](u), x, v)[1]
        return y, lin.Jv(v), lin.JTu(u), second

    with_loops = products()
    assert fast.loop(name, x) is not None
    monkeypatch.setattr(loader, "loops", lambda module: None)
    assert fast.loop(name, x) is None
    for a, b in zip(with_loops, products(), strict=True):
        assert a.dtype == b.dtype == F
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=2e-6)


def test_only_plain_long_arrays_of_float32_in_c_order(loops):
    x = np.ones((130, 130), F)
    assert fast.loop("exp", x) is loops.exp
    read_only = x.copy()
    read_only.flags.writeable = False
    for other in (x[:, ::2], x.T[1:], x.astype(float), x[:2], x.view(np.ma.MaskedArray), read_only, 1.0, None):
        assert fast.loop("exp", other) is None
        assert fast.loop("exp", x, other) is None
        assert other is None or fast.tanh(other).shape == np.shape(other)


def test_for_a_caller_who_gives_x_away(loops):
    x = np.linspace(-3, 3, 20_000, dtype=F)
    np.testing.assert_allclose(fast.tanh(fast.exp(x.copy(), ours=True)), np.tanh(np.exp(x)), rtol=1e-6)
    short, number = np.zeros(3), np.float64(0)
    assert fast.exp(short, ours=True) is short
    assert fast.exp(short.copy()) is not short
    assert fast.exp(number, ours=True) == 1


@pytest.mark.parametrize("near", [1.0, 30.0])
def test_sigmoid_cross_entropy(loops, monkeypatch, near):
    rng = np.random.default_rng(0)
    z, t = rng.normal(0, near, (200, 130)).astype(F), rng.random((200, 130), dtype=F)
    loss = nn.SigmoidCrossEntropy()
    results = loss.value(z, t), *loss.value_and_gradient(z, t), loss.curvature(z)(z)
    monkeypatch.setattr(loader, "loops", lambda module: None)
    plain = loss.value(z, t), *loss.value_and_gradient(z, t), loss.curvature(z)(z)
    for a, b in zip(results, plain, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-9)
    exact = loss.value(z.astype(float), t.astype(float))
    assert abs(results[0] - exact) <= 2e-8 * exact


def test_sigmoid_cross_entropy_checks_its_targets(loops):
    z, t = np.zeros((200, 100), F), np.zeros((200, 100), F)
    t[17, 5] = 1.5
    for f in (nn.SigmoidCrossEntropy().value, nn.SigmoidCrossEntropy().value_and_gradient):
        with pytest.raises(ValueError, match=r"SigmoidCrossEntropy: t must lie in \[0, 1\], but reaches from 0 to 1.5"):
            f(z, t)
    t[17, 5] = np.nan
    assert np.isnan(nn.SigmoidCrossEntropy().value(z, t))


def test_short_arrays_do_not_load_numba():
    code = """
import sys, numpy as np, rmad, nn
x = np.ones((100, 100), np.float32)
rmad.grad(lambda x: np.sum(np.tanh(np.exp(x))))(x)
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
