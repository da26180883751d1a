"""The matrix product, which carries nearly all the work of a network; and that of a matrix and a vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad import tuning
from rmad.rules import bilinear
from rmad.tapes.blocks import Linear, padded
from rmad.types import Array


def mT(x) -> Array:
    return np.swapaxes(x, -1, -2)


def _rows(x) -> Array:
    return x if x.ndim == 2 else np.reshape(x, (-1, x.shape[-1]))


def _left(u, A, B) -> Array:
    """y_mn = Σ_k A_mk B_kn, so Ā_mk = Σ_n u_mn B_kn: [m, n] [n, k] → [m, k]."""
    return u @ mT(B)


def _right(u, A, B) -> Array:
    """B̄_kn = Σ_m A_mk u_mn: [k, m] [m, n] → [k, n].

    One matrix B for a stack of A also sums over the stack: one product over all rows of the stack.
    """
    return mT(_rows(A)) @ _rows(u) if B.ndim == 2 else mT(A) @ u


class Product(Linear):
    """A block of a matrix product: k stacked vectors make one product, if there is one matrix for all rows."""

    def of_stack(self, V) -> Array:
        (A, B), k = self.args, len(V)
        if B.ndim > 2:
            return padded(V, A.shape, self.y.ndim) @ B if self.argnum == 0 else A @ padded(V, B.shape, self.y.ndim)
        if self.argnum == 0:
            Y = _times(_rows(V), B)
        elif B.shape[1] == 1:
            Y = _times(np.reshape(V, (k, -1)), _rows(A).T)
        else:
            Y = _rows(A) @ V
        return np.reshape(Y, (k, *self.y.shape))

    def transpose_of_stack(self, U) -> Array:
        (A, B), k = self.args, len(U)
        if B.ndim > 2:
            return U @ mT(B) if self.argnum == 0 else mT(A) @ U
        if self.argnum == 0:
            X = _times(_rows(U), B.T)
        elif B.shape[1] == 1:
            X = _times(np.reshape(U, (k, -1)), _rows(A))
        else:
            X = _rows(A).T @ np.reshape(U, (k, -1, B.shape[1]))
        return np.reshape(X, (k, *self.x.shape))


def _times(V, B) -> Array:
    """V B. If every row of V has one number other than 0, as in an identity matrix, these are multiples of B's rows."""
    if isinstance(V, np.ndarray) and V.size * B.shape[1] >= tuning.SELECTED_PRODUCT_FROM:
        columns = _only_columns(V)
        if columns is not None:
            first, n = int(columns[0]), len(columns)
            in_a_row = np.array_equal(columns, np.arange(first, first + n))
            Y, values = B[first : first + n] if in_a_row else B[columns], V[np.arange(n), columns]
            return Y if np.all(values == 1) else Y * values[:, None]
    return V @ B


def _only_columns(V) -> Array | None:
    """The column of the only number other than 0 in each row; None if it is not the only one, or there is none."""
    if np.count_nonzero(V[0]) != 1 or np.count_nonzero(V) != len(V):  # a dense one is known by its first row
        return None
    rows, columns = np.nonzero(V)
    return columns if np.array_equal(rows, np.arange(len(V))) else None


matmul = bilinear(np.matmul, _left, _right)
"""y = A @ B for arrays of two axes or more; leading axes broadcast."""
matmul.block = Product


# -- a vector on one side, or on both: y = A x, y = xᵀ A, y = aᵀ b ------------------------------------------


def _of_left(u, A, B) -> Array:
    """Ā = u Bᵀ for a vector B, else ā = B u."""
    return u[..., None] * B if B.ndim == 1 else B @ u


def _of_right(u, A, B) -> Array:
    """B̄ = Aᵀ u for a matrix A; a uᵀ, or u a, for a vector a."""
    if A.ndim == 2:
        return u @ A
    return u * A if B.ndim == 1 else A[:, None] * u


class VectorProduct(Linear):
    """A block of such a product: k stacked vectors make one product of matrices."""

    def of_stack(self, V) -> Array:
        A, B = self.args
        if self.argnum == 0:
            return V @ B if B.ndim == 1 else _times(V, B)
        if A.ndim == 2:
            return _times(V, A.T)
        return V @ A if B.ndim == 1 else A @ V

    def transpose_of_stack(self, U) -> Array:
        A, B = self.args
        if self.argnum == 0:
            return U[..., None] * B if B.ndim == 1 else _times(U, B.T)
        if A.ndim == 2:
            return _times(U, A)
        return U[..., None] * A if B.ndim == 1 else A[:, None] * U[:, None, :]


vector_matmul = bilinear(lambda A, B: np.matmul(A, B), _of_left, _of_right, name="matmul")
"""y = A @ B for arrays of one axis or two, one of them a vector."""
vector_matmul.block = VectorProduct


def _pattern(block) -> Any:
    """Of A x by x and of x B by x, for one vector x: where the matrix differs from zero."""
    from scipy.sparse import csr_array

    matrix = block.args[1 - block.argnum]
    if matrix.ndim != 2 or block.x.shape == block.y.shape == ():
        return None
    return csr_array((matrix if block.argnum else matrix.T) != 0)


vector_matmul.pattern = _pattern
