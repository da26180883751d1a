"""Diagonal preconditioners of CG.

Source: Martens & Sutskever (2012), sections 11.2 and 11.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["diagonal_inverse"]


def diagonal_inverse(d: Any, kappa: float, xi: float = 0.75) -> Any:
    """P⁻¹ for P = (diag(d) + κI)^ξ, section 11.2: between the diagonal of B̂ and a multiple of the identity.

    d: (p,) an estimate of the diagonal of the curvature, e.g. the empirical Fisher's (section 11.3): the mean over
    cases of squared gradients. κ: what is added to all of it, λ + l2. Returns (p,).
    """
    inverse = np.add(d, kappa)
    info = np.finfo(inverse.dtype)
    floor = max(float(info.eps) * float(inverse.max()), float(info.tiny))
    np.maximum(inverse, floor, out=inverse)  # P stays invertible without damping
    return np.power(inverse, -xi, out=inverse)
