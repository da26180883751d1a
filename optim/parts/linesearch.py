"""Walking back over the iterates of CG, and back-tracking along the chosen one.

Source: Martens & Sutskever (2012), sections 8.7 and 8.8; constants of Martens' MATLAB code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from optim.hyper import above, at_least
from optim.parts.cg import Iterate

__all__ = ["LineSearch", "cg_backtracking", "line_search"]


def cg_backtracking(iterates: Sequence[Iterate], f: Callable[[Any], float]) -> tuple[Iterate, float]:
    """The last iterate, or an earlier kept one where f is lower: walks back while f improves. Section 8.7.

    f: δ → f(θ + δ); NaN counts as +∞. Returns the iterate and its f.
    """
    best, f_best = iterates[-1], _or_infinity(f(iterates[-1].x))
    for earlier in reversed(iterates[:-1]):
        f_earlier = _or_infinity(f(earlier.x))
        if f_earlier >= f_best and f_best < math.inf:
            break
        best, f_best = earlier, f_earlier
    return best, f_best


def line_search(
    f: Callable[[float], float],
    f0: float,
    slope: float,
    *,
    f1: float | None = None,
    factor: float = 0.8,
    c: float = 1e-2,
    tries: int = 60,
) -> tuple[float, float]:
    """α and f(α): the first of 1, 0.8, 0.8², … with f(α) ≤ f0 + c α min(slope, 0). Section 8.8.

    f: α → f(θ + αδ), f0 = f(θ), slope = ∇fᵀδ, f1 = f(1) where it is known already. Where δ is no descent direction
    (a short run of CG from a warm start can give one) f must at least not rise. After `tries` values: 0 and the last f
    tried.
    """
    alpha, f_alpha = 1.0, f(1.0) if f1 is None else f1
    for k in range(tries):
        if f_alpha <= f0 + c * alpha * min(slope, 0.0):  # False for NaN
            return alpha, f_alpha
        if k + 1 < tries:
            alpha *= factor
            f_alpha = f(alpha)
    return 0.0, f_alpha


@dataclass(frozen=True)
class LineSearch:
    """`line_search` with its constants: factor, c of the sufficient decrease, and how many values of α. Section 8.8.

    tries=1, c=0 is the full step, or none where f would rise.
    """

    factor: float = 0.8
    c: float = 1e-2
    tries: int = 60

    def __post_init__(self) -> None:
        above("factor", self.factor, 0.0)
        at_least("c", self.c, 0.0)
        at_least("tries", self.tries, 1)
        for name, value in (("factor", self.factor), ("c", self.c)):
            if value >= 1:
                raise ValueError(f"{name} must be < 1, got {value!r}")

    def __call__(
        self, f: Callable[[float], float], f0: float, slope: float, f1: float | None = None
    ) -> tuple[float, float]:
        return line_search(f, f0, slope, f1=f1, factor=self.factor, c=self.c, tries=self.tries)


def _or_infinity(value: float) -> float:
    return math.inf if math.isnan(value) else value
