"""Long vectors: scalars accumulated in float64, updates in place, by blocks that stay in cache.

CG and the first-order methods make a handful of passes over vectors of the size of θ for every product or
gradient. Written as plain expressions those passes allocate, and sum float32 in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["axpy", "blocks", "dot", "is_finite", "xpby"]

BLOCK = 1 << 15  # elements; three float32 blocks fill 384 kB of a second-level cache
CHUNK = 512  # elements summed in float32 before float64 takes over: relative error below 512 · 2⁻²⁴ of Σ|aᵢbᵢ|


def dot(a: Any, b: Any) -> float:
    """aᵀb as a Python float, for flat vectors; float32 is summed by chunks and the chunks in float64."""
    if a.dtype.itemsize >= 8:
        return float(np.dot(a, b))
    whole = a.size // CHUNK * CHUNK
    head, tail = slice(0, whole), slice(whole, None)
    chunks = np.vecdot(a[head].reshape(-1, CHUNK), b[head].reshape(-1, CHUNK))
    rest = np.dot(a[tail].astype(np.float64), b[tail].astype(np.float64))
    return float(chunks.sum(dtype=np.float64)) + float(rest)


def is_finite(a: Any) -> bool:
    """True where no entry of the flat vector is NaN or infinite: one pass, nothing allocated, in the usual case."""
    return math.isfinite(dot(a, a)) or bool(np.isfinite(a).all())  # the squares alone may overflow


def blocks(*vectors: Any) -> Iterator[list[Any]]:
    """Views of the same stretch of every vector, block after block; on a device the whole at once."""
    size = vectors[0].size
    block = BLOCK if isinstance(vectors[0], np.ndarray) else max(size, 1)
    for k in range(0, size, block):
        yield [v[k : k + block] for v in vectors]


def axpy(a: float, x: Any, y: Any) -> None:
    """y ← y + a x, in place."""
    work = np.empty_like(x[:BLOCK] if isinstance(x, np.ndarray) else x)
    for x_k, y_k in blocks(x, y):
        ax = np.multiply(x_k, a, out=work[: x_k.size])
        np.add(y_k, ax, out=y_k)


def xpby(x: Any, b: float, y: Any) -> None:
    """y ← −x + b y, in place: the new search direction of CG."""
    for x_k, y_k in blocks(x, y):
        np.multiply(y_k, b, out=y_k)
        np.subtract(y_k, x_k, out=y_k)
