"""The ball ‖x‖_P ≤ r that a run of CG from zero may not leave: the Steihaug-Toint method.

References
----------
Steihaug (1983); Conn, Gould & Toint (2000), section 7.5.1; Martens & Sutskever (2012), section 8.6.
"""

from __future__ import annotations

import math

from optim.problem.vectors import dot
from rmad.extend import Array

__all__ = ["Ball"]


class Ball:
    """‖x_i‖_P along a run of CG from zero, by recurrences of scalars: yᵀP p = rᵀp = 0 for all earlier p.

    Parameters
    ----------
    radius : float
        r > 0, in the norm of the preconditioner.
    ry : float
        r_0ᵀy_0 = ‖p_0‖²_P at the start of the run.
    """

    def __init__(self, radius: float, ry: float) -> None:
        self.radius, self.xx, self.xp, self.pp = radius, 0.0, 0.0, ry  # xᵀP x, xᵀP p, pᵀP p

    def reach(self) -> float:
        """τ ≥ 0 with ‖x + τp‖_P = r."""
        room = max(self.radius**2 - self.xx, 0.0)
        return room / (self.xp + math.sqrt(self.xp**2 + self.pp * room))

    def measure(self, x: Array, p: Array, inverse_P: Array | None) -> None:
        """The same scalars from the vectors: rounding makes p less conjugate, and the recurrences drift."""
        Px, Pp = (x, p) if inverse_P is None else (x / inverse_P, p / inverse_P)
        self.xx, self.xp, self.pp = dot(x, Px), dot(x, Pp), dot(p, Pp)

    def follow(self, alpha: float, beta: float, ry: float) -> None:
        """Follows a step of CG: x + α p takes the place of x, −y + β p that of p."""
        self.xx += alpha * (2 * self.xp + alpha * self.pp)
        self.xp = beta * (self.xp + alpha * self.pp)
        self.pp = ry + beta**2 * self.pp
