"""numpy.linalg: products of several matrices, and the products that have another name there."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from rmad.primitives.linalg import eye, mT
from rmad.primitives.products import matmul
from rmad.tracing.handlers import implements
from rmad.tracing.valued import composed
from rmad.types import Array


@composed(np.linalg.multi_dot)
def multi_dot(arrays) -> Array:
    """The product of a chain of matrices in the order that costs least (Cormen et al., section 14.2)."""
    arrays = list(arrays)
    if len(arrays) < 2:
        raise ValueError(f"multi_dot: expected at least two arrays, got {len(arrays)}")
    if len(arrays) == 2:
        return np.dot(*arrays)
    first, last = np.ndim(arrays[0]) == 1, np.ndim(arrays[-1]) == 1
    if first:
        arrays[0] = np.expand_dims(arrays[0], 0)
    if last:
        arrays[-1] = np.expand_dims(arrays[-1], 1)
    sizes = [a.shape[0] for a in arrays] + [arrays[-1].shape[1]]

    @cache
    def best(i, j) -> tuple[int, int]:
        """(multiplications, split) of the product of arrays i … j."""
        if i == j:
            return 0, i
        return min((best(i, k)[0] + best(k + 1, j)[0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j))

    def product(i, j) -> Array:
        k = best(i, j)[1]
        return arrays[i] if i == j else product(i, k) @ product(k + 1, j)

    y = product(0, len(arrays) - 1)
    return np.reshape(y, y.shape[first : 2 - last]) if first or last else y


@composed(np.linalg.matrix_power)
def matrix_power(a, n) -> Array:
    """aⁿ by repeated squaring; a negative power is one of the inverse."""
    if not isinstance(n, int | np.integer):
        raise TypeError(f"matrix_power: the exponent must be an integer, got {type(n).__name__}")
    if n == 0:
        return np.broadcast_to(eye(a.shape, a, a.dtype), a.shape).copy()
    power, n = np.linalg.inv(a) if n < 0 else a, abs(n)
    y: Any = None
    while n:
        if n & 1:
            y = power if y is None else y @ power
        n >>= 1
        power = power @ power if n else power
    return y


@composed(np.linalg.outer)
def outer(x1, x2, /) -> Array:
    if np.ndim(x1) != 1 or np.ndim(x2) != 1:
        raise ValueError(f"outer: inputs must be vectors, got shapes {np.shape(x1)} and {np.shape(x2)}")
    return np.outer(x1, x2)


@composed(np.linalg.cross)
def cross(x1, x2, /, *, axis=-1) -> Array:
    if np.shape(x1)[axis] != 3 or np.shape(x2)[axis] != 3:
        raise ValueError(f"cross: inputs must have 3 elements along axis {axis}, got {np.shape(x1)}, {np.shape(x2)}")
    return np.cross(x1, x2, axis=axis)


@composed(np.linalg.tensordot)
def tensordot(x1, x2, /, *, axes=2) -> Array:
    return np.tensordot(x1, x2, axes)


@composed(np.linalg.vecdot)
def vecdot(x1, x2, /, *, axis=-1) -> Array:
    return np.vecdot(np.moveaxis(x1, axis, -1), np.moveaxis(x2, axis, -1))


@implements(np.linalg.matmul)
def _matmul(x1, x2, /) -> Array:
    return matmul(x1, x2)


@implements(np.linalg.matrix_transpose)
def matrix_transpose(x, /) -> Array:
    return mT(x)
