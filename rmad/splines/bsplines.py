"""Splines of any degree in the basis of B-splines: S(x) = Σ_j c_j B_j(x; t), and those that interpolate values.

The coefficients solve M(x, t) c = b, one row per value or condition at an end. SciPy solves these banded equations;
they are corrected on the tape.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.as_written.swap import paused
from rmad.solvers.corrections import corrected
from rmad.solvers.systems import SparseLU
from rmad.splines.curves import Curve, as_floats, periodic, plain_of
from rmad.tracing.traced import Traced
from rmad.tracing.valued import with_value

__all__ = ["Spline", "make_interp_spline"]


def make_interp_spline(
    x: Any, y: Any, k: int = 3, t: Any = None, bc_type: Any = None, axis: int = 0, check_finite: bool = True
) -> Spline:
    """The interpolating spline of degree k, as SciPy's function; every number is that of SciPy's spline.

    Differentiable in the values y, the points x, the knots t, the derivatives in `bc_type` and the points where the
    spline is taken. Knots that SciPy chooses move with x.

    Parameters
    ----------
    x : (n,) array
        Increasing.
    y : array with n elements along `axis`
    k : int, default 3
        Degree.
    t : (n + k + 1 or more,) array, default None
        Knots.
    bc_type : str or pair of lists, default None
        "natural", "clamped", "periodic", …, or for each end a list of pairs (order, value), as in SciPy.
    axis : int, default 0
    check_finite : bool, default True

    Returns
    -------
    spline : callable (x, nu=0, extrapolate=None) → y
        With `t`, `c`, `k`, `derivative(nu)`, `antiderivative(nu)` and `integrate(a, b)`, as SciPy's `BSpline`.

    Raises
    ------
    ValueError
        As SciPy's function.

    References
    ----------
    de Boor (1978), "A practical guide to splines", chapters IX and XIII.

    Examples
    --------
    >>> x = np.linspace(0, 3, 7)
    >>> slope = lambda x: make_interp_spline(x, x**2, k=4).derivative()(1.3)
    >>> rmad.grad(slope)(x).round(12) + 0.0  # 2.6 wherever the points are
    array([0., 0., 0., 0., 0., 0., 0.])
    """
    import scipy.interpolate

    x, y = as_floats(x), as_floats(y)
    given = None if t is None else as_floats(t)
    ends, conditions = _ends(bc_type)
    with paused():
        scipys = scipy.interpolate.make_interp_spline(
            plain_of(x), plain_of(y), k, plain_of(given), ends, axis, check_finite
        )
    values = [value for end in conditions for _, value in end]
    if not any(isinstance(a, Traced) for a in (x, y, given, *values)):
        return Spline(scipys, scipys.t, scipys.c)
    y = np.moveaxis(y, axis, 0)
    t = _knots(x, k, bc_type, scipys.t) if given is None else given
    c = y if k == 0 or (k == 1 and given is None) else _coefficients(scipys, x, y, t, *conditions)
    return Spline(scipys, t, c)


Conditions = list[tuple[int, Any]]  # orders of derivatives at an end, and their values


def _ends(bc_type: Any) -> tuple[Any, tuple[Conditions, Conditions]]:
    """bc_type of plain numbers, for SciPy; and what it says of both ends."""
    if bc_type is None or isinstance(bc_type, str):
        found = _NAMED.get(bc_type or "", [])
        return bc_type, (found, found)
    pair = [end if end is None or isinstance(end, str) else list(end) for end in bc_type]
    conditions = [
        _NAMED.get(end or "", []) if end is None or isinstance(end, str) else [(nu, as_floats(v)) for nu, v in end]
        for end in pair
    ]
    plain = [
        end if end is None or isinstance(end, str) else [(nu, plain_of(v)) for nu, v in given]
        for end, given in zip(pair, conditions, strict=True)
    ]
    return tuple(plain), (conditions[0], conditions[1])


_NAMED: dict[str, Conditions] = {"clamped": [(1, 0.0)], "natural": [(2, 0.0)]}


def _coefficients(scipys: Any, x: Any, y: Any, t: Any, left: Conditions, right: Conditions) -> Any:
    """c of all conditions: those at the start, the values at x, those at the end; or k − 1 that close a period."""
    from scipy.interpolate import BSpline
    from scipy.sparse import csr_array, vstack

    k, around = scipys.k, scipys.extrapolate == "periodic"
    if around:
        left = [(nu, 0.0) for nu in range(1, k)]
        right = []
    zero = np.zeros((1, *y.shape[1:]))
    target = np.concatenate([*(zero + v for _, v in left), y, *(zero + v for _, v in right)])

    def conditions(c: Any, x: Any, t: Any, inner: Any) -> Any:
        start = [_evaluated(t, c, k, x[:1], nu) for nu, _ in left]
        end = [_evaluated(t, c, k, x[-1:], nu) for nu, _ in (left if around else right)]
        if around:
            start, end = [a - b for a, b in zip(start, end, strict=True)], []
        return np.concatenate([*start, _evaluated(t, c, k, inner, 0), *end])

    ends, knots = plain_of(x), plain_of(t)
    few = conditions(np.eye(len(scipys.c)), ends, knots, ends[:0])
    M = vstack([few[: len(left)], csr_array(BSpline.design_matrix(ends, knots, k)), few[len(left) :]])
    system = SparseLU(M, "make_interp_spline: the matrix of the coefficients")
    return corrected(scipys.c, lambda c: conditions(c, x, t, x) - target, system)


def _knots(x: Any, k: int, bc_type: Any, scipys: Any) -> Any:
    """The knots that SciPy has chosen, as they depend on x."""
    if k == 0:
        t = np.concatenate([x, x[-1:]])
    elif k == 1:
        t = np.concatenate([x[:1], x, x[-1:]])
    elif isinstance(bc_type, str) and bc_type == "periodic":
        t = _periodic_knots(x, k)
    elif bc_type is None or (isinstance(bc_type, str) and bc_type == "not-a-knot") or not any(_ends(bc_type)[1]):
        middle = x[(k + 1) // 2 : -(k + 1) // 2] if k % 2 else ((x[1:] + x[:-1]) / 2)[k // 2 : -(k // 2)]
        t = np.concatenate([*[x[:1]] * (k + 1), middle, *[x[-1:]] * (k + 1)])
    else:
        t = np.concatenate([*[x[:1]] * k, x, *[x[-1:]] * k])
    return with_value(t, scipys, "make_interp_spline")


def _periodic_knots(x: Any, k: int) -> Any:
    """Those of x, for an even degree midway between them, and k more at either end by the period."""
    if k % 2 == 0:
        x = np.concatenate([x[:1], x[1:-1] - np.diff(x)[:-1] / 2, x[-1:]])
    n, length = len(plain_of(x)), x[-1] - x[0]
    index = np.arange(-k, n + k)
    return x[index % (n - 1)] + length * (index // (n - 1))


class Spline(Curve):
    """Σ_j c_j B_j(x; t) of degree k, as SciPy's `BSpline`: made by `make_interp_spline`, or its derivative.

    Parameters
    ----------
    scipys : scipy.interpolate.BSpline
    t : (m + k + 1,) knots
    c : (m, …) coefficients
    """

    def __init__(self, scipys: Any, t: Any, c: Any) -> None:
        super().__init__(scipys, t, c)
        self.k = scipys.k
        self.t = t
        short = len(scipys.c) - np.shape(c)[0]
        if isinstance(c, Traced):
            c = np.concatenate([c, np.zeros((short, *c.shape[1:]))]) if short else c
            c = with_value(c, scipys.c, "c")
        self.c = c

    def derivative(self, nu: int = 1) -> Spline:
        """The derivative of order nu as a spline."""
        t, c, _ = _derived(self.t, self.c, self.k, nu)
        return Spline(self.scipys.derivative(nu), t, c)

    def antiderivative(self, nu: int = 1) -> Spline:
        """The antiderivative of order nu that is zero at the first knot, as a spline."""
        t, c, _ = _integrated(self.t, self.c, self.k, nu)
        return Spline(self.scipys.antiderivative(nu), t, c)

    def _base(self) -> tuple[Any, Any]:
        """The ends of the interval in which the basis is complete."""
        return self.t[self.k], self.t[-self.k - 1]

    def _at(self, x: Any, nu: int, extrapolate: Any) -> Any:
        if extrapolate == "periodic":
            x, _ = periodic(x, *self._base())
        y = _evaluated(self.t, self.c, self.k, x, nu)
        if extrapolate:
            return y
        start, end = map(plain_of, self._base())
        outside = np.reshape((plain_of(x) < start) | (plain_of(x) > end), (-1, *(1,) * (y.ndim - 1)))
        return np.where(outside, np.nan, y)

    def _integral(self, a: Any, b: Any, extrapolate: Any) -> Any:
        t, c, k = _integrated(self.t, self.c, self.k, 1)
        start, end = self._base()
        if extrapolate == "periodic":
            within, turns = zip(*(periodic(e, start, end) for e in (a, b)), strict=True)
            at = _evaluated(t, c, k, np.stack([*within, start, end]), 0)
            return at[1] - at[0] + (turns[1] - turns[0]) * (at[3] - at[2])
        if not extrapolate:
            a, b = (np.minimum(np.maximum(e, start), end) for e in (a, b))
        at = _evaluated(t, c, k, np.stack([a, b]), 0)
        return at[1] - at[0]


def _evaluated(t: Any, c: Any, k: int, x: Any, nu: int) -> Any:
    """The derivative of order nu at x, (m,) → (m, …), by the recursion of Cox and de Boor."""
    if nu > k:
        return 0 * _evaluated(t, c, k, x, 0)
    t, c, k = _derived(t, c, k, nu)
    knots = plain_of(t)
    i = np.clip(np.searchsorted(knots, plain_of(x), side="right") - 1, k, len(knots) - k - 2)
    while np.any(empty := (knots[i] == knots[i + 1]) & (i > k)):  # the last interval that is not empty
        i = i - empty
    basis: list[Any] = [np.ones(len(i))]
    for j in range(1, k + 1):
        left = [x - t[i + 1 - r] for r in range(1, j + 1)]
        right = [t[i + r] - x for r in range(1, j + 1)]
        shares = [basis[r] / (right[r] + left[j - 1 - r]) for r in range(j)]
        basis = [
            *(right[r] * shares[r] + (left[j - r] * shares[r - 1] if r else 0.0) for r in range(j)),
            left[0] * shares[j - 1],
        ]
    column = (-1, *(1,) * (np.ndim(c) - 1))
    y: Any = 0.0
    for r, B in enumerate(basis):
        y = y + np.reshape(B, column) * c[i - k + r]
    return y


def _derived(t: Any, c: Any, k: int, nu: int) -> tuple[Any, Any, int]:
    """Knots, coefficients and degree of the derivative: c_j ← k (c_{j+1} − c_j) / (t_{j+k+1} − t_{j+1})."""
    column = (-1, *(1,) * (np.ndim(c) - 1))
    for _ in range(nu):
        m = len(plain_of(t)) - k - 1
        length = t[k + 1 : m + k] - t[1:m]
        zero = plain_of(length) == 0
        c = np.diff(c[:m], axis=0) * np.reshape(k * np.where(zero, 0.0, 1 / np.where(zero, 1.0, length)), column)
        t, k = t[1:-1], k - 1
    return t, c, k


def _integrated(t: Any, c: Any, k: int, nu: int) -> tuple[Any, Any, int]:
    """Those of the antiderivative: c_j ← Σ_{i<j} c_i (t_{i+k+1} − t_i) / (k + 1)."""
    column = (-1, *(1,) * (np.ndim(c) - 1))
    for _ in range(nu):
        m = len(plain_of(t)) - k - 1
        rise = np.cumsum(c[:m] * np.reshape(t[k + 1 : m + k + 1] - t[:m], column), axis=0) / (k + 1)
        c = np.concatenate([np.zeros((1, *np.shape(c)[1:])), rise])
        t, k = np.concatenate([t[:1], t, t[-1:]]), k + 1
    return t, c, k
