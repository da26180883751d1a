"""Solutions of wave equations in scipy.special: Airy's, Kelvin's, Struve's, spherical Bessel and parabolic cylinder
functions, each by its equation or by its neighbours.

Source of the formulas: DLMF (dlmf.nist.gov); equation numbers at the lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.machine.special import sc
from rmad.primitives.arguments import is_complex
from rmad.primitives.scipy_tails import scaled_i_derivative, scaled_k_derivative
from rmad.primitives.several import elementwise_of_several
from rmad.rules import elementwise
from rmad.tracing.quick import as_array
from rmad.tracing.traced import stop
from rmad.types import Array

__all__: list[str] = []

FAR = 13.0  # z with ζ > 31, beyond which the series has all digits

# -- Airy's functions, w″ = z w (9.2.1), and parabolic cylinder functions, w″ = ±(x²/4 - c) w (12.2.1) ---------------


def _airy_slopes(ys, z) -> tuple[Array, ...]:
    a, a_slope, b, b_slope = ys
    return a_slope, z * a, b_slope, z * b


def _scaled_airy_slopes(ys, z) -> tuple[Array, ...]:
    """Of Ai exp ζ, Ai′ exp ζ, Bi exp -ζ, Bi′ exp -ζ, ζ = 2/3 z^3/2, ζ′ = √z.

    For large z, Ai′ + √z Ai loses log₁₀ 6ζ digits; there they are derivatives of √(z/3) K_⅓(ζ)/π and its kin.
    """
    if is_complex(z):
        raise NotImplementedError("scipy.special.airye of complex z is not holomorphic; use airy(z) times exponentials")
    far = stop(z) > FAR
    near, beyond = (np.where(far, FAR, z), np.where(far, z, FAR)) if np.any(far) else (z, None)
    a, a_slope, b, b_slope = ys if beyond is None else sc.airye(near)
    root = np.sqrt(np.where(stop(near) < 0, np.nan, near))
    slopes = a_slope + root * a, near * a + root * a_slope, b_slope - root * b, near * b - root * b_slope
    if beyond is None:
        return slopes
    return tuple(np.where(far, f, y) for f, y in zip(_far_airy_slopes(beyond), slopes, strict=True))


def _far_airy_slopes(z) -> tuple[Array, ...]:
    """By 9.6.2 to 9.6.5, with the asymptotic series of the modified Bessel functions."""
    root = np.sqrt(z)
    zeta = (2 / 3) * z * root

    def k(v: float) -> tuple[Array, Array]:
        y = sc.kve(v, zeta)
        return y, scaled_k_derivative(y, v, zeta, lambda t: -0.5 * (sc.kve(v - 1, t) + sc.kve(v + 1, t)))

    def i(v: float) -> tuple[Array, Array]:
        y: Any = 0.0
        y_slope: Any = 0.0
        for order in (v, -v):
            part = sc.ive(order, zeta)
            slope = scaled_i_derivative(
                part, order, zeta, lambda t, order=order: 0.5 * (sc.ive(order - 1, t) + sc.ive(order + 1, t))
            )
            y, y_slope = y + part, y_slope + slope
        return y, y_slope

    def of_function(pair: tuple[Array, Array]) -> Array:
        return 0.5 * pair[0] / root + z * pair[1]  # of √z f(ζ)

    def of_slope(pair: tuple[Array, Array]) -> Array:
        return pair[0] + z * root * pair[1]  # of z f(ζ)

    c = 1 / math.sqrt(3)
    return (
        c / math.pi * of_function(k(1 / 3)),
        -c / math.pi * of_slope(k(2 / 3)),
        c * of_function(i(1 / 3)),
        c * of_slope(i(2 / 3)),
    )


def _cylinder(f: Any, curvature: Callable[[Any, Any], Any]) -> None:
    """(w, w′) of (c, x), w″ = curvature(c, x) w."""
    elementwise_of_several(f, None, lambda ys, c, x: (ys[1], curvature(c, x) * ys[0]))


elementwise_of_several(sc.airy, _airy_slopes)
elementwise_of_several(sc.airye, _scaled_airy_slopes)
_cylinder(sc.pbdv, lambda v, x: 0.25 * (x * x) - v - 0.5)
_cylinder(sc.pbvv, lambda v, x: 0.25 * (x * x) - v - 0.5)
_cylinder(sc.pbwa, lambda a, x: a - 0.25 * (x * x))

# -- Kelvin's functions: ber x + i bei x = J₀(x exp(3πi/4)), ker x + i kei x = K₀(x exp(πi/4)) (10.61.1, 10.61.2) ----

TURN_J, TURN_K = np.exp(0.75j * math.pi), np.exp(0.25j * math.pi)


def _be_curvature(x) -> Array:
    """(ber + i bei)″ = ½i (J₀ - J₂); of two parts that differ much, as near 0, the smaller one has fewer digits."""
    z = TURN_J * x
    return 0.5j * (sc.jv(0, z) - sc.jv(2, z))


def _ke_curvature(x) -> Array:
    """(ker + i kei)″ = ½i (K₀ + K₂)"""
    z = TURN_K * x
    return 0.5j * (sc.kv(0, z) + sc.kv(2, z))


elementwise(sc.ber, lambda y, x: sc.berp(x))
elementwise(sc.bei, lambda y, x: sc.beip(x))
elementwise(sc.ker, lambda y, x: sc.kerp(x))
elementwise(sc.kei, lambda y, x: sc.keip(x))
elementwise(sc.berp, lambda y, x: np.real(_be_curvature(x)))
elementwise(sc.beip, lambda y, x: np.imag(_be_curvature(x)))
elementwise(sc.kerp, lambda y, x: np.real(_ke_curvature(x)))
elementwise(sc.keip, lambda y, x: np.imag(_ke_curvature(x)))
elementwise_of_several(sc.kelvin, lambda ys, x: (ys[2], ys[3], _be_curvature(x), _ke_curvature(x)))

# -- Struve's functions (11.4.27, 11.4.29 and their kin) -------------------------------------------------------------


def _struve_slope(f: Any, sign: int) -> Callable[..., Array]:
    """½(f_{v-1} ∓ f_{v+1} + (x/2)ᵛ/(√π Γ(v + 3/2)))"""

    def slope(y, v, x) -> Array:
        rest = (0.5 * x) ** v * (sc.rgamma(v + 1.5) / math.sqrt(math.pi))
        return 0.5 * (f(v - 1, x) + sign * f(v + 1, x) + rest)

    return slope


elementwise(sc.struve, None, _struve_slope(sc.struve, -1))
elementwise(sc.modstruve, None, _struve_slope(sc.modstruve, 1))

# -- spherical Bessel functions (10.51.1, 10.51.4) -------------------------------------------------------------------


def _spherical(name: str, before: int, after: int) -> None:
    """(2n + 1) f′ = ±n f_{n-1} ± (n + 1) f_{n+1}, also of f′ itself; before, after: the signs."""

    def neighbours(f: Any) -> Callable[..., Array]:
        def slope(y, n, z) -> Array:
            n = as_array(stop(n))
            lower, upper = f(np.where(n == 0, 0, n - 1), z), f(n + 1, z)
            lower = lower if np.all(n) else np.where(n == 0, 0.0, lower)  # 0 · ∞ at z = 0
            return (before * n * lower + after * (n + 1) * upper) / (2 * n + 1)

        return slope

    of_itself, of_derivative = (getattr(sc._ufuncs, f"_spherical_{name}{end}") for end in ("", "_d"))
    elementwise(of_itself, None, neighbours(of_itself), name=f"spherical_{name}")
    elementwise(of_derivative, None, neighbours(of_derivative), name=f"spherical_{name}, derivative")


_spherical("jn", 1, -1)
_spherical("yn", 1, -1)
_spherical("in", 1, 1)
_spherical("kn", -1, -1)

# -- Hankel's functions times exp(∓iz), Bessel's of real x as scaled by SciPy ----------------------------------------


def _scaled_hankel(f: Any, sign: int) -> None:
    elementwise(f, None, lambda y, v, z: 0.5 * (f(v - 1, z) - f(v + 1, z)) - sign * 1j * y)


_scaled_hankel(sc.hankel1e, 1)
_scaled_hankel(sc.hankel2e, -1)


def _scaled_bessel(f: Any, unscaled: str) -> None:
    """J and Y times exp(-|Im z|), which is one for real z."""

    def slope(y, v, x) -> Array:
        if is_complex(x):
            raise NotImplementedError(
                f"scipy.special.{f.__name__} of complex x is not holomorphic; use {unscaled}(v, x) * exp(-abs(x.imag))"
            )
        return 0.5 * (f(v - 1, x) - f(v + 1, x))

    elementwise(f, None, slope)


_scaled_bessel(sc.jve, "jv")
_scaled_bessel(sc.yve, "yv")

# -- associated Legendre functions (14.10.1, 14.10.4) ----------------------------------------------------------------


def _legendre_slope(y, m, v, x) -> Array:
    """√(1 - x²) dP/dx = ½((v + m)(v - m + 1) Pᵐ⁻¹ - Pᵐ⁺¹), for SciPy's sign of P"""
    lower, upper = sc.lpmv(m - 1, v, x), sc.lpmv(m + 1, v, x)
    return 0.5 * ((v + m) * (v - m + 1) * lower - upper) / np.sqrt((1 - x) * (1 + x))


elementwise(sc.lpmv, None, None, _legendre_slope)
