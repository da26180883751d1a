"""The power λ of Box and Cox as a variable: ∂/∂λ of (x^λ - 1)/λ = log x · exprel(λ log x)."""

from __future__ import annotations

import numpy as np

from rmad.machine.special import sc
from rmad.types import Array

__all__ = ["boxcox_by_power", "by_power"]


def by_power(log_x, power) -> Array:
    """½ log²x ₁F₁(2; 3; λ log x), in which nothing cancels at λ = 0."""
    return 0.5 * (log_x * log_x) * sc.hyp1f1(2, 3, power * log_x)


def boxcox_by_power(x, power) -> Array:
    return by_power(np.log(x), power)
