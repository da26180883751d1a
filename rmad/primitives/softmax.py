"""softmax and log_softmax, with SciPy's signatures, for plain and traced arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from rmad.kernels import elementwise as fast
from rmad.primitives.arguments import as_float_array
from rmad.primitives.layers.symmetric import SymmetricKernels
from rmad.rules import primitive
from rmad.types import Array

__all__ = ["ArrayLike", "Axis", "finite_max", "log_softmax", "softmax"]

Axis = int | tuple[int, ...] | None
ArrayLike: TypeAlias = "Array | float | Sequence[Any]"


def finite_max(x: Array, axis: Axis) -> Array:
    """The largest real part along the axes, zero if that is infinite: subtracted before exp, it prevents overflow."""
    top = np.max(x.real if x.dtype.kind == "c" else x, axis=axis, keepdims=True, initial=-np.inf)
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


class _SoftmaxProduct:
    """v → y∘(v − Σ y v)"""

    def __init__(self, y: Array, axis: Axis) -> None:
        self.y, self.axis = y, axis

    def __call__(self, v: Array) -> Array:
        z = v - _inner(self.y, v, self.axis)
        z *= self.y
        return z

    def into(self, v: Array, out: Array) -> None:
        np.subtract(v, _inner(self.y, v, self.axis), out)
        np.multiply(out, self.y, out)


@primitive(_softmax_of, name="softmax")
def _softmax(y: Any, x: Any, axis: Axis) -> Any:
    """dy = y∘(dx − Σ y dx), which is symmetric."""
    product = _SoftmaxProduct(y, axis)
    return ((product, product),)


_softmax.kernels = SymmetricKernels()


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
    return _softmax(_real(x, "softmax"), axis)


def _log_softmax_of(x: Array, axis: Axis) -> Array:
    y = x - finite_max(x, axis)
    with np.errstate(divide="ignore"):  # Σ exp = 0 only where every entry is −inf
        return y - np.log(np.sum(np.exp(y), axis=axis, keepdims=True))


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
