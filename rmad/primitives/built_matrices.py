"""Matrices made of vectors and of blocks, and bases of null spaces, with SciPy's signatures."""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.machine import arrays
from rmad.primitives.arguments import as_float_array
from rmad.primitives.linalg import mH
from rmad.primitives.matrix_functions import refuse_cupy
from rmad.rules import primitive
from rmad.types import Array

__all__ = ["block_diag", "null_space", "toeplitz"]


def toeplitz(c: Array, r: Array | None = None) -> Array:
    """T_ij = c_(i - j) below and on the diagonal, r_(j - i) above it.

    The arguments are those of scipy.linalg.toeplitz.

    Parameters
    ----------
    c : array, (m,)
        First column.
    r : array, (n,), default conj(c)
        First row; r_0 is not used.

    Returns
    -------
    T : array, (m, n)

    Raises
    ------
    ValueError
        If c or r is not a vector.

    Examples
    --------
    >>> rmad.linalg.toeplitz(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0]))
    array([[1., 4.],
           [2., 1.],
           [3., 2.]])
    """
    c = _array(c)
    r = np.conj(c) if r is None else _array(r)
    if c.ndim > 1 or r.ndim > 1:
        raise ValueError(f"toeplitz: c and r must be vectors, they have shapes {c.shape} and {r.shape}")
    c, r = np.atleast_1d(c), np.atleast_1d(r)
    m, n = len(c), len(r)
    along = np.concatenate([c[::-1], r[1:]])  # up the first column, then along the first row
    return along[(m - 1) - arrays.arange(c, m)[:, np.newaxis] + arrays.arange(c, n)]


def _array(a: Any) -> Any:
    return a if hasattr(a, "dtype") else np.asarray(a)


def block_diag(*arrs: Array) -> Array:
    """The matrices along the diagonal of one, zeros elsewhere.

    Parameters
    ----------
    *arrs : arrays, (…, m_k, n_k)
        A vector is a matrix of one row; stacks broadcast.

    Returns
    -------
    D : array, (…, Σ m_k, Σ n_k)

    Examples
    --------
    >>> rmad.linalg.block_diag(np.array([[1.0, 2.0]]), np.array([[3.0]]))
    array([[1., 2., 0.],
           [0., 0., 3.]])
    """
    blocks: list[Any] = [np.atleast_2d(_array(a)) for a in (arrs if arrs else ([],))]
    stack = np.broadcast_shapes(*(a.shape[:-2] for a in blocks))
    blocks = [a if a.shape[:-2] == stack else np.broadcast_to(a, (*stack, *a.shape[-2:])) for a in blocks]
    rows: list[Array] = []
    left, width = 0, sum(block.shape[-1] for block in blocks)
    for block in blocks:
        beside = (left, width - left - block.shape[-1])
        rows.append(np.pad(block, [(0, 0)] * (block.ndim - 1) + [beside]))
        left += block.shape[-1]
    return np.concatenate(rows, axis=-2)


def _null_space(A: Array, rcond: float | None) -> Array:
    refuse_cupy("null_space", A)
    from scipy.linalg import null_space

    return null_space(A, rcond)  # type: ignore[no-any-return]


@primitive(_null_space, name="null_space")
def _null(Q: Array, A: Array, rcond: float | None) -> Any:
    """A Q = 0 and Qᴴ dQ = 0, so dQ = -A⁺ dA Q (Golub & Pereyra 1973, eq. 4.12)."""
    inverse = np.linalg.pinv(A, np.finfo(A.dtype).eps * max(A.shape) if rcond is None else rcond)
    return ((lambda v: -(inverse @ v @ Q), lambda u: -(mH(inverse) @ u @ mH(Q))),)


def null_space(A: Array, rcond: float | None = None) -> Array:
    """Q with A Q = 0 and Qᴴ Q = I.

    Q is one basis of many, and its rotations within the space are left out of its derivative, Qᴴ dQ = 0: what does not
    depend on the basis, as Q Qᴴ and the norm of Qᴴ x, has its exact derivatives. The rank of A counts as constant.

    Parameters
    ----------
    A : array, (m, n)
    rcond : float, default the machine precision times max(m, n)
        Singular values below rcond times the largest count as zero.

    Returns
    -------
    Q : array, (n, n - rank A)

    Raises
    ------
    ValueError
        If A is no matrix.
    TypeError
        If A is an array of CuPy.

    References
    ----------
    Golub & Pereyra (1973), eq. 4.12.

    Examples
    --------
    >>> abs(rmad.linalg.null_space(np.array([[1.0, -1.0]]))).round(4)
    array([[0.7071],
           [0.7071]])
    """
    A = as_float_array(A)
    if A.ndim != 2:
        raise ValueError(f"null_space: A must be a matrix, it has shape {A.shape}")
    return _null(A, rcond)
