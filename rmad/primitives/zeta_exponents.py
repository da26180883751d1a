"""Derivatives of Hurwitz's and Riemann's ζ in the exponent s, of any order.

    ∂ᵏζ(s, q)/∂sᵏ = Σ (-log(q + n))ᵏ (q + n)⁻ˢ

The terms up to q + n = 16 are summed, and the rest is Euler and Maclaurin's sum (DLMF 25.11.5) of power series in ε for
s + ε. Next to mpmath the relative error is below 1e-11 for s from -1 to 40; further to the left its terms cancel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.machine.backend import is_cupy, special_functions
from rmad.machine.special import sc
from rmad.rules import Primitive, elementwise
from rmad.tracing.handlers import register
from rmad.types import Array

__all__ = ["BERNOULLI", "SUM_HOLDS", "zeta_slope_in"]

BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)  # B₂, B₄, …
SUM_HOLDS = 16  # real part of q from where the sum of Euler and Maclaurin with these is right to double precision
LEAST = -1.0  # exponent for which the sum has the digits


def _times(a: list[Any], b: list[Any]) -> list[Any]:
    """The product of two power series."""
    return [sum(a[i] * b[j - i] for i in range(j + 1)) for j in range(len(a))]


def _zeta_slope(s, q, k: int) -> Array:
    dtype = np.result_type(s, q)
    s, q = (a.astype(np.result_type(a, np.float64)) if hasattr(a, "astype") else np.float64(a) for a in (s, q))
    if float(arrays.highest(-np.real(s), -np.inf)) > -LEAST:
        raise NotImplementedError(f"zeta has no derivative in an exponent below {LEAST:g} here")
    valid = q > 0
    q = np.where(valid, q, 1.0)
    total: Any = 0.0
    with np.errstate(all="ignore"):
        for _ in range(math.ceil(SUM_HOLDS + float(arrays.highest(-q, -SUM_HOLDS)))):
            early = q < SUM_HOLDS
            total = total + np.where(early, (-np.log(q)) ** k * q**-s, 0.0)
            q = np.where(early, q + 1, q)
        rest: list[Any] = [(-1) ** j / (s - 1) ** (j + 1) for j in range(k + 1)]
        rest[0] = rest[0] + 0.5 / q
        zeros: list[Any] = [0.0] * (k + 1)
        rising = ([s / (q * q), 1 / (q * q), *zeros])[: k + 1]
        for n, B in enumerate(BERNOULLI, 1):
            rest = [a + B / math.factorial(2 * n) * b for a, b in zip(rest, rising, strict=True)]
            for factor in (s + 2 * n - 1, s + 2 * n):
                rising = _times(rising, ([factor / q, 1 / q, *zeros])[: k + 1])
        power = [q ** (1 - s) * (-np.log(q)) ** j / math.factorial(j) for j in range(k + 1)]
        total = total + math.factorial(k) * _times(rest, power)[k]
    return np.where(valid, total, np.nan).astype(dtype)[()]


def _by_q(y, s, q, k: int) -> Array:
    """∂ᵏ/∂sᵏ of -s ζ(s + 1, q)"""
    return -(s * zeta_slope_in(s + 1, q, k) + k * zeta_slope_in(s + 1, q, k - 1))


zeta_slope_in: Primitive = elementwise(_zeta_slope, lambda y, s, q, k: zeta_slope_in(s, q, k + 1), _by_q, name="∂ζ/∂s")


def _riemann_slope(y, s) -> Array:
    return zeta_slope_in(s, 1.0 + 0.0 * np.real(s), 1)


def _riemann_value(s) -> Array:
    """ζ(s), the ufunc under sc.zeta(s); CuPy has ζ(s) - 1."""
    return special_functions(s).zetac(s) + 1 if is_cupy(s) else sc._ufuncs._riemann_zeta(s)  # type: ignore[no-any-return]


register(sc._ufuncs._riemann_zeta, elementwise(_riemann_value, _riemann_slope, name="riemann_zeta"))
elementwise(sc.zetac, _riemann_slope)
