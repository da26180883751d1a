"""Elliptic integrals and functions of scipy.special.

All derivatives are Carlson's integrals, which have positive integrands, so that nothing cancels:

    I = ∫₀^∞ tᵏ (t + x)^-a (t + y)^-b (t + z)^-c (t + p)^-d dt,   ∂I/∂x = -a I(a + 1)

The first ones are SciPy's R_D where it has that. The others are summed by the trapezoidal rule in log t, whose error
falls as exp(-2π²/h) with the step h: next to mpmath it is below 1e-13 of the integral.

Sources of the formulas: Carlson (1995), "Numerical computation of real or complex elliptic integrals", DLMF
(dlmf.nist.gov) chapters 19 and 22; equation numbers at the lines.
"""

from __future__ import annotations

import math
from functools import reduce

import numpy as np

from rmad.machine import arrays
from rmad.machine.backend import is_cupy
from rmad.machine.special import sc
from rmad.primitives.several import elementwise_of_several
from rmad.rules import Primitive, elementwise
from rmad.tracing.traced import stop
from rmad.types import Array

__all__: list[str] = []

STEP = 0.5  # of the trapezoidal rule in log t
SHARPEST = 0.05  # smallest distance from the angle π of complex numbers
TAIL = 78.0  # beyond the last x or z of the range: the integrand falls by its root at least

# -- Carlson's integrals ---------------------------------------------------------------------------------------------


def _carlson_value(x, y, z, p, powers, k):
    """∫₀^∞ tᵏ (t + x)^-a (t + y)^-b (t + z)^-c (t + p)^-d dt, powers = (a, b, c, d)"""
    dtype = np.result_type(x, y, z, p)
    wide = np.complex128 if dtype.kind == "c" else np.float64
    used = [(_wide(a, wide), power) for a, power in zip((x, y, z, p), powers, strict=True) if power]
    sizes = [np.abs(a) for a, _ in used]
    with np.errstate(all="ignore"):
        start = np.log(reduce(np.minimum, (np.where(a > 0, a, np.inf) for a in sizes))) - TAIL
        length = np.log(reduce(np.maximum, sizes)) + TAIL - start
        step = STEP if wide is np.float64 else _step_by([a for a, _ in used])
        n = 1 + math.ceil(float(arrays.highest(np.where(np.isfinite(length), length, 0.0), 0.0)) / step)
        h, total = length / n, 0.0
        for m in range(n + 1):
            u = start + m * h
            t = np.exp(u)
            log_term = (k + 1) * u
            for a, power in used:
                log_term = log_term - power * np.log(t + a)
            total = total + np.exp(log_term)
        return (h * total).astype(dtype)[()]


def _step_by(args) -> float:
    """The step for numbers in the complex plane: the error falls as exp(-2πd/h), π - d their largest angle."""
    d = math.pi - max(float(arrays.highest(np.abs(np.angle(a)), 0.0)) for a in args)
    if d < SHARPEST:
        raise NotImplementedError("derivatives of Carlson's integrals of numbers so near to the negative axis")
    return STEP * d / math.pi


def _wide(a, wide) -> Array:
    return a.astype(wide) if hasattr(a, "astype") else wide(a)  # type: ignore[no-any-return]


def _carlson_derivative(place):
    def derivative(y, *args):
        *numbers, powers, k = args
        more = tuple(power + (j == place) for j, power in enumerate(powers))
        return -powers[place] * _carlson(*numbers, more, k) if powers[place] else 0.0 * y

    return derivative


_carlson: Primitive = elementwise(_carlson_value, *map(_carlson_derivative, range(4)), name="Carlson's integral")
HALF, ONE_AND_HALF = 0.5, 1.5


def _rd_value(x, y, z) -> Array:
    if is_cupy(x) or is_cupy(y) or is_cupy(z):  # CuPy has no Carlson's integrals
        return 1.5 * _carlson_value(x, y, z, 1.0, (HALF, HALF, ONE_AND_HALF, 0), 0)  # type: ignore[no-any-return]
    return sc.elliprd(x, y, z)  # type: ignore[no-any-return]


def _rd_slope(place):
    """∂R_D/∂x_k, R_D = 3/2 ∫ (t + x)^-½ (t + y)^-½ (t + z)^-3/2 dt (19.16.5)"""
    powers = tuple(power + (j == place) for j, power in enumerate((HALF, HALF, ONE_AND_HALF, 0)))
    factor = -1.5 * (ONE_AND_HALF if place == 2 else HALF)
    return lambda r, x, y, z: factor * _carlson(x, y, z, 1.0, powers, 0)


_rd: Primitive = elementwise(_rd_value, *map(_rd_slope, range(3)), name="elliprd")

elementwise(sc.elliprd, *map(_rd_slope, range(3)))
elementwise(  # 19.18.1
    sc.elliprf,
    lambda r, x, y, z: (-1 / 6) * sc.elliprd(y, z, x),
    lambda r, x, y, z: (-1 / 6) * sc.elliprd(z, x, y),
    lambda r, x, y, z: (-1 / 6) * sc.elliprd(x, y, z),
)
elementwise(  # ½ ∫ (t + x)^-½ (t + y)^-1 dt (19.16.6)
    sc.elliprc,
    lambda r, x, y: -0.25 * _carlson(x, y, 1.0, 1.0, (ONE_AND_HALF, 1, 0, 0), 0),
    lambda r, x, y: -0.5 * _carlson(x, y, 1.0, 1.0, (HALF, 2, 0, 0), 0),
)


