"""Integrals of scipy.special in their limit: the derivative is the integrand.

Source of the formulas: Abramowitz & Stegun (1964), DLMF (dlmf.nist.gov); equation numbers at the lines.
"""

from __future__ import annotations

import math

import numpy as np

from rmad.machine import arrays
from rmad.machine.backend import is_cupy, special_functions
from rmad.machine.special import sc
from rmad.primitives.several import elementwise_of_several
from rmad.rules import elementwise
from rmad.tracing.handlers import register
from rmad.tracing.quick import as_array
from rmad.tracing.traced import stop
from rmad.types import Array

__all__: list[str] = []

ROOT_PI = math.sqrt(math.pi)

# -- exponential, sine and cosine integrals ------------------------------------------------------------------------


def _expn_slope(y, n, x) -> Array:
    """-E_{n-1}(x), E_{-1}(x) = (exp(-x) + E₀(x))/x (DLMF 8.19.12, 8.19.13)"""
    n = as_array(stop(n))
    first = n == 0
    lower = -sc.expn(np.where(first, 0, n - 1), x)
    return np.where(first, -(np.exp(-x) + y) / x, lower) if arrays.may_be_any(first) else lower


def _sinc_value(x) -> Array:
    return np.sinc(x / np.pi)  # type: ignore[no-any-return]


def _sinhc(x) -> Array:
    """sinh(x)/x = ₀F₁(; 3/2; x²/4) (DLMF 10.39.9); by the quotient where that overflows or loses digits."""
    near = np.abs(stop(x)) < 2
    far = np.where(near, 2.0, x)
    return np.where(near, sc.hyp0f1(1.5, 0.25 * np.where(near, x, 0.0) ** 2), np.sinh(far) / far)


elementwise(sc.expn, None, _expn_slope)
elementwise_of_several(sc.sici, lambda ys, x: (_sinc_value(x), np.cos(x) / x))
elementwise_of_several(sc.shichi, lambda ys, x: (_sinhc(x), np.cosh(x) / x))


def _log_quotient(z) -> Array:
    """log z/(1 - z) = -₂F₁(1, 1; 2; 1 - z) (DLMF 15.4.1), which is smooth at z = 1."""
    near = np.abs(1 - stop(z)) < 0.5
    far = np.where(near, 2.0, z)
    return np.where(near, -sc.hyp2f1(1.0, 1.0, 2.0, np.where(near, 1 - z, 0.0)), np.log(far) / (1 - far))


elementwise(sc.spence, lambda y, z: _log_quotient(z))

# -- Fresnel's integrals ---------------------------------------------------------------------------------------------


def _angle(x) -> Array:
    return (0.5 * math.pi) * (x * x)


elementwise_of_several(sc.fresnel, lambda ys, x: (np.sin(_angle(x)), np.cos(_angle(x))))

# -- Gauss's function with others ------------------------------------------------------------------------------------


def _voigt_slopes(x, sigma, gamma) -> tuple[Array, Array, Array]:
    """∂/∂x, ∂/∂σ and ∂/∂γ of Re w(z)/(σ√2π), z = (x + iγ)/(σ√2), w′ = 2i/√π - 2zw (DLMF 7.10.2).

    Each order of derivatives loses log₁₀ 2|z|² digits for large |z|.
    """
    z = (x + 1j * gamma) / (math.sqrt(2) * sigma)
    w = sc.wofz(z)
    slope = 2j / ROOT_PI - 2 * z * w
    scale = 1 / (math.sqrt(2 * math.pi) * sigma)
    by_z = scale / (math.sqrt(2) * sigma)
    return np.real(slope) * by_z, -scale / sigma * np.real(w + z * slope), -np.imag(slope) * by_z


elementwise(
    sc.voigt_profile,
    lambda y, *args: _voigt_slopes(*args)[0],
    lambda y, *args: _voigt_slopes(*args)[1],
    lambda y, *args: _voigt_slopes(*args)[2],
)


