"""Derivatives of sigmoid and tanh from their value y, and from x in the tails, where 1 − y or 1 − y² cancels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.types import Array

__all__ = ["sigmoid_slope", "tanh_slope", "tanh_slope_over", "unless_small"]

# Below these, a difference of two numbers near one has lost too many digits: 12 are left in double precision.
SMALL: dict[Any, float] = {np.dtype(np.float64): 2.0**-13, np.dtype(np.float32): 2.0**-10}
MANY = 16  # one element in 16, from where it is faster to compute all of an array again than some of them
TANH_FAR = 4.1  # 1/cosh² x is below 2⁻¹⁰ there


def unless_small(d: Any, exact: Callable[..., Any], x: Any) -> Any:
    """d = f′(x), computed from y by a difference that cancels if it is small; there exact(x) takes its place.

    exact: x, or x and an array for the result. Few elements of most arrays are that far in a tail, so a look at the
    smallest is all that they cost.
    """
    limit = SMALL.get(d.dtype)
    if limit is None or not isinstance(d, np.ndarray | np.floating):
        return np.where(np.abs(d) < 2.0**-10, exact(x), d)
    if isinstance(d, np.floating):
        return d if d >= limit else exact(x)
    if d.size and not d.item(d.argmin()) >= limit:  # also if it is NaN
        small = d < limit
        if np.count_nonzero(small) * MANY > d.size:
            return exact(x, d)
        (few,) = np.nonzero(small.reshape(-1))
        d.flat[few] = exact(x.reshape(-1)[few])
    return d


def _exact_sigmoid_slope(x: Array, out: Array | None = None, scale: float = 1) -> Array:
    """σ′(z) = e/(1 + e)², z = scale · x, e = exp(−|z|); for complex x with the sign of its real part."""
    e = np.where(np.real(x) > 0, x, -x) if x.dtype.kind == "c" else np.abs(x, out=out)
    e *= -scale
    e = np.exp(e, out=out)
    s = e + 1
    s *= s
    e /= s
    return e


def _exact_tanh_slope(x: Array, out: Array | None = None) -> Array:
    """1/cosh² x = 4 σ′(2x)"""
    d = _exact_sigmoid_slope(x, out, 2)
    d *= 4
    return d


def sigmoid_slope(x: Array, y: Array) -> Any:
    """σ′(x) = y (1 − y), y = σ(x)."""
    d = 1 - y
    d *= y
    return unless_small(d, _exact_sigmoid_slope, x)


def tanh_slope(x: Array, y: Array) -> Any:
    """1/cosh² x = 1 − y², y = tanh x."""
    return unless_small(1 - y * y, _exact_tanh_slope, x)


def tanh_slope_over(x: Array, y: Array) -> None:
    """x ← 1/cosh² x, y = tanh x, without a copy of x."""
    if not isinstance(x, np.ndarray) or not x.size:
        _exact_tanh_slope(x, x)
        return
    few: Any = ()
    if not (x.item(x.argmax()) < TANH_FAR and x.item(x.argmin()) > -TANH_FAR):
        flat = x.reshape(-1)  # nonzero is several times as fast on one axis
        (few,) = np.nonzero(np.abs(flat) >= TANH_FAR)
        if len(few) * MANY > x.size:
            _exact_tanh_slope(x, x)
            return
        tail = _exact_tanh_slope(flat[few])
    np.multiply(y, y, x)
    np.subtract(1, x, x)
    if len(few):
        x.flat[few] = tail
