"""Elementwise functions where differences cannot check them: ties, edges of the domain, arguments of any size."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special as sc

import rmad
from rmad import tuning
from rmad.primitives.elementwise import sigmoid, softplus
from rmad.primitives.layers.normal import normal_cdf
from rmad.tracing.quick import no_wider

HUGE = np.array([-1e200, -800.0, -40.0, 0.0, 40.0, 800.0, 1e200])


def slopes(f, x):
    """f' and f'' at every element of x, by push, by pull, and by push of pull; they must agree."""
    x = np.asarray(x, float)
    one = np.ones_like(x)
    d = rmad.jvp(f, x, one)[1]
    np.testing.assert_allclose(rmad.vjp(f, x)[1](one), d, rtol=1e-14, strict=True)
    dd = rmad.jvp(lambda x: rmad.jvp(f, x, one)[1], x, one)[1]
    np.testing.assert_allclose(rmad.hvp(lambda x: f(x).sum(), x, one), dd, rtol=1e-14, strict=True)
    return d, dd


@pytest.mark.parametrize(
    "f",
    [
        *(np.tanh, np.arctan, np.arcsinh, np.sinc, np.abs, sc.expit, sc.log_expit, sc.erf, sc.erfc, sc.ndtr),
        normal_cdf,
        *(sc.log_ndtr, sc.dawsn, lambda x: np.logaddexp(x, 0), lambda x: np.logaddexp2(0, x)),
        *(lambda x: np.hypot(x, 0.0), lambda x: np.arctan2(x, 1.0), lambda x: sc.pseudo_huber(1.0, x)),
        *(lambda x: sc.huber(1.0, x), lambda x: np.clip(x, -1, 1), lambda x: np.maximum(x, 0)),
    ],
)
def test_finite_wherever_the_function_is(f):
    """No overflow, no 0/0 (a warning would fail): first and second derivatives are finite and bounded."""
    for d in slopes(f, HUGE):
        assert np.isfinite(d).all()


def test_tails_keep_their_digits():
    """log_ndtr' = -x + O(1/x) and erfcx' = -1/(√π x²), dawsn' = -1/(2x²) are not lost in cancellation."""
    x = np.array([1e4, 1e6, 1e8])
    np.testing.assert_allclose(slopes(sc.log_ndtr, -x)[0], x + 1 / x, rtol=1e-15)
    np.testing.assert_allclose(slopes(sc.log_ndtr, -x)[1], -1 + 1 / x**2, rtol=1e-14)
    np.testing.assert_allclose(slopes(sc.erfcx, x)[0], -(1 - 1.5 / x**2) / (np.sqrt(np.pi) * x**2), rtol=1e-14)
    np.testing.assert_allclose(slopes(sc.dawsn, x)[0], -(1 + 1.5 / x**2) / (2 * x**2), rtol=1e-14)


