"""Derivatives of the Bessel functions J and Y in their order, for real x > 0.

    Jᵥ(x) = 1/π ∫₀^π cos(x sin θ - vθ) dθ - sin(vπ)/π ∫₀^∞ exp(-x sinh t - vt) dt                  (DLMF 10.9.6)
    Yᵥ(x) = 1/π ∫₀^π sin(x sin θ - vθ) dθ - 1/π ∫₀^∞ (exp(vt) + exp(-vt) cos(vπ)) exp(-x sinh t) dt  (DLMF 10.9.7)

are differentiated under the integral, and J by its power series (DLMF 10.2.2) where x is small next to v. Next to
mpmath the error is below 1e-11, relative to the larger of 1/√x and the derivative; so that of J has few digits where
it is tiny and the series does not reach, as for v = 100 and x = 60.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.machine.special import sc
from rmad.primitives.incomplete import FALL, NODES, STEP, double, gamma_kappa, polynomial
from rmad.rules import Primitive, elementwise

__all__ = ["j_slope_in", "y_slope_in"]

PHASE, POINTS = 8.0, 20  # of a panel of the integral over θ: its phase at most, and its Gauss-Legendre nodes
GROWTH = 8.0  # log of the largest term of the series next to the first, up to which it is used


@cache
def _panel() -> list[tuple[float, float]]:
    from numpy.polynomial.legendre import leggauss

    nodes, weights = leggauss(POINTS)
    return list(zip(nodes.tolist(), weights.tolist(), strict=True))


def _angles(v: Any, x: Any, k: int) -> Any:
    """1/π ∫₀^π (-iθ)ᵏ exp(i (x sin θ - vθ)) dθ"""
    panels = math.ceil(float(arrays.highest(2 * x + math.pi * v, 1.0)) / PHASE)
    total: Any = 0.0
    for p in range(panels):
        for node, weight in _panel():
            theta = math.pi * (p + 0.5 + 0.5 * node) / panels
            wave = np.exp(1j * (x * math.sin(theta) - v * theta))
            total = total + (0.5 * weight / panels) * (-1j * theta) ** k * wave
    return total


def _tail(v: Any, x: Any, k: int, sign: int) -> Any:
    """∫₀^∞ (±t)ᵏ exp(-x sinh t ± vt) dt, as far as the integrand has more than a share of exp(-FALL) of its peak.

    For the sign + that is at cosh t = v/x, or at 0; beyond, the logarithm falls by max(v, x) (sinh d - d) at least.
    """
    if sign > 0:
        peak, steep = np.arccosh(np.maximum(v / x, 1)), np.maximum(v, x)
        d = np.minimum(np.cbrt(6 * FALL / steep), np.maximum(2.2, np.arcsinh(2 * FALL / steep)))
        ends = [0 * x, peak, peak + d]
    else:
        ends = [0 * x, np.arcsinh(FALL / x)]
    total: Any = 0.0
    for start, end in pairwise(ends):
        for place, weight in NODES:
            t = start + (end - start) * place
            share = np.exp(sign * v * t - x * np.sinh(t))
            total = total + (STEP * math.pi * weight) * (end - start) * (sign * t) ** k * share
    return total


def _turned(f: Callable[[Any], Any], v: Any, k: int) -> Any:
    """dᵏ/dvᵏ of f(vπ), f the sine or the cosine."""
    return math.pi**k * f(math.pi * (v + 0.5 * k))


def _series(v: Any, x: Any, k: int) -> Any:
    largest = float(arrays.highest(x, 0.0))
    logarithm, quarter = np.log(0.5 * x), -0.25 * x * x
    term, total = np.exp(v * logarithm - sc.gammaln(v + 1)), 0.0
    for m in range(int(largest) + 30):
        total = total + term * polynomial(gamma_kappa(v + (m + 1))(logarithm), k, 0)
        term = term * (quarter / ((m + 1) * (v + (m + 1))))
    return total


def _j(v: Any, x: Any, k: int) -> Any:
    """∂ᵏJ/∂vᵏ for v ≥ 0."""
    small = x * x <= 4 * GROWTH * (v + 1)
    by_series = _series(v, np.where(small, x, 1.0), k)
    if np.all(small):
        return by_series
    order, point = np.where(small, 1.0, v), np.where(small, 1.0, x)
    waves = np.real(_angles(order, point, k))
    rest = sum(math.comb(k, j) * _turned(np.sin, order, k - j) * _tail(order, point, j, -1) for j in range(k + 1))
    return np.where(small, by_series, waves - rest / math.pi)


def _y(v: Any, x: Any, k: int) -> Any:
    """∂ᵏY/∂vᵏ for v ≥ 0."""
    rest = sum(math.comb(k, j) * _turned(np.cos, v, k - j) * _tail(v, x, j, -1) for j in range(k + 1))
    return np.imag(_angles(v, x, k)) - (_tail(v, x, k, 1) + rest) / math.pi


def _value(name: str, own: Any, other: Any, sign: int) -> Callable[..., Any]:
    """The derivative for all v: J₋ᵥ = cos(vπ) Jᵥ - sin(vπ) Yᵥ, Y₋ᵥ = cos(vπ) Yᵥ + sin(vπ) Jᵥ (DLMF 10.4.6)."""

    def value(v: Any, x: Any, k: int) -> Any:
        if np.iscomplexobj(x):
            raise NotImplementedError(f"scipy.special.{name} of complex x has no derivative in its order")
        dtype = np.result_type(v, x)
        v, x = np.broadcast_arrays(*map(double, (v, x)))
        inner = (x > 0) & (x < np.inf)
        order, point = np.where(inner, np.abs(v), 1.0), np.where(inner, x, 1.0)
        y = own(order, point, k)
        if np.any(v < 0):
            turned = sum(
                math.comb(k, j)
                * (
                    _turned(np.cos, order, k - j) * own(order, point, j)
                    + sign * _turned(np.sin, order, k - j) * other(order, point, j)
                )
                for j in range(k + 1)
            )
            y = np.where(v < 0, (-1) ** k * turned, y)
        return np.where(inner, y, np.nan).astype(dtype)[()]

    return value


def _primitive(name: str, own: Any, other: Any, sign: int) -> Primitive:
    slope: Primitive = elementwise(
        _value(name, own, other, sign),
        lambda y, v, x, k: slope(v, x, k + 1),
        lambda y, v, x, k: 0.5 * (slope(v - 1, x, k) - slope(v + 1, x, k)),
        name=f"∂{name}/∂v",
    )
    return slope


j_slope_in = _primitive("jv", _j, _y, -1)
y_slope_in = _primitive("yv", _y, _j, 1)
