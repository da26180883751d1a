"""ψ and its derivatives, and their differences at two arguments, which the derivatives of the beta function are.

A difference ψ(a + b) - ψ(a) is summed from terms of one sign. If b is much smaller than a, the two numbers agree in
most of their digits; so do log Γ(a + b) and log Γ(a) if both are large.

Source of the formulas: Abramowitz & Stegun (1964), chapter 6; equation numbers at the lines.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.machine.backend import is_cupy, special_functions
from rmad.machine.special import sc
from rmad.primitives.zeta_exponents import BERNOULLI, SUM_HOLDS, zeta_slope_in
from rmad.rules import Primitive, elementwise
from rmad.tracing.handlers import register
from rmad.types import Array

__all__ = ["beta_slope", "log_beta", "polygamma", "polygamma_step", "zeta"]


def _complex_zeta(s, q) -> Array:
    """ζ(s, q) for s > 1 and complex q: the terms with Re (q + k) < SUM_HOLDS, and Euler-Maclaurin's sum of the rest."""
    single, q = q.dtype, q.astype(np.complex128)
    total: Any = 0.0
    for _ in range(math.ceil(SUM_HOLDS + float(arrays.highest(-q.real, -SUM_HOLDS)))):
        early = q.real < SUM_HOLDS
        total = total + np.where(early, np.where(early, q, 1) ** -s, 0)
        q = np.where(early, q + 1, q)
    rest = 1 / (s - 1) + 0.5 / q
    rising = s / (q * q)  # s (s + 1) … (s + 2k - 2) / q²ᵏ
    for k, B in enumerate(BERNOULLI, 1):
        rest = rest + B / math.factorial(2 * k) * rising
        rising = rising * ((s + 2 * k - 1) * (s + 2 * k) / (q * q))
    return (total + rest * q ** (1 - s)).astype(single)[()]


def _zeta(s, q) -> Array:
    """ζ(s, q) = Σ (q + k)⁻ˢ, k ≥ 0, as a ufunc on the CPU, whose name CuPy does not know."""
    if getattr(q, "dtype", None) is not None and q.dtype.kind == "c":
        return _complex_zeta(s, q)
    of_gpu = next(filter(is_cupy, (s, q)), None)
    return sc._ufuncs._zeta(s, q) if of_gpu is None else special_functions(of_gpu).zeta(s, q)


zeta: Primitive = elementwise(
    _zeta, lambda y, s, q: zeta_slope_in(s, q, 1), lambda y, s, q: -s * zeta(s + 1, q), name="zeta"
)
register(sc._ufuncs._zeta, zeta)  # the ufunc under sc.zeta(s, q), and under sc.polygamma


def polygamma(n: int, x: Array) -> Array:
    """dⁿψ/dxⁿ = (-1)ⁿ⁺¹ n! ζ(n + 1, x) for n ≥ 1, and ψ(x) for n = 0.

    scipy.special.polygamma is not a ufunc and takes no traced array; this function does.

    Parameters
    ----------
    n : int
        Order of the derivative, n ≥ 0.
    x : array of any shape
        Real and positive.

    Returns
    -------
    y : array of the shape of x

    References
    ----------
    Abramowitz & Stegun (1964), eq. 6.4.10.

    Examples
    --------
    >>> rmad.polygamma(1, np.array([1.0])).round(4)  # π²/6
    array([1.6449])
    """
    return sc.digamma(x) if n == 0 else (-1) ** (n + 1) * math.factorial(n) * zeta(n + 1, x)


STIRLING_HOLDS = 10  # x from where the series of ψ in 1/x with these is right to double precision


def _power_step(a, b, p) -> Array:
    """(a + b)⁻ᵖ - a⁻ᵖ, which may be much smaller than either."""
    return a**-p * np.expm1(-p * np.log1p(b / a))


