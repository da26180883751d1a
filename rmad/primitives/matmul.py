"""The matrix product, which carries nearly all the work of a network."""

from __future__ import annotations

import numpy as np

from rmad.rules import bilinear
from rmad.types import Array


def mT(x) -> Array:
    return np.swapaxes(x, -1, -2)


def _rows(x) -> Array:
    return x if x.ndim == 2 else np.reshape(x, (-1, x.shape[-1]))


def _left(u, A, B) -> Array:
    return u @ mT(B)


def _right(u, A, B) -> Array:
    """Aᵀ u; for one matrix B under a stack of A, one product over all the rows of the stack."""
    return mT(_rows(A)) @ _rows(u) if B.ndim == 2 else mT(A) @ u


matmul = bilinear(np.matmul, _left, _right)
"""y = A @ B for arrays of two axes or more; leading axes broadcast."""
