"""Diagonals and triangles of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.primitives.arguments import axes_of, from_end, known, stacked
from rmad.rules import as_array, linear
from rmad.tracing.handlers import implements
from rmad.types import Array


def _on_diagonal(u, shape, offset, axis1, axis2) -> Array:
    """Zeros of this shape with u on a diagonal. y_i = x_ii, so x̄_ij = u_i δ_ij: the transpose of np.diagonal."""
    total = arrays.zeros(u, shape)
    view = np.moveaxis(total, (axis1, axis2), (-2, -1))
    i = arrays.arange(u, u.shape[-1])
    view[..., i + max(-offset, 0), i + max(offset, 0)] = u
    return total


on_diagonal = linear(
    _on_diagonal,
    lambda u, x, shape, offset, axis1, axis2: np.diagonal(u, offset, axis1, axis2),
    "on_diagonal",
)
diagonal = linear(
    np.diagonal,
    lambda u, x, offset, axis1, axis2: on_diagonal(u, x.shape, offset, axis1, axis2),
)
triu = linear(np.triu, lambda u, x, k=0: np.triu(u, k))
tril = linear(np.tril, lambda u, x, k=0: np.tril(u, k))


def _on_diagonals(k, block) -> Any:
    _, shape, offset, *axes = block.args
    return stacked(k, block, (k, *shape), offset, *from_end(tuple(axes), len(shape)))


def _diagonals(k, block) -> Any:
    _, offset, *axes = block.args
    return stacked(k, block, offset, *from_end(tuple(axes), block.x.ndim))


on_diagonal.on_stack, diagonal.on_stack = _on_diagonals, _diagonals
triu.on_stack = tril.on_stack = lambda k, block: None if block.x.ndim < 2 else stacked(k, block, *block.args[1:])


@implements(np.diagonal)
def _diagonal(a, offset=0, axis1=0, axis2=1) -> Array:
    axis1, axis2 = axes_of((axis1, axis2), a.ndim)
    return diagonal(a, offset, axis1, axis2)


@implements(*known("diagonal", module=np.linalg))
def matrix_diagonal(x, /, *, offset=0) -> Array:
    return _diagonal(x, offset, -2, -1)


@implements(*known("trace", module=np.linalg))
def matrix_trace(x, /, *, offset=0, dtype=None) -> Array:
    return np.sum(_diagonal(x, offset, -2, -1), axis=-1, dtype=dtype)


@implements(np.diag)
def diag(v, k=0) -> Array:
    """The matrix with v on its k-th diagonal; of a matrix, that diagonal."""
    if v.ndim == 2:
        return _diagonal(v, k)
    if v.ndim != 1:
        raise ValueError(f"diag: v must have one or two axes, its shape is {v.shape}")
    n = v.shape[0] + abs(k)
    return on_diagonal(v, (n, n), k, 0, 1)


@implements(np.diagflat)
def diagflat(v, k=0) -> Array:
    return diag(np.ravel(as_array(v)), k)


@implements(np.triu)
def _triu(m, k=0) -> Array:
    return triu(m, k)


@implements(np.tril)
def _tril(m, k=0) -> Array:
    return tril(m, k)