def _stirling_step(a, b, n) -> Array:
    """ψ⁽ⁿ⁾(a + b) - ψ⁽ⁿ⁾(a) by the asymptotic series of ψ⁽ⁿ⁾ (A&S 6.3.18, 6.4.11)."""
    total = 0.5 * math.factorial(n) * _power_step(a, b, n + 1)
    for k, B in enumerate(BERNOULLI, 1):
        total = total + B * math.factorial(2 * k + n - 1) / math.factorial(2 * k) * _power_step(a, b, 2 * k + n)
    first = math.factorial(n - 1) * _power_step(a, b, n) if n else -np.log1p(b / a)
    return (-1) ** (n + 1) * (first + total)


def _positivepolygamma_step(a, b, n) -> Array:
    """ψ⁽ⁿ⁾(a + b) - ψ⁽ⁿ⁾(a) for a, b > 0, as a sum of terms of one sign: ψ(a) = ψ(a + 1) - 1/a until a is large."""
    total: Any = 0.0
    for _ in range(STIRLING_HOLDS):
        below = a < STIRLING_HOLDS
        step = (-1) ** (n + 1) * math.factorial(n) * _power_step(a, b, n + 1)
        total = total + np.where(below, step, 0)
        a = np.where(below, a + 1, a)
    return total + _stirling_step(a, b, n)


def _polygamma_step_value(a, b, n) -> Array:
    """ψ⁽ⁿ⁾(a + b) - ψ⁽ⁿ⁾(a)"""
    positive = (a > 0) & (b > 0)
    if arrays.is_all(positive):
        return _positivepolygamma_step(a, b, n)
    step = _positivepolygamma_step(np.where(positive, a, 1), np.where(positive, b, 1), n)
    return np.where(positive, step, polygamma(n, a + b) - polygamma(n, a))


polygamma_step: Primitive = elementwise(
    _polygamma_step_value,
    lambda y, a, b, n: polygamma_step(a, b, n + 1),
    lambda y, a, b, n: polygamma(n + 1, a + b),
    name="polygamma step",
)


def _log_gamma_step(a, b) -> Array:
    """log Γ(a + b) - log Γ(a) for a ≥ 10 and b > 0, by Stirling's series (A&S 6.1.41)."""
    total = (a + b - 0.5) * np.log1p(b / a) - b + b * np.log(a)
    for k, B in enumerate(BERNOULLI, 1):
        total = total + B / (2 * k * (2 * k - 1)) * _power_step(a, b, 2 * k - 1)
    return total


def _log_beta_value(a, b) -> Array:
    """log B(a, b). SciPy's is a difference of logarithms, which loses digits if one of a and b is large."""
    large, small = np.maximum(a, b), np.minimum(a, b)
    known = (large >= STIRLING_HOLDS) & (small > 0)
    if not arrays.may_be_any(known):
        return sc.betaln(a, b)
    large, positive = np.where(known, large, STIRLING_HOLDS), np.where(known, small, 1)
    return np.where(known, sc.gammaln(positive) - _log_gamma_step(large, positive), sc.betaln(a, b))


log_beta: Primitive = elementwise(
    _log_beta_value,
    lambda y, a, b: -polygamma_step(a, b, 0),
    lambda y, a, b: -polygamma_step(b, a, 0),
    name="log B",
)


def _beta_value(a, b) -> Array:
    known = (np.maximum(a, b) >= STIRLING_HOLDS) & (np.minimum(a, b) > 0)
    return np.where(known, np.exp(log_beta(a, b)), sc.beta(a, b)) if arrays.may_be_any(known) else sc.beta(a, b)


_beta: Primitive = elementwise(
    _beta_value, lambda y, a, b: beta_slope(a, b), lambda y, a, b: beta_slope(b, a), name="B"
)


def beta_slope(a, b) -> Array:
    """∂B(a, b)/∂a = B(a, b) (ψ(a) - ψ(a + b))."""
    return -_beta(a, b) * polygamma_step(a, b, 0)
