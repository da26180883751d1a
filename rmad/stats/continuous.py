"""Densities on the line, one row each, in standard form: loc = 0, scale = 1.

Sources: Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions, vol. 1 (1994) and 2 (1995), chapters at the
rows; distribution functions as ufuncs of scipy.special.
"""

from __future__ import annotations

import math

import numpy as np

from rmad.machine import arrays
from rmad.machine.special import sc
from rmad.primitives.polygamma import log_beta
from rmad.stats.base import Continuous
from rmad.tracing.traced import stop
from rmad.types import Array

__all__ = [
    *("beta", "cauchy", "chi2", "expon", "f", "gamma", "gumbel_r", "invgamma", "laplace", "logistic", "lognorm"),
    *("norm", "pareto", "t", "uniform", "weibull_min"),
]

LOG_ROOT_2PI, LOG_2, LOG_PI = 0.5 * math.log(2 * math.pi), math.log(2), math.log(math.pi)
HALF_LINE = (0.0, np.inf)

norm = Continuous(
    "norm",
    "",
    "f(x) = exp(-x²/2) / √(2π)",  # chapter 13
    lambda x: -0.5 * (x * x) - LOG_ROOT_2PI,
    cdf=sc.ndtr,
    sf=lambda x: sc.ndtr(-x),
    ppf=sc.ndtri,
    isf=lambda q: -sc.ndtri(q),
    logcdf=sc.log_ndtr,
    logsf=lambda x: sc.log_ndtr(-x),
)


def _square_of_log(x, s) -> Array:
    r = np.log(x) / s
    return r * r


lognorm = Continuous(
    "lognorm",
    "s",
    "f(x) = exp(-(log x)²/(2s²)) / (s x √(2π)), x > 0",  # chapter 14
    lambda x, s: -0.5 * _square_of_log(x, s) - np.log(s * x) - LOG_ROOT_2PI,
    cdf=lambda x, s: sc.ndtr(np.log(x) / s),
    sf=lambda x, s: sc.ndtr(-np.log(x) / s),
    ppf=lambda q, s: np.exp(s * sc.ndtri(q)),
    isf=lambda q, s: np.exp(-s * sc.ndtri(q)),
    logcdf=lambda x, s: sc.log_ndtr(np.log(x) / s),
    logsf=lambda x, s: sc.log_ndtr(-np.log(x) / s),
    support=HALF_LINE,
    closed=False,
    inside=1.0,
)

gamma = Continuous(
    "gamma",
    "a",
    "f(x) = xᵃ⁻¹ exp(-x) / Γ(a), x ≥ 0",  # chapter 17
    lambda x, a: sc.xlogy(a - 1, x) - x - sc.gammaln(a),
    cdf=lambda x, a: sc.gammainc(a, x),
    sf=lambda x, a: sc.gammaincc(a, x),
    ppf=lambda q, a: sc.gammaincinv(a, q),
    isf=lambda q, a: sc.gammainccinv(a, q),
    support=HALF_LINE,
    inside=1.0,
)

chi2 = Continuous(
    "chi2",
    "df",
    "f(x) = x^(df/2 - 1) exp(-x/2) / (2^(df/2) Γ(df/2)), x ≥ 0",  # chapter 18
    lambda x, df: sc.xlogy(0.5 * df - 1, x) - 0.5 * x - sc.gammaln(0.5 * df) - (0.5 * LOG_2) * df,
    cdf=lambda x, df: sc.gammainc(0.5 * df, 0.5 * x),
    sf=lambda x, df: sc.gammaincc(0.5 * df, 0.5 * x),
    ppf=lambda q, df: 2 * sc.gammaincinv(0.5 * df, q),
    isf=lambda q, df: 2 * sc.gammainccinv(0.5 * df, q),
    support=HALF_LINE,
    inside=1.0,
)

