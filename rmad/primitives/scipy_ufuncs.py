"""SciPy's special functions (the ufuncs of scipy.special), one row each: f and ∂f per argument.

Derivatives are written in functions of this table and of NumPy's, so they can be differentiated again, and in forms
that are as accurate as f: no difference of large numbers, no 0/0 at the edge of the domain. None stands for an argument
without a derivative here: tracing it raises an error. Those in parameters and orders that have no closed form are in
`incomplete`, `orders` and `oscillating_orders`. Distribution functions are in `scipy_distributions`, elliptic integrals
in `scipy_elliptic`, orthogonal polynomials in `scipy_polynomials`, other integrals in `scipy_integrals`, and Airy's
and Kelvin's functions and their kin in `scipy_waves`.

Sources of the formulas: Abramowitz & Stegun (1964), DLMF (dlmf.nist.gov); equation numbers at the lines.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.machine.special import sc
from rmad.primitives import scipy_distributions, scipy_elliptic, scipy_integrals, scipy_polynomials, scipy_waves  # noqa: F401
from rmad.primitives.arguments import is_complex
from rmad.primitives.boxcox import boxcox_by_power, by_power
from rmad.primitives.elementwise import LN2, LN10, cosine, expm1_derivative, sigmoid, sigmoid_derivative
from rmad.primitives.integer_orders import bessel_i, bessel_j, bessel_k, scaled_i, scaled_k
from rmad.primitives.orders import i_slope_in, k_slope_in
from rmad.primitives.oscillating_orders import j_slope_in, y_slope_in
from rmad.primitives.polygamma import beta_slope, polygamma_step, zeta
from rmad.primitives.scipy_tails import (
    dawsn_derivative,
    erfcx_derivative,
    scaled_i_derivative,
    scaled_k_derivative,
    square,
)
from rmad.rules import Elementwise, constant, elementwise
from rmad.tracing.handlers import register
from rmad.tracing.traced import stop
from rmad.types import Array

ROOT_PI, ROOT_2PI, ROOT_2 = math.sqrt(math.pi), math.sqrt(2 * math.pi), math.sqrt(2)


def _ratio(a, b) -> Array:
    """a / b, and 0 at a = b = 0."""
    return a / np.where((a == 0) & (b == 0), 1, b)


# -- the error function and the normal distribution ------------------------------------------------------


def _mills_value(x) -> Array:
    """φ(x) / Φ(x), on the left through erfcx, because both underflow there."""
    right = x > 0
    above, below = np.where(right, x, 0), np.where(right, 0, x)
    left_value = (2 / ROOT_2PI) / sc.erfcx(below * (-1 / ROOT_2))
    return np.where(right, np.exp(-0.5 * square(above)) / (ROOT_2PI * sc.ndtr(above)), left_value)


def _mills_derivative(y, x) -> Array:
    """-y (x + y), on the left in a form in which nothing cancels."""
    right = x > 0
    t = np.where(right, 0, x) * (-1 / ROOT_2)
    E = sc.erfcx(t)
    return y * np.where(right, -(x + y), erfcx_derivative(t, 1) / (ROOT_2 * E))


_mills = elementwise(_mills_value, _mills_derivative, name="mills")

elementwise(sc.erf, lambda y, x: (2 / ROOT_PI) * np.exp(-square(x)))
elementwise(sc.erfc, lambda y, x: (-2 / ROOT_PI) * np.exp(-square(x)))
elementwise(sc.erfi, lambda y, x: (2 / ROOT_PI) * np.exp(x * x))
elementwise(sc.erfcx, lambda y, x: erfcx_derivative(x, 1))
elementwise(sc.dawsn, lambda y, x: dawsn_derivative(x, 1))
elementwise(sc.wofz, lambda y, x: 2j / ROOT_PI - 2 * x * y)
elementwise(sc.erfinv, lambda y, x: (ROOT_PI / 2) * np.exp(y * y))
elementwise(sc.erfcinv, lambda y, x: (-ROOT_PI / 2) * np.exp(y * y))
elementwise(sc.ndtr, lambda y, x: (1 / ROOT_2PI) * np.exp(-0.5 * square(x)))
elementwise(sc.ndtri, lambda y, x: ROOT_2PI * np.exp(0.5 * (y * y)))
elementwise(sc.log_ndtr, lambda y, x: _mills(x))
elementwise(sc.ndtri_exp, lambda y, x: 1 / _mills(y))

# -- logistic functions, entropies -----------------------------------------------------------------------


def _pseudo_huber_by_delta(y, delta, r) -> Array:
    """δ (s - 1)²/s, s = √(1 + (r/δ)²)"""
    q = (r / delta) ** 2
    s = np.sqrt(1 + q)
    below = q / (1 + s)
    return delta * (below * below) / s


_expit = elementwise(sc.expit, sigmoid_derivative)
register(sc.expit, lambda x: sigmoid(x) if x.dtype.char in "fd" else _expit(x))
elementwise(sc.logit, lambda y, x: 1 / (x * (1 - x)))
elementwise(sc.log_expit, lambda y, x: sigmoid(-x))
elementwise(sc.xlogy, lambda y, a, b: np.log(b), lambda y, a, b: _ratio(a, b))
elementwise(sc.xlog1py, lambda y, a, b: np.log1p(b), lambda y, a, b: _ratio(a, 1 + b))
elementwise(sc.entr, lambda y, x: -np.log(x) - 1)
elementwise(sc.rel_entr, lambda y, a, b: np.log(a) - np.log(b) + 1, lambda y, a, b: -_ratio(a, b))
elementwise(sc.kl_div, lambda y, a, b: np.log(a) - np.log(b), lambda y, a, b: 1 - _ratio(a, b))
elementwise(
    sc.huber, lambda y, delta, r: np.maximum(np.abs(r) - delta, 0.0), lambda y, delta, r: np.clip(r, -delta, delta)
)
elementwise(sc.pseudo_huber, _pseudo_huber_by_delta, lambda y, delta, r: delta * cosine(r, delta))
elementwise(sc.boxcox, lambda y, x, p: x ** (p - 1), lambda y, x, p: boxcox_by_power(x, p))
elementwise(sc.boxcox1p, lambda y, x, p: (1 + x) ** (p - 1), lambda y, x, p: by_power(np.log1p(x), p))
elementwise(sc.inv_boxcox, lambda x, y, p: x ** (1 - p), lambda x, y, p: -boxcox_by_power(x, p) * x ** (1 - p))
elementwise(
    sc.inv_boxcox1p,
    lambda x, y, p: (1 + x) ** (1 - p),
    lambda x, y, p: -by_power(np.log1p(x), p) * (1 + x) ** (1 - p),
)
elementwise(sc.exprel, lambda y, x: 0.5 * sc.hyp1f1(2, 3, x))  # ∫₀¹ t exp(xt) dt

# -- SciPy's own versions of NumPy's functions --------------------------------------------------------------

elementwise(sc.expm1, expm1_derivative)
elementwise(sc.log1p, lambda y, x: 1 / (1 + x))
elementwise(sc.exp2, lambda y, x: LN2 * y)
elementwise(sc.exp10, lambda y, x: LN10 * y)
elementwise(sc.cbrt, lambda y, x: 1 / (3 * y * y))
elementwise(sc.powm1, lambda y, x, p: p * x ** (p - 1), lambda y, x, p: np.log(x) * x**p)
elementwise(sc.cosm1, lambda y, x: -np.sin(x))
elementwise(sc.sindg, lambda y, x: (math.pi / 180) * sc.cosdg(x))
elementwise(sc.cosdg, lambda y, x: (-math.pi / 180) * sc.sindg(x))
elementwise(sc.tandg, lambda y, x: (math.pi / 180) * (1 + y * y))
elementwise(sc.cotdg, lambda y, x: (-math.pi / 180) * (1 + y * y))
elementwise(
    sc.radian,
    lambda y, d, m, s: math.pi / 180 + 0 * y,
    lambda y, d, m, s: math.pi / 10800 + 0 * y,
    lambda y, d, m, s: math.pi / 648000 + 0 * y,
)
constant(sc.round)
constant(sc.gammasgn)

# -- gamma and its kind ----------------------------------------------------------------------------------------


def _rgamma_derivative(y, x) -> Array:
    """-ψ(x) / Γ(x); left of 1/2 from 1/Γ(x) = Γ(1 - x) sin(πx) / π, which has no poles there (A&S 6.1.17)."""
    left = np.real(x) < 0.5
    a, b = np.where(left, 1, x), 1 - np.where(left, x, 0)
    reflected = sc.gamma(b) * (np.cos(np.pi * (1 - b)) - (1 - b) * np.sinc(1 - b) * sc.digamma(b))
    return np.where(left, reflected, -sc.rgamma(a) * sc.digamma(a))


def _trigamma(y, x) -> Array:
    """ζ(2, x) (A&S 6.4.10)"""
    return zeta(2, x)


elementwise(sc.gamma, lambda y, x: y * sc.digamma(x))
elementwise(sc.rgamma, _rgamma_derivative)
elementwise(sc.gammaln, lambda y, x: sc.digamma(x))
elementwise(sc.loggamma, lambda y, x: sc.digamma(x))
elementwise(sc.digamma, _trigamma)
elementwise(sc.beta, lambda y, a, b: beta_slope(a, b), lambda y, a, b: beta_slope(b, a))
elementwise(sc.betaln, lambda y, a, b: -polygamma_step(a, b, 0), lambda y, a, b: -polygamma_step(b, a, 0))
elementwise(
    sc.poch,
    lambda y, a, m: y * polygamma_step(a, m, 0),
    lambda y, a, m: y * sc.digamma(a + m),
)


def _at_zero(a, b) -> Array:
    """True where 1/Γ(a + 1) or 1/Γ(b + 1) is zero, and ψ is not finite."""
    a, b = stop(a), stop(b)
    return ((a <= -1) & (np.floor(a) == a)) | ((b <= -1) & (np.floor(b) == b))


def _binom_slope(n, k, of_zero, regular) -> Array:
    """regular(n, k), and of_zero(n, k) where that is 0 · ∞."""
    zero = _at_zero(k, n - k)
    if not arrays.may_be_any(zero):
        return regular(n, k)
    return np.where(zero, of_zero(n, k), regular(np.where(zero, 2.0, n), np.where(zero, 1.0, k)))


def _binom_by_n(y, n, k) -> Array:
    """d/dn Γ(n + 1)/(Γ(k + 1) Γ(n - k + 1))"""

    def of_zero(n: Any, k: Any) -> Any:
        slope = sc.digamma(n + 1) * sc.rgamma(n - k + 1) + _rgamma_derivative(None, n - k + 1)
        return sc.gamma(n + 1) * sc.rgamma(k + 1) * slope

    return _binom_slope(n, k, of_zero, lambda n, k: sc.binom(n, k) * (sc.digamma(n + 1) - sc.digamma(n - k + 1)))


def _binom_by_k(y, n, k) -> Array:
    def of_zero(n: Any, k: Any) -> Any:
        a, b = k + 1, n - k + 1
        slope = _rgamma_derivative(None, a) * sc.rgamma(b) - sc.rgamma(a) * _rgamma_derivative(None, b)
        return sc.gamma(n + 1) * slope

    return _binom_slope(n, k, of_zero, lambda n, k: sc.binom(n, k) * (sc.digamma(n - k + 1) - sc.digamma(k + 1)))


elementwise(sc.binom, _binom_by_n, _binom_by_k)
elementwise(sc.exp1, lambda y, x: -np.exp(-x) / x)
elementwise(sc.expi, lambda y, x: np.exp(x) / x)

# -- hypergeometric functions (DLMF 13.3.15, 13.3.22, 15.5.1) ------------------------------------------------

elementwise(sc.hyp0f1, None, lambda y, b, x: sc.hyp0f1(b + 1, x) / b)
elementwise(sc.hyp1f1, None, None, lambda y, a, b, x: a * sc.hyp1f1(a + 1, b + 1, x) / b)
elementwise(sc.hyperu, None, None, lambda y, a, b, x: -a * sc.hyperu(a + 1, b + 1, x))
elementwise(sc.hyp2f1, None, None, None, lambda y, a, b, c, x: a * b * sc.hyp2f1(a + 1, b + 1, c + 1, x) / c)

# -- Bessel functions: by the neighbouring orders, without division by x (A&S 9.1.27, 9.6.26) -----------------


def _ive_derivative(y, v, x) -> Array:
    if is_complex(x):
        raise NotImplementedError("scipy.special.ive of complex x is not holomorphic; use iv(v, x) * exp(-abs(x.real))")
    return scaled_i_derivative(y, v, x, lambda x: 0.5 * (sc.ive(v - 1, x) + sc.ive(v + 1, x)))


def _kve_derivative(y, v, x) -> Array:
    return scaled_k_derivative(y, v, x, lambda x: -0.5 * (sc.kve(v - 1, x) + sc.kve(v + 1, x)))


elementwise(sc.j0, lambda y, x: -sc.j1(x))
elementwise(sc.j1, lambda y, x: 0.5 * (sc.j0(x) - bessel_j(x, 2)))
elementwise(sc.y0, lambda y, x: -sc.y1(x))
elementwise(sc.y1, lambda y, x: 0.5 * (sc.y0(x) - sc.yn(2, x)))
elementwise(sc.i0, lambda y, x: sc.i1(x))
elementwise(sc.i1, lambda y, x: 0.5 * (sc.i0(x) + bessel_i(x, 2)))
elementwise(sc.i0e, lambda y, x: scaled_i_derivative(y, 0, x, sc.i1e))
elementwise(sc.i1e, lambda y, x: scaled_i_derivative(y, 1, x, lambda x: 0.5 * (sc.i0e(x) + scaled_i(x, 2))))
elementwise(sc.k0, lambda y, x: -sc.k1(x))
elementwise(sc.k1, lambda y, x: -0.5 * (sc.k0(x) + bessel_k(x, 2)))
elementwise(sc.k0e, lambda y, x: scaled_k_derivative(y, 0, x, lambda x: -sc.k1e(x)))
elementwise(sc.k1e, lambda y, x: scaled_k_derivative(y, 1, x, lambda x: -0.5 * (sc.k0e(x) + scaled_k(x, 2))))
elementwise(sc.iv, lambda y, v, x: i_slope_in(v, x, 1), lambda y, v, x: 0.5 * (sc.iv(v - 1, x) + sc.iv(v + 1, x)))
elementwise(sc.ive, None, _ive_derivative)
elementwise(sc.kve, None, _kve_derivative)


def _between(f, slope_in=None) -> Elementwise:
    """∂f/∂x = (f(v - 1, x) - f(v + 1, x)) / 2, of the Bessel functions of order v; slope_in: (v, x, 1) → ∂f/∂v."""
    by_order = slope_in and (lambda y, v, x: slope_in(v, x, 1))
    return elementwise(f, by_order, lambda y, v, x: 0.5 * (f(v - 1, x) - f(v + 1, x)))


def _neighbours(f, v, x) -> tuple[Array, Array]:
    """f(n - 1, x) and f(n + 1, x), n the integer that SciPy makes of v."""
    n = np.trunc(v)
    return f(n - 1, x), f(n + 1, x)


def _yn_slope(y, v, x) -> Array:
    before, after = _neighbours(sc.yn, v, x)
    return 0.5 * (before - after)


def _kn_slope(y, v, x) -> Array:
    before, after = _neighbours(sc.kn, v, x)
    return -0.5 * (before + after)


yn, kn = elementwise(sc.yn, None, _yn_slope), elementwise(sc.kn, None, _kn_slope)
hankel1, hankel2 = map(_between, (sc.hankel1, sc.hankel2))
jv, yv = _between(sc.jv, j_slope_in), _between(sc.yv, y_slope_in)
kv = elementwise(sc.kv, lambda y, v, x: k_slope_in(v, x, 1), lambda y, v, x: -0.5 * (sc.kv(v - 1, x) + sc.kv(v + 1, x)))
