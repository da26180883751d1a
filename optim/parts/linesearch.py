"""Walking back over the iterates of CG, and back-tracking along the chosen one.

References
----------
Martens & Sutskever (2012), sections 8.7 and 8.8; constants of Martens' MATLAB code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from optim.hyper import Number, Rule, check
from optim.parts.cg import Iterate
from rmad.extend import Array

__all__ = ["LineSearch", "cg_backtracking", "line_search", "no_decrease", "or_infinity"]


def cg_backtracking(iterates: Sequence[Iterate], f: Callable[[Array], float]) -> tuple[Iterate, float]:
    """Walks back from the last iterate while f improves, section 8.7.

    Parameters
    ----------
    iterates : sequence of Iterate
        The kept iterates of a run of CG, in order.
    f : callable
        δ → f(θ + δ); NaN counts as +∞.

    Returns
    -------
    (Iterate, float)
        The iterate and its f.
    """
    best, f_best = iterates[-1], or_infinity(f(iterates[-1].x))
    for earlier in reversed(iterates[:-1]):
        f_earlier = or_infinity(f(earlier.x))
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
    """The first α of 1, 0.8, 0.8², … with f(α) ≤ f0 + c α min(slope, 0), section 8.8.

    If δ is no descent direction (a short run of CG from a warm start can give one), f must at least not rise.

    Parameters
    ----------
    f : callable
        α → f(θ + αδ).
    f0 : float
        f(θ).
    slope : float
        ∇fᵀδ.
    f1 : float, default None
        f(1), if it is known.
    factor : float, default 0.8
        Ratio of one α to the one before it; the default is that of Martens' code.
    c : float, default 1e-2
        Of the sufficient decrease; the default is that of Martens' code.
    tries : int, default 60
        The most values of α; the default is that of Martens' code.

    Returns
    -------
    (float, float)
        α and f(α); 0 and the last f tried if no α will do.
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
    """`line_search` with its constants, section 8.8.

    tries=1, c=0 is the full step, or none if f would rise.

    Parameters
    ----------
    factor : float, default 0.8
        Ratio of one α to the one before it, in (0, 1).
    c : float, default 1e-2
        Of the sufficient decrease, in [0, 1).
    tries : int, default 60
        The most values of α.

    Raises
    ------
    ValueError, TypeError
        If a constant is out of range or of the wrong type.

    Examples
    --------
    >>> from optim import LineSearch
    >>> LineSearch(factor=0.5)(lambda a: (a - 0.2) ** 2, 0.04, -0.4)
    (0.25, 0.0024999999999999988)
    """

    HYPER: ClassVar[Mapping[str, Rule]] = {
        "factor": Number(above=0.0, below=1.0),
        "c": Number(at_least=0.0, below=1.0),
        "tries": Number(at_least=1),
    }

    factor: float = 0.8
    c: float = 1e-2
    tries: int = 60

    def __post_init__(self) -> None:
        check(self)

    def __call__(
        self, f: Callable[[float], float], f0: float, slope: float, f1: float | None = None
    ) -> tuple[float, float]:
        return line_search(f, f0, slope, f1=f1, factor=self.factor, c=self.c, tries=self.tries)


def no_decrease(f_last: float) -> str:
    """Why a line search failed, given the last f that it tried."""
    return "no sufficient decrease of the loss" if math.isfinite(f_last) else "non-finite loss along the line search"


def or_infinity(value: float) -> float:
    """The value, or +∞ for NaN."""
    return math.inf if math.isnan(value) else value
