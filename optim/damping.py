"""Tikhonov damping and the Levenberg-Marquardt rule that adapts it.

Source: Martens & Sutskever (2012), sections 8.1 and 8.5; constants of Martens' MATLAB code.
"""

from __future__ import annotations

import math

__all__ = ["Tikhonov", "reduction_ratio"]


def reduction_ratio(actual: float, predicted: float) -> float:
    """ρ = (f(θ + δ) − f(θ)) / M(δ), eq. (10), with M the undamped model without its constant.

    −∞ where the objective rose, whatever the sign of M (Martens' code); NaN where either is, or M = 0.
    """
    if actual > 0:
        return -math.inf
    return actual / predicted if predicted != 0 else math.nan


class Tikhonov:
    """M̂(δ) = M(δ) + ½ λ‖δ‖², section 8.1. λ = 0 is no damping, and stays so.

    strength: λ. minimum: the floor below which the rule does not lower it (1e-6 in SGN's code).
    """

    low, high = 1 / 4, 3 / 4
    boost, drop = 3 / 2, 2 / 3

    def __init__(self, strength: float, minimum: float = 0.0) -> None:
        self.strength, self.minimum = strength, minimum

    def undamped(self, phi: float, squared_norm: float) -> float:
        """M(δ) from the damped value φ = M̂(δ) that CG knows, and ‖δ‖²."""
        return phi - 0.5 * self.strength * squared_norm

    def update(self, rho: float) -> None:
        """The Levenberg-Marquardt rule, section 8.5: λ × 2/3 where ρ > 3/4, λ × 3/2 where ρ < 1/4 or NaN."""
        if rho > self.high:
            self.strength = max(self.strength * self.drop, min(self.minimum, self.strength))
        elif rho < self.low or math.isnan(rho):
            self.increase()

    def increase(self) -> None:
        self.strength *= self.boost
