"""Derivatives of SciPy's functions for large arguments, by their asymptotic series.

There, a derivative that is a difference of neighbouring functions, or of xf(x) and a constant, cancels: of erfcx and of
Dawson's function, and of the modified Bessel functions that are scaled by exp(±x).

Sources of the formulas: Abramowitz & Stegun (1964), DLMF (dlmf.nist.gov); equation numbers at the lines.
"""

from __future__ import annotations

import math

import numpy as np

from rmad.machine import arrays
from rmad.machine.special import sc
from rmad.primitives.arguments import is_complex
from rmad.rules import Primitive, elementwise
from rmad.types import Array

__all__ = ["dawsn_derivative", "erfcx_derivative", "scaled_i_derivative", "scaled_k_derivative", "square"]

ROOT_PI = math.sqrt(math.pi)


def square(x) -> Array:
    """x² for use in exp(-x²): inf is right if it overflows."""
    with np.errstate(over="ignore"):
        return x * x


GAUSS_FAR, GAUSS_TERMS = 7, 24  # |x| and number of terms with which `_gauss_tail` is right to double precision


def _gauss_tail(x, k, sign) -> Array:
    """dᵏ/dxᵏ Σ_{n ≥ 0} signⁿ (2n - 1)!! / (2ⁿ⁺¹ x²ⁿ⁺¹), which is asymptotic (DLMF 7.12.1)."""
    r = 1 / x
    q, total = r * r, 0.0
    for n in reversed(range(GAUSS_TERMS)):
        c = sign**n * math.prod(range(2 * n - 1, 1, -2)) / 2 ** (n + 1)
        total = total * q + c * math.prod(range(2 * n + 1, 2 * n + 1 + k))
    return total * r * (-r) ** k


def _gauss_derivatives(f, sign, c, far) -> Primitive:
    """dᵏf/dxᵏ for k ≥ 1 and f′ = 2 sign x f + c, f → 0 in the region `far`, where that cancels."""

    def recurrence(x, k) -> Array:
        before, y = None, f(x)
        before, y = y, 2 * sign * x * y + c
        for j in range(1, k):
            before, y = y, 2 * sign * (x * y + j * before)
        return y

    def value(x, k) -> Array:
        in_tail = np.abs(x) < 0 if is_complex(x) else far(x)
        if not arrays.may_be_any(in_tail):
            return recurrence(x, k)
        tail = -c * sign * _gauss_tail(np.where(in_tail, x, GAUSS_FAR), k, -sign)
        return np.where(in_tail, tail, recurrence(np.where(in_tail, 0, x), k))

    derivatives: Primitive = elementwise(
        value, lambda y, x, k: derivatives(x, k + 1), name=f"derivatives of {f.__name__}"
    )
    return derivatives


erfcx_derivative = _gauss_derivatives(sc.erfcx, 1, -2 / ROOT_PI, lambda x: x > GAUSS_FAR)
dawsn_derivative = _gauss_derivatives(sc.dawsn, -1, 1, lambda x: np.abs(x) > GAUSS_FAR)


BESSEL_TERMS = 30  # of `_bessel_tail`: right to double precision in the region that `_in_tail` tells


def _in_tail(v, x) -> Array:
    """True for |x| so large that a difference of iᵥ exp(-|x|) and its neighbours, or of kᵥ exp(x), loses digits."""
    return (np.abs(x) > 30 + 0.25 * v * v) & ((x > 0) | (np.floor(v) == v))


def _bessel_tail_value(x, v, k, sign) -> Array:
    """dᵏ/dxᵏ x^(-1/2) Σ_j (sign/8x)ʲ/j! ∏_{i ≤ j} (4v² - (2i - 1)²), which is asymptotic (A&S 9.7.1, 9.7.2)."""
    r, total = 1 / x, 1.0
    for j in reversed(range(1, BESSEL_TERMS)):
        total = 1 + total * r * (sign * (4 * v * v - (2 * j - 1) ** 2) / (8 * j) * (j - 0.5 + k) / (j - 0.5))
    return (-1) ** k * math.prod(i + 0.5 for i in range(k)) * np.sqrt(r) * r**k * total


_bessel_tail: Primitive = elementwise(
    _bessel_tail_value, lambda y, x, v, k, sign: _bessel_tail(x, v, k + 1, sign), name="Bessel tail"
)


def _with_tail(near, tail, v, x) -> Array:
    """tail(x) in the region `_in_tail`, near(x) elsewhere; each of x in its region, or a number there."""
    in_tail = _in_tail(v, x)
    if is_complex(x) or not arrays.may_be_any(in_tail):
        return near(x)
    return np.where(in_tail, tail(np.where(in_tail, x, 31 + v * v)), near(np.where(in_tail, 1, x)))


def scaled_i_derivative(y, v, x, unscaled) -> Array:
    """iᵥ exp(-|x|) has the derivative of iᵥ, scaled, minus sign(x) iᵥ exp(-|x|)."""

    def tail(x) -> Array:
        turned = np.where(x > 0, 1, -1 + 2 * (v % 2))  # (-1)ᵛ⁺¹ on the left
        return (turned / math.sqrt(2 * math.pi)) * _bessel_tail(np.abs(x), v, 1, -1)

    return _with_tail(lambda x: unscaled(x) - np.sign(x) * y, tail, v, x)


def scaled_k_derivative(y, v, x, unscaled) -> Array:
    """kᵥ exp(x) has the derivative of kᵥ, scaled, plus kᵥ exp(x)."""
    return _with_tail(lambda x: y + unscaled(x), lambda x: math.sqrt(math.pi / 2) * _bessel_tail(x, v, 1, 1), v, x)