def _rg_slope(x, y, z) -> Array:
    """∂R_G/∂x = ⅛ ∫ t (t + x)^-3/2 (t + y)^-½ (t + z)^-½ dt (19.16.9, 19.18.5)"""
    return 0.125 * _carlson(x, y, z, 1.0, (ONE_AND_HALF, HALF, HALF, 0), 1)


elementwise(
    sc.elliprg,
    lambda r, x, y, z: _rg_slope(x, y, z),
    lambda r, x, y, z: _rg_slope(y, z, x),
    lambda r, x, y, z: _rg_slope(z, x, y),
)


def _rj_slope(place):
    """R_J = 3/2 ∫ (t + x)^-½ (t + y)^-½ (t + z)^-½ (t + p)^-1 dt (19.16.2); for p < 0 it is a principal value."""
    powers = tuple(power + (j == place) for j, power in enumerate((HALF, HALF, HALF, 1)))
    factor = -1.5 * (1 if place == 3 else HALF)

    def slope(r, x, y, z, p):
        if np.any(np.real(stop(p)) <= 0):
            raise NotImplementedError("scipy.special.elliprj has no derivative for p <= 0, a principal value")
        return factor * _carlson(x, y, z, p, powers, 0)

    return slope


elementwise(sc.elliprj, *map(_rj_slope, range(4)))

# -- complete integrals: of K by 19.5.1, as m/2 ∫ sin² / (1 - m sin²)^3/2 and so on; 19.25.1 -------------------------


def _k_slope(m) -> Array:
    """dK/dm = ½ ∫ sin²θ (1 - m sin²θ)^-3/2 dθ"""
    return (1 / 6) * _rd(0 * m, 1.0 + 0 * m, 1 - m)


def _e_slope(m) -> Array:
    """dE/dm = -½ ∫ sin²θ (1 - m sin²θ)^-½ dθ"""
    return (-1 / 6) * _rd(0 * m, 1 - m, 1.0 + 0 * m)


elementwise(sc.ellipk, lambda y, m: _k_slope(m))
elementwise(sc.ellipkm1, lambda y, p: (-1 / 6) * _rd(0 * p, 1.0 + 0 * p, p))
elementwise(sc.ellipe, lambda y, m: _e_slope(m))

# -- incomplete ones: φ = nπ + ψ, |ψ| ≤ π/2 --------------------------------------------------------------------------


def _delta_value(phi, m) -> Array:
    """√(1 - m sin²φ), with the digits of 1 - m near φ = π/2"""
    c, s = np.cos(phi), np.sin(phi)
    return np.sqrt(c * c + (1 - m) * (s * s))  # type: ignore[no-any-return]


_delta: Primitive = elementwise(
    _delta_value,
    lambda d, phi, m: -m * np.sin(phi) * np.cos(phi) / d,
    lambda d, phi, m: -0.5 * np.sin(phi) ** 2 / d,
    name="√(1 - m sin²φ)",
)


def _by_parameter(phi, m, complete, sign) -> Array:
    """∂/∂m of ∫₀^φ (1 - m sin²θ)^(∓½) dθ: that of n half periods, and sin³ψ/6 times an R_D (19.25.8, 19.25.9)."""
    n = np.round(stop(phi) / math.pi)
    s, c = np.sin(phi), np.cos(phi)
    turn = np.where(n % 2 == 0, 1.0, -1.0)  # sin ψ = ± sin φ
    cc, d = c * c, c * c + (1 - m) * (s * s)
    one = 1.0 + 0 * d
    part = (sign / 6) * turn * (s * s * s) * (_rd(cc, one, d) if sign > 0 else _rd(cc, d, one))
    whole = np.where(n == 0, 0.0 * stop(m), stop(m))
    return part if not np.any(n) else part + 2 * n * complete(np.where(n == 0, whole, m))


elementwise(
    sc.ellipkinc,
    lambda y, phi, m: 1 / _delta(phi, m),
    lambda y, phi, m: _by_parameter(phi, m, _k_slope, 1),
)
elementwise(
    sc.ellipeinc,
    lambda y, phi, m: _delta(phi, m),
    lambda y, phi, m: _by_parameter(phi, m, _e_slope, -1),
)


def _jacobi_by_u(ys, u, m) -> tuple[Array, ...]:
    """22.13.1"""
    sn, cn, dn, _ = ys
    return cn * dn, -sn * dn, -m * sn * cn, dn


def _jacobi_by_m(ys, u, m) -> tuple[Array, ...]:
    """F(φ, m) = u, so ∂φ/∂m = -dn ∂F/∂m, and sn = sin φ, cn = cos φ, dn = √(1 - m sn²)."""
    sn, cn, dn, phi = ys
    slope = -dn * _by_parameter(phi, m, _k_slope, 1)
    return cn * slope, -sn * slope, -(0.5 * sn * sn + m * sn * cn * slope) / dn, slope


elementwise_of_several(sc.ellipj, _jacobi_by_u, _jacobi_by_m)

# -- the arithmetic-geometric mean, M = π/2 / R_F(0, a², b²) (19.8.5) ------------------------------------------------


def _agm_slope(y, a, b) -> Array:
    """∂M/∂a = (2a/3π) M² R_D(0, b², a²)"""
    return (2 / (3 * math.pi)) * a * (y * y) * _rd(0 * a, b * b, a * a)


elementwise(sc.agm, lambda y, a, b: _agm_slope(y, a, b), lambda y, a, b: _agm_slope(y, b, a))
