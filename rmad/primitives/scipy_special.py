"""Functions of scipy.special other than ufuncs, with SciPy's signatures, for plain and traced arrays.

NumPy's protocols do not reach these functions, so `scipy.special.logsumexp` on a traced array is an error
and `rmad.logsumexp` is the function to call. SciPy is imported by the first call that needs it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.machine.special import sc
from rmad.primitives.arguments import as_float_array
from rmad.primitives.softmax import ArrayLike, Axis, finite_max, softmax_primitive
from rmad.rules import primitive
from rmad.tapes.blocks import unbroadcast
from rmad.tracing.traced import stop
from rmad.types import Array

__all__ = ["logsumexp", "multigammaln"]

# -- sums of exponentials ------------------------------------------------------------------------------


def _without_weight_zero(a: Array, b: Array | None) -> Array:
    """a, and −inf for entries of weight zero: these take no part, whatever they are."""
    return a if b is None else np.where(stop(b) == 0, np.full_like(stop(a), -np.inf), a)


def _log_sum(a: Array, b: Array | None, axis: Axis, keepdims: bool) -> tuple[Array, Array]:
    """log|s| and s / |s|, s = Σ b exp(a).

    For real a without weights the largest terms are counted and the rest enters by log1p (Blanchard, Higham & Higham
    2021, algorithm 3.2): no digits are lost where the sum is near one.
    """
    a = _without_weight_zero(a, b)
    top = finite_max(a, axis)
    e = np.exp(a - top)
    if b is None and a.dtype.kind == "f":
        largest = a == top
        count = np.sum(largest, axis=axis, keepdims=True, dtype=a.dtype)
        rest = np.sum(np.where(largest, np.zeros_like(e), e), axis=axis, keepdims=True)
        shared = np.where(count == 0, np.ones_like(count), count)
        with np.errstate(divide="ignore"):  # log 0 = −inf: a sum of nothing
            y = np.where(count == 0, np.log(rest), np.log1p(rest / shared) + np.log(shared)) + top
        sign = (rest + count > 0).astype(a.dtype)
    else:
        s = np.sum(e if b is None else b * e, axis=axis, keepdims=True)
        size = np.abs(s)
        with np.errstate(divide="ignore"):
            y = np.log(size) + top
        sign = s / np.where(size == 0, np.ones_like(size), size)
    return (y, sign) if keepdims else (np.squeeze(y, axis)[()], np.squeeze(sign, axis)[()])


def _scaled_terms(a: Array, b: Array | None, axis: Axis) -> tuple[Array, Array, Array]:
    """e = exp(a − top), Σ b e (one if it is zero), and top. Entries of +∞ share evenly: e is 1 there, 0 elsewhere."""
    a = _without_weight_zero(a, b)
    top = finite_max(stop(a), axis)
    infinite = np.isposinf(stop(a).real)
    e = np.where(np.any(infinite, axis=axis, keepdims=True), infinite, np.exp(a - top))
    s = np.sum(e if b is None else b * e, axis=axis, keepdims=True)
    return e, np.where(stop(s) == 0, np.ones_like(s), s), top


@primitive(_log_sum, name="logsumexp")
def _logsumexp(out: Any, a: Any, b: Any, axis: Axis, keepdims: bool) -> Any:
    """y = log|s|: dy = Re ds/s and dsign = i sign Im ds/s, with ds/s = Σ p da + q db, p = b q, q = exp(a)/s.

    They are quotients of scaled terms: exp(a − y) would lose as many digits as y has before the point.
    """
    is_complex = out[1].dtype.kind == "c"
    shape_a, shape_b = a.shape, None if b is None else b.shape
    terms = cache(lambda: _scaled_terms(a, b, axis))

    @cache
    def p() -> Any:
        if b is None and not is_complex and arrays.is_all(np.isfinite(stop(a))):
            return softmax_primitive(a, axis)
        e, s, _ = terms()
        return (e if b is None else b * e) / s

    @cache
    def q() -> Any:
        _, s, top = terms()
        return np.exp(a - top) / s

    def total(z: Any) -> Any:
        return np.sum(z, axis=axis, keepdims=keepdims)

    def spread(u: Any) -> Any:
        return u if keepdims or axis is None else np.expand_dims(u, axis)

    def blocks(weight: Any, shape: Any) -> tuple[Any, Any]:
        """The blocks of log|s| and of the sign in one argument."""
        log = (
            lambda v: np.real(total(weight() * v)),
            lambda u: unbroadcast(spread(u) * np.conj(weight()), shape),
        )
        if not is_complex:
            return log, None
        s = out[1]
        turn = (
            lambda v: 1j * s * np.imag(total(weight() * v)),
            lambda u: unbroadcast(1j * spread(np.real(np.conj(u) * 1j * s)) * np.conj(weight()), shape),
        )
        return log, turn

    log_a, turn_a = blocks(p, shape_a)
    log_b, turn_b = (None, None) if b is None else blocks(q, shape_b)
    return (log_a, log_b), ((turn_a, turn_b) if is_complex else None)


def logsumexp(
    a: ArrayLike, axis: Axis = None, b: ArrayLike | None = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """y = log Σ b exp(a) along the axes, without overflow.

    An entry of −inf, or of weight zero, takes no part: its derivative is zero. The arguments are those of
    scipy.special.logsumexp.

    Parameters
    ----------
    a : array of any shape
        Real or complex; for complex a, y is the principal logarithm.
    axis : int or tuple of int, default all axes
    b : array that broadcasts with a, default ones
        Weights.
    keepdims : bool, default False
        True keeps the summed axes with length one.
    return_sign : bool, default False
        True returns log|Σ b exp(a)| and the sign; for complex a the sign is a phase.

    Returns
    -------
    y : array of the shape of a without the axes
        NaN for a negative sum, unless its sign is asked for.
    sign : array like y
        Only with return_sign.

    References
    ----------
    Blanchard, Higham & Higham (2021), algorithm 3.2.

    Examples
    --------
    >>> a = np.array([1000.0, 1000.0])
    >>> float(rmad.logsumexp(a)), rmad.grad(rmad.logsumexp)(a)
    (1000.6931471805599, array([0.5, 0.5]))
    """
    a = as_float_array(a)
    if b is not None:
        b = as_float_array(b)
        shape = np.broadcast_shapes(a.shape, b.shape)
        a = a if a.shape == shape else np.broadcast_to(a, shape)
    y, sign = _logsumexp(a, b, axis, keepdims)
    if return_sign:
        return y, sign
    if sign.dtype.kind == "c":
        return y + 1j * np.angle(sign)
    if b is not None and np.any(stop(sign) < 0):
        return np.where(stop(sign) < 0, np.full_like(stop(y), np.nan), y)
    return y


def multigammaln(a: ArrayLike, d: int) -> Array:
    """log Γ_d(a) = d (d − 1)/4 log π + Σ_{j < d} log Γ(a − j/2), the multivariate gamma function.

    Parameters
    ----------
    a : array of any shape
        Real, a > (d − 1)/2.
    d : int
        Dimension, d ≥ 1.

    Returns
    -------
    y : array of the shape of a

    Raises
    ------
    ValueError
        If d is not a positive integer, or some a is too small.

    Examples
    --------
    >>> rmad.multigammaln(np.array([1.5]), 2).round(4)
    array([0.4516])
    """
    a = as_float_array(a)
    if d != int(d) or d < 1:
        raise ValueError(f"multigammaln: d must be a positive integer (dimension), got {d}")
    if np.any(stop(a) <= 0.5 * (d - 1)):
        raise ValueError(f"multigammaln: a must be greater than (d - 1) / 2 = {0.5 * (d - 1)}")
    d = int(d)
    y = sc.gammaln(a)
    for j in range(1, d):
        y = y + sc.gammaln(a - 0.5 * j)
    return y + d * (d - 1) * 0.25 * math.log(math.pi)
