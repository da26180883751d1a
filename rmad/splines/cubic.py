"""Cubic splines: piecewise cubics with values and slopes at the knots, which differ in how the slopes are found."""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.as_written.swap import paused
from rmad.solvers.corrections import corrected
from rmad.solvers.systems import SparseLU
from rmad.splines.curves import as_floats, plain_of
from rmad.splines.polynomials import PiecewisePolynomial, polynomials_through
from rmad.tracing.traced import Traced

__all__ = ["Akima1DInterpolator", "CubicHermiteSpline", "CubicSpline", "PchipInterpolator"]


class _Cubic(PiecewisePolynomial):
    """A cubic with knots x and values y, whose slopes at the knots a subclass finds; SciPy's class has the same name.

    constants: further arguments of SciPy's class. traced: what of these may be traced.
    """

    def __init__(self, x: Any, y: Any, axis: int, constants: dict[str, Any], *traced: Any) -> None:
        import scipy.interpolate

        x, y = as_floats(x), as_floats(y)
        with paused():
            kind = getattr(scipy.interpolate, type(self).__name__)
            scipys = kind(plain_of(x), plain_of(y), axis=axis, **constants)
        c: Any = scipys.c
        if any(isinstance(a, Traced) for a in (x, y, *traced)):
            y = np.moveaxis(y, axis, 0)
            y = y.astype(complex) if scipys.c.dtype.kind == "c" and y.dtype.kind != "c" else y
            c = polynomials_through(x, y, self._slopes(scipys, x, y))
        super().__init__(scipys, x, c)

    def _slopes(self, scipys: Any, x: Any, y: Any) -> Any:
        """(n, …), for values (n, …)."""
        raise NotImplementedError


class CubicHermiteSpline(_Cubic):
    """The piecewise cubic with given values and slopes, as SciPy's class; differentiable in all arrays.

    Parameters
    ----------
    x : (n,) array
        Knots, increasing.
    y, dydx : arrays with n elements along `axis`
        Values and slopes at the knots.
    axis : int, default 0
    extrapolate : bool or "periodic", default None
        As in SciPy.

    Examples
    --------
    >>> half = lambda slope: CubicHermiteSpline([0.0, 1.0], [0.0, 0.0], [slope, 0.0])(0.5)
    >>> float(rmad.grad(half)(1.0))
    0.125
    """

    def __init__(self, x: Any, y: Any, dydx: Any, axis: int = 0, extrapolate: Any = None) -> None:
        self._given = as_floats(dydx)
        super().__init__(x, y, axis, {"dydx": plain_of(self._given), "extrapolate": extrapolate}, self._given)

    def _slopes(self, scipys: Any, x: Any, y: Any) -> Any:
        return np.moveaxis(self._given, scipys.axis, 0)


class CubicSpline(_Cubic):
    """The interpolating piecewise cubic with continuous second derivative, as SciPy's class.

    Differentiable in the values, the knots, the values of `bc_type` and the points where it is taken. Every number is
    that of SciPy's spline. The slopes at the knots solve banded equations; derivatives of all orders share one LU.

    Parameters
    ----------
    x : (n,) array
        Knots, increasing.
    y : array with n elements along `axis`
    axis : int, default 0
    bc_type : str or pair, default "not-a-knot"
        "natural", "clamped", "periodic", or per end one of these or (order, value), as in SciPy.
    extrapolate : bool or "periodic", default None
        As in SciPy.

    Returns
    -------
    spline : callable (x, nu=0, extrapolate=None) → y
        With `c`, `x`, `derivative(nu)`, `antiderivative(nu)` and `integrate(a, b)` as SciPy's.

    Raises
    ------
    NotImplementedError
        `roots` or `solve` of a spline of which something is traced.

    References
    ----------
    de Boor (1978), "A practical guide to splines", chapter IV.

    Examples
    --------
    >>> x = np.linspace(0, 3, 7)
    >>> middle = lambda y: CubicSpline(x, y)(1.6)
    >>> rmad.grad(middle)(np.sin(x)).round(3)  # the weights of the values
    array([-0.003,  0.023, -0.106,  0.923,  0.198, -0.041,  0.005])
    """

    def __init__(self, x: Any, y: Any, axis: int = 0, bc_type: Any = "not-a-knot", extrapolate: Any = None) -> None:
        pair = (bc_type, bc_type) if isinstance(bc_type, str) else tuple(bc_type)
        self._ends = [end if isinstance(end, str) else (end[0], as_floats(end[1])) for end in pair]
        given: Any = bc_type
        if not isinstance(bc_type, str):
            given = [end if isinstance(end, str) else (end[0], plain_of(end[1])) for end in self._ends]
        traced = [end[1] for end in self._ends if not isinstance(end, str)]
        super().__init__(x, y, axis, {"bc_type": given, "extrapolate": extrapolate}, *traced)

    def _slopes(self, scipys: Any, x: Any, y: Any) -> Any:
        equations = Equations(x, y, self._ends)
        last = scipys.derivative()(scipys.x[-1:], extrapolate=True)
        s = np.concatenate([scipys.c[2], np.moveaxis(last, scipys.axis, 0)])
        return corrected(s, equations.rest, SparseLU(equations.matrix(), "CubicSpline: the matrix of the slopes"))