invgamma = Continuous(
    "invgamma",
    "a",
    "f(x) = x⁻ᵃ⁻¹ exp(-1/x) / Γ(a), x > 0",  # of 1/X, X as gamma
    lambda x, a: -(a + 1) * np.log(x) - 1 / x - sc.gammaln(a),
    cdf=lambda x, a: sc.gammaincc(a, 1 / x),
    sf=lambda x, a: sc.gammainc(a, 1 / x),
    ppf=lambda q, a: 1 / sc.gammainccinv(a, q),
    isf=lambda q, a: 1 / sc.gammaincinv(a, q),
    support=HALF_LINE,
    closed=False,
    inside=1.0,
)

expon = Continuous(
    "expon",
    "",
    "f(x) = exp(-x), x ≥ 0",  # chapter 19
    lambda x: -x,
    cdf=lambda x: -np.expm1(-x),
    sf=lambda x: np.exp(-x),
    ppf=lambda q: -np.log1p(-q),
    isf=lambda q: -np.log(q),
    logsf=lambda x: -x,
    support=HALF_LINE,
)

pareto = Continuous(
    "pareto",
    "b",
    "f(x) = b x⁻ᵇ⁻¹, x ≥ 1",  # chapter 20
    lambda x, b: np.log(b) - (b + 1) * np.log(x),
    cdf=lambda x, b: -np.expm1(-b * np.log(x)),
    sf=lambda x, b: np.exp(-b * np.log(x)),
    ppf=lambda q, b: np.exp(-np.log1p(-q) / b),
    isf=lambda q, b: np.exp(-np.log(q) / b),
    logsf=lambda x, b: -b * np.log(x),
    support=(1.0, np.inf),
    inside=2.0,
)

weibull_min = Continuous(
    "weibull_min",
    "c",
    "f(x) = c xᶜ⁻¹ exp(-xᶜ), x ≥ 0",  # chapter 21
    lambda x, c: np.log(c) + sc.xlogy(c - 1, x) - x**c,
    cdf=lambda x, c: -np.expm1(-(x**c)),
    sf=lambda x, c: np.exp(-(x**c)),
    ppf=lambda q, c: (-np.log1p(-q)) ** (1 / c),
    isf=lambda q, c: (-np.log(q)) ** (1 / c),
    logsf=lambda x, c: -(x**c),
    support=HALF_LINE,
    inside=1.0,
)

gumbel_r = Continuous(
    "gumbel_r",
    "",
    "f(x) = exp(-x - exp(-x))",  # chapter 22
    lambda x: -x - np.exp(-x),
    cdf=lambda x: np.exp(-np.exp(-x)),
    sf=lambda x: -np.expm1(-np.exp(-x)),
    ppf=lambda q: -np.log(-np.log(q)),
    isf=lambda q: -np.log(-np.log1p(-q)),
    logcdf=lambda x: -np.exp(-x),
)


def _logistic(x) -> Array:
    """log σ(x) σ(-x), even in x."""
    return sc.log_expit(x) + sc.log_expit(-x)


logistic = Continuous(
    "logistic",
    "",
    "f(x) = exp(-x) / (1 + exp(-x))²",  # chapter 23
    _logistic,
    cdf=sc.expit,
    sf=lambda x: sc.expit(-x),
    ppf=sc.logit,
    isf=lambda q: -sc.logit(q),
    logcdf=sc.log_expit,
    logsf=lambda x: sc.log_expit(-x),
)


def _laplace_cdf(x) -> Array:
    """exp(x)/2 on the left, 1 - exp(-x)/2 on the right, and neither side's exponential on the other."""
    right = x > 0
    return np.where(right, 1 - 0.5 * np.exp(-np.where(right, x, 0)), 0.5 * np.exp(np.where(right, 0, x)))


def _laplace_logcdf(x) -> Array:
    right = x > 0
    return np.where(right, np.log1p(-0.5 * np.exp(-np.where(right, x, 0))), x - LOG_2)


def _laplace_quantile(q) -> Array:
    """log 2q on the left, -log 2(1 - q) on the right."""
    right = stop(q) > 0.5
    return np.where(right, -np.log(2 - 2 * np.where(right, q, 0.5)), np.log(2 * np.where(right, 0.5, q)))


