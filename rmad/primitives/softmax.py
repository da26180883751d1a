"""softmax and log_softmax, with SciPy's signatures, for plain and traced arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from rmad.kernels import elementwise as fast
from rmad.kernels import gpu_rows
from rmad.machine import arrays
from rmad.machine.backend import is_cupy
from rmad.primitives.arguments import as_float_array
from rmad.primitives.layers.symmetric import SymmetricKernels
from rmad.rules import primitive
from rmad.tracing.traced import stop
from rmad.types import Array

__all__ = ["ArrayLike", "Axis", "finite_max", "log_softmax", "softmax", "softmax_primitive"]

NEAR_ONE = 1 - 2.0**-7  # a difference of one and less than that keeps all digits but two

Axis = int | tuple[int, ...] | None
ArrayLike: TypeAlias = "Array | float | Sequence[Any]"


def finite_max(x: Array, axis: Axis) -> Array:
    """The largest real part along the axes, zero if that is infinite: subtracted before exp, it prevents overflow."""
    top = arrays.highest(x.real if x.dtype.kind == "c" else x, -np.inf, axis, keepdims=True)
    return np.where(np.isfinite(top), top, np.zeros_like(top))


def _real(x: ArrayLike, what: str) -> Array:
    x = as_float_array(x)
    if x.dtype.kind == "c":
        raise TypeError(f"{what} is of real arrays, but x is {x.dtype}")
    return x


def _softmax_of(x: Array, axis: Axis) -> Array:
    y = x - np.max(x, axis=axis, keepdims=True)
    y = fast.exp(y, ours=True)
    y /= np.sum(y, axis=axis, keepdims=True)
    return y


def _inner(a: Array, b: Array, axis: Axis) -> Array:
    """Σ a b along the axes, kept as ones."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.ndim and axis in (-1, a.ndim - 1):
        return np.vecdot(a, b)[..., None]  # no array of products
    return np.sum(a * b, axis=axis, keepdims=True)


def _near_one(p: Array) -> Array | None:
    """Ones in the places of probabilities above ½, zeros elsewhere; None if 1 − p has all its digits for every p.

    In each row they choose v_t for the largest p_t. Subtracted from v, it leaves v − Σ p v as it is, without the
    difference of v_t and p_t v_t.
    """
    p = stop(p)
    if isinstance(p, np.ndarray) and not (p.size and p.item(p.argmax()) > NEAR_ONE):
        return None
    return (p > 0.5).astype(p.dtype)


class _SoftmaxProduct:
    """v → y∘(v − Σ y v)"""

    def __init__(self, y: Array, axis: Axis) -> None:
        self.y, self.axis = y, axis
        self.by_rows = is_cupy(y) and y.dtype.char in "fd" and bool(y.ndim and y.size) and axis in (-1, y.ndim - 1)
        self.top = None if self.by_rows else _near_one(y)

    def __call__(self, v: Array) -> Array:
        if self.by_rows and is_cupy(v):
            z = arrays.empty(v, v.shape)
            gpu_rows.softmax_product(self.y, v, z)
            return z
        if self.top is not None:
            v = v - _inner(self.top, v, self.axis)
        z = v - _inner(self.y, v, self.axis)
        z *= self.y
        return z

    def on_gpu(self, new: Any, add: bool) -> Any:
        """out ← or out ← out + the product; None unless the sums are over rows of a device."""
        if not self.by_rows:
            return None
        return lambda v, out: gpu_rows.softmax_product(self.y, v, out, add)

    def into(self, v: Array, out: Array) -> None:
        if self.top is not None:
            v = np.subtract(v, _inner(self.top, v, self.axis), out)
        np.subtract(v, _inner(self.y, v, self.axis), out)
        np.multiply(out, self.y, out)


@primitive(_softmax_of, name="softmax")
def softmax_primitive(y: Any, x: Any, axis: Axis) -> Any:
    """dy = y∘(dx − Σ y dx), which is symmetric."""
    product = _SoftmaxProduct(y, axis)
    return ((product, product),)


softmax_primitive.kernels = SymmetricKernels()


def softmax(x: ArrayLike, axis: Axis = None) -> Array:
    """y = exp(x) / Σ exp(x) along the axes, without overflow.

    Parameters
    ----------
    x : array of any shape
        Real.
    axis : int or tuple of int, default all axes
        The axes along which y sums to one.

    Returns
    -------
    y : array of the shape of x

    Raises
    ------
    TypeError
        If x is complex.

    Examples
    --------
    >>> rmad.softmax(np.array([[0.0, np.log(3.0)]]), axis=-1)
    array([[0.25, 0.75]])
    """
    return softmax_primitive(_real(x, "softmax"), axis)


def _log_softmax_of(x: Array, axis: Axis) -> Array:
    y = x - finite_max(x, axis)
    with np.errstate(divide="ignore"):  # Σ exp = 0 only where every entry is −inf
        return y - np.log(np.sum(np.exp(y), axis=axis, keepdims=True))


@primitive(_log_softmax_of, name="log_softmax")
def _log_softmax(y: Any, x: Any, axis: Axis) -> Any:
    """dy = dx − Σ p dx, p = softmax(x)."""
    p = np.exp(y)
    top = _near_one(p)

    def push(v: Array) -> Array:
        return v - _inner(p, v, axis)

    def pull(u: Array) -> Array:
        return u - p * np.sum(u, axis=axis, keepdims=True)

    if top is None:
        return ((push, pull),)
    others = np.sum(p - top * p, axis=axis, keepdims=True)
    rest = np.where(top, others, -p)  # top − p
    return (
        (
            lambda v: push(v - _inner(top, v, axis)),
            lambda u: pull(u - top * u) + rest * _inner(top, u, axis),
        ),
    )


def log_softmax(x: ArrayLike, axis: Axis = None) -> Array:
    """y = x − log Σ exp(x) along the axes, without overflow.

    Parameters
    ----------
    x : array of any shape
        Real.
    axis : int or tuple of int, default all axes
        The axes along which exp(y) sums to one.

    Returns
    -------
    y : array of the shape of x

    Raises
    ------
    TypeError
        If x is complex.

    Examples
    --------
    >>> rmad.log_softmax(np.array([1000.0, 0.0]))
    array([    0., -1000.])
    """
    return _log_softmax(_real(x, "log_softmax"), axis)