def _owens_by_h(y, h, a) -> Array:
    """-exp(-h²/2) erf(ah/√2)/(2√2π) (Owen 1956)"""
    return -np.exp(-0.5 * (h * h)) * sc.erf(a * h * math.sqrt(0.5)) / (2 * math.sqrt(2 * math.pi))


def _owens_by_a(y, h, a) -> Array:
    return np.exp(-0.5 * (h * h) * (1 + a * a)) / (2 * math.pi * (1 + a * a))


elementwise(sc.owens_t, _owens_by_h, _owens_by_a)

# -- integrals of Bessel's, Airy's and Struve's functions from 0 -----------------------------------------------------


def _one_less_j0(x) -> Array:
    """(1 - j₀(x))/x = x/4 ₁F₂(1; 2, 2; -x²/4), near 0 by the integral of j₁: j₁(x)/2 + …"""
    near = np.abs(stop(x)) < 0.5
    return np.where(near, _series(np.where(near, x, 0.0), -1), (1 - sc.j0(x)) / np.where(near, 1.0, x))


def _i0_less_one(x) -> Array:
    near = np.abs(stop(x)) < 0.5
    return np.where(near, _series(np.where(near, x, 0.0), 1), (sc.i0(x) - 1) / np.where(near, 1.0, x))


def _series(x, sign) -> Array:
    """x/4 Σ_k (±x²/4)ᵏ/(k + 1)!²"""
    q, total = 0.25 * sign * (x * x), 1.0
    for k in reversed(range(1, 9)):
        total = 1 + total * q / (k + 1) ** 2
    return 0.25 * x * total


elementwise_of_several(sc.itj0y0, lambda ys, x: (sc.j0(x), sc.y0(x)))
elementwise_of_several(sc.iti0k0, lambda ys, x: (sc.i0(x), sc.k0(x)))
elementwise_of_several(sc.it2j0y0, lambda ys, x: (_one_less_j0(x), -sc.y0(x) / x))
elementwise_of_several(sc.it2i0k0, lambda ys, x: (_i0_less_one(x), -sc.k0(x) / x))
elementwise(sc.itstruve0, lambda y, x: sc.struve(0.0, x))
elementwise(sc.it2struve0, lambda y, x: -sc.struve(0.0, x) / x)
elementwise(sc.itmodstruve0, lambda y, x: sc.modstruve(0.0, x))


def _airy_slopes(ys, x) -> tuple[Array, ...]:
    right, left = sc.airy(x), sc.airy(-x)
    return right[0], right[2], left[0], left[2]


elementwise_of_several(sc.itairy, _airy_slopes)

# -- functions with an equation --------------------------------------------------------------------------------------


def _lambert_slope(y, z, k, tol) -> Array:
    """1/(exp W (1 + W)) (DLMF 4.13.4); W is complex, for real z too."""
    return np.exp(-y) / (1 + y)


def _lambert_value(z, k, tol) -> Array:
    """W of the ufunc under sc.lambertw; CuPy has it for complex numbers only."""
    if is_cupy(z):
        k = int(k) if isinstance(k, np.ndarray) and not k.ndim else k
        return special_functions(z).lambertw(z + 0j, k, tol)  # type: ignore[no-any-return]
    return sc._ufuncs._lambertw(z, k, tol)  # type: ignore[no-any-return]


register(sc._ufuncs._lambertw, elementwise(_lambert_value, _lambert_slope, None, None, name="lambertw"))
elementwise(sc.wrightomega, lambda y, z: y / (1 + y))  # ω + log ω = z
elementwise(sc.wright_bessel, None, None, lambda y, a, b, x: sc.wright_bessel(a, a + b, x))  # DLMF 10.46.1
if hasattr(sc, "log_wright_bessel"):  # since SciPy 1.14
    elementwise(sc.log_wright_bessel, None, None, lambda y, a, b, x: np.exp(sc.log_wright_bessel(a, a + b, x) - y))
