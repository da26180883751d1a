"""SciPy's special functions (the ufuncs of scipy.special), one row each: f and ∂f per argument.

Derivatives are written in functions of this table and of NumPy's, so they can be differentiated again, and in forms
that are as accurate as f: no difference of large numbers, no 0/0 at the edge of the domain. None stands for an argument
without a known closed form (orders, shape parameters): tracing it raises an error.

Sources of the formulas: Abramowitz & Stegun (1964), DLMF (dlmf.nist.gov); equation numbers at the lines.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special as sc

from rmad.primitives.arguments import is_complex
from rmad.primitives.elementwise import LN2, LN10, cosine, expm1_derivative, sigmoid, sigmoid_derivative
from rmad.primitives.integer_orders import bessel_i, bessel_j, bessel_k, scaled_i, scaled_k
from rmad.primitives.polygamma import beta_slope, log_beta, polygamma_step, zeta
from rmad.primitives.scipy_tails import dawsn_derivative, erfcx_derivative, scaled_i_derivative, scaled_k_derivative
from rmad.rules import Elementwise, Primitive, constant, elementwise
from rmad.traced import register
from rmad.types import Array

ROOT_PI, ROOT_2PI, ROOT_2 = math.sqrt(math.pi), math.sqrt(2 * math.pi), math.sqrt(2)


def _square(x) -> Array:
    """x² for use in exp(-x²): inf is right if it overflows."""
    with np.errstate(over="ignore"):
        return x * x


def _ratio(a, b) -> Array:
    """a / b, and 0 at a = b = 0."""
    return a / np.where((a == 0) & (b == 0), 1, b)


# -- the error function and the normal distribution ------------------------------------------------------


def _mills_value(x) -> Array:
    """φ(x) / Φ(x), on the left through erfcx, because both underflow there."""
    right = x > 0
    above, below = np.where(right, x, 0), np.where(right, 0, x)
    left_value = (2 / ROOT_2PI) / sc.erfcx(below * (-1 / ROOT_2))
    return np.where(right, np.exp(-0.5 * _square(above)) / (ROOT_2PI * sc.ndtr(above)), left_value)


def _mills_derivative(y, x) -> Array:
    """-y (x + y), on the left in a form in which nothing cancels."""
    right = x > 0
    t = np.where(right, 0, x) * (-1 / ROOT_2)
    E = sc.erfcx(t)
    return y * np.where(right, -(x + y), erfcx_derivative(t, 1) / (ROOT_2 * E))


_mills = elementwise(_mills_value, _mills_derivative, name="mills")

elementwise(sc.erf, lambda y, x: (2 / ROOT_PI) * np.exp(-_square(x)))
elementwise(sc.erfc, lambda y, x: (-2 / ROOT_PI) * np.exp(-_square(x)))
elementwise(sc.erfi, lambda y, x: (2 / ROOT_PI) * np.exp(x * x))
elementwise(sc.erfcx, lambda y, x: erfcx_derivative(x, 1))
elementwise(sc.dawsn, lambda y, x: dawsn_derivative(x, 1))
elementwise(sc.wofz, lambda y, x: 2j / ROOT_PI - 2 * x * y)
elementwise(sc.erfinv, lambda y, x: (ROOT_PI / 2) * np.exp(y * y))
elementwise(sc.erfcinv, lambda y, x: (-ROOT_PI / 2) * np.exp(y * y))
elementwise(sc.ndtr, lambda y, x: (1 / ROOT_2PI) * np.exp(-0.5 * _square(x)))
elementwise(sc.ndtri, lambda y, x: ROOT_2PI * np.exp(0.5 * (y * y)))
elementwise(sc.log_ndtr, lambda y, x: _mills(x))
elementwise(sc.ndtri_exp, lambda y, x: 1 / _mills(y))

# -- logistic functions, entropies -----------------------------------------------------------------------

_expit = elementwise(sc.expit, sigmoid_derivative)
register(sc.expit, lambda x: sigmoid(x) if x.dtype.char in "fd" else _expit(x))
elementwise(sc.logit, lambda y, x: 1 / (x * (1 - x)))
elementwise(sc.log_expit, lambda y, x: sigmoid(-x))
elementwise(sc.xlogy, lambda y, a, b: np.log(b), lambda y, a, b: _ratio(a, b))
elementwise(sc.xlog1py, lambda y, a, b: np.log1p(b), lambda y, a, b: _ratio(a, 1 + b))
elementwise(sc.entr, lambda y, x: -np.log(x) - 1)
elementwise(sc.rel_entr, lambda y, a, b: np.log(a) - np.log(b) + 1, lambda y, a, b: -_ratio(a, b))
elementwise(sc.kl_div, lambda y, a, b: np.log(a) - np.log(b), lambda y, a, b: 1 - _ratio(a, b))
elementwise(sc.huber, None, lambda y, delta, r: np.clip(r, -delta, delta))
elementwise(sc.pseudo_huber, None, lambda y, delta, r: delta * cosine(r, delta))
elementwise(sc.boxcox, lambda y, x, p: x ** (p - 1), None)
elementwise(sc.boxcox1p, lambda y, x, p: (1 + x) ** (p - 1), None)
elementwise(sc.exprel, lambda y, x: 0.5 * sc.hyp1f1(2, 3, x))  # ∫₀¹ t exp(xt) dt

# -- SciPy's own versions of NumPy's functions --------------------------------------------------------------

elementwise(sc.expm1, expm1_derivative)
elementwise(sc.log1p, lambda y, x: 1 / (1 + x))
elementwise(sc.exp2, lambda y, x: LN2 * y)
elementwise(sc.exp10, lambda y, x: LN10 * y)
elementwise(sc.cbrt, lambda y, x: 1 / (3 * y * y))
elementwise(sc.cosm1, lambda y, x: -np.sin(x))
elementwise(sc.sindg, lambda y, x: (math.pi / 180) * sc.cosdg(x))
elementwise(sc.cosdg, lambda y, x: (-math.pi / 180) * sc.sindg(x))
elementwise(sc.tandg, lambda y, x: (math.pi / 180) * (1 + y * y))
elementwise(sc.cotdg, lambda y, x: (-math.pi / 180) * (1 + y * y))
constant(sc.round)

# -- gamma and its kind ----------------------------------------------------------------------------------------


def _rgamma_derivative(y, x) -> Array:
    """-ψ(x) / Γ(x); left of 1/2 from 1/Γ(x) = Γ(1 - x) sin(πx) / π, which has no poles there (A&S 6.1.17)."""
    left = np.real(x) < 0.5
    a, b = np.where(left, 1, x), 1 - np.where(left, x, 0)
    reflected = sc.gamma(b) * (np.cos(np.pi * (1 - b)) - (1 - b) * np.sinc(1 - b) * sc.digamma(b))
    return np.where(left, reflected, -sc.rgamma(a) * sc.digamma(a))


def _trigamma(y, x) -> Array:
    """ζ(2, x) (A&S 6.4.10)"""
    if is_complex(x):
        raise NotImplementedError("scipy.special.digamma of complex x has no derivative: SciPy has no complex trigamma")
    return zeta(2, x)


def _less_one(p) -> Array:
    """p - 1, and 0 at p = 0: there d/dx xᵖ = p xᵖ⁻¹ must be 0 at x = 0 too."""
    return p - (p != 0)


_beta_kernel: Primitive = elementwise(  # xᵖ (1 - x)^q exp(-c)
    lambda x, p, q, c: np.exp(sc.xlogy(p, x) + sc.xlog1py(q, -x) - c),
    lambda y, x, p, q, c: p * _beta_kernel(x, _less_one(p), q, c) - q * _beta_kernel(x, p, _less_one(q), c),
    name="beta kernel",
)
_gamma_kernel: Primitive = elementwise(  # xᵖ exp(-x - c)
    lambda x, p, c: np.exp(sc.xlogy(p, x) - x - c),
    lambda y, x, p, c: p * _gamma_kernel(x, _less_one(p), c) - y,
    name="gamma kernel",
)


def _beta_density(a, b, x) -> Array:
    """xᵃ⁻¹ (1 - x)ᵇ⁻¹ / B(a, b)."""
    return _beta_kernel(x, a - 1, b - 1, log_beta(a, b))


def _gamma_density(a, x) -> Array:
    """xᵃ⁻¹ exp(-x) / Γ(a)."""
    return _gamma_kernel(x, a - 1, sc.gammaln(a))


elementwise(sc.gamma, lambda y, x: y * sc.digamma(x))
elementwise(sc.rgamma, _rgamma_derivative)
elementwise(sc.gammaln, lambda y, x: sc.digamma(x))
elementwise(sc.loggamma, lambda y, x: sc.digamma(x))
elementwise(sc.digamma, _trigamma)
elementwise(sc.beta, lambda y, a, b: beta_slope(a, b), lambda y, a, b: beta_slope(b, a))
elementwise(sc.betaln, lambda y, a, b: -polygamma_step(a, b, 0), lambda y, a, b: -polygamma_step(b, a, 0))
elementwise(sc.betainc, None, None, lambda y, a, b, x: _beta_density(a, b, x))
elementwise(sc.betaincc, None, None, lambda y, a, b, x: -_beta_density(a, b, x))
elementwise(sc.betaincinv, None, None, lambda y, a, b, p: 1 / _beta_density(a, b, y))
elementwise(sc.betainccinv, None, None, lambda y, a, b, p: -1 / _beta_density(a, b, y))
elementwise(sc.gammainc, None, lambda y, a, x: _gamma_density(a, x))
elementwise(sc.gammaincc, None, lambda y, a, x: -_gamma_density(a, x))
elementwise(sc.gammaincinv, None, lambda y, a, p: 1 / _gamma_density(a, y))
elementwise(sc.gammainccinv, None, lambda y, a, p: -1 / _gamma_density(a, y))
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
elementwise(sc.iv, None, lambda y, v, x: 0.5 * (sc.iv(v - 1, x) + sc.iv(v + 1, x)))
elementwise(sc.ive, None, _ive_derivative)
elementwise(sc.kve, None, _kve_derivative)


def _between(f) -> Elementwise:
    """∂f/∂x = (f(v - 1, x) - f(v + 1, x)) / 2, of the Bessel functions of order v."""
    return elementwise(f, None, lambda y, v, x: 0.5 * (f(v - 1, x) - f(v + 1, x)))


def _between_modified(f) -> Elementwise:
    """∂f/∂x = -(f(v - 1, x) + f(v + 1, x)) / 2, of the modified ones that decay."""
    return elementwise(f, None, lambda y, v, x: -0.5 * (f(v - 1, x) + f(v + 1, x)))


jv, yn, yv, hankel1, hankel2 = map(_between, (sc.jv, sc.yn, sc.yv, sc.hankel1, sc.hankel2))
kn, kv = map(_between_modified, (sc.kn, sc.kv))
