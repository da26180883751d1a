"""Functions of scipy.special that are no ufuncs, with SciPy's signatures: they take plain and traced arrays alike.

NumPy's protocols do not reach these functions, so `scipy.special.logsumexp` on a traced array is an error
and `rmad.logsumexp` is the function to call. SciPy is imported by the first call that needs it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from rmad.blocks import unbroadcast
from rmad.kernels import elementwise as fast
from rmad.primitives.layers.symmetric import SymmetricKernels
from rmad.rules import primitive
from rmad.traced import stop

__all__ = ["log_softmax", "logsumexp", "multigammaln", "softmax"]

Axis = int | tuple[int, ...] | None


def as_float_array(x: Any) -> Any:
    """Lists and numbers as arrays, integers as floats."""
    x = x if hasattr(x, "dtype") else np.asarray(x)
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


# -- sums of exponentials ------------------------------------------------------------------------------


def _finite_max(x: Any, axis: Axis) -> Any:
    """The largest real part along the axes, zero where that is infinite: what to subtract before exp."""
    top = np.max(x.real if x.dtype.kind == "c" else x, axis=axis, keepdims=True, initial=-np.inf)
    return np.where(np.isfinite(top), top, np.zeros_like(top))


def _without_weight_zero(a: Any, b: Any) -> Any:
    """a, and −inf where its weight is zero: such an entry takes no part, whatever it is."""
    return a if b is None else np.where(stop(b) == 0, np.full_like(stop(a), -np.inf), a)


def _log_sum(a: Any, b: Any, axis: Axis, keepdims: bool) -> tuple[Any, Any]:
    """log|s| and s / |s|, s = Σ b exp(a).

    For real a without weights the largest terms are counted and the rest enters by log1p (Blanchard, Higham & Higham
    2021, algorithm 3.2): no digits are lost where the sum is near one.
    """
    a = _without_weight_zero(a, b)
    top = _finite_max(a, axis)
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


@primitive(_log_sum, name="logsumexp")
def _logsumexp(out: Any, a: Any, b: Any, axis: Axis, keepdims: bool) -> Any:
    """y = log|s|: dy = Re ds/s and dsign = i sign Im ds/s, with ds/s = Σ p da + q db, p = b q, q = sign* exp(a − y)."""
    y, sign = ((z if keepdims or axis is None else np.expand_dims(z, axis)) for z in out)
    y = np.where(np.isfinite(stop(y)), y, np.zeros_like(y))
    is_complex = out[1].dtype.kind == "c"
    shape_a, shape_b = a.shape, None if b is None else b.shape

    @cache
    def p() -> Any:
        q = np.exp(_without_weight_zero(a, b) - y) * np.conj(sign)
        return q if b is None else b * q

    @cache
    def q() -> Any:
        return np.exp(a - y) * np.conj(sign)

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


def logsumexp(a: Any, axis: Axis = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """log Σ b exp(a) along the axes, without overflow; with return_sign log|Σ b exp(a)| and its sign.

    b: weights that broadcast with a. An entry of −inf, or of weight zero, takes no part: its derivative is zero. A
    negative sum gives NaN unless its sign is asked for. Complex a: the principal logarithm, the sign being a phase.
    See scipy.special.logsumexp.
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


def _softmax_of(x: Any, axis: Axis) -> Any:
    y = x - np.max(x, axis=axis, keepdims=True)
    y = fast.exp(y, ours=True)
    y /= np.sum(y, axis=axis, keepdims=True)
    return y


def _inner(a: Any, b: Any, axis: Axis) -> Any:
    """Σ a b along the axes, kept as ones."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.ndim and axis in (-1, a.ndim - 1):
        return np.vecdot(a, b)[..., None]  # no array of products
    return np.sum(a * b, axis=axis, keepdims=True)


class _SoftmaxProduct:
    """v → y∘(v − Σ y v)"""

    def __init__(self, y: Any, axis: Axis) -> None:
        self.y, self.axis = y, axis

    def __call__(self, v: Any) -> Any:
        z = v - _inner(self.y, v, self.axis)
        z *= self.y
        return z

    def into(self, v: Any, out: Any) -> None:
        np.subtract(v, _inner(self.y, v, self.axis), out)
        np.multiply(out, self.y, out)


@primitive(_softmax_of, name="softmax")
def _softmax(y: Any, x: Any, axis: Axis) -> Any:
    """dy = y∘(dx − Σ y dx), which is symmetric."""
    product = _SoftmaxProduct(y, axis)
    return ((product, product),)


_softmax.kernels = SymmetricKernels()


def softmax(x: Any, axis: Axis = None) -> Any:
    """exp(x) / Σ exp(x) along the axes, x real; without overflow. See scipy.special.softmax."""
    return _softmax(_real(x, "softmax"), axis)


def _log_softmax_of(x: Any, axis: Axis) -> Any:
    y = x - _finite_max(x, axis)
    with np.errstate(divide="ignore"):  # Σ exp = 0 only where every entry is −inf
        y = y - np.log(np.sum(np.exp(y), axis=axis, keepdims=True))
    return y


@primitive(_log_softmax_of, name="log_softmax")
def _log_softmax(y: Any, x: Any, axis: Axis) -> Any:
    """dy = dx − Σ p dx, p = softmax(x)."""
    p = np.exp(y)
    return (
        (
            lambda v: v - _inner(p, v, axis),
            lambda u: u - p * np.sum(u, axis=axis, keepdims=True),
        ),
    )


def log_softmax(x: Any, axis: Axis = None) -> Any:
    """x − log Σ exp(x) along the axes, x real; without overflow. See scipy.special.log_softmax."""
    return _log_softmax(_real(x, "log_softmax"), axis)


def _real(x: Any, what: str) -> Any:
    x = as_float_array(x)
    if x.dtype.kind == "c":
        raise TypeError(f"{what} is of real arrays, but x is {x.dtype}")
    return x


def multigammaln(a: Any, d: int) -> Any:
    """log Γ_d(a) = d (d − 1)/4 log π + Σ_{j < d} log Γ(a − j/2), a > (d − 1)/2. See scipy.special.multigammaln.

    Raises ValueError where d is not a positive integer or some a is too small.
    """
    from scipy.special import gammaln

    a = as_float_array(a)
    if d != int(d) or d < 1:
        raise ValueError(f"multigammaln: d must be a positive integer (dimension), got {d}")
    if np.any(stop(a) <= 0.5 * (d - 1)):
        raise ValueError(f"multigammaln: a must be greater than (d - 1) / 2 = {0.5 * (d - 1)}")
    d = int(d)
    y = gammaln(a)
    for j in range(1, d):
        y = y + gammaln(a - 0.5 * j)
    return y + d * (d - 1) * 0.25 * math.log(math.pi)
