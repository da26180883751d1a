"""y = d x elementwise: products with a diagonal, spread over the axes of y or summed back over those that x lacks.

    push   v → d v           pull   u → conj(d) u, summed over the axes along which x was broadcast

d is an array that broadcasts to y, or ±1, which costs nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.tapes.specs import ArraySpec
from rmad.types import Array

__all__ = [
    "MINUS_ONE",
    "ONE",
    "as_input",
    "as_output",
    "padded",
    "pull_scaled",
    "pull_scaled_stack",
    "push_scaled",
    "push_scaled_stack",
    "unbroadcast",
    "unbroadcast_stack",
]

ONE, MINUS_ONE = 1, -1  # CPython keeps small ints, so `is` tells a factor of one from an array


def push_scaled(d: Any, v: Array, x: ArraySpec, y: ArraySpec) -> Array:
    """d v, of the shape and the dtype of y. May alias v."""
    v = v if d is ONE else -v if d is MINUS_ONE else d * v
    if v.shape != y.shape:
        v = np.broadcast_to(v, y.shape)
    return v if v.dtype is y.dtype else as_output(v, y)


def pull_scaled(d: Any, u: Array, x: ArraySpec, y: ArraySpec) -> Array:
    """conj(d) u, of the shape and the dtype of x. May alias u."""
    if d is MINUS_ONE:
        u = -u
    elif d is not ONE:
        u = (np.conj(d) if d.dtype.kind == "c" else d) * u
    if u.shape != x.shape:
        u = unbroadcast(u, x.shape)
    return u if u.dtype is x.dtype else as_input(u, x)


def push_scaled_stack(d: Any, V: Array, x: ArraySpec, y: ArraySpec) -> Array:
    """d v_k for every k, (k, *y.shape), of V: (k, *x.shape)."""
    if x.shape != y.shape:
        V = padded(V, x.shape, y.ndim)
    V = V if d is ONE else -V if d is MINUS_ONE else d * V
    if V.shape[1:] != y.shape:
        V = np.broadcast_to(V, (len(V), *y.shape))
    return V if V.dtype is y.dtype else as_output(V, y)


def pull_scaled_stack(d: Any, U: Array, x: ArraySpec, y: ArraySpec) -> Array:
    """conj(d) u_k for every k, (k, *x.shape), of U: (k, *y.shape)."""
    if d is MINUS_ONE:
        U = -U
    elif d is not ONE:
        U = (np.conj(d) if d.dtype.kind == "c" else d) * U
    if x.shape != y.shape:
        U = unbroadcast_stack(U, x.shape)
    return U if U.dtype is x.dtype else as_input(U, x)


def unbroadcast(u: Array, shape: tuple[int, ...]) -> Array:
    """Sums u over the axes along which an array of `shape` was broadcast: the transpose of broadcasting."""
    if u.shape == shape:
        return u
    extra = u.ndim - len(shape)
    stretched = [k + extra for k, n in enumerate(shape) if n == 1 and u.shape[k + extra] != 1]
    axes = (*range(extra), *stretched)
    if not stretched and isinstance(u, np.ndarray) and u.size and u.dtype.kind in "fc" and u.flags.c_contiguous:
        rows = np.reshape(u, (-1, int(np.prod(shape))))
        return np.reshape(np.ones(len(rows), u.dtype) @ rows, shape)  # a quarter of the time that np.sum takes
    return np.reshape(np.sum(u, axis=axes), shape) if axes else u


def padded(V: Array, x: tuple[int, ...], ndim: int) -> Array:
    """A stack of arrays of shape x, (k, *x), with axes of length 1 between, so that they broadcast to `ndim` axes."""
    return V if len(x) >= ndim else np.reshape(V, (len(V), *(1,) * (ndim - len(x)), *x))


def unbroadcast_stack(U: Array, shape: tuple[int, ...]) -> Array:
    """`unbroadcast` of every array of a stack."""
    if U.shape[1:] == shape:
        return U
    k = len(U)
    return np.reshape(unbroadcast(U, (k, *(1,) * (U.ndim - 1 - len(shape)), *shape)), (k, *shape))


def as_input(u: Array, spec: ArraySpec) -> Array:
    """A cotangent in the dtype of its input; its real part for a real input."""
    if u.dtype == spec.dtype:
        return u
    if u.dtype.kind == "c" and spec.dtype.kind != "c":
        u = np.real(u)
    return u.astype(spec.dtype)


def as_output(v: Array, spec: ArraySpec) -> Array:
    """A tangent in the dtype of its output. Its shape is left alone, so that `check_grads` sees a wrong one."""
    return v if v.dtype == spec.dtype else v.astype(spec.dtype)