laplace = Continuous(
    "laplace",
    "",
    "f(x) = exp(-|x|) / 2",  # chapter 24
    lambda x: -np.abs(x) - LOG_2,
    cdf=_laplace_cdf,
    sf=lambda x: _laplace_cdf(-x),
    ppf=_laplace_quantile,
    isf=lambda q: -_laplace_quantile(q),
    logcdf=_laplace_logcdf,
    logsf=lambda x: _laplace_logcdf(-x),
)

beta = Continuous(
    "beta",
    "a b",
    "f(x) = xᵃ⁻¹ (1 - x)ᵇ⁻¹ / B(a, b), 0 ≤ x ≤ 1",  # chapter 25
    lambda x, a, b: sc.xlogy(a - 1, x) + sc.xlog1py(b - 1, -x) - log_beta(a, b),
    cdf=lambda x, a, b: sc.betainc(a, b, x),
    sf=lambda x, a, b: sc.betaincc(a, b, x),
    ppf=lambda q, a, b: sc.betaincinv(a, b, q),
    isf=lambda q, a, b: sc.betainccinv(a, b, q),
    support=(0.0, 1.0),
    inside=0.5,
)

uniform = Continuous(
    "uniform",
    "",
    "f(x) = 1, 0 ≤ x ≤ 1",  # chapter 26
    lambda x: 0 * x,
    cdf=lambda x: x,
    sf=lambda x: 1 - x,
    ppf=lambda q: q,
    isf=lambda q: 1 - q,
    support=(0.0, 1.0),
    inside=0.5,
)


def _f(x, dfn, dfd) -> Array:
    total = 0.5 * (dfn + dfd)
    scaled = sc.xlogy(0.5 * dfn - 1, x) + 0.5 * dfn * np.log(dfn) + 0.5 * dfd * np.log(dfd)
    return scaled - total * np.log(dfd + dfn * x) - log_beta(0.5 * dfn, 0.5 * dfd)


f = Continuous(
    "f",
    "dfn dfd",
    "f(x) = dfd^(dfd/2) dfn^(dfn/2) x^(dfn/2 - 1) / ((dfd + dfn x)^((dfn + dfd)/2) B(dfn/2, dfd/2)), x ≥ 0",  # 27
    _f,
    cdf=lambda x, dfn, dfd: sc.fdtr(dfn, dfd, x),
    sf=lambda x, dfn, dfd: sc.fdtrc(dfn, dfd, x),
    ppf=lambda q, dfn, dfd: sc.fdtri(dfn, dfd, q),
    isf=lambda q, dfn, dfd: 1 / sc.fdtri(dfd, dfn, q),
    support=HALF_LINE,
    inside=1.0,
)


def _t(x, df) -> Array:
    """The density of t; with df = inf that of the normal distribution."""
    normal = np.isinf(df)
    if arrays.may_be_any(normal):
        finite = _finite_t(x, np.where(normal, 1.0, df))
        return np.where(normal, -0.5 * (x * x) - LOG_ROOT_2PI, finite)
    return _finite_t(x, df)


def _finite_t(x, df) -> Array:
    return -0.5 * np.log(df) - log_beta(0.5, 0.5 * df) - 0.5 * (df + 1) * np.log1p(x * x / df)


t = Continuous(
    "t",
    "df",
    "f(x) = (1 + x²/df)^(-(df + 1)/2) / (√df B(1/2, df/2))",  # chapter 28
    _t,
    cdf=lambda x, df: sc.stdtr(df, x),
    sf=lambda x, df: sc.stdtr(df, -x),
    ppf=lambda q, df: sc.stdtrit(df, q),
    isf=lambda q, df: -sc.stdtrit(df, q),
)

cauchy = Continuous(
    "cauchy",
    "",
    "f(x) = 1 / (π (1 + x²))",  # chapter 16
    lambda x: -LOG_PI - np.log1p(x * x),
    cdf=lambda x: np.arctan2(1, -x) / math.pi,
    sf=lambda x: np.arctan2(1, x) / math.pi,
    ppf=lambda q: -1 / np.tan(math.pi * q),
    isf=lambda q: 1 / np.tan(math.pi * q),
)
