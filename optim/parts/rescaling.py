"""The length of a step along a direction from an approximate curvature: α, and μ of the last step, by the exact GGN.

References
----------
Martens & Grosse (2015), sections 6.4 and 7.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np

from optim.problem.vectors import Scalar, inner, read
from rmad.extend import Array

__all__ = ["Forms", "Rescaled", "along", "along_both"]


class Forms(Protocol):
    """The quadratic forms of B, as `Quadratic` has them."""

    def curvature_along(self, v: Array, /) -> list[Scalar]:
        """Terms of vᵀB v."""

    def curvature_between(self, v: Array, w: Array, /) -> tuple[Scalar, Scalar, Scalar]:
        """vᵀB v, vᵀB w and wᵀB w."""


class Rescaled(NamedTuple):
    """A step δ = α d + μ δ₀, with α, δᵀBδ (NaN if it is not known), δᵀ(B + λD)δ (or ‖δ‖²) and ∇fᵀδ."""

    delta: Array
    alpha: float
    dBd: float
    length: float
    slope: float

    def clipped(self, most: float | None) -> Rescaled:
        """The step shortened to a length of at most `most`; None is no limit."""
        if most is None or self.length <= most:
            return self
        scale = math.sqrt(most / self.length)
        shorter = self.delta * self.delta.dtype.type(scale)
        return Rescaled(shorter, self.alpha * scale, self.dBd * scale**2, most, self.slope * scale)


def along(forms: Forms, gradient: Array, d: Array, damping: float | Array) -> Rescaled:
    """α d with α = −∇fᵀd / dᵀ(B + λD)d, at most 1: section 6.4; by one push. damping: λ, or the diagonal of λD."""
    Dd, lam = _damped(d, damping)
    slope, length, *terms = read(inner(gradient, d), inner(Dd, d), *forms.curvature_along(d))
    dBd = sum(terms)
    curvature = dBd + lam * length
    alpha = min(1.0, -slope / curvature) if curvature > 0 else (1.0 if slope < 0 else 0.0)
    return Rescaled(d * d.dtype.type(alpha), alpha, alpha**2 * dBd, alpha**2 * curvature, alpha * slope)


def along_both(
    forms: Forms, gradient: Array, d: Array, old: Array, damping: float | Array, most: tuple[float, float] | None = None
) -> Rescaled:
    """α, μ = argmin M̂(α d + μ δ₀): the 2 × 2 system of section 7, by two pushes; α = NaN if not finite.

    most: upper bounds of α and μ, which are then not below 0; None is no bound.
    """
    (Dd, lam), (Do, _) = _damped(d, damping), _damped(old, damping)
    pairs = (gradient, d), (gradient, old), (Dd, d), (Dd, old), (Do, old)
    gd, go, *found = read(*(inner(a, b) for a, b in pairs), *forms.curvature_between(d, old))
    D, B = (np.array([[m[0], m[1]], [m[1], m[2]]]) for m in (found[:3], found[3:]))
    A, b = B + lam * D, -np.array([gd, go])
    if not (np.isfinite(A).all() and np.isfinite(b).all()):
        return Rescaled(d, math.nan, math.nan, math.nan, math.nan)
    step = np.linalg.lstsq(A, b, rcond=1e-12)[0]
    if most is not None:
        step = _in_box(A, b, step, most)
    alpha, mu = (float(c) for c in step)
    delta = d * d.dtype.type(alpha) + old * d.dtype.type(mu)
    return Rescaled(delta, alpha, float(step @ B @ step), float(step @ A @ step), -float(b @ step))


def _in_box(A: Array, b: Array, x: Array, most: tuple[float, float]) -> Array:
    """argmin ½ xᵀA x − bᵀx over 0 ≤ x ≤ most, A (2, 2) semidefinite; x: the minimum over all of the plane."""
    if (x >= 0).all() and (x <= most).all():
        return x
    edges = []
    for i, j in ((0, 1), (1, 0)):
        for x_i in (0.0, most[i]):  # the edge on which x_i is constant
            slope = b[j] - A[j, i] * x_i
            x_j = min(max(slope / A[j, j] if A[j, j] > 0 else math.copysign(math.inf, slope), 0.0), most[j])
            edges.append(np.array([x_i, x_j] if i == 0 else [x_j, x_i]))
    best: Array = min(edges, key=lambda x: float(x @ A @ x / 2 - b @ x))
    return best


def _damped(v: Array, damping: float | Array) -> tuple[Array, float]:
    """D v and λ of λD v."""
    return (v, damping) if isinstance(damping, float) else (damping * v, 1.0)