class PchipInterpolator(_Cubic):
    """The monotone piecewise cubic of Fritsch & Butland, as SciPy's class; differentiable in x, y and the points.

    Where two neighbouring chords differ in sign or one is level, the slope is zero, and so is its derivative.

    Parameters
    ----------
    x : (n,) array
        Knots, increasing.
    y : real array with n elements along `axis`
    axis : int, default 0
    extrapolate : bool, default None
        As in SciPy.

    References
    ----------
    Fritsch & Butland (1984), "A method for constructing local monotone piecewise cubic interpolants".

    Examples
    --------
    >>> y = np.array([0.0, 1.0, 4.0])
    >>> rmad.grad(lambda y: PchipInterpolator([0.0, 1.0, 2.0], y)(0.5))(y)
    array([ 0.640625,  0.375   , -0.015625])
    """

    def __init__(self, x: Any, y: Any, axis: int = 0, extrapolate: Any = None) -> None:
        super().__init__(x, y, axis, {"extrapolate": extrapolate})

    def _slopes(self, scipys: Any, x: Any, y: Any) -> Any:
        h = np.reshape(np.diff(x), (-1, *(1,) * (y.ndim - 1)))
        m = np.diff(y, axis=0) / h
        if len(m) == 1:
            return np.concatenate([m, m])
        signs = np.sign(plain_of(m))
        level = (signs[1:] != signs[:-1]) | (signs[1:] == 0)
        before, after = np.where(level, 1.0, m[:-1]), np.where(level, 1.0, m[1:])
        a, b = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
        s = np.where(level, 0.0, (a + b) / (a / before + b / after))
        return np.concatenate([_end_slope(h, m), s, _end_slope(h[::-1], m[::-1])])


def _end_slope(h: Any, m: Any) -> Any:
    """The slope at the first knot: that of a parabola, unless it would not be monotone; (1, …)."""
    d = ((2 * h[:1] + h[1:2]) * m[:1] - h[:1] * m[1:2]) / (h[:1] + h[1:2])
    slope, first, second = plain_of(d), plain_of(m[:1]), plain_of(m[1:2])
    turns = np.sign(slope) != np.sign(first)
    steep = (np.sign(first) != np.sign(second)) & (np.abs(slope) > 3 * np.abs(first))
    return np.where(turns, 0.0, np.where(steep, 3 * m[:1], d))


class Akima1DInterpolator(_Cubic):
    """Akima's piecewise cubic, as SciPy's class; differentiable in x, y and the points.

    Parameters
    ----------
    x : (n,) array
        Knots, increasing.
    y : real array with n elements along `axis`
    axis : int, default 0
    **options : as in SciPy
        method: "akima", or "makima" for the modified slopes; extrapolate.

    References
    ----------
    Akima (1970), "A new method of interpolation and smooth curve fitting based on local procedures".

    Examples
    --------
    >>> y = np.array([0.0, 1.0, 4.0, 9.0, 16.0])
    >>> rmad.grad(lambda y: Akima1DInterpolator(np.arange(5.0), y)(1.5))(y)
    array([-0.0625 ,  0.53125,  0.65625, -0.15625,  0.03125])
    """

    def __init__(self, x: Any, y: Any, axis: int = 0, **options: Any) -> None:
        self._modified = options.get("method") == "makima"
        super().__init__(x, y, axis, options)

    def _slopes(self, scipys: Any, x: Any, y: Any) -> Any:
        m = np.diff(y, axis=0) / np.reshape(np.diff(x), (-1, *(1,) * (y.ndim - 1)))
        if len(m) == 1:
            return np.concatenate([m, m])
        for _ in range(2):  # two more chords at either end
            m = np.concatenate([2 * m[:1] - m[1:2], m, 2 * m[-1:] - m[-2:-1]])
        weight = np.abs(np.diff(m, axis=0))
        if self._modified:
            weight = weight + 0.5 * np.abs(m[1:] + m[:-1])
        left, right = weight[:-2], weight[2:]
        total = left + right
        plain = plain_of(total)
        defined = plain > 1e-9 * np.max(plain)  # SciPy's threshold
        share = np.where(defined, left, 0.0) / np.where(defined, total, 1.0)
        return np.where(defined, m[1:-2] + share * (m[2:-1] - m[1:-2]), (m[3:] + m[:-3]) / 2)


