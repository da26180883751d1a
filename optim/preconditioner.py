"""Diagonal preconditioners of CG.

Source: Martens & Sutskever (2012), sections 11.2 and 11.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optim.vectors import is_finite

__all__ = ["Diagonal"]


class Diagonal:
    """P = (diag(d) + κI)^ξ, section 11.2: between the diagonal of B̂ and a multiple of the identity.

    d: (p,) an estimate of the diagonal of the curvature, e.g. the empirical Fisher's (section 11.3): the mean over
    cases of squared gradients. κ: what is added to all of it, λ + l2. ξ: 0.75.
    """

    def __init__(self, d: Any, kappa: float, xi: float = 0.75) -> None:
        self.inverse = np.add(d, kappa)
        info = np.finfo(self.inverse.dtype)
        floor = max(float(info.eps) * float(self.inverse.max()), float(info.tiny))
        np.maximum(self.inverse, floor, out=self.inverse)  # P stays invertible without damping
        np.power(self.inverse, -xi, out=self.inverse)

    @property
    def finite(self) -> bool:
        return is_finite(self.inverse)

    def __call__(self, r: Any, out: Any) -> None:
        """out ← y, the solution of P y = r."""
        np.multiply(r, self.inverse, out=out)
