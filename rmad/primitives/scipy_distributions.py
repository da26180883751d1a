"""Distribution functions of scipy.special and their inverses, in every continuous argument.

Those of the gamma and beta distributions are incomplete gamma and beta functions, whose derivatives in the parameters
are in `incomplete`. An inverse y of F(…, y, …) = q has ∂y/∂q = 1/∂F/∂y and ∂y/∂p = -∂F/∂p / ∂F/∂y.

Source of the formulas: Abramowitz & Stegun (1964), chapter 26; equation numbers at the lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.machine.special import sc
from rmad.primitives.boxcox import boxcox_by_power
from rmad.primitives.incomplete import beta_density, beta_slope_in, gamma_density, gamma_slope_in
from rmad.primitives.polygamma import log_beta
from rmad.primitives.scipy_tails import square
from rmad.rules import elementwise
from rmad.tracing.traced import stop
from rmad.types import Array

__all__: list[str] = []

ROOT_2PI = math.sqrt(2 * math.pi)
AT_BOUND = 1e-6  # what a search of SciPy's leaves of a probability if it ends at a bound


# -- incomplete gamma and beta functions, and the distribution functions made of them ------------------------


def _inverse(
    f: Any,
    slopes: Sequence[Callable[..., Any] | None],
    place: int,
    sign: int = 1,
    found: Callable[..., Any] | None = None,
) -> None:
    """The rule of y = f(…, q, …), F(…, y, …) = q in the place of q. slopes: those of F; sign: -1 for 1 - F = q.

    found: F, if f looks for y within bounds: at a bound, where F differs from q, the derivative is zero.
    """

    def ratio(args: Sequence[Any], k: int) -> Any:
        density = slopes[place](*args)  # type: ignore[misc]
        return sign / density if k == place else -slopes[k](*args) / density  # type: ignore[misc]

    def by_parameter(k: int) -> Callable[..., Any] | None:
        if slopes[k] is None:
            return None

        def derivative(y: Any, *given: Any) -> Any:
            args = (*given[:place], y, *given[place + 1 :])
            if found is None:
                return ratio(args, k)
            bound = ~(np.abs(found(*stop(list(args))) - stop(given[place])) <= AT_BOUND)  # or NaN
            if not arrays.may_be_any(bound):
                return ratio(args, k)
            return np.where(bound, 0.0, ratio((*given[:place], np.where(bound, 1.0, y), *given[place + 1 :]), k))

        return derivative

    elementwise(f, *map(by_parameter, range(len(slopes))))


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
_inverse(sc.gammaincinv, _gamma_slopes, 1)
_inverse(sc.gammainccinv, _gamma_slopes, 1, sign=-1)
_inverse(sc.betaincinv, _beta_slopes, 2)
_inverse(sc.betainccinv, _beta_slopes, 2, sign=-1)

_chi2_slopes = (  # P(v/2, x/2) (26.4.19)
    lambda v, x: 0.5 * gamma_slope_in(0.5 * v, 0.5 * x, 1),
    lambda v, x: 0.5 * gamma_density(0.5 * v, 0.5 * x),
)
_scaled_gamma_slopes = (  # P(b, a x)
    lambda a, b, x: x * gamma_density(b, a * x),
    lambda a, b, x: gamma_slope_in(b, a * x, 1),
    lambda a, b, x: a * gamma_density(b, a * x),
)
_both(sc.chdtr, sc.chdtrc, *_chi2_slopes)
_both(sc.gdtr, sc.gdtrc, *_scaled_gamma_slopes)
_inverse(sc.chdtri, _chi2_slopes, 1, sign=-1)
_inverse(sc.chdtriv, _chi2_slopes, 0, found=sc.chdtr)
_inverse(sc.gdtria, _scaled_gamma_slopes, 0, found=sc.gdtr)
_inverse(sc.gdtrib, _scaled_gamma_slopes, 1, found=sc.gdtr)
_inverse(sc.gdtrix, _scaled_gamma_slopes, 2)
_inverse(sc.btdtria, _beta_slopes, 0, found=sc.betainc)
_inverse(sc.btdtrib, _beta_slopes, 1, found=sc.betainc)

# -- sums of probabilities: steps in whole numbers, of which SciPy cuts the decimals off; their inverses are smooth --


def _poisson_by_mean(k, m) -> Array:
    """1 - P(k + 1, m) (26.4.21)"""
    return -gamma_density(np.floor(k) + 1, m)


def _binomial_by_p(k, n, p) -> Array:
    """1 - I_p(k + 1, n - k) (26.5.24)"""
    return -beta_density(np.floor(k) + 1, np.trunc(n) - np.floor(k), p)


def _negative_binomial_by_p(k, n, p) -> Array:
    """I_p(n, k + 1) (26.5.26)"""
    return beta_density(np.trunc(n), np.trunc(k) + 1, p)


_both(sc.pdtr, sc.pdtrc, None, _poisson_by_mean)
_both(sc.bdtr, sc.bdtrc, None, None, _binomial_by_p)
_both(sc.nbdtr, sc.nbdtrc, None, None, _negative_binomial_by_p)
_inverse(sc.pdtri, (None, _poisson_by_mean), 1)
_inverse(sc.bdtri, (None, None, _binomial_by_p), 2)
_inverse(sc.nbdtri, (None, None, _negative_binomial_by_p), 2)
_inverse(
    sc.pdtrik,
    (lambda k, m: -gamma_slope_in(k + 1, m, 1), lambda k, m: -gamma_density(k + 1, m)),
    0,
    found=lambda k, m: sc.gammaincc(k + 1, m),
)

_smooth_binomial_slopes = (
    lambda k, n, p: beta_slope_in(k + 1, n - k, p, 0, 1) - beta_slope_in(k + 1, n - k, p, 1, 0),
    lambda k, n, p: -beta_slope_in(k + 1, n - k, p, 0, 1),
    lambda k, n, p: -beta_density(k + 1, n - k, p),
)
_smooth_negative_slopes = (
    lambda k, n, p: beta_slope_in(n, k + 1, p, 0, 1),
    lambda k, n, p: beta_slope_in(n, k + 1, p, 1, 0),
    lambda k, n, p: beta_density(n, k + 1, p),
)


def _smooth_binomial(k, n, p) -> Array:
    return sc.betainc(n - k, k + 1, 1 - p)  # type: ignore[no-any-return]


def _smooth_negative(k, n, p) -> Array:
    return sc.betainc(n, k + 1, p)  # type: ignore[no-any-return]


_inverse(sc.bdtrik, _smooth_binomial_slopes, 0, found=_smooth_binomial)
_inverse(sc.bdtrin, _smooth_binomial_slopes, 1, found=_smooth_binomial)
_inverse(sc.nbdtrik, _smooth_negative_slopes, 0, found=_smooth_negative)
_inverse(sc.nbdtrin, _smooth_negative_slopes, 1, found=_smooth_negative)

# -- F, t and the normal distribution --------------------------------------------------------------------------------


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
_inverse(sc.fdtri, (_f_by_dfn, _f_by_dfd, _f_density), 2)
_inverse(sc.fdtridfd, (_f_by_dfn, _f_by_dfd, _f_density), 1, found=sc.fdtr)


def _t_density(df, t) -> Array:
    """(1 + t²/df)^(-(df + 1)/2) / (√df B(1/2, df/2)); with df = inf that of the normal distribution."""
    finite = np.isfinite(df)
    nu = np.where(finite, df, 1)
    student = -0.5 * np.log(nu) - log_beta(0.5, 0.5 * nu) - 0.5 * (nu + 1) * np.log1p(t * t / nu)
    return np.where(finite, np.exp(student), np.exp(-0.5 * square(t)) / ROOT_2PI)


def _t_by_df(df, t) -> Array:
    """∂/∂df of half I_z(df/2, 1/2), z = df / (df + t²), on the left, and less that on the right (A&S 26.7.1)."""
    finite = np.isfinite(df)
    nu = np.where(finite, df, 1)
    total = nu + t * t
    slope = _slope_with_rest(0.5 * nu, 0.5 + 0 * t, nu / total, t * t / total, 1, 0)
    return np.where(finite, -0.25 * np.copysign(1, t) * slope - t * _t_density(nu, t) / (2 * nu), 0)


elementwise(sc.stdtr, lambda y, df, t: _t_by_df(df, t), lambda y, df, t: _t_density(df, t))
_inverse(sc.stdtrit, (_t_by_df, _t_density), 1)
_inverse(sc.stdtridf, (_t_by_df, _t_density), 0, found=sc.stdtr)


def _quantile_slope(q) -> Array:
    """The derivative of q = Φ⁻¹(p)."""
    return ROOT_2PI * np.exp(0.5 * (q * q))


elementwise(  # x - σq
    sc.nrdtrimn,
    lambda y, p, sd, x: -sd * _quantile_slope(sc.ndtri(p)),
    lambda y, p, sd, x: -sc.ndtri(p),
    1,
)
elementwise(  # (x - μ)/q
    sc.nrdtrisd,
    lambda y, mn, p, x: -1 / sc.ndtri(p),
    lambda y, mn, p, x: -y / sc.ndtri(p) * _quantile_slope(sc.ndtri(p)),
    lambda y, mn, p, x: 1 / sc.ndtri(p),
)

# -- noncentral χ²: f(x; k, λ) = ½ exp(-(x + λ)/2) (x/λ)^(k/4 - ½) I_{k/2 - 1}(√λx) (26.4.25), Poisson's mixture -----


def _noncentral_density(x, df, nc) -> Array:
    root = np.sqrt(x * nc)
    gap = np.sqrt(x) - np.sqrt(nc)
    power = (0.25 * df - 0.5) * np.log(x / nc)
    return 0.5 * np.exp(power - 0.5 * (gap * gap)) * sc.ive(0.5 * df - 1, root)


def _noncentral_by_nc(x, df, nc) -> Array:
    """-f(x; k + 2, λ)"""
    return -_noncentral_density(x, df + 2, nc)


_noncentral_slopes = (_noncentral_density, None, _noncentral_by_nc)
elementwise(
    sc.chndtr,
    lambda y, x, df, nc: _noncentral_density(x, df, nc),
    None,
    lambda y, x, df, nc: _noncentral_by_nc(x, df, nc),
)
_inverse(sc.chndtrix, _noncentral_slopes, 0)
_inverse(sc.chndtrinc, _noncentral_slopes, 2, found=sc.chndtr)

# -- Tukey's λ: the inverse of Q(p) = (pᵏ - (1 - p)ᵏ)/k --------------------------------------------------------------


def _tukey(slope: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """The rule, and zero outside the support, where y is 0 or 1."""

    def derivative(y: Any, x: Any, k: Any) -> Any:
        inside = (stop(y) > 0) & (stop(y) < 1)
        return slope(y, k) if arrays.is_all(inside) else np.where(inside, slope(np.where(inside, y, 0.5), k), 0.0)

    return derivative


def _tukey_density(y, k) -> Array:
    return 1 / (y ** (k - 1) + (1 - y) ** (k - 1))


def _tukey_by_k(y, k) -> Array:
    return (boxcox_by_power(1 - y, k) - boxcox_by_power(y, k)) * _tukey_density(y, k)


elementwise(sc.tklmbda, _tukey(_tukey_density), _tukey(_tukey_by_k))
