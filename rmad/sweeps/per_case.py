"""Per-case gradients of a parameter, (cases, *shape), where it meets an array that has rows per case."""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.blocks import Block, Diagonal, Linear
from rmad.primitives.arguments import like
from rmad.primitives.index import Index, scatter_add
from rmad.primitives.layers import conv
from rmad.primitives.matmul import matmul

__all__ = ["Rows", "gradients", "one_by_one", "squares_of_embedding", "squares_of_weight"]


class Rows:
    """Where the n cases of an array lie: along one axis, or in the first one as (n, r) or (r, n) rows."""

    def __init__(self, n: int, axis: int, rest: int = 1, last: bool = False) -> None:
        self.n, self.axis = n, axis
        self.rest, self.last = rest, last  # rows per case in the first axis; True where they come as (r, n)

    @classmethod
    def find(cls, halves: Any, u: Any) -> Rows | None:
        """The places at which the cotangents u of two halves of the cases keep out of each other's rows."""
        n, shape = len(halves[0]), u[0].shape
        candidates = [cls(n, k) for k, m in enumerate(shape) if m == n]
        if shape and shape[0] > n and shape[0] % n == 0:
            candidates += [cls(n, 0, shape[0] // n), cls(n, 0, shape[0] // n, True)]
        for rows in candidates:
            if not any(np.any(np.abs(rows.view(a)[~half]) > 0) for a, half in zip(u, halves, strict=True)):
                return rows
        return None

    def view(self, a: Any) -> Any:
        """(n, …)"""
        if self.rest == 1:
            return np.moveaxis(a, self.axis, 0)
        if self.last:
            return np.swapaxes(np.reshape(a, (self.rest, self.n, *a.shape[1:])), 0, 1)
        return np.reshape(a, (self.n, self.rest, *a.shape[1:]))

    def without(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """What a shape that broadcasts to the array's is per case; None where it has an axis of cases itself."""
        if shape[self.axis] != 1:
            return None
        return (*shape[: self.axis], *shape[self.axis + 1 :]) if self.rest == 1 else shape


def gradients(block: Block, u: Any, rows: Rows, part: slice) -> Any:
    """∂⟨u_n, y_n⟩/∂x for the cases of `part`, (m, *x.shape); None where the block has no such form."""
    if is_weight(block, rows):
        A, B = _matrices(rows.view(block.args[0])[part]), _matrices(rows.view(u)[part])  # type: ignore[attr-defined]
        return np.matmul(np.swapaxes(A, 1, 2), B)
    if isinstance(block, Linear) and block.primitive in (conv.forward, conv.backward) and block.argnum == 1:
        return _of_kernel(block, u, part) if rows.axis == 0 and rows.rest == 1 else None
    if isinstance(block, Diagonal):
        return _of_factor(block, u, rows, part)
    if is_embedding(block, rows):
        key, shares = rows.view(block.args[1])[part], rows.view(u)[part]  # type: ignore[attr-defined]
        total = np.zeros_like(u, shape=(len(key), *block.x.shape))
        scatter_add(total, (np.broadcast_to(_numbers(key), key.shape), key), shares)
        return total
    return None


def one_by_one(block: Block, u: Any, rows: Rows, part: slice) -> Any:
    """The same by one whole pull per case, which every block has."""
    alone = np.zeros_like(u, order="C")
    lone, given = rows.view(alone), rows.view(u)
    found = []
    for k in range(rows.n)[part]:
        lone[k] = given[k]
        found.append(np.array(block.pull(alone), copy=True))
        lone[k] = 0
    return np.stack(found)


def is_weight(block: Block, rows: Rows) -> bool:
    """W in y = A W, one matrix for all rows."""
    found = isinstance(block, Linear) and block.primitive is matmul and block.argnum == 1
    return found and block.x.ndim == 2 and rows.axis < block.y.ndim - 1


def is_embedding(block: Block, rows: Rows) -> bool:
    """E in y = E[key], rows of E by an array of integers."""
    if not isinstance(block, Index):
        return False
    key = block.args[1]
    return getattr(key, "ndim", 0) > rows.axis and key.dtype.kind in "iu"


def _numbers(key: Any) -> Any:
    """The number of the case of every element, to broadcast."""
    return np.reshape(like(np.arange(len(key)), key), (-1, *[1] * (key.ndim - 1)))


def _matrices(a: Any) -> Any:
    """(m, …, i) as (m, r, i)."""
    return np.reshape(a, (len(a), -1, a.shape[-1])) if a.size else np.zeros_like(a, shape=(len(a), 0, a.shape[-1]))


def _of_kernel(block: Linear, u: Any, part: slice) -> Any:
    images, *rest = block.args
    cases = range(len(u))[part]
    return np.stack([block.transpose(u[k : k + 1], images[k : k + 1], *rest) for k in cases])


def _of_factor(block: Diagonal, u: Any, rows: Rows, part: slice) -> Any:
    """x in y = d x + …, broadcast over the cases: the product d u, summed over what x was broadcast along."""
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


def squares_of_weight(block: Linear, u: Any, rows: Rows) -> Any:
    """Σ_n (a_nᵀ u_n)² = (a∘a)ᵀ(u∘u), for one row per case; None where there are several."""
    A, B = rows.view(block.args[0]), rows.view(u)
    if A.ndim != 2:
        return None
    return np.square(A).T @ np.square(B)


def squares_of_embedding(block: Linear, u: Any, rows: Rows) -> Any:
    """Σ_n (Σ over places of a token in case n of u)²: only what occurs is summed, never a table per case."""
    key, u = rows.view(block.args[1]), rows.view(u)
    tokens, width = block.x.shape[0], u.shape[key.ndim :]
    pairs, place = np.unique(_numbers(key) * tokens + np.where(key < 0, key + tokens, key), return_inverse=True)
    sums = np.zeros_like(u, shape=(len(pairs), *width))
    scatter_add(sums, place.reshape(-1), np.reshape(u, (place.size, *width)))
    total = np.zeros_like(u, shape=block.x.shape)
    scatter_add(total, pairs % tokens, np.square(sums))
    return total
