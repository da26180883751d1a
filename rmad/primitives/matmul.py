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
    """y_mn = Σ_k A_mk B_kn, so Ā_mk = Σ_n u_mn B_kn: [m, n] [n, k] → [m, k]."""
    return u @ mT(B)


def _right(u, A, B) -> Array:
    """B̄_kn = Σ_m A_mk u_mn: [k, m] [m, n] → [k, n].

    One matrix B for a stack of A also sums over the stack: one product over all rows of the stack.
    """
    return mT(_rows(A)) @ _rows(u) if B.ndim == 2 else mT(A) @ u


matmul = bilinear(np.matmul, _left, _right)
"""y = A @ B for arrays of two axes or more; leading axes broadcast."""