class Equations:
    """A s = b for the slopes s of a spline with continuous second derivative, traced or not.

        h_i s_{i−1} + 2 (h_{i−1} + h_i) s_i + h_{i−1} s_{i+1} = 3 (h_i m_{i−1} + h_{i−1} m_i)

    between the ends; m: slopes of the chords. corners: the factors of s_{n−2} in the first row, of s_0 in the last one.
    """

    def __init__(self, x: Any, y: Any, ends: Any) -> None:
        h = np.diff(x)
        self.column = (-1, *(1,) * (y.ndim - 1))
        H = np.reshape(h, self.column)
        m = np.diff(y, axis=0) / H
        conditions = [_named(end, m) for end in ends]
        if len(h) == 2 and all(isinstance(end, str) and end == "not-a-knot" for end in conditions):
            conditions = ["parabola", "parabola"]
        first = _first_row(conditions[0], h, H, m)
        last = _last_row(conditions[1], h, H, m)
        self.lower = np.concatenate([h[1:], _one(last[1])])
        self.middle = np.concatenate([_one(first[0]), 2 * (h[:-1] + h[1:]), _one(last[0])])
        self.upper = np.concatenate([_one(first[1]), h[:-1]])
        self.corners = first[2], last[2]
        self.right = np.concatenate([first[3][None], 3 * (H[1:] * m[:-1] + H[:-1] * m[1:]), last[3][None]])

    def matrix(self) -> Any:
        """A, of plain numbers."""
        from scipy.sparse import coo_array, diags_array

        lower, middle, upper = (plain_of(part) for part in (self.lower, self.middle, self.upper))
        n = len(middle)
        corners = [float(plain_of(c)) for c in self.corners]
        far = coo_array((corners, ([0, n - 1], [n - 2, 0])), shape=(n, n))
        return diags_array([lower, middle, upper], offsets=[-1, 0, 1], shape=(n, n)) + far

    def rest(self, s: Any) -> Any:
        """A s − b."""
        zero = np.zeros((1, *np.shape(s)[1:]))
        below = np.concatenate([zero, np.reshape(self.lower, self.column) * s[:-1]])
        above = np.concatenate([np.reshape(self.upper, self.column) * s[1:], zero])
        far = np.concatenate([self.corners[0] * s[-2:-1], *[zero] * (len(s) - 2), self.corners[1] * s[:1]])
        return below + np.reshape(self.middle, self.column) * s + above + far - self.right


def _one(a: Any) -> Any:
    return np.reshape(a, (1,))


def _named(end: Any, m: Any) -> Any:
    """A condition as (order, value) or as one of two names; two points make not-a-knot a line."""
    if not isinstance(end, str):
        return end
    if end in ("clamped", "natural"):
        return (1 if end == "clamped" else 2), 0.0
    return (1, m[0]) if len(m) == 1 else end


def _first_row(end: Any, h: Any, H: Any, m: Any, sign: float = 1.0) -> tuple[Any, Any, Any, Any]:
    """The factors of the first slope, the second one and the last but one, and the right side."""
    if isinstance(end, str):
        if end == "periodic":
            return 2 * (h[0] + h[-1]), h[-1], h[0], 3 * (H[-1] * m[0] + H[0] * m[-1])
        if end == "parabola":
            return 1.0, 1.0, 0.0, 2 * m[0]
        D = H[0] + H[1]
        return h[1], h[0] + h[1], 0.0, ((H[0] + 2 * D) * H[1] * m[0] + H[0] ** 2 * m[1]) / D
    order, value = end
    if order == 1:
        return 1.0, 0.0, 0.0, 0 * m[0] + value
    return 2 * h[0], h[0], 0.0, 3 * H[0] * m[0] - sign * 0.5 * value * H[0] ** 2


def _last_row(end: Any, h: Any, H: Any, m: Any) -> tuple[Any, Any, Any, Any]:
    """The same from the other end; of a periodic spline the last slope is the first one."""
    if isinstance(end, str) and end == "periodic":
        return 1.0, 0.0, -1.0, 0 * m[0]
    return _first_row(end, h[::-1], H[::-1], m[::-1], -1.0)
