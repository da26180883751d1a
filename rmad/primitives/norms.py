"""numpy.linalg: norms of vectors and of matrices.

At a kink (a vector of zeros, and single zeros of a p-norm) the derivative is the subgradient zero, without a warning
and without NaN. Second derivatives of even functions of the norm are right there: see `rmad.singular.limits`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.rules import primitive
from rmad.singular.limits import Length, at_zero, pole, ratio
from rmad.tracing.handlers import implements
from rmad.tracing.traced import Traced, stop
from rmad.tracing.valued import composed, numpys
from rmad.types import Array, Pairs


def _expand(a, axis, keepdims) -> Array:
    """Puts the reduced axes back, with length one."""
    return a if keepdims or axis is None else np.expand_dims(a, axis)


def _along(z, axis, keepdims) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """(push, pull) of y(x) with dy = Σ Re(z̄ dx) over the axes."""
    if z.dtype.kind == "c":
        return (
            lambda v: np.sum(np.real(np.conj(z) * v), axis=axis, keepdims=keepdims),
            lambda u: z * _expand(u, axis, keepdims),
        )
    return lambda v: np.sum(z * v, axis=axis, keepdims=keepdims), lambda u: z * _expand(u, axis, keepdims)


def _in_range(f, y, x, axis) -> tuple[Any, Any]:
    """y and x themselves, or f(z) and z = x / 2ᵏ, 2ᵏ ≈ max |x|, if powers in f(x) may be too large or too small.

    The derivatives of a norm y = f(x) are those of f(z) at z, which is parallel to x; y keeps NumPy's value, ∞ or 0.
    """
    info = np.finfo(y.dtype)
    low, high = float(info.tiny) ** 0.25, float(info.max) ** 0.25
    size = stop(y)
    if np.all((size > low) & (size < high)):
        return y, x
    largest = arrays.highest(np.abs(stop(x)), 0, axis, keepdims=True)
    zero = largest == 0
    if np.any(zero) and isinstance(x, Traced):  # its limit is known to the node of y
        return y, x
    _, k = np.frexp(largest)
    z = x * np.ldexp(np.ones_like(largest), -np.maximum(k, info.minexp))
    return f(z), z


def _euclidean(x, axis, keepdims) -> Array:
    """√Σ|x|², as NumPy computes it if it has a norm over these axes: that of a whole array is a dot product there."""
    if axis is None or len(axis) in (1, 2):
        return np.linalg.norm(x, axis=axis, keepdims=keepdims)
    squares = np.real(np.conj(x) * x) if x.dtype.kind == "c" else x * x
    return np.sqrt(np.sum(squares, axis=axis, keepdims=keepdims))


def _two_norm_rule(y, x, axis, keepdims) -> Pairs:
    """y = √Σ|x|²: dy = Σ Re(x̄ dx) / y."""
    y, x = _in_range(lambda z: _two_norm(z, axis, keepdims), y, x, axis)
    if at_zero(y) is None:
        long = _expand(y, axis, keepdims)
        return (_along(x / np.where(long == 0, np.ones_like(long), long), axis, keepdims),)
    push, _ = _along(x, axis, keepdims)
    return ((lambda v: pole(push(v), y), lambda u: x * _expand(ratio(u, y), axis, keepdims)),)


_two_norm = Length(_euclidean, _two_norm_rule, "two_norm")


@primitive(lambda x, p, axis, keepdims: np.sum(np.abs(x) ** p, axis=axis, keepdims=keepdims) ** (1 / p), name="p_norm")
def _p_norm(y, x, p, axis, keepdims) -> Pairs:
    """y = (Σ|x|^p)^(1/p): dy = Σ (|x|/y)^(p−1) Re(x̄ dx) / |x|."""
    y, x = _in_range(lambda z: _p_norm(z, p, axis, keepdims), y, x, axis)
    y = _expand(y, axis, keepdims)
    zero = stop(x) == 0
    size = np.where(zero, np.ones_like(x, dtype=y.dtype), np.abs(x))
    ratio = size / np.where(y == 0, np.ones_like(y), y)
    z = x / size * ratio ** (p - 1)
    return (_along(np.where(zero, np.zeros_like(z), z), axis, keepdims),)


def _vector(x, ord, axis, keepdims) -> Array:
    if ord is None or ord == 2:
        return _two_norm(x, axis, keepdims)
    if ord == np.inf:
        return np.max(np.abs(x), axis=axis, keepdims=keepdims)
    if ord == -np.inf:
        return np.min(np.abs(x), axis=axis, keepdims=keepdims)
    if ord == 0:
        return np.sum(stop(x) != 0, axis=axis, keepdims=keepdims).astype(stop(x).real.dtype)
    if ord == 1:
        return np.sum(np.abs(x), axis=axis, keepdims=keepdims)
    if isinstance(ord, str):
        raise ValueError(f"norm: order {ord!r} is not defined for vectors")
    return _p_norm(x, float(ord), axis, keepdims)


def _matrix(x, ord, keepdims) -> Array:
    """The norm of the matrices in the last two axes."""
    if ord in (None, "fro", "f"):
        return _two_norm(x, (-2, -1), keepdims)
    if ord in ("nuc", 2, -2):
        s = np.linalg.svdvals(x)
        y = np.sum(s, axis=-1) if ord == "nuc" else s[..., 0] if ord == 2 else s[..., -1]
    elif ord in (1, -1, np.inf, -np.inf):
        sums = np.sum(np.abs(x), axis=-2 if abs(ord) == 1 else -1)
        y = np.max(sums, axis=-1) if ord > 0 else np.min(sums, axis=-1)
    else:
        raise ValueError(f"norm: order {ord!r} is not defined for matrices")
    return np.expand_dims(y, (-2, -1)) if keepdims else y


@implements(np.linalg.norm)
def norm(x, ord=None, axis=None, keepdims=False) -> Array:
    if ord is None and (axis is None or type(axis) is int):
        return _two_norm(x, None if axis is None else (axis,), keepdims)
    return _exact_norm(x, ord, axis, keepdims)


def _norm(x, ord=None, axis=None, keepdims=False) -> Array:
    if axis is None:
        if x.ndim not in (1, 2):
            raise ValueError(f"norm: x has {x.ndim} axes; say along which one or two with axis=")
        axis = tuple(range(x.ndim))
    axis = tuple(axis) if isinstance(axis, tuple | list) else (int(axis),)
    if len(axis) == 1:
        return _vector(x, ord, axis, keepdims)
    if len(axis) != 2 or axis[0] % x.ndim == axis[1] % x.ndim:
        raise ValueError(f"norm: axis must be one axis or two different ones, got {axis}")
    y = _matrix(np.moveaxis(x, axis, (-2, -1)), ord, False)
    return np.expand_dims(y, tuple(k % x.ndim for k in axis)) if keepdims else y


_exact_norm = numpys(np.linalg.norm, _norm)


@composed(np.linalg.vector_norm)
def vector_norm(x, /, *, axis=None, keepdims=False, ord=2) -> Array:
    if axis is None:
        axis = tuple(range(x.ndim))
    return _vector(x, ord, tuple(axis) if isinstance(axis, tuple | list) else (axis,), keepdims)


@composed(np.linalg.matrix_norm)
def matrix_norm(x, /, *, keepdims=False, ord="fro") -> Array:
    return _matrix(x, ord, keepdims)


@composed(np.linalg.cond)
def cond(x, p=None) -> Array:
    if p is None or p in (2, -2):
        s = np.linalg.svdvals(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return _matrix(x, p, False) * _matrix(np.linalg.inv(x), p, False)
