"""The length of a step along a direction from an approximate curvature: α, and μ of the last step, by the exact GGN.

References
----------
Martens & Grosse (2015), sections 6.4 and 7.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from optim.problem.quadratic import Quadratic
from optim.problem.vectors import dot, inner, read
from rmad.extend import Array

__all__ = ["Rescaled", "along", "along_both"]


class Rescaled(NamedTuple):
    """A step δ = α d + μ δ₀, with α, δᵀGδ (NaN if it is not known) and δᵀ(G + λI)δ (or ‖δ‖²)."""

    delta: Array
    alpha: float
    dGd: float
    length: float

    def clipped(self, most: float | None) -> Rescaled:
        """The step shortened to a length of at most `most`; None is no limit."""
        if most is None or self.length <= most:
            return self
        scale = math.sqrt(most / self.length)
        return Rescaled(self.delta * self.delta.dtype.type(scale), self.alpha * scale, self.dGd * scale**2, most)


def along(q: Quadratic, gradient: Array, d: Array, lam: float) -> Rescaled:
    """α d with α = −∇fᵀd / dᵀ(G + λI)d, at most 1: section 6.4; by one push."""
    slope, length, *terms = read(inner(gradient, d), inner(d, d), *q.curvature_along(d))
    dGd = sum(terms)
    curvature = dGd + lam * length
    alpha = min(1.0, -slope / curvature) if curvature > 0 else (1.0 if slope < 0 else 0.0)
    return Rescaled(d * d.dtype.type(alpha), alpha, alpha**2 * dGd, alpha**2 * curvature)


def along_both(q: Quadratic, gradient: Array, d: Array, old: Array, lam: float) -> Rescaled:
    """α, μ = argmin M̂(α d + μ δ₀): the 2 × 2 system of section 7, by a push and a product; α = NaN if not finite."""
    along_d, G_old = q.curvature_along(d), np.empty_like(d)
    q.ggn_product(old, G_old)
    pairs = (d, G_old), (old, G_old), (d, d), (d, old), (old, old), (gradient, d), (gradient, old)
    dG, oG, dd, do, oo, gd, go, *terms = read(*(inner(a, b) for a, b in pairs), *along_d)
    dGd = sum(terms)
    G = np.array([[dGd, dG], [dG, oG]])
    G += lam * np.array([[dd, do], [do, oo]])
    b = -np.array([gd, go])
    if not (np.isfinite(G).all() and np.isfinite(b).all()):
        return Rescaled(d, math.nan, math.nan, math.nan)
    alpha, mu = (float(c) for c in np.linalg.lstsq(G, b, rcond=1e-12)[0])
    delta = d * d.dtype.type(alpha) + old * d.dtype.type(mu)
    step = np.array([alpha, mu])
    damped = float(step @ G @ step)
    return Rescaled(delta, alpha, damped - lam * dot(delta, delta), damped)
