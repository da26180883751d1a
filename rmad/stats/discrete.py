"""Probabilities of whole numbers, one row each, with loc = 0.

Sources: Johnson, Kemp & Kotz, Univariate Discrete Distributions (2005), chapters at the rows; sums of the probabilities
are incomplete gamma and beta functions (A&S 26.4.21, 26.5.24, 26.5.26).
"""

from __future__ import annotations

import numpy as np

from rmad.machine.special import sc
from rmad.primitives.polygamma import log_beta
from rmad.stats.base import Discrete
from rmad.types import Array

__all__ = ["bernoulli", "binom", "geom", "nbinom", "poisson"]


def _probability(p) -> Array:
    return (p >= 0) & (p <= 1)


def _binomial_coefficient(n, k) -> Array:
    """log n! / (k! (n - k)!) = -log (n + 1) B(n - k + 1, k + 1): no difference of large numbers."""
    return -np.log1p(n) - log_beta(n - k + 1, k + 1)


bernoulli = Discrete(
    "bernoulli",
    "p",
    "P(k) = pᵏ (1 - p)¹⁻ᵏ, k = 0, 1",  # chapter 3
    lambda k, p: sc.xlogy(k, p) + sc.xlog1py(1 - k, -p),
    cdf=lambda k, p: 1 - p,
    sf=lambda k, p: p,
    logcdf=lambda k, p: np.log1p(-p),
    support=(0, 1),
    valid=_probability,
)

binom = Discrete(
    "binom",
    "n p",
    "P(k) = n! / (k! (n - k)!) pᵏ (1 - p)ⁿ⁻ᵏ, k = 0, …, n",  # chapter 3
    lambda k, n, p: _binomial_coefficient(n, k) + sc.xlogy(k, p) + sc.xlog1py(n - k, -p),
    cdf=lambda k, n, p: sc.betaincc(k + 1, n - k, p),
    sf=lambda k, n, p: sc.betainc(k + 1, n - k, p),
    support=(0, lambda n, p: n),
    valid=lambda n, p: (n >= 0) & (np.floor(n) == n) & _probability(p),
)

poisson = Discrete(
    "poisson",
    "mu",
    "P(k) = μᵏ exp(-μ) / k!, k = 0, 1, …",  # chapter 4
    lambda k, mu: sc.xlogy(k, mu) - sc.gammaln(k + 1) - mu,
    cdf=lambda k, mu: sc.gammaincc(k + 1, mu),
    sf=lambda k, mu: sc.gammainc(k + 1, mu),
    support=(0, np.inf),
    valid=lambda mu: mu >= 0,
)


def _nbinom(k, n, p) -> Array:
    """(n + k - 1)! / (k! (n - 1)!) = 1 / ((n + k) B(n, k + 1))"""
    return -np.log(n + k) - log_beta(n, k + 1) + n * np.log(p) + sc.xlog1py(k, -p)


nbinom = Discrete(
    "nbinom",
    "n p",
    "P(k) = Γ(n + k) / (k! Γ(n)) pⁿ (1 - p)ᵏ, k = 0, 1, …",  # chapter 5
    _nbinom,
    cdf=lambda k, n, p: sc.betainc(n, k + 1, p),
    sf=lambda k, n, p: sc.betaincc(n, k + 1, p),
    support=(0, np.inf),
    valid=lambda n, p: (n > 0) & (p > 0) & (p <= 1),
)

geom = Discrete(
    "geom",
    "p",
    "P(k) = (1 - p)ᵏ⁻¹ p, k = 1, 2, …",  # chapter 5
    lambda k, p: np.log(p) + sc.xlog1py(k - 1, -p),
    cdf=lambda k, p: -np.expm1(k * np.log1p(-p)),
    sf=lambda k, p: np.exp(k * np.log1p(-p)),
    logsf=lambda k, p: k * np.log1p(-p),
    support=(1, np.inf),
    inside=1.0,
    valid=lambda p: (p > 0) & (p <= 1),
)
