"""numpy.linalg: systems of equations, inverses, and the two triangles of a Hermitian matrix.

A: (…, m, n) throughout. Inverses that only the sweeps need are computed at the first sweep and kept, so that
every further product costs matrix products and no factorization.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.rules import as_array, constant, primitive
from rmad.tapes.blocks import unbroadcast
from rmad.tracing.handlers import implements
from rmad.tracing.valued import composed
from rmad.types import Array, Pairs


def mT(x) -> Array:
    return np.swapaxes(x, -1, -2)


def mH(x) -> Array:
    """xᴴ over the last two axes; a real x is not copied."""
    return np.conj(np.swapaxes(x, -1, -2)) if x.dtype.kind == "c" else np.swapaxes(x, -1, -2)


def eye(shape, like, dtype=bool) -> Array:
    """The identity of shape (…, n, m) without the stack, from `like`'s library; as booleans it promotes no dtype."""
    return arrays.eye(like, *shape[-2:], dtype=dtype)


def all_of(x) -> Array:
    """One number per matrix, as a stack of 1 × 1 matrices."""
    return np.expand_dims(x, (-1, -2))


def right(d) -> Array:
    """diag(d) for products from the right, X diag(d) = X * right(d)."""
    return np.expand_dims(d, -2)


def columns(b) -> Array:
    """A vector as a matrix of one column."""
    return np.expand_dims(b, -1)


# -- systems of equations ------------------------------------------------------------------------------


@primitive(lambda A, B: np.linalg.solve(A, B), name="solve")
def _solve(X, A, B) -> Pairs:
    """A X = B: dX = A⁻¹ (dB − dA X)."""
    inverse = cache(lambda: np.linalg.inv(A))
    a, b = A.shape, B.shape
    return (
        (lambda v: -(inverse() @ (v @ X)), lambda u: unbroadcast(-(mH(inverse()) @ u) @ mH(X), a)),  # A
        (lambda v: inverse() @ v, lambda u: unbroadcast(mH(inverse()) @ u, b)),  # B
    )


@implements(np.linalg.solve)
def solve(a, b) -> Array:
    """A b with one axis is a vector, as in NumPy 2; any other is a stack of matrices."""
    a, b = as_array(a), as_array(b)
    return _solve(a, columns(b))[..., 0] if b.ndim == 1 else _solve(a, b)


@primitive(np.linalg.inv)
def inv(Y, A) -> Pairs:
    """dA⁻¹ = −A⁻¹ dA A⁻¹."""
    return ((lambda v: -(Y @ v @ Y), lambda u: -(mH(Y) @ u @ mH(Y))),)


@composed(np.linalg.tensorsolve)
def tensorsolve(a, b, axes=None) -> Array:
    if axes is not None:
        rest = [k for k in range(np.ndim(a)) if k not in axes]
        a = np.transpose(a, (*rest, *axes))
    shape = a.shape[np.ndim(b) :]
    size = int(np.prod(shape))
    if a.size != size**2 or np.size(b) != size:
        raise np.linalg.LinAlgError(
            f"tensorsolve: a of shape {a.shape} is not square as a map onto b of shape {np.shape(b)}"
        )
    return np.reshape(np.linalg.solve(np.reshape(a, (size, size)), np.reshape(b, (size,))), shape)


@composed(np.linalg.tensorinv)
def tensorinv(a, ind=2) -> Array:
    if ind <= 0:
        raise ValueError(f"tensorinv: ind must be positive, got {ind}")
    size = int(np.prod(a.shape[ind:]))
    return np.reshape(np.linalg.inv(np.reshape(a, (-1, size))), (*a.shape[ind:], *a.shape[:ind]))


constant(np.linalg.matrix_rank)


# -- Hermitian input -----------------------------------------------------------------------------------


def need_matrices(name, a) -> None:
    """LinAlgError, as NumPy has it, if a has fewer than two axes: np.tril would make a matrix of a vector."""
    if a.ndim < 2:
        raise np.linalg.LinAlgError(f"{name}: the array has shape {a.shape}, a matrix has two axes at least")


def _hermitian(a, lower) -> Array:
    """The Hermitian matrix with this triangle: half + halfᴴ + Re diag."""
    half = np.tril(a, -1) if lower else np.triu(a, 1)
    return half + mH(half) + eye(a.shape, a) * np.real(a)


def _fold(a, lower) -> Array:
    """y_ij = a_ij and y_ji = ā_ij for i > j, so the transpose adds the conjugate of the other triangle to this one."""
    both = a + mH(a)
    return (np.tril(both, -1) if lower else np.triu(both, 1)) + eye(a.shape, a) * np.real(a)


from_triangle: Any = primitive(
    _hermitian,
    lambda y, a, lower: ((lambda v: from_triangle(v, lower), lambda u: to_triangle(u, lower)),),
    name="from_triangle",
)
to_triangle: Any = primitive(
    _fold,
    lambda y, a, lower: ((lambda v: to_triangle(v, lower), lambda u: from_triangle(u, lower)),),
    name="to_triangle",
)
