"""SciPy's special functions (the ufuncs of scipy.special), one row each: f and ∂f per argument.

Derivatives are written in functions of this table and of NumPy's, so they can be differentiated again, and in forms
that are as accurate as f: no difference of large numbers, no 0/0 at the edge of the domain. None stands for an argument
without a derivative here: tracing it raises an error. Those in parameters and orders that have no closed form are in
`incomplete`, `orders` and `oscillating_orders`.

Sources of the formulas: Abramowitz & Stegun (1964), DLMF (dlmf.nist.gov); equation numbers at the lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmad.handlers import register
from rmad.machine.special import sc
from rmad.primitives.arguments import is_complex
from rmad.primitives.elementwise import LN2, LN10, cosine, expm1_derivative, sigmoid, sigmoid_derivative
from rmad.primitives.incomplete import beta_density, beta_slope_in, gamma_density, gamma_slope_in
from rmad.primitives.integer_orders import bessel_i, bessel_j, bessel_k, scaled_i, scaled_k
from rmad.primitives.orders import i_slope_in, k_slope_in
from rmad.primitives.oscillating_orders import j_slope_in, y_slope_in
from rmad.primitives.polygamma import beta_slope, log_beta, polygamma_step, zeta
from rmad.primitives.scipy_tails import dawsn_derivative, erfcx_derivative, scaled_i_derivative, scaled_k_derivative
from rmad.rules import Elementwise, constant, elementwise
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
elementwise(sc.exp1, lambda y, x: -np.exp(-x) / x)
elementwise(sc.expi, lambda y, x: np.exp(x) / x)

# -- incomplete gamma and beta functions, and the distribution functions made of them ------------------------


def _of_inverse(slopes: Sequence[Callable[..., Any]], sign: int) -> list[Callable[..., Any]]:
    """F(p₀, …, y) = q, so ∂y/∂q = 1/f and ∂y/∂p = -∂F/∂p / f; sign: of ∂F/∂y."""
    *of_parameters, density = slopes

    def by_parameter(slope: Callable[..., Any]) -> Callable[..., Any]:
        return lambda y, *args: -slope(*args[:-1], y) / density(*args[:-1], y)

    last = lambda y, *args: sign / density(*args[:-1], y)  # noqa: E731
    return [*map(by_parameter, of_parameters), last]


def _both(lower: Any, upper: Any, *slopes: Callable[..., Any] | None) -> None:
    """Rules for F and for 1 - F. slopes: (args) → ∂F/∂args[k], per argument, or None."""

    def signed(slope: Any, sign: int) -> Any:
        return slope and (lambda y, *args: sign * slope(*args))

    elementwise(lower, *(signed(slope, 1) for slope in slopes))
    elementwise(upper, *(signed(slope, -1) for slope in slopes))


_gamma_slopes = (lambda a, x: gamma_slope_in(a, x, 1), gamma_density)
_beta_slopes = (
    lambda a, b, x: beta_slope_in(a, b, x, 1, 0),
    lambda a, b, x: beta_slope_in(a, b, x, 0, 1),
    beta_density,
)

_both(sc.gammainc, sc.gammaincc, *_gamma_slopes)
_both(sc.betainc, sc.betaincc, *_beta_slopes)
elementwise(sc.gammaincinv, *_of_inverse(_gamma_slopes, 1))
elementwise(sc.gammainccinv, *_of_inverse(_gamma_slopes, -1))
elementwise(sc.betaincinv, *_of_inverse(_beta_slopes, 1))
elementwise(sc.betainccinv, *_of_inverse(_beta_slopes, -1))

_both(  # P(v/2, x/2)
    sc.chdtr,
    sc.chdtrc,
    lambda v, x: 0.5 * gamma_slope_in(0.5 * v, 0.5 * x, 1),
    lambda v, x: 0.5 * gamma_density(0.5 * v, 0.5 * x),
)
_both(  # P(b, a x)
    sc.gdtr,
    sc.gdtrc,
    lambda a, b, x: x * gamma_density(b, a * x),
    lambda a, b, x: gamma_slope_in(b, a * x, 1),
    lambda a, b, x: a * gamma_density(b, a * x),
)
_both(sc.pdtr, sc.pdtrc, None, lambda k, m: -gamma_density(np.floor(k) + 1, m))  # 1 - P(k + 1, m), a step in k
_both(  # 1 - I_p(k + 1, n - k) of integers, of which SciPy cuts the decimals off
    sc.bdtr, sc.bdtrc, None, None, lambda k, n, p: -beta_density(np.floor(k) + 1, np.trunc(n) - np.floor(k), p)
)


def _slope_with_rest(a, b, z, rest, i, j) -> Array:
    """∂I_z(a, b)/∂a (i = 1) or ∂b (j = 1), z + rest = 1 of which the smaller one has the digits."""
    small = z < rest
    below = beta_slope_in(a, b, np.where(small, z, 0.5), i, j)
    above = beta_slope_in(b, a, np.where(small, 0.5, rest), j, i)  # I_z(a, b) = 1 - I_rest(b, a)
    return np.where(small, below, -above)


def _power_product(p, q, c, z, rest) -> Array:
    """zᵖ rest^q exp(-c)"""
    return np.exp(sc.xlogy(p, z) + sc.xlogy(q, rest) - c)


def _f_parts(dfn, dfd, x) -> tuple[Array, ...]:
    """a, b, z, 1 - z and z (1 - z) f(z) of I_z(a, b), z = dfn x / (dfd + dfn x) (A&S 26.6.2)."""
    total = dfd + dfn * x
    a, b, z, rest = 0.5 * dfn, 0.5 * dfd, dfn * x / total, dfd / total
    return a, b, z, rest, _power_product(a, b, log_beta(a, b), z, rest)


def _f_by_dfn(dfn, dfd, x) -> Array:
    a, b, z, rest, density = _f_parts(dfn, dfd, x)
    return 0.5 * _slope_with_rest(a, b, z, rest, 1, 0) + density / dfn


def _f_by_dfd(dfn, dfd, x) -> Array:
    a, b, z, rest, density = _f_parts(dfn, dfd, x)
    return 0.5 * _slope_with_rest(a, b, z, rest, 0, 1) - density / dfd


def _f_density(dfn, dfd, x) -> Array:
    a, b, z, rest, _ = _f_parts(dfn, dfd, x)
    return _power_product(a - 1, b - 1, log_beta(a, b), z, rest) * (rest * rest * dfn / dfd)


_both(sc.fdtr, sc.fdtrc, _f_by_dfn, _f_by_dfd, _f_density)


def _t_density(df, t) -> Array:
    """(1 + t²/df)^(-(df + 1)/2) / (√df B(1/2, df/2)); with df = inf that of the normal distribution."""
    finite = np.isfinite(df)
    nu = np.where(finite, df, 1)
    student = -0.5 * np.log(nu) - log_beta(0.5, 0.5 * nu) - 0.5 * (nu + 1) * np.log1p(t * t / nu)
    return np.where(finite, np.exp(student), np.exp(-0.5 * _square(t)) / ROOT_2PI)


def _t_by_df(df, t) -> Array:
    """∂/∂df of half I_z(df/2, 1/2), z = df / (df + t²), on the left, and less that on the right (A&S 26.7.1)."""
    finite = np.isfinite(df)
    nu = np.where(finite, df, 1)
    total = nu + t * t
    slope = _slope_with_rest(0.5 * nu, 0.5 + 0 * t, nu / total, t * t / total, 1, 0)
    return np.where(finite, -0.25 * np.copysign(1, t) * slope - t * _t_density(nu, t) / (2 * nu), 0)


elementwise(sc.stdtr, lambda y, df, t: _t_by_df(df, t), lambda y, df, t: _t_density(df, t))

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
