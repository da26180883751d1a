"""Products of two arrays, y bilinear in A and B. Those that contract an axis are matrix products, after transposes."""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.primitives.arguments import axes_of, cast, conj, is_complex, known, refuse_out
from rmad.primitives.einsum import pair
from rmad.primitives.matmul import matmul, mT, vector_matmul
from rmad.rules import as_array
from rmad.tracing.handlers import implements
from rmad.tracing.valued import composed, numpys, scalar
from rmad.types import Array

__all__ = ["mT", "matmul"]


def _refuse(name, options) -> None:
    for option in options:
        raise NotImplementedError(f"np.{name} of a traced array takes no {option}=; move the axes beforehand")


@implements(np.matmul)
def product(x1, x2, /, **options) -> Array:
    """x1 @ x2. Next to a stack of matrices a vector counts as a matrix of one row or one column."""
    if options:
        _refuse("matmul", options)
    A, B = as_array(x1), as_array(x2)
    m, n = A.ndim, B.ndim
    if m == 0 or n == 0:
        raise ValueError(f"matmul: x1 and x2 need at least one axis, their shapes are {A.shape} and {B.shape}")
    if m + n <= 3:
        quick: Any = vector_matmul.quick_product(A, B)
        return vector_matmul(A, B) if quick is None else quick
    row, column = m == 1, n == 1
    y = matmul(np.reshape(A, (1, -1)) if row else A, np.reshape(B, (-1, 1)) if column else B)
    if row or column:
        shape = y.shape[:-1] if column else y.shape
        y = np.reshape(y, shape[:-1] if row and column else (*shape[:-2], shape[-1]) if row else shape)
    return y if y.ndim else scalar(y)


@implements(np.dot)
def dot(a, b, out=None) -> Array:
    """Σ over the last axis of a and the last but one of b."""
    refuse_out(out)
    a, b = as_array(a), as_array(b)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if a.ndim > 2 or b.ndim > 2:
        return _exact_dot(a, b)
    common = np.result_type(a, b)
    return product(cast(a, common), cast(b, common))


def _dot_of_stacks(a, b) -> Array:
    return tensordot(a, b, (-1, -1 if b.ndim == 1 else -2))


_exact_dot = numpys(np.dot, _dot_of_stacks)


@composed(np.inner)
def inner(a, b, /) -> Array:
    a, b = as_array(a), as_array(b)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    return tensordot(a, b, (-1, -1))


@implements(np.outer)
def outer(a, b, out=None) -> Array:
    """a bᵀ of the flattened arrays."""
    refuse_out(out)
    column, row = np.reshape(a, (-1, 1)), np.reshape(b, (1, -1))
    if is_complex(column) or is_complex(row):  # BLAS rounds such products in another way
        return column * row
    return matmul(column, row)


@composed(np.vdot)
def vdot(a, b, /) -> Array:
    """aᴴ b of the flattened arrays."""
    return product(conj(np.ravel(a)), np.ravel(b))


@implements(np.tensordot)
def tensordot(a, b, axes=2) -> Array:
    """Σ over the given axes of a and b, those of a in the order of those of b."""
    a, b = as_array(a), as_array(b)
    if np.ndim(axes) == 0 and not isinstance(axes, tuple | list):
        axes = (range(a.ndim - axes, a.ndim), range(axes))
    of_a, of_b = (axes_of(k if np.ndim(k) == 0 else tuple(k), x.ndim) for k, x in zip(axes, (a, b), strict=True))
    if [a.shape[k] for k in of_a] != [b.shape[k] for k in of_b]:
        raise ValueError(f"tensordot: shapes {a.shape} and {b.shape} do not match along the axes {of_a} and {of_b}")
    labels_a = list(range(a.ndim))
    labels_b = list(range(a.ndim, a.ndim + b.ndim))
    for i, j in zip(of_a, of_b, strict=True):
        labels_b[j] = labels_a[i]
    summed = {labels_a[i] for i in of_a}
    return pair(a, labels_a, b, labels_b, [k for k in (*labels_a, *labels_b) if k not in summed])


@composed(*known("vecdot"))
def vecdot(x1, x2, /, *, axis=-1, keepdims=False, **options) -> Array:
    """Σ conj(x1) x2 along `axis`."""
    _refuse("vecdot", options)
    x1, x2 = as_array(x1), as_array(x2)
    if axis != -1:
        x1, x2 = np.moveaxis(x1, axis, -1), np.moveaxis(x2, axis, -1)
    y = np.einsum("...i,...i->...", conj(x1), x2)
    return np.expand_dims(y, axis) if keepdims else y


@composed(*known("matvec"))
def matvec(x1, x2, /, **options) -> Array:
    _refuse("matvec", options)
    y = product(x1, np.expand_dims(x2, -1))
    return np.reshape(y, y.shape[:-1])


@composed(*known("vecmat"))
def vecmat(x1, x2, /, **options) -> Array:
    """x1ᴴ x2."""
    _refuse("vecmat", options)
    y = product(conj(np.expand_dims(x1, -2)), x2)
    return np.reshape(y, (*y.shape[:-2], y.shape[-1]))


@composed(np.kron)
def kron(a, b) -> Array:
    """The blocks a_ij b."""
    a, b = as_array(a), as_array(b)
    n = max(a.ndim, b.ndim)
    shape_a = (1,) * (n - a.ndim) + tuple(a.shape)
    shape_b = (1,) * (n - b.ndim) + tuple(b.shape)
    of_a, of_b = range(0, 2 * n, 2), range(1, 2 * n, 2)
    y = pair(np.reshape(a, shape_a), [*of_a], np.reshape(b, shape_b), [*of_b], list(range(2 * n)))
    return np.reshape(y, [p * q for p, q in zip(shape_a, shape_b, strict=True)])


@composed(np.cross)
def cross(a, b, axisa=-1, axisb=-1, axisc=-1, axis=None) -> Array:
    """a × b for vectors of three components; of two, the third is zero."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = np.moveaxis(as_array(a), axisa, -1), np.moveaxis(as_array(b), axisb, -1)
    if a.shape[-1] not in (2, 3) or b.shape[-1] not in (2, 3):
        raise ValueError(f"cross: vectors of 2 or 3 components, not {a.shape[-1]} and {b.shape[-1]}")
    if a.shape[-1] == b.shape[-1] == 2:
        return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    a, b = (np.concatenate([x, arrays.zeros(x, (*x.shape[:-1], 1))], -1) if x.shape[-1] == 2 else x for x in (a, b))
    next, after = [1, 2, 0], [2, 0, 1]
    return np.moveaxis(a[..., next] * b[..., after] - a[..., after] * b[..., next], -1, axisc)
