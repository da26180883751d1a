"""The normal distribution function Φ, fast in single precision: SciPy's takes ten times as long as an exponential."""

from __future__ import annotations

import math

import numpy as np

from rmad.machine.special import sc
from rmad.primitives.layers.symmetric import row_chunks
from rmad.rules import elementwise
from rmad.types import Array

__all__ = ["normal_cdf"]

# Φ(x) − ½ = x P(x²)/Q(x²) for |x| ≤ 5.5, highest power first: reweighted least squares, largest error 7e-9.
# Single precision leaves 2.1e-7. At ±5.5 the quotient is just beyond ±½ and is clipped: Φ is 0 and 1 there.
END = 5.5
P = (2.2749329e-08, 6.3521263e-06, 1.68826766e-04, 4.67726727e-03, 3.38527527e-02, 3.98942235e-01)
Q = (1.1975035e-06, 7.3647857e-05, 1.8844510e-03, 2.86459327e-02, 2.51522185e-01, 1.0)


def _cdf(x) -> Array:
    if not (isinstance(x, np.ndarray) and x.ndim and x.dtype == np.float32):
        return sc.ndtr(x)
    y = np.empty(x.size, x.dtype)
    flat = x.reshape(-1)
    for part in row_chunks(x.size, 1):
        c = np.clip(flat[part], -END, END)
        s = c * c
        above, below = _polynomial(P, s), _polynomial(Q, s)
        above *= c
        above /= below
        np.clip(above, -0.5, 0.5, out=above)
        np.add(above, 0.5, out=y[part])
    return y.reshape(x.shape)


def _polynomial(coefficients, s) -> Array:
    y = s * s.dtype.type(coefficients[0])
    for c in coefficients[1:-1]:
        y += s.dtype.type(c)
        y *= s
    y += s.dtype.type(coefficients[-1])
    return y


def _density(y, x) -> Array:
    """φ(x) = e^{−x²/2}/√2π"""
    d = np.clip(x, -40, 40)  # φ(40) is zero in double precision too, and no square overflows
    d = d * d
    d *= -0.5
    d = np.exp(d)
    d *= 1 / math.sqrt(2 * math.pi)
    return d


normal_cdf = elementwise(_cdf, _density, name="normal_cdf")
"""Φ(x) for real x: scipy.special.ndtr, to 2.1e-7 in single precision."""
