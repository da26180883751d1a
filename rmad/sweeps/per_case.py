"""Per-case gradients of a parameter, (cases, *shape), at a node that has rows per case."""

from __future__ import annotations

import numpy as np

from rmad.machine import arrays
from rmad.primitives.index import Index, scatter_add
from rmad.primitives.layers import conv
from rmad.primitives.matmul import matmul, vector_matmul
from rmad.sweeps.rows import Rows
from rmad.tapes.blocks import Block, Diagonal, Linear
from rmad.types import Array

__all__ = ["gradients", "is_embedding", "is_weight", "one_by_one", "squares_of_embedding", "squares_of_weight"]


def gradients(block: Block, u: Array, rows: Rows, part: slice) -> Array | None:
    """∂⟨u_n, y_n⟩/∂x for the cases of `part`, (m, *x.shape); None if the block has no such form."""
    if "c" not in (block.x.dtype.kind, block.y.dtype.kind):
        return _transposed(block, u, rows, part)
    found = _transposed(block, np.conj(u), rows, part)  # the adjoint is conj Jᵀ conj u
    if found is None:
        return None
    return np.conj(found) if block.x.dtype.kind == "c" else np.real(found)


def _transposed(block: Block, u: Array, rows: Rows, part: slice) -> Array | None:
    """Jᵀu by cases, without a conjugate."""
    if is_weight(block, rows):
        A, B = rows.view(block.args[0])[part], rows.view(u)[part]  # type: ignore[attr-defined]
        B = B if block.x.ndim == 2 else B[..., None]
        return np.reshape(np.matmul(np.swapaxes(_matrices(A), 1, 2), _matrices(B)), (len(A), *block.x.shape))
    if isinstance(block, Linear) and block.primitive in (conv.forward, conv.backward) and block.argnum == 1:
        return _of_kernel(block, u, part) if rows.axis == 0 and rows.rest == 1 else None
    if isinstance(block, Diagonal):
        return _of_factor(block, u, rows, part)
    if is_embedding(block, rows):
        key, shares = rows.view(block.args[1])[part], rows.view(u)[part]  # type: ignore[attr-defined]
        total = arrays.zeros(u, (len(key), *block.x.shape))
        scatter_add(total, (np.broadcast_to(_numbers(key), key.shape), key), shares)
        return total
    return None


def one_by_one(block: Block, u: Array, rows: Rows, part: slice) -> Array:
    """The same by one whole pull per case, which every block has."""
    alone = np.zeros_like(u, order="C")
    lone, given = rows.view(alone), rows.view(u)
    found = []
    for k in range(rows.n)[part]:
        lone[k] = given[k]
        found.append(block.pull(alone).copy())
        lone[k] = 0
    return np.stack(found)


def is_weight(block: Block, rows: Rows) -> bool:
    """W in y = A W, one matrix or one vector for all rows."""
    if not isinstance(block, Linear) or block.argnum != 1:
        return False
    if block.primitive is vector_matmul:
        return len(block.args[0].shape) == 2
    return block.primitive is matmul and block.x.ndim == 2 and rows.axis < block.y.ndim - 1


def is_embedding(block: Block, rows: Rows) -> bool:
    """E in y = E[key], rows of E by an array of integers."""
    if not isinstance(block, Index):
        return False
    key = block.args[1]
    return getattr(key, "ndim", 0) > rows.axis and key.dtype.kind in "iu"


def _squares_of_embedding_on_device(block: Linear, key: Array, u: Array) -> Array:
    """The same as Σ_n Σ_s u_s ∘ Σ_t [token t is token s] u_t: to find the distinct tokens would be to wait."""
    key, u = np.reshape(key, (len(key), -1)), np.reshape(u, (len(u), -1, block.x.size // block.x.shape[0]))
    same = (key[:, :, None] == key[:, None, :]).astype(u.dtype)
    total = arrays.zeros(u, (block.x.shape[0], u.shape[-1]))
    scatter_add(total, np.reshape(key, -1), np.reshape(u * (same @ u), (key.size, -1)))
    return np.reshape(total, block.x.shape)


def _numbers(key: Array) -> Array:
    """The number of the case of every element, (n, 1, …), to broadcast."""
    return np.reshape(arrays.arange(key, len(key)), (-1, *[1] * (key.ndim - 1)))


def _matrices(a: Array) -> Array:
    """(m, …, i) as (m, r, i)."""
    return np.reshape(a, (len(a), -1, a.shape[-1])) if a.size else arrays.zeros(a, (len(a), 0, a.shape[-1]))


def _of_kernel(block: Linear, u: Array, part: slice) -> Array:
    """The kernel of a convolution: its transpose, image by image."""
    images, *rest = block.args
    cases = range(len(u))[part]
    return np.stack([block.transpose(u[k : k + 1], images[k : k + 1], *rest) for k in cases])


def _of_factor(block: Diagonal, u: Array, rows: Rows, part: slice) -> Array | None:
    """x in y = d x + …, broadcast over the cases: d u, summed over the other axes along which x was broadcast."""
    shape = rows.without((1,) * (block.y.ndim - block.x.ndim) + block.x.shape)
    if shape is None:
        return None
    w = rows.view(u)[part]
    if not isinstance(block.d, int):
        w = w * rows.view(np.broadcast_to(block.d, block.y.shape))[part]
    elif block.d == -1:
        w = -w
    stretched = tuple(k + 1 for k, m in enumerate(shape) if m == 1 and w.shape[k + 1] != 1)
    return np.reshape(np.sum(w, axis=stretched) if stretched else w, (len(w), *block.x.shape))


def squares_of_weight(block: Linear, u: Array, rows: Rows) -> Array | None:
    """Σ_n (a_nᵀ u_n)² = (a∘a)ᵀ(u∘u), for one row per case; None if there are several."""
    A, B = rows.view(block.args[0]), rows.view(u)
    if A.ndim != 2:
        return None
    return np.square(A).T @ np.square(B)


def squares_of_embedding(block: Linear, u: Array, rows: Rows) -> Array:
    """Σ_n (Σ of u over the places of a token in case n)²: only tokens that occur are summed, never a table per case."""
    key, u = rows.view(block.args[1]), rows.view(u)
    tokens, width = block.x.shape[0], u.shape[key.ndim :]
    if not isinstance(u, np.ndarray):
        return _squares_of_embedding_on_device(block, np.where(key < 0, key + tokens, key), u)
    pairs, place = np.unique(_numbers(key) * tokens + np.where(key < 0, key + tokens, key), return_inverse=True)
    sums = arrays.zeros(u, (len(pairs), *width))
    scatter_add(sums, place.reshape(-1), np.reshape(u, (place.size, *width)))
    total = arrays.zeros(u, block.x.shape)
    scatter_add(total, pairs % tokens, np.square(sums))
    return total
