"""Integrals: SciPy divides the interval until its error is small; a Gauss rule on this division is differentiated.

    ∫ₐᵇ f(x) dx ≈ Σ_k w_k f(x_k),   x_k = a + (b − a) s_k,   with s and w as plain numbers

An infinite interval is mapped to 0 < t ≤ 1 as QUADPACK does, x = a + (1 − t) / t.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.as_written.lists import as_array
from rmad.as_written.swap import paused
from rmad.solvers.closures import has_derivative, plain
from rmad.tracing.traced import Traced, stop
from rmad.tracing.valued import with_value
from rmad.types import Array

__all__ = ["quad"]

POINTS = 21  # of a Gauss rule in each part, as many as QUADPACK's rule has


def quad(func: Callable[..., Any], a: Any, b: Any, args: Any = (), **options: Any) -> tuple[Any, float]:
    """y = ∫ₐᵇ f(x, *args) dx by SciPy's quad; differentiable in a, b, args and in what f closes over.

    SciPy's routine divides the interval with plain values. The derivative is that of a Gauss rule of 21 points in each
    part; the value is SciPy's. If nothing is traced, this is SciPy's function.

    Parameters
    ----------
    func : callable (x, *args) → number
    a, b : float
        May be infinite.
    args : tuple, or one argument, default ()
    **options : as in SciPy
        epsabs, epsrel, limit, points. If something is traced, neither a weight nor full_output nor complex_func.

    Returns
    -------
    y : traced number
    abserr : float
        SciPy's estimate of the error of y.

    Raises
    ------
    NotImplementedError
        Something is traced, and an option is given that is not in the list.
    ValueError
        The rule differs from SciPy's value, which extrapolates to a singularity; remove that by a substitution.

    Examples
    --------
    >>> area = lambda p: quad(lambda x: np.exp(-p * x**2), 0, np.inf)[0]
    >>> float(rmad.grad(area)(1.0).round(9))  # −√π / 4
    -0.443113463
    """
    from scipy.integrate import IntegrationWarning
    from scipy.integrate import quad as scipys

    args = args if isinstance(args, tuple) else (args,)
    f, start, end, constants = (plain(part) for part in (func, a, b, args))
    if not has_derivative((func, a, b, args)):
        return scipys(f, start, end, constants, **options)
    others = sorted(options.keys() - {"epsabs", "epsrel", "limit", "points"})
    if others:
        raise NotImplementedError(f"quad: {', '.join(others)}= cannot be differentiated through; leave it out")
    with paused():
        y, error, info, *message = scipys(f, start, end, constants, full_output=1, **options)
        parts = info["alist"][: info["last"]], info["blist"][: info["last"]]
        rule = Rule(start, end, *parts)
        columns = _takes_arrays(f, rule.x, constants)
    if message:
        warnings.warn(message[0], IntegrationWarning, stacklevel=2)
    total = rule.sum(func if columns else _one_by_one(func), a, b, args)
    if not abs(stop(total) - y) <= 1e-6 * abs(y) + 100 * error:
        raise ValueError(
            f"quad: a Gauss rule gives {stop(total):.9g}, SciPy extrapolates to {y:.9g}: f has a singularity, which a "
            "substitution of x can remove"
        )
    return with_value(total, y, "quad"), error


class Rule:
    """Points and weights on the parts of an interval that SciPy has made; of the image of an infinite one."""

    def __init__(self, a: float, b: float, left: Array, right: Array) -> None:
        self.infinite = np.isinf(a), np.isinf(b)
        nodes, weights = np.polynomial.legendre.leggauss(POINTS)
        if not any(self.infinite):  # as shares of b − a
            left, right = ((t - a) / (b - a) if b != a else np.array([k]) for k, t in enumerate((left, right)))
        half = (right - left)[:, None] / 2
        self.t = ((left + right)[:, None] / 2 + half * nodes).ravel()
        self.w = (np.abs(half) * weights).ravel()  # SciPy swaps limits that are the wrong way round
        self.x = self._points(a, b)[0]

    def _points(self, a: Any, b: Any) -> tuple[Any, Any]:
        """The points x and their weights."""
        if not any(self.infinite):
            return a + (b - a) * self.t, (b - a) * self.w
        away, w = (1 - self.t) / self.t, self.w / self.t**2
        if all(self.infinite):  # a to b, or b to a
            return np.concatenate([away, -away]), np.concatenate([w, w]) * np.sign(stop(b))
        end, other = (a, b) if self.infinite[1] else (b, a)
        sign = np.sign(stop(other))
        return end + sign * away, w * (sign if self.infinite[1] else -sign)

    def sum(self, f: Callable[..., Any], a: Any, b: Any, args: Any) -> Any:
        x, w = self._points(a, b)
        return np.sum(w * f(x, *args))


def _takes_arrays(f: Callable[..., Any], x: Array, args: Any) -> bool:
    """True if f of an array is the array of f."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            y = f(x, *args)
            single = np.array([f(float(t), *args) for t in x])
    except Exception:  # of any kind: the code is not written for arrays
        return False
    return np.shape(y) == x.shape and bool(np.allclose(y, single, rtol=1e-9, atol=0))


def _one_by_one(f: Callable[..., Any]) -> Callable[..., Any]:
    def of_all(x: Any, *args: Any) -> Any:
        return as_array([f(t if isinstance(x, Traced) else float(t), *args) for t in x])

    return of_all
