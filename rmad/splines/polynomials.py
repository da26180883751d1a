"""Piecewise polynomials on the tape.

y(x) = Σ_k c_ki (x − x_i)^(K − k)      for x_i ≤ x < x_{i+1}
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.splines.curves import Curve, inside, periodic, plain_of
from rmad.tracing.traced import Traced
from rmad.tracing.valued import with_value

__all__ = ["PiecewisePolynomial", "polynomials_through"]


class PiecewisePolynomial(Curve):
    """A piecewise polynomial as SciPy's `PPoly`, made by a spline, or its derivative or antiderivative.

    Parameters
    ----------
    scipys : scipy.interpolate.PPoly
    x : (n,) knots
    c : (K + 1, n − 1, …) coefficients, the highest power first
    """

    def __init__(self, scipys: Any, x: Any, c: Any) -> None:
        super().__init__(scipys, x, c)
        self.x = x
        self.c = with_value(c, scipys.c, "c") if isinstance(c, Traced) else scipys.c

    def derivative(self, nu: int = 1) -> PiecewisePolynomial:
        """The derivative of order nu as a piecewise polynomial; of a negative one the antiderivative."""
        if nu < 0:
            return self.antiderivative(-nu)
        return PiecewisePolynomial(self.scipys.derivative(nu), self.x, _derived(self.c, nu))

    def antiderivative(self, nu: int = 1) -> PiecewisePolynomial:
        """The antiderivative of order nu that is zero at the first knot; of a negative one the derivative."""
        if nu <= 0:
            return self.derivative(-nu)
        return PiecewisePolynomial(self.scipys.antiderivative(nu), self.x, _integrated(self.c, self.x, nu))

    def _at(self, x: Any, nu: int, extrapolate: Any) -> Any:
        if extrapolate == "periodic":
            x, _ = periodic(x, self.x[0], self.x[-1])
        return _evaluated(_derived(self.c, nu), self.x, x, bool(extrapolate))

    def _integral(self, a: Any, b: Any, extrapolate: Any) -> Any:
        c, x = _integrated(self.c, self.x, 1), self.x
        if extrapolate != "periodic":
            at = _evaluated(c, x, np.stack([a, b]), bool(extrapolate))
            return at[1] - at[0]
        within, turns = zip(*(periodic(end, x[0], x[-1]) for end in (a, b)), strict=True)
        at = _evaluated(c, x, np.stack([*within, x[-1]]), True)
        return at[1] - at[0] + (turns[1] - turns[0]) * at[2]


def _evaluated(c: Any, knots: Any, x: Any, outside: bool) -> Any:
    """Horner's rule at x, (m,) → (m, …); NaN outside of the knots unless they count too."""
    plain, ends = plain_of(x), plain_of(knots)
    i = inside(ends, plain)
    s = np.reshape(x - knots[i], (-1, *(1,) * (c.ndim - 2)))
    if not outside:
        s = s + np.reshape(np.where((plain < ends[0]) | (plain > ends[-1]), np.nan, 0.0), s.shape)
    y = c[0, i] + 0 * s if len(c) == 1 else c[0, i]
    for k in range(1, len(c)):
        y = y * s + c[k, i]
    return y


def _derived(c: Any, nu: int) -> Any:
    """The coefficients of the derivative of order nu; a constant has those of zero."""
    for _ in range(nu):
        powers = np.arange(len(c) - 1, 0, -1).reshape(-1, *(1,) * (c.ndim - 1))
        c = c[:-1] * powers if len(c) > 1 else 0 * c
    return c


def _integrated(c: Any, knots: Any, nu: int) -> Any:
    """The coefficients of the antiderivative of order nu, which is continuous and zero at the first knot."""
    for _ in range(nu):
        c = c / np.arange(len(c), 0, -1.0).reshape(-1, *(1,) * (c.ndim - 1))
        h = np.reshape(np.diff(knots), (-1, *(1,) * (c.ndim - 2)))
        rise = 0
        for c_k in c:
            rise = (rise + c_k) * h
        starts = np.concatenate([np.zeros((1, *c.shape[2:])), np.cumsum(rise, axis=0)[:-1]])
        c = np.concatenate([c, starts[None]])
    return c


def polynomials_through(x: Any, y: Any, s: Any) -> Any:
    """c of the cubics with values y and slopes s at the knots x, (4, n − 1, …)."""
    h = np.reshape(np.diff(x), (-1, *(1,) * (y.ndim - 1)))
    slope = np.diff(y, axis=0) / h
    t = (s[:-1] + s[1:] - 2 * slope) / h
    return np.stack([t / h, (slope - s[:-1]) / h - t, s[:-1], y[:-1]])