@pytest.mark.parametrize(
    ("f", "x", "first", "second"),
    [
        (lambda x: np.maximum(x, 0), [-1, 0, 1], [0, 0.5, 1], [0, 0, 0]),
        (lambda x: np.minimum(x, x), [-1, 0], [1, 1], [0, 0]),
        (lambda x: np.fmin(x, np.nan), [3], [1], [0]),
        (lambda x: np.clip(x, -1, 1), [-2, -1, 0, 1, 2], [0, 0.5, 1, 0.5, 0], [0] * 5),
        (np.abs, [0], [0], [0]),
        (lambda x: x**0, [0, -2], [0, 0], [0, 0]),
        (lambda x: x**1, [0, -2], [1, 1], [0, 0]),
        (lambda x: x**2, [0, -2], [0, -4], [2, 2]),
        (lambda x: x ** np.array([0, 1, 2]), [0, 0, 0], [0, 1, 0], [0, 0, 2]),
        (lambda x: x ** np.float64(2), [0, -2], [0, -4], [2, 2]),
        (lambda x: 0.0**x, [0, 1, 2], [0, 0, 0], [0, 0, 0]),
        (np.sinc, [0], [0], [-(np.pi**2) / 3]),
        (sc.exprel, [0], [1 / 2], [1 / 3]),
        (lambda x: np.logaddexp(x, -np.inf), [-np.inf, 0], [0.5, 1], [0, 0]),
        (lambda x: sc.xlogy(0, x), [0, 1], [0, 0], [0, 0]),
        (lambda x: sc.rel_entr(0, x), [0, 1], [0, 0], [0, 0]),
        (lambda x: sc.gammainc(np.array([1, 2, 3]), x), [0, 0, 0], [1, 0, 0], [-1, 1, 0]),
        (lambda x: sc.betainc(np.array([1, 2, 3]), 1, x), [0, 0, 0], [1, 0, 0], [0, 2, 0]),
        (sc.rgamma, [0, -1, -2], [1, -1, 2], [2 * np.euler_gamma, 2 - 2 * np.euler_gamma, 4 * np.euler_gamma - 6]),
        (lambda x: sc.jv(0, x), [0], [0], [-0.5]),
        (sc.i1, [0], [0.5], [0]),
        (lambda x: np.copysign(x, -1.0), [-2, 2], [1, -1], [0, 0]),
        (lambda x: np.heaviside(x, 0.5), [-1, 0, 1], [0, 0, 0], [0, 0, 0]),
    ],
)
def test_at_the_edge(f, x, first, second):
    """Ties are split evenly; 0⁰, 0 log 0 and the ends of a domain give the limit."""
    d, dd = slopes(f, x)
    np.testing.assert_allclose(d, first, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(dd, second, rtol=1e-13, atol=1e-15)


def test_infinite_slope_is_infinite():
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert rmad.jvp(np.sqrt, 0.0, 1.0)[1] == np.inf


def test_complex_at_zero():
    """|z| and the angle of z have derivative zero at 0."""
    z = np.array([0, 3 + 4j])
    np.testing.assert_allclose(rmad.vjp(np.abs, z)[1](np.ones(2)), [0, 0.6 + 0.8j])
    np.testing.assert_allclose(rmad.vjp(np.angle, z)[1](np.ones(2)), [0, (-4 + 3j) / 25])


@pytest.mark.parametrize(
    "f",
    [
        *(lambda x: 2 * x, lambda x: x / 3, lambda x: 2.5**x, lambda x: x**1.5, lambda x: np.float32(2) * x),
        *(lambda x: np.arctan2(x, 1.0), lambda x: np.hypot(1.0, x), np.deg2rad, np.sinc, np.i0, sc.expit, sc.erf),
        *(lambda x: np.where(x > 1, x, 0.0), lambda x: np.clip(x, 0.0, 1.0), lambda x: x % 0.7, sc.gammaln),
    ],
)
def test_numbers_do_not_promote(f):
    """The derivative that the tape keeps is single precision too: a double would cost two conversions per sweep."""
    x = np.linspace(0.2, 1.9, 6, dtype=np.float32)
    _, lin = rmad.linearize(f, x)
    for node in lin._record.tape.nodes:
        for block in node.blocks:
            d = getattr(block, "d", 1)
            assert not hasattr(d, "dtype") or np.result_type(d, x) == np.float32, node
    assert lin.Jv(x).dtype == lin.JTu(x).dtype == np.float32


def test_relu_keeps_a_float_mask():
    """maximum(x, 0): zeros and ones of the dtype of x, not a mask that every sweep converts."""
    x = np.array([-1, 2], np.float32)
    _, lin = rmad.linearize(lambda x: np.maximum(x, 0), x)
    assert lin._record.tape.nodes[1].blocks[0].d.dtype == np.float32


def test_no_derivative_in_the_order():
    with pytest.raises(NotImplementedError, match="ive has no derivative with respect to argument 0"):
        rmad.jvp(lambda v: sc.ive(v, 1.0), 2.0, 1.0)
    with pytest.raises(NotImplementedError, match="not holomorphic"):
        rmad.jvp(lambda z: sc.ive(1, z), 1 + 1j, 1.0)
    assert rmad.grad(lambda a: sc.gammainc(rmad.stop_gradient(a), a))(2.0) == pytest.approx(2 * np.exp(-2))


def test_constants():
    """Functions without a derivative are usable on traced arrays and give plain results."""

    def f(x):
        assert np.isclose(x, x).all()
        assert np.array_equal(x, x)
        assert not np.isnan(x).any()
        assert np.shape(x) == (3,)
        assert np.result_type(x, np.float32).itemsize == 8
        assert not np.iscomplexobj(x)
        n = np.floor(x) + np.sign(x) + np.round(x) + x // 2
        assert isinstance(n, np.ndarray)
        n = n + np.zeros_like(x) + np.ones_like(x)
        return x * n

    np.testing.assert_array_equal(rmad.grad(lambda x: f(x).sum())(np.array([0.2, 1.7, -2.4])), [2, 5, -7])


def test_keywords_of_ufuncs():
    """dtype= is a conversion of the result; where= leaves elements unset, which are zero here."""
    y, Jv = rmad.jvp(lambda x: np.multiply(x, x, dtype=np.float32), np.ones(2), np.ones(2))
    assert y.dtype == Jv.dtype == np.float32
    y, Jv = rmad.jvp(lambda x: np.log(x, where=x > 0), np.array([2.0, 0.0]), np.ones(2))
    np.testing.assert_array_equal(y, [np.log(2.0), 0])
    np.testing.assert_array_equal(Jv, [0.5, 0])


def test_normal_cdf_in_single_precision():
    x = np.linspace(-12, 12, 100_003, dtype=np.float32)[::-1]
    y = normal_cdf(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, sc.ndtr(x.astype(float)), rtol=0, atol=2.5e-7)  # the spacing below 1 is 0.6e-7
    edges = np.array([[-np.inf, -1e30, -5.5, 0.0], [5.5, 1e30, np.inf, np.nan]], np.float32)
    np.testing.assert_array_equal(normal_cdf(edges), np.array([[0, 0, 0, 0.5], [1, 1, 1, np.nan]], np.float32))
    assert normal_cdf(np.zeros((0, 3), np.float32)).shape == (0, 3)


@pytest.mark.parametrize("x", [np.arange(-3, 3), np.arange(3, dtype=np.uint8), np.array([True, False]), [1, -2], 3])
@pytest.mark.parametrize(("f", "g"), [(sigmoid, sc.expit), (softplus, lambda x: np.logaddexp(x, 0))])
def test_integers_are_taken_as_floats(f, g, x):
    np.testing.assert_allclose(f(x), g(np.asarray(x, float)), rtol=1e-15)


# -- costs -------------------------------------------------------------------------------------------------


def test_value_and_slope_of_a_large_array_come_from_one_call():
    calls = []

    def both(x):
        calls.append(x.size)
        return np.sin(x), np.cos(x)

    f = rmad.elementwise(np.sin, lambda y, x: np.cos(x))
    f.forward = both
    for n in (tuning.ELEMENTWISE_LOOPS_FROM - 1, tuning.ELEMENTWISE_LOOPS_FROM):
        x = np.linspace(-1, 1, n)
        np.testing.assert_array_equal(rmad.grad(lambda x: np.sum(f(x)))(x), np.cos(x))
    assert calls == [tuning.ELEMENTWISE_LOOPS_FROM]


def test_slopes_that_are_narrow_are_not_widened():
    """A mask stays one of booleans; a Python number takes the dtype of y."""
    mask = np.array([True, False])
    assert no_wider(mask, np.dtype("f8")) is mask
    assert no_wider(2.0, np.dtype("f4")).dtype == np.float32
    assert no_wider(np.ones(2), np.dtype("f4")).dtype == np.float32
