"""Long vectors: scalars accumulated in float64, updates in place, by blocks that stay in cache.

CG and the first-order methods make a handful of passes over vectors of the size of θ for every product or
gradient. Written as plain expressions those passes allocate, go to memory each, and sum float32 in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from optim.tuning import BLOCK, SUMMED_IN_FLOAT32
from rmad.extend import Array, arrays

__all__ = ["accumulated", "are_finite", "blocks", "dot", "dots", "is_finite", "sum_into"]

CHUNK = SUMMED_IN_FLOAT32


def dot(a: Array, b: Array) -> float:
    """aᵀb as a Python float, for flat vectors; float32 is summed by chunks and the chunks in float64.

    On a device the library's own dot: it sums in a tree over many threads, and CuPy has no np.vecdot.
    """
    if a.dtype.itemsize >= 8 or not isinstance(a, np.ndarray):
        return float(np.dot(a, b))
    whole = a.size // CHUNK * CHUNK
    if whole < a.size:
        rest = np.dot(a[whole:].astype(np.float64), b[whole:].astype(np.float64))
        return float(rest) + (dot(a[:whole], b[:whole]) if whole else 0.0)
    return float(np.vecdot(a.reshape(-1, CHUNK), b.reshape(-1, CHUNK)).sum(dtype=np.float64))


def dots(*pairs: tuple[Array, Array]) -> list[float]:
    """aᵀb of every pair, as `dot`; from a device in one copy."""
    if not pairs or isinstance(pairs[0][0], np.ndarray):
        return [dot(a, b) for a, b in pairs]
    return [float(number) for number in arrays.numbers([np.dot(a, b) for a, b in pairs])]


def is_finite(a: Array) -> bool:
    """True if no entry of the flat vector is NaN or infinite: one pass, nothing allocated, in the usual case."""
    return math.isfinite(dot(a, a)) or bool(np.isfinite(a).all())  # the squares alone may overflow


def are_finite(*vectors: Array) -> bool:
    """True if no entry of any of them is NaN or infinite; from a device in one copy, in the usual case."""
    if not vectors or isinstance(vectors[0], np.ndarray):
        return all(map(is_finite, vectors))
    return all(map(math.isfinite, dots(*((a, a) for a in vectors)))) or all(map(is_finite, vectors))


def sum_into(out: Array, terms: Sequence[Array]) -> Array:
    """out ← Σ terms, in their order; 0 for none. The first term may be `out` itself."""
    if not terms:
        out.fill(0)
    elif len(terms) > 1:
        np.add(terms[0], terms[1], out)
    elif terms[0] is not out:
        np.copyto(out, terms[0])
    for term in terms[2:]:
        np.add(out, term, out)
    return out


def accumulated(out: Array, terms: Iterable[Array]) -> Array:
    """out ← Σ terms, which may all come in one and the same buffer, one after the other."""
    for k, term in enumerate(terms):
        np.add(out, term, out) if k else np.copyto(out, term)
    return out


def blocks(*vectors: Any) -> Iterator[list[Any]]:
    """Views of the same stretch of every vector, block after block; on a device of the whole vectors at once."""
    size = vectors[0].size
    block = BLOCK if isinstance(vectors[0], np.ndarray) else max(size, 1)
    for k in range(0, size, block):
        yield [v[k : k + block] for v in vectors]
